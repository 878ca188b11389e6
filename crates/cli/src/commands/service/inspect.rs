//! `service inspect`.
use crate::Ctx;
use crate::commands::task::capital;
use crate::commands::{Done, InspectArgs, inspect_each};
use crate::render::human::{ago, binary_size, duration};
use crate::terminal::say;
use clap::Args;
use std::collections::BTreeMap;
use std::fmt::{Result, Write};
use wire::engine::network::Network;
use wire::engine::service::{ContainerSpec, Service, UpdateConfig};

/// Display detailed information on one or more services.
#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    args: InspectArgs,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
}

impl Inspect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if !self.pretty {
            // Docker shows what is left open as it will be run.
            let path = |name: &str| format!("/services/{name}");
            return inspect_each(ctx, &self.args.names, self.args.format.as_deref(), path, &[("insertDefaults", true)])
                .await;
        }
        anyhow::ensure!(self.args.format.is_none(), "--format is incompatible with human friendly format");
        let networks: Vec<Network> = ctx.client.get("/networks").read().await?;
        let names: BTreeMap<String, String> = networks.into_iter().map(|n| (n.id, n.name)).collect();
        for name in &self.args.names {
            let service: Service =
                ctx.client.get(format!("/services/{name}")).query("insertDefaults", 1).read().await?;
            let mut out = String::new();
            pretty(&mut out, &service, &names)?;
            say(&(out + "\n"));
        }
        Ok(())
    }
}

fn pretty(out: &mut String, s: &Service, networks: &BTreeMap<String, String>) -> Result {
    writeln!(out, "\nID:\t\t{}", s.id)?;
    writeln!(out, "Name:\t\t{}", s.spec.name)?;
    labels(out, "Labels:", &s.spec.labels)?;
    let mode = &s.spec.mode;
    match (&mode.replicated, &mode.replicated_job) {
        (_, Some(job)) => {
            writeln!(out, "Service Mode:\tReplicatedJob")?;
            writeln!(out, " Max Concurrent:\t{}", job.max_concurrent.unwrap_or(1))?;
            writeln!(out, " Total Completions:\t{}", job.total_completions.unwrap_or(1))?;
        }
        _ if mode.global.is_some() => writeln!(out, "Service Mode:\tGlobal")?,
        _ if mode.global_job.is_some() => writeln!(out, "Service Mode:\tGlobalJob")?,
        (replicated, None) => {
            writeln!(out, "Service Mode:\tReplicated")?;
            writeln!(out, " Replicas:\t{}", replicated.as_ref().and_then(|r| r.replicas).unwrap_or(1))?;
        }
    }
    if let Some(status) = s.update_status.as_ref().filter(|u| !u.state.is_empty()) {
        writeln!(out, "UpdateStatus:")?;
        writeln!(out, " State:\t\t{}", status.state)?;
        if let Some(at) = status.started_at {
            writeln!(out, " Started:\t{}", ago(at.0).to_lowercase())?;
        }
        if let Some(at) = status.completed_at.filter(|_| status.state == "completed") {
            writeln!(out, " Completed:\t{}", ago(at.0).to_lowercase())?;
        }
        writeln!(out, " Message:\t{}", status.message)?;
    }
    if let Some(p) = &s.spec.task_template.placement {
        writeln!(out, "Placement:")?;
        if !p.constraints.is_empty() {
            writeln!(out, " Constraints:\t[{}]", p.constraints.join(" "))?;
        }
        let over: Vec<String> = p
            .preferences
            .iter()
            .filter_map(|p| p.spread.as_ref())
            .map(|s| format!("spread={}", s.spread_descriptor))
            .collect();
        if !over.is_empty() {
            writeln!(out, " Preferences:\t[{}]", over.join(", "))?;
        }
        if p.max_replicas > 0 {
            writeln!(out, " Max Replicas Per Node:   {}", p.max_replicas)?;
        }
    }
    update(out, "UpdateConfig:", "update", s.spec.update_config.as_ref())?;
    update(out, "RollbackConfig:", "rollback", s.spec.rollback_config.as_ref())?;
    if let Some(c) = &s.spec.task_template.container_spec {
        container(out, c)?;
    }
    if let Some(r) = &s.spec.task_template.resources {
        writeln!(out, "Resources:")?;
        let mut part = |name: &str, cpus: i64, memory: i64| -> Result {
            if cpus > 0 || memory > 0 {
                writeln!(out, " {name}:")?;
            }
            if cpus > 0 {
                writeln!(out, "  CPU:\t\t{}", cpus as f64 / 1e9)?;
            }
            if memory > 0 {
                writeln!(out, "  Memory:\t{}", binary_size(memory as f64))?;
            }
            Ok(())
        };
        let reserved = r.reservations.clone().unwrap_or_default();
        part("Reservations", reserved.nano_cpus, reserved.memory_bytes)?;
        let limits = r.limits.clone().unwrap_or_default();
        part("Limits", limits.nano_cpus, limits.memory_bytes)?;
    }
    let used: Vec<&str> =
        s.spec.task_template.networks.iter().map(|n| networks.get(&n.target).unwrap_or(&n.target).as_str()).collect();
    if !used.is_empty() {
        writeln!(out, "Networks: {} ", used.join(" "))?;
    }
    writeln!(out, "Endpoint Mode:\t{}", if s.endpoint.spec.mode.is_empty() { "vip" } else { &s.endpoint.spec.mode })?;
    if !s.endpoint.ports.is_empty() {
        writeln!(out, "Ports:")?;
        for p in &s.endpoint.ports {
            writeln!(out, " PublishedPort = {}", p.published_port)?;
            writeln!(out, "  Protocol = {}", p.protocol)?;
            writeln!(out, "  TargetPort = {}", p.target_port)?;
            writeln!(out, "  PublishMode = {} ", p.publish_mode)?;
        }
    }
    if let Some(h) = s.spec.task_template.container_spec.as_ref().and_then(|c| c.healthcheck.as_ref()) {
        writeln!(out, " Healthcheck:")?;
        writeln!(out, "  Interval = {}", duration(h.interval))?;
        writeln!(out, "  Retries = {}", h.retries)?;
        writeln!(out, "  StartPeriod =\t{}", duration(h.start_period))?;
        writeln!(out, "  Timeout =\t{}", duration(h.timeout))?;
        if let Some(test) = h.test.as_ref().filter(|t| !t.is_empty()) {
            writeln!(out, "  Tests:")?;
            test.iter().try_for_each(|t| writeln!(out, "\t Test = {t}"))?;
        }
    }
    Ok(())
}

fn labels(out: &mut String, title: &str, labels: &wire::engine::Map) -> Result {
    if labels.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}")?;
    labels.iter().try_for_each(|(k, v)| writeln!(out, " {k}{}{v}", if v.is_empty() { "" } else { "=" }))
}

fn update(out: &mut String, title: &str, word: &str, config: Option<&UpdateConfig>) -> Result {
    let Some(c) = config else { return Ok(()) };
    writeln!(out, "{title}")?;
    writeln!(out, " Parallelism:\t{}", c.parallelism)?;
    if c.delay > 0 {
        writeln!(out, " Delay:\t\t{}", duration(c.delay))?;
    }
    writeln!(out, " On failure:\t{}", c.failure_action)?;
    if c.monitor > 0 {
        writeln!(out, " Monitoring Period: {}", duration(c.monitor))?;
    }
    writeln!(out, " Max failure ratio: {}", c.max_failure_ratio)?;
    writeln!(out, " {:<19}{}", format!("{} order:", capital(word)), c.order)
}

fn container(out: &mut String, c: &ContainerSpec) -> Result {
    writeln!(out, "ContainerSpec:")?;
    writeln!(out, " Image:\t\t{}", c.image)?;
    let list = |out: &mut String, title: &str, values: &[String]| match values {
        [] => Ok(()),
        values => writeln!(out, " {title}{} ", values.join(" ")),
    };
    list(out, "Command:\t", &c.command)?;
    list(out, "Args:\t\t", &c.args)?;
    list(out, "Env:\t\t", &c.env)?;
    if !c.dir.is_empty() {
        writeln!(out, " Dir:\t\t{}", c.dir)?;
    }
    if let Some(init) = c.init {
        writeln!(out, " Init:\t\t{init}")?;
    }
    if !c.user.is_empty() {
        writeln!(out, " User: {}", c.user)?;
    }
    list(out, "Capabilities Add: ", &c.capability_add)?;
    list(out, "Capabilities Drop: ", &c.capability_drop)?;
    if !c.mounts.is_empty() {
        writeln!(out, "Mounts:")?;
    }
    for m in &c.mounts {
        writeln!(out, " Target:\t{}", m.target)?;
        writeln!(out, "  Source:\t{}", m.source)?;
        writeln!(out, "  ReadOnly:\t{}", m.read_only)?;
        writeln!(out, "  Type:\t\t{}", m.typ)?;
    }
    if !c.configs.is_empty() {
        writeln!(out, "Configs:")?;
    }
    for r in &c.configs {
        writeln!(out, " Target:\t{}", r.file.as_ref().map_or("", |f| &f.name))?;
        writeln!(out, "  Source:\t{}", r.config_name)?;
    }
    if !c.secrets.is_empty() {
        writeln!(out, "Secrets:")?;
    }
    for r in &c.secrets {
        writeln!(out, " Target:\t{}", r.file.as_ref().map_or("", |f| &f.name))?;
        writeln!(out, "  Source:\t{}", r.secret_name)?;
    }
    Ok(())
}
