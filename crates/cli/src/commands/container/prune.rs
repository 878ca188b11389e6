//! `container prune`.
use crate::Ctx;
use crate::commands::{Done, PruneArgs, deleted, say_reclaimed};
use clap::Args;
use wire::engine::Filters;
use wire::engine::container::ContainersPruned;

/// Remove all stopped containers.
#[derive(Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    prune: PruneArgs,
}

impl Prune {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let Some(filters) = self.prune.agreed("WARNING! This will remove all stopped containers.")? else {
            return Ok(());
        };
        let (text, space) = prune(ctx, &filters).await?;
        say_reclaimed(&text, space);
        Ok(())
    }
}

pub(crate) async fn prune(ctx: &Ctx, filters: &Filters) -> anyhow::Result<(String, u64)> {
    let pruned: ContainersPruned = ctx.client.post("/containers/prune").filters(filters).read().await?;
    Ok((deleted("Containers", pruned.containers_deleted), pruned.space_reclaimed))
}
