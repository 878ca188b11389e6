//! `image load`.
use super::progress::{To, show};
use crate::Ctx;
use crate::commands::Done;
use clap::Args;
use futures::StreamExt;
use tokio_util::io::ReaderStream;

/// Load an image from a tar archive or STDIN.
#[derive(Args)]
pub(crate) struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long)]
    input: Option<String>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let pieces = match &self.input {
            Some(path) => {
                let file = tokio::fs::File::open(path).await.map_err(|e| anyhow::anyhow!("open {path}: {e}"))?;
                ReaderStream::with_capacity(file, 256 << 10).boxed()
            }
            None => {
                anyhow::ensure!(!crate::terminal::stdin_is_tty(), "requested load from stdin, but stdin is empty");
                ReaderStream::with_capacity(tokio::io::stdin(), 256 << 10).boxed()
            }
        };
        let call = ctx.client.post("/images/load").query("quiet", u8::from(self.quiet)).tar(pieces);
        show(call.values().await?, To::Stdout).await?;
        Ok(())
    }
}
