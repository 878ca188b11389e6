//! `stats`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::human::{binary_size, short_id, size};
use crate::render::list::{Show, Table, render, row};
use crate::terminal::{interrupted, say, stdout_is_tty, tell};
use clap::Args;
use serde_json::Value;
use wire::engine::container::ContainerSummary;
use wire::engine::stats::Stats as Sample;

const STATS: Table = Table {
    headers: &[
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
};

/// Display a live stream of container(s) resource usage statistics.
#[derive(Args)]
pub(crate) struct Stats {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    containers: Vec<String>,
}

impl Stats {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let show = Show { format: self.format.clone(), quiet: false };
        loop {
            let names = if self.containers.is_empty() {
                let all: Vec<ContainerSummary> =
                    ctx.client.get("/containers/json").flag("all", self.all).read().await?;
                all.into_iter().map(|c| c.id).collect()
            } else {
                self.containers.clone()
            };
            let samples = futures::future::join_all(
                names
                    .iter()
                    .map(|n| ctx.client.get(format!("/containers/{n}/stats")).query("stream", 0).read::<Sample>()),
            );
            let samples = tokio::select! {
                samples = samples => samples,
                () = interrupted() => return Ok(()),
            };
            let mut rows = Vec::new();
            for (name, sample) in names.iter().zip(samples) {
                match sample {
                    Ok(sample) => rows.push(shown(name, &sample, !self.no_trunc)),
                    Err(e) if !self.containers.is_empty() => return Err(e),
                    // It ended between the list and the look.
                    Err(e) => tell(&format!("{e:#}")),
                }
            }
            let text = render(&STATS, &show, &rows)?;
            say(&if !self.no_stream && stdout_is_tty() { format!("\x1b[H\x1b[2J{text}") } else { text });
            if self.no_stream {
                return Ok(());
            }
            // A sample takes a second, but not when there is nothing to measure.
            if names.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                    () = interrupted() => return Ok(()),
                }
            }
        }
    }
}

fn shown(asked: &str, s: &Sample, trunc: bool) -> Value {
    let used = s.memory_stats.usage.saturating_sub(
        s.memory_stats
            .stats
            .get("total_inactive_file")
            .or(s.memory_stats.stats.get("inactive_file"))
            .copied()
            .unwrap_or(0),
    ) as f64;
    let limit = s.memory_stats.limit as f64;
    let memory = if limit > 0.0 { used / limit * 100.0 } else { 0.0 };
    let (received, sent) = s.networks.values().fold((0, 0), |(r, t), n| (r + n.rx_bytes, t + n.tx_bytes));
    let io = |op: &str| -> u64 {
        let all = s.blkio_stats.io_service_bytes_recursive.iter().flatten();
        all.filter(|e| e.op.eq_ignore_ascii_case(op)).map(|e| e.value).sum()
    };
    let none = s.read.0.is_never();
    let text = |text: String| if none { "--".to_owned() } else { text };
    row! {
        "Container": asked,
        "ID": if trunc { short_id(&s.id) } else { &s.id },
        "Name": s.name.trim_start_matches('/'),
        "CPUPerc": text(format!("{:.2}%", cpu(s))),
        "MemUsage": if none { "-- / --".into() } else { format!("{} / {}", binary_size(used), binary_size(limit)) },
        "MemPerc": text(format!("{memory:.2}%")),
        "NetIO": text(format!("{} / {}", size(received as i64), size(sent as i64))),
        "BlockIO": text(format!("{} / {}", size(io("read") as i64), size(io("write") as i64))),
        "PIDs": text(s.pids_stats.current.to_string()),
    }
}

fn cpu(s: &Sample) -> f64 {
    let used = s.cpu_stats.cpu_usage.total_usage as f64 - s.precpu_stats.cpu_usage.total_usage as f64;
    let whole = s.cpu_stats.system_cpu_usage as f64 - s.precpu_stats.system_cpu_usage as f64;
    let cpus = match s.cpu_stats.online_cpus {
        0 => s.cpu_stats.cpu_usage.percpu_usage.len() as f64,
        n => f64::from(n),
    };
    if whole > 0.0 && used > 0.0 { used / whole * cpus * 100.0 } else { 0.0 }
}
