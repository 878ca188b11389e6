//! `volume prune`.
use crate::Ctx;
use crate::commands::{Done, PruneArgs, deleted, say_reclaimed};
use clap::Args;
use wire::engine::Filters;
use wire::engine::volume::VolumesPruned;

/// Remove unused local volumes.
#[derive(Args)]
pub(crate) struct Prune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

impl Prune {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let question = match self.all {
            true => "WARNING! This will remove all local volumes not used by at least one container.",
            false => "WARNING! This will remove anonymous local volumes not used by at least one container.",
        };
        let Some(filters) = self.prune.agreed(question)? else { return Ok(()) };
        let (text, space) = prune(ctx, filters, self.all).await?;
        say_reclaimed(&text, space);
        Ok(())
    }
}

pub(crate) async fn prune(ctx: &Ctx, mut filters: Filters, all: bool) -> anyhow::Result<(String, u64)> {
    if all {
        filters.add("all", "true");
    }
    let pruned: VolumesPruned = ctx.client.post("/volumes/prune").filters(&filters).read().await?;
    Ok((deleted("Volumes", pruned.volumes_deleted), pruned.space_reclaimed))
}
