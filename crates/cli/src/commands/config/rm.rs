//! `config rm`.
use crate::Ctx;
use crate::commands::{Done, Names, each};
use clap::Args;

/// Remove one or more configs.
#[derive(Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    names: Names,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        each(&self.names.names, async |name| ctx.client.delete(format!("/configs/{name}")).done().await).await
    }
}
