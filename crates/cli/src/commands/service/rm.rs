//! `service rm`.
use crate::Ctx;
use crate::commands::{Done, each};
use clap::Args;

/// Remove one or more services.
#[derive(Args)]
pub(crate) struct Remove {
    #[arg(required = true)]
    services: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        each(&self.services, async |name| ctx.client.delete(format!("/services/{name}")).done().await).await
    }
}
