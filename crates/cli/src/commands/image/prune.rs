//! `image prune`.
use super::rm::shown;
use crate::Ctx;
use crate::commands::Done;
use crate::render::human::total_size;
use crate::spec::pairs;
use crate::terminal::{confirm, say};
use clap::Args;
use wire::engine::Filters;
use wire::engine::image::ImagesPruned;

/// Remove unused images.
#[derive(Args)]
pub(crate) struct Prune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long)]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let question = match self.all {
            true => "WARNING! This will remove all images without at least one container associated to them.",
            false => "WARNING! This will remove all dangling images.",
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
    if !filters.has("dangling") {
        filters.add("dangling", if all { "false" } else { "true" });
    }
    let pruned: ImagesPruned = ctx.client.post("/images/prune").filters(&filters).read().await?;
    let lines: Vec<String> = pruned.images_deleted.unwrap_or_default().iter().map(shown).collect();
    let text = if lines.is_empty() {
        String::new()
    } else {
        format!(
            "Deleted Images:\n{}\n\n",
            lines.join("\n").replace("Untagged: ", "untagged: ").replace("Deleted: ", "deleted: ")
        )
    };
    Ok((text, pruned.space_reclaimed))
}
