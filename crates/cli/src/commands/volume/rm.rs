//! `volume rm`.
use crate::Ctx;
use crate::commands::{Done, each};
use clap::Args;

/// Remove one or more volumes.
#[derive(Args)]
pub(crate) struct Remove {
    /// Force the removal of one or more volumes
    #[arg(short, long)]
    force: bool,
    #[arg(required = true)]
    volumes: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        each(&self.volumes, async |name| {
            ctx.client.delete(format!("/volumes/{name}")).flag("force", self.force).done().await
        })
        .await
    }
}
