//! `container wait`.
use crate::Ctx;
use crate::client::Exit;
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use clap::Args;
use wire::engine::container::ContainerWait;

/// Block until one or more containers stop, then print their exit codes.
#[derive(Args)]
pub(crate) struct Wait {
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Wait {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let waits = self
            .containers
            .iter()
            .map(|name| ctx.client.post(format!("/containers/{name}/wait")).read::<ContainerWait>());
        let mut failed = false;
        for end in futures::future::join_all(waits).await {
            match end {
                Ok(end) => say_line(&end.status_code.to_string()),
                Err(e) => {
                    failed = true;
                    tell(&format!("{e:#}"));
                }
            }
        }
        if failed { Err(Exit(1).into()) } else { Ok(()) }
    }
}
