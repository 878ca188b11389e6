//! `image prune`.
use super::rm::shown;
use crate::Ctx;
use crate::commands::{Done, PruneArgs, deleted, say_reclaimed};
use clap::Args;
use wire::engine::Filters;
use wire::engine::image::ImagesPruned;

/// Remove unused images.
#[derive(Args)]
pub(crate) struct Prune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

impl Prune {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let question = match self.all {
            true => "WARNING! This will remove all images without at least one container associated to them.",
            false => "WARNING! This will remove all dangling images.",
        };
        let Some(filters) = self.prune.agreed(question)? else { return Ok(()) };
        let (text, space) = prune(ctx, filters, self.all).await?;
        say_reclaimed(&text, space);
        Ok(())
    }
}

pub(crate) async fn prune(ctx: &Ctx, mut filters: Filters, all: bool) -> anyhow::Result<(String, u64)> {
    if !filters.has("dangling") {
        filters.add("dangling", if all { "false" } else { "true" });
    }
    let pruned: ImagesPruned = ctx.client.post("/images/prune").filters(&filters).read().await?;
    let line = |image: &wire::engine::image::ImageDeleted| {
        shown(image).replacen("Untagged: ", "untagged: ", 1).replacen("Deleted: ", "deleted: ", 1)
    };
    let text = deleted("Images", pruned.images_deleted.map(|all| all.iter().map(line).collect()));
    Ok((text, pruned.space_reclaimed))
}
