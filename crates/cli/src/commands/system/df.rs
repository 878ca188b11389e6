//! `system df`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::human::{ago, short_id, size, total_size};
use crate::render::list::{Show, Table, print, row};
use crate::render::tabs::align;
use crate::terminal::say;
use clap::Args;
use model::Timestamp;
use serde_json::Value;
use wire::engine::system::DiskUsage;

const USAGE: Table = Table {
    headers: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    default: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
};

/// Show disk usage.
#[derive(Args)]
pub(crate) struct DiskFree {
    /// Format output using a custom template: 'table', 'json', or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

impl DiskFree {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let usage: DiskUsage = ctx.client.get("/system/df").read().await?;
        if self.verbose {
            say(&align(&verbose(&usage), 10));
            return Ok(());
        }
        print(&USAGE, &Show { format: self.format, quiet: false }, &rows(&usage))
    }
}

fn line(kind: &str, total: usize, active: usize, used: i64, free: i64) -> Value {
    let share = if used > 0 { format!(" ({}%)", free * 100 / used) } else { String::new() };
    row! {
        "Type": kind,
        "TotalCount": total.to_string(),
        "Active": active.to_string(),
        "Size": total_size(used.max(0)),
        "Reclaimable": format!("{}{share}", total_size(free.max(0))),
    }
}

fn rows(u: &DiskUsage) -> Vec<Value> {
    let in_use: i64 = u.images.iter().filter(|i| i.containers > 0).map(|i| i.size - i.shared_size.max(0)).sum();
    let running = |state: &str| matches!(state, "running" | "paused" | "restarting");
    let writable: i64 = u.containers.iter().map(|c| c.size_rw).sum();
    let stopped: i64 = u.containers.iter().filter(|c| !running(&c.state)).map(|c| c.size_rw).sum();
    let volume = |used: Option<bool>| -> i64 {
        let all = u.volumes.iter().filter_map(|v| v.usage_data.as_ref());
        all.filter(|d| used.is_none_or(|used| (d.ref_count > 0) == used)).map(|d| d.size.max(0)).sum()
    };
    let used_volumes = u.volumes.iter().filter(|v| v.usage_data.as_ref().is_some_and(|d| d.ref_count > 0)).count();
    vec![
        line(
            "Images",
            u.images.len(),
            u.images.iter().filter(|i| i.containers > 0).count(),
            u.layers_size,
            u.layers_size - in_use,
        ),
        line(
            "Containers",
            u.containers.len(),
            u.containers.iter().filter(|c| running(&c.state)).count(),
            writable,
            stopped,
        ),
        line("Local Volumes", u.volumes.len(), used_volumes, volume(None), volume(Some(false))),
        line("Build Cache", u.build_cache.len(), 0, 0, 0),
    ]
}

fn verbose(u: &DiskUsage) -> String {
    let at = |seconds: i64| ago(Timestamp(seconds.saturating_mul(1_000_000_000)));
    let mut out =
        "Images space usage:\n\nREPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\tSHARED SIZE\tUNIQUE SIZE\tCONTAINERS\n"
            .to_owned();
    for i in &u.images {
        let (name, tag) = i.repo_tags.first().and_then(|t| t.rsplit_once(':')).unwrap_or(("<none>", "<none>"));
        let shared = i.shared_size.max(0);
        out.push_str(&format!(
            "{name}\t{tag}\t{}\t{}\t{}\t{}\t{}\t{}\n",
            short_id(&i.id),
            at(i.created),
            size(i.size),
            size(shared),
            size(i.size - shared),
            i.containers.max(0)
        ));
    }
    out.push_str(
        "\nContainers space usage:\n\nCONTAINER ID\tIMAGE\tCOMMAND\tLOCAL VOLUMES\tSIZE\tCREATED\tSTATUS\tNAMES\n",
    );
    for c in &u.containers {
        let local = c.mounts.iter().filter(|m| m.driver == "local").count();
        let names: Vec<&str> = c.names.iter().map(|n| n.trim_start_matches('/')).collect();
        out.push_str(&format!(
            "{}\t{}\t{:?}\t{local}\t{}\t{}\t{}\t{}\n",
            short_id(&c.id),
            c.image,
            crate::render::human::ellipsis(&c.command, 20),
            size(c.size_rw),
            at(c.created),
            c.status,
            names.join(",")
        ));
    }
    out.push_str("\nLocal Volumes space usage:\n\nVOLUME NAME\tLINKS\tSIZE\n");
    for v in &u.volumes {
        let (links, bytes) = v.usage_data.as_ref().map_or((0, 0), |d| (d.ref_count, d.size));
        out.push_str(&format!("{}\t{links}\t{}\n", v.name, size(bytes.max(0))));
    }
    out.push_str("\nBuild cache usage: 0B\n");
    out
}
