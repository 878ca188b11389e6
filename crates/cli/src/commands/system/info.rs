//! `info`.
use crate::Ctx;
use crate::client::Exit;
use crate::commands::Done;
use crate::render::human::{binary_size, duration};
use crate::render::template::Template;
use crate::terminal::{say, tell};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::{Result, Write};
use wire::engine::swarm::SwarmInfo;
use wire::engine::system::Info as Server;

/// Display system-wide information.
#[derive(Args)]
pub(crate) struct Info {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long)]
    format: Option<String>,
}

impl Info {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let server: anyhow::Result<Value> = ctx.client.get("/info").read().await;
        let client = json!({"Debug": false, "Version": env!("CARGO_PKG_VERSION"), "Context": "default", "Plugins": [], "Warnings": null});
        match self.format.as_deref().unwrap_or_default() {
            "" => {
                let mut out = format!(
                    "Client: Shoal\n Version:    {}\n Context:    default\n Debug Mode: false\n\nServer:\n",
                    env!("CARGO_PKG_VERSION")
                );
                if let Ok(value) = &server {
                    text(&mut out, &wire::engine::lenient::from_value(value.clone())?)?;
                }
                say(&out);
            }
            format => {
                let mut all = server.as_ref().ok().cloned().unwrap_or_else(|| json!({}));
                if let Some(map) = all.as_object_mut() {
                    map.insert("ClientInfo".into(), client);
                }
                match format {
                    "json" => say(&format!("{all}\n")),
                    template => say(&format!("{}\n", Template::parse(template)?.render(&all)?)),
                }
            }
        }
        match server {
            Ok(value) => {
                for warning in value.get("Warnings").and_then(Value::as_array).into_iter().flatten() {
                    tell(warning.as_str().unwrap_or_default());
                }
                Ok(())
            }
            Err(e) => {
                tell(&format!("{e:#}"));
                Err(Exit(1).into())
            }
        }
    }
}

fn text(out: &mut String, i: &Server) -> Result {
    writeln!(out, " Containers: {}", i.containers)?;
    writeln!(out, "  Running: {}", i.containers_running)?;
    writeln!(out, "  Paused: {}", i.containers_paused)?;
    writeln!(out, "  Stopped: {}", i.containers_stopped)?;
    writeln!(out, " Images: {}", i.images)?;
    writeln!(out, " Server Version: {}", i.server_version)?;
    writeln!(out, " Storage Driver: {}", i.driver)?;
    for (key, value) in &i.driver_status {
        writeln!(out, "  {key}: {value}")?;
    }
    writeln!(out, " Logging Driver: {}", i.logging_driver)?;
    writeln!(out, " Cgroup Driver: {}", i.cgroup_driver)?;
    writeln!(out, " Cgroup Version: {}", i.cgroup_version)?;
    writeln!(out, " Plugins:")?;
    writeln!(out, "  Volume: {}", i.plugins.volume.join(" "))?;
    writeln!(out, "  Network: {}", i.plugins.network.join(" "))?;
    writeln!(out, "  Log: {}", i.plugins.log.join(" "))?;
    writeln!(out, " Swarm: {}", i.swarm.local_node_state)?;
    if !matches!(i.swarm.local_node_state.as_str(), "inactive" | "locked" | "") {
        swarm(out, &i.swarm)?;
    }
    writeln!(out, " Runtimes: {}", i.runtimes.keys().cloned().collect::<Vec<_>>().join(" "))?;
    writeln!(out, " Default Runtime: {}", i.default_runtime)?;
    if !i.init_binary.is_empty() {
        writeln!(out, " Init Binary: {}", i.init_binary)?;
    }
    if !i.security_options.is_empty() {
        writeln!(out, " Security Options:")?;
        for option in &i.security_options {
            let mut parts = option.split(',').map(|p| p.split_once('=').unwrap_or((p, "")));
            writeln!(out, "  {}", parts.next().map_or("", |(_, name)| name))?;
            for (key, value) in parts {
                writeln!(out, "   {}: {value}", crate::commands::task::capital(key))?;
            }
        }
    }
    writeln!(out, " Kernel Version: {}", i.kernel_version)?;
    writeln!(out, " Operating System: {}", i.operating_system)?;
    writeln!(out, " OSType: {}", i.os_type)?;
    writeln!(out, " Architecture: {}", i.architecture)?;
    writeln!(out, " CPUs: {}", i.n_cpu)?;
    writeln!(out, " Total Memory: {}", binary_size(i.mem_total as f64))?;
    writeln!(out, " Name: {}", i.name)?;
    writeln!(out, " ID: {}", i.id)?;
    writeln!(out, " Docker Root Dir: {}", i.docker_root_dir)?;
    writeln!(out, " Debug Mode: {}", i.debug)?;
    for (title, value) in [("HTTP Proxy", &i.http_proxy), ("HTTPS Proxy", &i.https_proxy), ("No Proxy", &i.no_proxy)] {
        if !value.is_empty() {
            writeln!(out, " {title}: {value}")?;
        }
    }
    if !i.labels.is_empty() {
        writeln!(out, " Labels:")?;
        i.labels.iter().try_for_each(|l| writeln!(out, "  {l}"))?;
    }
    writeln!(out, " Experimental: {}", i.experimental_build)?;
    writeln!(out, " Insecure Registries:")?;
    i.registry_config.insecure_registry_cidrs.iter().try_for_each(|c| writeln!(out, "  {c}"))?;
    writeln!(out, " Live Restore Enabled: {}", i.live_restore_enabled)?;
    writeln!(out)
}

fn swarm(out: &mut String, s: &SwarmInfo) -> Result {
    writeln!(out, "  NodeID: {}", s.node_id)?;
    if !s.error.is_empty() {
        writeln!(out, "  Error: {}", s.error)?;
    }
    writeln!(out, "  Is Manager: {}", s.control_available)?;
    if let Some(c) = s.cluster.as_ref().filter(|_| s.control_available) {
        writeln!(out, "  ClusterID: {}", c.id)?;
        writeln!(out, "  Managers: {}", s.managers)?;
        writeln!(out, "  Nodes: {}", s.nodes)?;
        writeln!(out, "  Default Address Pool: {}  ", c.default_addr_pool.join(" "))?;
        writeln!(out, "  SubnetSize: {}", c.subnet_size)?;
        writeln!(out, "  Data Path Port: {}", c.data_path_port)?;
        writeln!(out, "  Orchestration:")?;
        writeln!(
            out,
            "   Task History Retention Limit: {}",
            c.spec.orchestration.task_history_retention_limit.unwrap_or(0)
        )?;
        writeln!(out, "  Raft:")?;
        writeln!(out, "   Snapshot Interval: {}", c.spec.raft.snapshot_interval)?;
        if let Some(n) = c.spec.raft.keep_old_snapshots {
            writeln!(out, "   Number of Old Snapshots to Retain: {n}")?;
        }
        writeln!(out, "   Heartbeat Tick: {}", c.spec.raft.heartbeat_tick)?;
        writeln!(out, "   Election Tick: {}", c.spec.raft.election_tick)?;
        writeln!(out, "  Dispatcher:")?;
        writeln!(out, "   Heartbeat Period: {}", duration(c.spec.dispatcher.heartbeat_period))?;
        writeln!(out, "  CA Configuration:")?;
        writeln!(out, "   Expiry Duration: {}", duration(c.spec.ca_config.node_cert_expiry))?;
        writeln!(out, "   Force Rotate: {}", c.spec.ca_config.force_rotate)?;
        writeln!(out, "  Autolock Managers: {}", c.spec.encryption_config.auto_lock_managers)?;
        writeln!(out, "  Root Rotation In Progress: {}", c.root_rotation_in_progress)?;
    }
    writeln!(out, "  Node Address: {}", s.node_addr)?;
    let mut managers: Vec<&str> = s.remote_managers.iter().flatten().map(|m| m.addr.as_str()).collect();
    managers.sort_unstable();
    if !managers.is_empty() {
        writeln!(out, "  Manager Addresses:")?;
        managers.iter().try_for_each(|m| writeln!(out, "   {m}"))?;
    }
    Ok(())
}
