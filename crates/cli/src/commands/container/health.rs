//! How a container's health is checked, for `run`, `create` and for services.
use crate::spec::units;
use clap::Args;
use wire::engine::container::HealthConfig;

/// Flags of a health check.
#[derive(Args, Default)]
pub(crate) struct HealthFlags {
    /// Command to run to check health
    #[arg(long)]
    health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    health_interval: Option<i64>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long)]
    health_retries: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    health_start_interval: Option<i64>,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    health_start_period: Option<i64>,
    /// Maximum time to allow one check to run (ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    health_timeout: Option<i64>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthFlags {
    /// Changes what the flags name, and nothing else.
    ///
    /// # Errors
    /// When health is both wished and forbidden.
    pub(crate) fn apply(&self, health: &mut Option<HealthConfig>) -> anyhow::Result<()> {
        let numbers = [
            self.health_interval,
            self.health_timeout,
            self.health_start_period,
            self.health_start_interval,
            self.health_retries,
        ];
        let wished = self.health_cmd.is_some() || numbers.iter().any(Option::is_some);
        if self.no_healthcheck {
            anyhow::ensure!(!wished, "--no-healthcheck conflicts with --health-* options");
            *health = Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() });
        } else if wished {
            let h = health.get_or_insert_default();
            match &self.health_cmd {
                Some(cmd) if cmd.is_empty() => h.test = Some(vec![]),
                Some(cmd) => h.test = Some(vec!["CMD-SHELL".into(), cmd.clone()]),
                None if h.test.as_deref().is_some_and(|t| t.first().is_some_and(|w| w == "NONE")) => h.test = None,
                None => {}
            }
            let fields = [&mut h.interval, &mut h.timeout, &mut h.start_period, &mut h.start_interval, &mut h.retries];
            for (field, number) in fields.into_iter().zip(numbers) {
                *field = number.unwrap_or(*field);
            }
        }
        Ok(())
    }
}
