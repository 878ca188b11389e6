//! `network prune`.
use crate::Ctx;
use crate::commands::Done;
use crate::spec::pairs;
use crate::terminal::{confirm, say};
use clap::Args;
use wire::engine::Filters;
use wire::engine::network::NetworksPruned;

/// Remove all unused networks.
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
        if !self.force && !confirm("WARNING! This will remove all custom networks not used by at least one container.")
        {
            return Ok(());
        }
        say(&prune(ctx, &pairs::filters(&self.filter)?).await?);
        Ok(())
    }
}

pub(crate) async fn prune(ctx: &Ctx, filters: &Filters) -> anyhow::Result<String> {
    let pruned: NetworksPruned = ctx.client.post("/networks/prune").filters(filters).read().await?;
    let deleted = pruned.networks_deleted.unwrap_or_default();
    Ok(if deleted.is_empty() { String::new() } else { format!("Deleted Networks:\n{}\n\n", deleted.join("\n")) })
}
