//! `container prune`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::human::total_size;
use crate::spec::pairs;
use crate::terminal::{confirm, say};
use clap::Args;
use wire::engine::Filters;
use wire::engine::container::ContainersPruned;

/// Remove all stopped containers.
#[derive(Args)]
pub(crate) struct Prune {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long)]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if !self.force && !confirm("WARNING! This will remove all stopped containers.") {
            return Ok(());
        }
        let (text, space) = prune(ctx, &pairs::filters(&self.filter)?).await?;
        say(&format!("{text}Total reclaimed space: {}\n", total_size(space as i64)));
        Ok(())
    }
}

pub(crate) async fn prune(ctx: &Ctx, filters: &Filters) -> anyhow::Result<(String, u64)> {
    let pruned: ContainersPruned = ctx.client.post("/containers/prune").filters(filters).read().await?;
    let deleted = pruned.containers_deleted.unwrap_or_default();
    let text =
        if deleted.is_empty() { String::new() } else { format!("Deleted Containers:\n{}\n\n", deleted.join("\n")) };
    Ok((text, pruned.space_reclaimed))
}
