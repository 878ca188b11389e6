//! `container rm`.
use crate::Ctx;
use crate::client::{Exit, is_status};
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use clap::Args;

/// Remove one or more containers.
#[derive(Args)]
pub(crate) struct Remove {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut failed = false;
        for name in &self.containers {
            let name = name.trim_matches('/');
            let call = ctx
                .client
                .delete(format!("/containers/{name}"))
                .flag("force", self.force)
                .flag("v", self.volumes)
                .flag("link", self.link);
            match call.done().await {
                Ok(()) => say_line(name),
                Err(e) => {
                    // Forced: that it is gone already is no failure.
                    failed |= !(self.force && is_status(&e, 404));
                    tell(&format!("{e:#}"));
                }
            }
        }
        if failed { Err(Exit(1).into()) } else { Ok(()) }
    }
}
