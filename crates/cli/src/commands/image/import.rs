//! `image import`.
use super::progress::{To, show};
use crate::Ctx;
use crate::commands::Done;
use crate::commands::container::commit::split_tag;
use clap::Args;
use futures::StreamExt;
use tokio_util::io::ReaderStream;

/// Import the contents from a tarball to create a filesystem image.
#[derive(Args)]
#[command(override_usage = "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]")]
pub(crate) struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long)]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long)]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    platform: Option<String>,
    source: String,
    reference: Option<String>,
}

impl Import {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let (repo, tag) = self.reference.as_deref().map(split_tag).unwrap_or_default();
        let is_url = self.source.contains("://");
        let mut call = ctx
            .client
            .post("/images/create")
            .query("fromSrc", if is_url { &self.source } else { "-" })
            .text("repo", repo)
            .text("tag", tag)
            .text("message", self.message.as_deref().unwrap_or_default())
            .text("platform", self.platform.as_deref().unwrap_or_default());
        for change in &self.change {
            call = call.query("changes", change);
        }
        if self.source == "-" {
            call = call.tar(ReaderStream::with_capacity(tokio::io::stdin(), 256 << 10).boxed());
        } else if !is_url {
            let file =
                tokio::fs::File::open(&self.source).await.map_err(|e| anyhow::anyhow!("open {}: {e}", self.source))?;
            call = call.tar(ReaderStream::with_capacity(file, 256 << 10).boxed());
        }
        show(call.values().await?, To::Stdout).await?;
        Ok(())
    }
}
