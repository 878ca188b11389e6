//! `container diff`.
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::say_line;
use clap::Args;
use wire::engine::container::FilesystemChange;

/// Inspect changes to files or directories on a container's filesystem.
#[derive(Args)]
pub(crate) struct Diff {
    container: String,
}

impl Diff {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let changes: Option<Vec<FilesystemChange>> =
            ctx.client.get(format!("/containers/{}/changes", self.container)).read().await?;
        for change in changes.unwrap_or_default() {
            let kind = match change.kind {
                0 => 'C',
                1 => 'A',
                _ => 'D',
            };
            say_line(&format!("{kind} {}", change.path));
        }
        Ok(())
    }
}
