//! `node rm`.
use crate::Ctx;
use crate::commands::{Done, each};
use clap::Args;

/// Remove one or more nodes from the swarm.
#[derive(Args)]
pub(crate) struct Remove {
    /// Force remove a node from the swarm
    #[arg(short, long)]
    force: bool,
    #[arg(required = true)]
    nodes: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        each(&self.nodes, async |name| {
            ctx.client.delete(format!("/nodes/{name}")).flag("force", self.force).done().await
        })
        .await
    }
}
