//! `image rm`.
use crate::Ctx;
use crate::client::{Exit, is_status};
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use clap::Args;
use wire::engine::image::ImageDeleted;

/// Remove one or more images.
#[derive(Args)]
pub(crate) struct Remove {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    #[arg(required = true)]
    images: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut failed = false;
        for name in &self.images {
            let call =
                ctx.client.delete(format!("/images/{name}")).flag("force", self.force).flag("noprune", self.no_prune);
            match call.read::<Vec<ImageDeleted>>().await {
                Ok(lines) => lines.iter().for_each(|l| say_line(&shown(l))),
                Err(e) => {
                    failed |= !(self.force && is_status(&e, 404));
                    tell(&format!("{e:#}"));
                }
            }
        }
        if failed { Err(Exit(1).into()) } else { Ok(()) }
    }
}

pub(super) fn shown(line: &ImageDeleted) -> String {
    match line.deleted.as_str() {
        "" => format!("Untagged: {}", line.untagged),
        id => format!("Deleted: {id}"),
    }
}
