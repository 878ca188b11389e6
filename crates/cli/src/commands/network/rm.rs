//! `network rm`.
use crate::Ctx;
use crate::client::{Exit, is_status};
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use clap::Args;

/// Remove one or more networks.
#[derive(Args)]
pub(crate) struct Remove {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    force: bool,
    #[arg(required = true)]
    networks: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut failed = false;
        for name in &self.networks {
            match ctx.client.delete(format!("/networks/{name}")).done().await {
                Ok(()) => say_line(name),
                Err(e) if self.force && is_status(&e, 404) => {}
                Err(e) => {
                    failed = true;
                    tell(&format!("{e:#}"));
                }
            }
        }
        if failed { Err(Exit(1).into()) } else { Ok(()) }
    }
}
