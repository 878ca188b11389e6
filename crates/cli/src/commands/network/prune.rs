//! `network prune`.
use crate::Ctx;
use crate::commands::{Done, PruneArgs, deleted};
use crate::terminal::say;
use clap::Args;
use wire::engine::Filters;
use wire::engine::network::NetworksPruned;

/// Remove all unused networks.
#[derive(Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    prune: PruneArgs,
}

impl Prune {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let Some(filters) =
            self.prune.agreed("WARNING! This will remove all custom networks not used by at least one container.")?
        else {
            return Ok(());
        };
        say(&prune(ctx, &filters).await?);
        Ok(())
    }
}

pub(crate) async fn prune(ctx: &Ctx, filters: &Filters) -> anyhow::Result<String> {
    let pruned: NetworksPruned = ctx.client.post("/networks/prune").filters(filters).read().await?;
    Ok(deleted("Networks", pruned.networks_deleted))
}
