//! `image save`, and how an archive reaches a file.
use crate::Ctx;
use crate::commands::Done;
use bytes::Bytes;
use clap::Args;
use futures::{Stream, StreamExt};
use std::io::{self, Write};

/// Save one or more images to a tar archive (streamed to STDOUT by default).
#[derive(Args)]
pub(crate) struct Save {
    /// Write to a file, instead of STDOUT
    #[arg(short, long)]
    output: Option<String>,
    #[arg(required = true)]
    images: Vec<String>,
}

impl Save {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let fetch = async || {
            let mut call = ctx.client.get("/images/get");
            for name in &self.images {
                call = call.query("names", name);
            }
            call.stream().await
        };
        to_file_or_stdout(fetch, self.output.as_deref()).await
    }
}

/// Streams an archive to a file, which appears when it is whole, or to stdout unless that is a terminal.
pub(crate) async fn to_file_or_stdout<S>(fetch: impl AsyncFn() -> anyhow::Result<S>, output: Option<&str>) -> Done
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    let Some(path) = output else {
        anyhow::ensure!(
            !crate::terminal::stdout_is_tty(),
            "cowardly refusing to save to a terminal. Use the -o flag or redirect"
        );
        let mut pieces = fetch().await?;
        let mut out = io::stdout().lock();
        while let Some(piece) = pieces.next().await {
            out.write_all(&piece?)?;
        }
        return Ok(out.flush()?);
    };
    let mut pieces = fetch().await?;
    let part = format!("{path}.part{}", std::process::id());
    let write = async {
        let mut file = io::BufWriter::with_capacity(256 << 10, std::fs::File::create(&part)?);
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece?)?;
        }
        file.flush()?;
        // Devices and pipes cannot be replaced.
        if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
            std::io::copy(&mut std::fs::File::open(&part)?, &mut std::fs::OpenOptions::new().write(true).open(path)?)?;
            return std::fs::remove_file(&part);
        }
        std::fs::rename(&part, path)
    };
    let result: io::Result<()> = write.await;
    result.map_err(|e| {
        let _ = std::fs::remove_file(&part);
        anyhow::anyhow!("failed to write {path}: {e}")
    })
}
