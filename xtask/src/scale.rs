//! `cargo xtask scale`: the figures of docs/scale.md, measured on this machine now.
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Command;

/// Crate, example, and what it measures.
const MEASURES: [(&str, &str, &str); 3] = [
    ("planner", "scale", "the planner: a hundred thousand tasks on a thousand nodes"),
    ("manager", "placements", "raft: placements committed per second"),
    ("manager", "directory", "the directory: a change on a hundred nodes, a thousand services on one overlay"),
];

/// Runs one of them, or all.
pub fn run(root: &Path, only: Option<&str>) -> anyhow::Result<()> {
    let chosen: Vec<_> = MEASURES.iter().filter(|(_, name, _)| only.is_none_or(|o| o == *name)).collect();
    if chosen.is_empty() {
        bail!("there is no measure {:?}: scale, placements and directory are known", only.unwrap_or_default());
    }
    for (package, example, what) in chosen {
        println!("\n== {what}");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let args = ["run", "--release", "--quiet", "-p", package, "--example", example];
        let status = Command::new(cargo).args(args).current_dir(root).status().context("cargo cannot be run")?;
        if !status.success() {
            bail!("the measure {example} failed: {status}");
        }
    }
    Ok(())
}
