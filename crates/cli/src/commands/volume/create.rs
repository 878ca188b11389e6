//! `volume create`.
use crate::Ctx;
use crate::commands::Done;
use crate::spec::pairs;
use crate::terminal::say_line;
use clap::Args;
use wire::engine::volume::{Volume, VolumeCreate};

/// Create a volume.
#[derive(Args)]
pub(crate) struct Create {
    /// Specify volume driver name
    #[arg(short, long, default_value = "local")]
    driver: String,
    /// Set metadata for a volume
    #[arg(long)]
    label: Vec<String>,
    /// Set driver specific options
    #[arg(short, long)]
    opt: Vec<String>,
    name: Option<String>,
}

impl Create {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let body = VolumeCreate {
            name: self.name.unwrap_or_default(),
            driver: self.driver,
            driver_opts: pairs::map(&self.opt),
            labels: pairs::map(&self.label),
            ..VolumeCreate::default()
        };
        let made: Volume = ctx.client.post("/volumes/create").json(&body)?.read().await?;
        say_line(&made.name);
        Ok(())
    }
}
