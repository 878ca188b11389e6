//! `volume prune`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::human::total_size;
use crate::spec::pairs;
use crate::terminal::{confirm, say};
use clap::Args;
use wire::engine::Filters;
use wire::engine::volume::VolumesPruned;

/// Remove unused local volumes.
#[derive(Args)]
pub(crate) struct Prune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long)]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let question = match self.all {
            true => "WARNING! This will remove all local volumes not used by at least one container.",
            false => "WARNING! This will remove anonymous local volumes not used by at least one container.",
        };
        if !self.force && !confirm(question) {
            return Ok(());
        }
        let (text, space) = prune(ctx, pairs::filters(&self.filter)?, self.all).await?;
        say(&format!("{text}Total reclaimed space: {}\n", total_size(space as i64)));
        Ok(())
    }
}

pub(crate) async fn prune(ctx: &Ctx, mut filters: Filters, all: bool) -> anyhow::Result<(String, u64)> {
    if all {
        filters.add("all", "true");
    }
    let pruned: VolumesPruned = ctx.client.post("/volumes/prune").filters(&filters).read().await?;
    let deleted = pruned.volumes_deleted.unwrap_or_default();
    let text = if deleted.is_empty() { String::new() } else { format!("Deleted Volumes:\n{}\n\n", deleted.join("\n")) };
    Ok((text, pruned.space_reclaimed))
}
