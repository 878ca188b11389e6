//! `container rename`.
use crate::Ctx;
use crate::commands::Done;
use clap::Args;

/// Rename a container.
#[derive(Args)]
pub(crate) struct Rename {
    container: String,
    new_name: String,
}

impl Rename {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        ctx.client.post(format!("/containers/{}/rename", self.container)).query("name", &self.new_name).done().await
    }
}
