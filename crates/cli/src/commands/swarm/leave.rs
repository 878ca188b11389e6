//! `swarm leave`.
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::say_line;
use clap::Args;

/// Leave the swarm.
#[derive(Args)]
pub(crate) struct Leave {
    /// Force this node to leave the swarm, ignoring warnings
    #[arg(short, long)]
    force: bool,
}

impl Leave {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        ctx.client.post("/swarm/leave").flag("force", self.force).done().await?;
        say_line("Node left the swarm.");
        Ok(())
    }
}
