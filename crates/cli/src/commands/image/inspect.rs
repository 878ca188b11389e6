//! `image inspect`.
use crate::Ctx;
use crate::commands::{Done, InspectArgs, inspect_each};
use clap::Args;

/// Display detailed information on one or more images.
#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    args: InspectArgs,
}

impl Inspect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let path = |name: &str| format!("/images/{name}/json");
        inspect_each(ctx, &self.args.names, self.args.format.as_deref(), path, &[]).await
    }
}
