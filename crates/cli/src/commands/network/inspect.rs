//! `network inspect`.
use crate::Ctx;
use crate::commands::{Done, InspectArgs, inspect_each};
use clap::Args;

/// Display detailed information on one or more networks.
#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    args: InspectArgs,
    /// Verbose output for diagnostics
    #[arg(short, long)]
    verbose: bool,
}

impl Inspect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let path = |name: &str| format!("/networks/{name}");
        inspect_each(ctx, &self.args.names, self.args.format.as_deref(), path, &[("verbose", self.verbose)]).await
    }
}
