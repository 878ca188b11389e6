//! `image push`.
use super::progress::{To, show};
use crate::Ctx;
use crate::commands::container::commit::split_tag;
use crate::commands::{Done, auth};
use crate::terminal::say_line;
use clap::Args;

/// Upload an image to a registry.
#[derive(Args)]
pub(crate) struct Push {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    /// NAME[:TAG]
    image: String,
}

impl Push {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let (name, tag) = split_tag(&self.image);
        let tag = match (tag, self.all_tags) {
            ("", true) => "",
            (_, true) => anyhow::bail!("tag can't be used with --all-tags/-a"),
            ("", false) => {
                if !self.quiet {
                    say_line("Using default tag: latest");
                }
                "latest"
            }
            (tag, false) => tag,
        };
        let auth = auth::header_for(ctx, &self.image).unwrap_or_else(|| "e30=".into());
        let call = ctx.client.post(format!("/images/{name}/push")).text("tag", tag).header("x-registry-auth", &auth);
        show(call.values().await?, if self.quiet { To::Nowhere } else { To::Stdout }).await?;
        if self.quiet {
            say_line(&self.image);
        }
        Ok(())
    }
}
