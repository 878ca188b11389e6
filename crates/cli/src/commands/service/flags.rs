//! Flags that `service create` and `service update` share: each sets one thing.
use crate::commands::container::health::HealthFlags;
use crate::spec::{pairs, units};
use clap::Args;
use wire::engine::service::{
    ContainerSpec, Limit, LogDriver, ReplicatedService, ResourceRequirements, Resources, RestartPolicy, ServiceSpec,
    UpdateConfig,
};

/// What a service can be told, one value each.
#[derive(Args, Default)]
pub(super) struct Settings {
    /// Exit immediately instead of waiting for the service to converge
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Suppress progress output
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Endpoint mode (vip or dnsrr)
    #[arg(long)]
    endpoint_mode: Option<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long)]
    entrypoint: Option<String>,
    #[command(flatten)]
    health: HealthFlags,
    /// Container hostname
    #[arg(long)]
    hostname: Option<String>,
    /// Use an init inside each service container to forward signals and reap processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    init: Option<bool>,
    /// Limit CPUs
    #[arg(long, value_parser = units::nano_cpus)]
    limit_cpu: Option<i64>,
    /// Limit Memory
    #[arg(long, value_parser = units::bytes)]
    limit_memory: Option<i64>,
    /// Limit maximum number of processes (default 0 = unlimited)
    #[arg(long)]
    limit_pids: Option<i64>,
    /// Logging driver for service
    #[arg(long)]
    log_driver: Option<String>,
    /// Logging driver options
    #[arg(long)]
    log_opt: Vec<String>,
    /// Number of job tasks to run concurrently (default equal to --replicas)
    #[arg(long)]
    max_concurrent: Option<u64>,
    /// Do not query the registry to resolve image digest and supported platforms
    #[arg(long)]
    pub(super) no_resolve_image: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long)]
    oom_score_adj: Option<i64>,
    /// Mount the container's root filesystem as read only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    read_only: Option<bool>,
    /// Number of tasks
    #[arg(long)]
    pub(super) replicas: Option<u64>,
    /// Maximum number of tasks per node (default 0 = unlimited)
    #[arg(long)]
    replicas_max_per_node: Option<u64>,
    /// Reserve CPUs
    #[arg(long, value_parser = units::nano_cpus)]
    reserve_cpu: Option<i64>,
    /// Reserve Memory
    #[arg(long, value_parser = units::bytes)]
    reserve_memory: Option<i64>,
    /// Restart when condition is met ("none", "on-failure", "any")
    #[arg(long)]
    restart_condition: Option<String>,
    /// Delay between restart attempts (ns|us|ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    restart_delay: Option<i64>,
    /// Maximum number of restarts before giving up
    #[arg(long)]
    restart_max_attempts: Option<u64>,
    /// Window used to evaluate the restart policy (ns|us|ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    restart_window: Option<i64>,
    #[command(flatten)]
    rollback: RollbackFlags,
    #[command(flatten)]
    update: UpdateFlags,
    /// Time to wait before force killing a container (ns|us|ms|s|m|h) (default 10s)
    #[arg(long, value_parser = units::duration)]
    stop_grace_period: Option<i64>,
    /// Signal to stop the container
    #[arg(long)]
    stop_signal: Option<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tty: Option<bool>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long)]
    user: Option<String>,
    /// Send registry authentication details to swarm agents
    #[arg(long)]
    pub(super) with_registry_auth: bool,
    /// Working directory inside the container
    #[arg(short, long)]
    workdir: Option<String>,
}

/// How updates go.
#[derive(Args, Default)]
struct UpdateFlags {
    /// Delay between updates (ns|us|ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    update_delay: Option<i64>,
    /// Action on update failure ("pause", "continue", "rollback")
    #[arg(long)]
    update_failure_action: Option<String>,
    /// Failure rate to tolerate during an update
    #[arg(long)]
    update_max_failure_ratio: Option<f32>,
    /// Duration after each task update to monitor for failure (ns|us|ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    update_monitor: Option<i64>,
    /// Update order ("start-first", "stop-first")
    #[arg(long)]
    update_order: Option<String>,
    /// Maximum number of tasks updated simultaneously (0 to update all at once)
    #[arg(long)]
    update_parallelism: Option<u64>,
}

/// How rollbacks go.
#[derive(Args, Default)]
struct RollbackFlags {
    /// Delay between task rollbacks (ns|us|ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    rollback_delay: Option<i64>,
    /// Action on rollback failure ("pause", "continue")
    #[arg(long)]
    rollback_failure_action: Option<String>,
    /// Failure rate to tolerate during a rollback
    #[arg(long)]
    rollback_max_failure_ratio: Option<f32>,
    /// Duration after each task rollback to monitor for failure (ns|us|ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    rollback_monitor: Option<i64>,
    /// Rollback order ("start-first", "stop-first")
    #[arg(long)]
    rollback_order: Option<String>,
    /// Maximum number of tasks rolled back simultaneously (0 to roll back all at once)
    #[arg(long)]
    rollback_parallelism: Option<u64>,
}

/// Puts a given value in its place; nothing given changes nothing.
fn set<T: Clone>(slot: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        slot.clone_from(value);
    }
}

/// What an update does unless told otherwise.
fn update_defaults() -> UpdateConfig {
    UpdateConfig {
        parallelism: 1,
        monitor: 5_000_000_000,
        failure_action: "pause".into(),
        order: "stop-first".into(),
        ..UpdateConfig::default()
    }
}

impl Settings {
    /// Changes a spec as the flags say.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> anyhow::Result<()> {
        let container = spec.task_template.container_spec.get_or_insert_default();
        self.container(container)?;
        self.resources(spec);
        self.restart(spec);
        if self.replicas_max_per_node.is_some() {
            set(&mut spec.task_template.placement.get_or_insert_default().max_replicas, &self.replicas_max_per_node);
        }
        if self.log_driver.is_some() || !self.log_opt.is_empty() {
            spec.task_template.log_driver = Some(LogDriver {
                name: self
                    .log_driver
                    .clone()
                    .or_else(|| spec.task_template.log_driver.take().map(|d| d.name))
                    .unwrap_or_default(),
                options: pairs::map(&self.log_opt),
            });
        }
        if self.endpoint_mode.is_some() {
            set(&mut spec.endpoint_spec.get_or_insert_default().mode, &self.endpoint_mode);
        }
        self.count(spec)?;
        self.updates(spec);
        Ok(())
    }

    fn count(&self, spec: &mut ServiceSpec) -> anyhow::Result<()> {
        if let Some(replicas) = self.replicas {
            if let Some(job) = &mut spec.mode.replicated_job {
                job.total_completions = Some(replicas);
                job.max_concurrent = self.max_concurrent.or(job.max_concurrent).or(Some(replicas));
            } else if spec.mode.global.is_some() || spec.mode.global_job.is_some() {
                anyhow::bail!("replicas can only be used with replicated or replicated-job mode");
            } else {
                spec.mode.replicated = Some(ReplicatedService { replicas: Some(replicas) });
            }
        }
        if let Some(most) = self.max_concurrent {
            match &mut spec.mode.replicated_job {
                Some(job) => job.max_concurrent = Some(most),
                None => anyhow::bail!("max-concurrent can only be used with replicated-job mode"),
            }
        }
        Ok(())
    }

    fn container(&self, c: &mut ContainerSpec) -> anyhow::Result<()> {
        set(&mut c.hostname, &self.hostname);
        set(&mut c.user, &self.user);
        set(&mut c.dir, &self.workdir);
        set(&mut c.stop_signal, &self.stop_signal);
        set(&mut c.tty, &self.tty);
        set(&mut c.read_only, &self.read_only);
        set(&mut c.oom_score_adj, &self.oom_score_adj);
        c.init = self.init.or(c.init);
        c.stop_grace_period = self.stop_grace_period.or(c.stop_grace_period);
        if let Some(text) = &self.entrypoint {
            c.command = crate::spec::words::split(text).map_err(anyhow::Error::msg)?;
        }
        self.health.apply(&mut c.healthcheck)?;
        Ok(())
    }

    fn resources(&self, spec: &mut ServiceSpec) {
        let r = spec.task_template.resources.get_or_insert_with(ResourceRequirements::default);
        if self.limit_cpu.is_some() || self.limit_memory.is_some() || self.limit_pids.is_some() {
            let limits = r.limits.get_or_insert_with(Limit::default);
            set(&mut limits.nano_cpus, &self.limit_cpu);
            set(&mut limits.memory_bytes, &self.limit_memory);
            set(&mut limits.pids, &self.limit_pids);
        }
        if self.reserve_cpu.is_some() || self.reserve_memory.is_some() {
            let reserved = r.reservations.get_or_insert_with(Resources::default);
            set(&mut reserved.nano_cpus, &self.reserve_cpu);
            set(&mut reserved.memory_bytes, &self.reserve_memory);
        }
        if *r == ResourceRequirements::default() {
            spec.task_template.resources = None;
        }
    }

    fn restart(&self, spec: &mut ServiceSpec) {
        let given = self.restart_condition.is_some()
            || self.restart_delay.is_some()
            || self.restart_max_attempts.is_some()
            || self.restart_window.is_some();
        if given {
            let r = spec.task_template.restart_policy.get_or_insert_with(RestartPolicy::default);
            set(&mut r.condition, &self.restart_condition);
            r.delay = self.restart_delay.or(r.delay);
            r.max_attempts = self.restart_max_attempts.or(r.max_attempts);
            r.window = self.restart_window.or(r.window);
        }
    }

    fn updates(&self, spec: &mut ServiceSpec) {
        let u = &self.update;
        let given = [u.update_delay, u.update_monitor].iter().any(Option::is_some)
            || u.update_failure_action.is_some()
            || u.update_max_failure_ratio.is_some()
            || u.update_order.is_some()
            || u.update_parallelism.is_some();
        if given {
            let c = spec.update_config.get_or_insert_with(update_defaults);
            set(&mut c.delay, &u.update_delay);
            set(&mut c.monitor, &u.update_monitor);
            set(&mut c.failure_action, &u.update_failure_action);
            set(&mut c.max_failure_ratio, &u.update_max_failure_ratio);
            set(&mut c.order, &u.update_order);
            set(&mut c.parallelism, &u.update_parallelism);
        }
        let r = &self.rollback;
        let given = [r.rollback_delay, r.rollback_monitor].iter().any(Option::is_some)
            || r.rollback_failure_action.is_some()
            || r.rollback_max_failure_ratio.is_some()
            || r.rollback_order.is_some()
            || r.rollback_parallelism.is_some();
        if given {
            let c = spec.rollback_config.get_or_insert_with(update_defaults);
            set(&mut c.delay, &r.rollback_delay);
            set(&mut c.monitor, &r.rollback_monitor);
            set(&mut c.failure_action, &r.rollback_failure_action);
            set(&mut c.max_failure_ratio, &r.rollback_max_failure_ratio);
            set(&mut c.order, &r.rollback_order);
            set(&mut c.parallelism, &r.rollback_parallelism);
        }
    }
}

/// Labels, environment, hosts and other lists that `create` and `update` treat alike.
pub(super) fn host_entry(text: &str) -> String {
    // `name:ip` here, `ip name` in the spec, as in /etc/hosts.
    let (name, ip) = text.split_once(['=', ':']).unwrap_or((text, ""));
    format!("{ip} {name}")
}
