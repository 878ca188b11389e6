//! `system prune`.
use crate::Ctx;
use crate::commands::{Done, PruneArgs, container, image, network, say_reclaimed, volume};
use crate::terminal::say;
use clap::Args;

/// Remove unused data.
#[derive(Args)]
pub(crate) struct Prune {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: PruneArgs,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
}

impl Prune {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let images = if self.all {
            "all images without at least one container associated to them"
        } else {
            "all dangling images"
        };
        let volumes = if self.volumes { "\n  - all anonymous volumes not used by at least one container" } else { "" };
        let question = format!(
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container{volumes}\n  - {images}\n"
        );
        let Some(filters) = self.prune.agreed(&question)? else { return Ok(()) };
        let (text, mut space) = container::prune::prune(ctx, &filters).await?;
        say(&text);
        say(&network::prune::prune(ctx, &filters).await?);
        if self.volumes {
            anyhow::ensure!(!filters.has("until"), "ERROR: The \"until\" filter is not supported with \"--volumes\"");
            let (text, freed) = volume::prune::prune(ctx, filters.clone(), false).await?;
            say(&text);
            space += freed;
        }
        let (text, freed) = image::prune::prune(ctx, filters, self.all).await?;
        space += freed;
        say_reclaimed(&text, space);
        Ok(())
    }
}
