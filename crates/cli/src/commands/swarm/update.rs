//! `swarm update`, and the settings that `swarm init` takes too.
use crate::Ctx;
use crate::commands::Done;
use crate::spec::pairs::{fields, truth};
use crate::spec::units;
use crate::terminal::say_line;
use clap::Args;
use wire::engine::swarm::{ExternalCa, Swarm, SwarmSpec};

/// Settings of the swarm.
#[derive(Args, Default)]
pub(super) struct Settings {
    /// Validity period for node certificates (ns|us|ms|s|m|h) (default 2160h0m0s)
    #[arg(long, value_parser = units::duration)]
    pub(super) cert_expiry: Option<i64>,
    /// Dispatcher heartbeat period (ns|us|ms|s|m|h) (default 5s)
    #[arg(long, value_parser = units::duration)]
    pub(super) dispatcher_heartbeat: Option<i64>,
    /// Specifications of one or more certificate signing endpoints
    #[arg(long)]
    pub(super) external_ca: Vec<String>,
    /// Number of additional Raft snapshots to retain
    #[arg(long)]
    pub(super) max_snapshots: Option<u64>,
    /// Number of log entries between Raft snapshots (default 10000)
    #[arg(long)]
    pub(super) snapshot_interval: Option<u64>,
    /// Task history retention limit (default 5)
    #[arg(long)]
    pub(super) task_history_limit: Option<i64>,
}

impl Settings {
    pub(super) fn apply(&self, spec: &mut SwarmSpec) -> anyhow::Result<()> {
        if let Some(expiry) = self.cert_expiry {
            spec.ca_config.node_cert_expiry = expiry;
        }
        if let Some(period) = self.dispatcher_heartbeat {
            spec.dispatcher.heartbeat_period = period;
        }
        if !self.external_ca.is_empty() {
            spec.ca_config.external_cas =
                self.external_ca.iter().map(|t| external_ca(t)).collect::<anyhow::Result<_>>()?;
        }
        if let Some(n) = self.max_snapshots {
            spec.raft.keep_old_snapshots = Some(n);
        }
        if let Some(n) = self.snapshot_interval {
            spec.raft.snapshot_interval = n;
        }
        if let Some(n) = self.task_history_limit {
            spec.orchestration.task_history_retention_limit = Some(n);
        }
        Ok(())
    }

    fn given(&self) -> bool {
        self.cert_expiry.is_some()
            || self.dispatcher_heartbeat.is_some()
            || !self.external_ca.is_empty()
            || self.max_snapshots.is_some()
            || self.snapshot_interval.is_some()
            || self.task_history_limit.is_some()
    }
}

/// `protocol=cfssl,url=…`.
pub(super) fn external_ca(text: &str) -> anyhow::Result<ExternalCa> {
    let mut ca = ExternalCa::default();
    for (key, value) in fields(text).map_err(anyhow::Error::msg)? {
        let value = value.ok_or_else(|| anyhow::anyhow!("invalid field '{key}' must be a key=value pair"))?;
        match key.as_str() {
            "protocol" => ca.protocol = value.to_lowercase(),
            "url" => ca.url = value,
            "cacert" => {
                ca.ca_cert = std::fs::read_to_string(&value)
                    .map_err(|e| anyhow::anyhow!("unable to read CA cert for external CA: {value}: {e}"))?;
            }
            _ => {
                ca.options.insert(key, value);
            }
        }
    }
    anyhow::ensure!(!ca.protocol.is_empty(), "the external-ca option needs a protocol= parameter");
    anyhow::ensure!(!ca.url.is_empty(), "the external-ca option needs a url= parameter");
    Ok(ca)
}

/// Update the swarm.
#[derive(Args)]
pub(crate) struct Update {
    /// Change manager autolocking setting (true|false)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    autolock: Option<String>,
    /// What clients of workers may do in the swarm ("full"|"read"|"off")
    #[arg(long)]
    workers: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

impl Update {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let lock = match &self.autolock {
            Some(text) => {
                Some(truth(Some(text)).ok_or_else(|| anyhow::anyhow!("invalid value for --autolock: {text}"))?)
            }
            None => None,
        };
        anyhow::ensure!(
            lock.is_some() || self.workers.is_some() || self.settings.given(),
            "\"{} swarm update\" requires at least one flag; see '{} swarm update --help'",
            ctx.name,
            ctx.name
        );
        let mut swarm: Swarm = ctx.client.get("/swarm").read().await?;
        self.settings.apply(&mut swarm.spec)?;
        if let Some(workers) = self.workers {
            swarm.spec.labels.insert("shoal.workers".to_owned(), workers);
        }
        if let Some(lock) = lock {
            swarm.spec.encryption_config.auto_lock_managers = lock;
        }
        ctx.client.post("/swarm/update").query("version", swarm.version.index).json(&swarm.spec)?.done().await?;
        say_line("Swarm updated.");
        if lock == Some(true) {
            super::unlock::show_key(ctx).await?;
        }
        Ok(())
    }
}
