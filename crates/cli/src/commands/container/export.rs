//! `container export`.
use crate::Ctx;
use crate::commands::Done;
use crate::commands::image::save::to_file_or_stdout;
use clap::Args;

/// Export a container's filesystem as a tar archive.
#[derive(Args)]
pub(crate) struct Export {
    /// Write to a file, instead of STDOUT
    #[arg(short, long)]
    output: Option<String>,
    container: String,
}

impl Export {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let path = format!("/containers/{}/export", self.container);
        to_file_or_stdout(async || ctx.client.get(path.clone()).stream().await, self.output.as_deref()).await
    }
}
