//! `secret create`.
use crate::Ctx;
use crate::commands::Done;
use crate::spec::pairs;
use crate::terminal::say_line;
use clap::Args;
use std::io::Read;
use wire::engine::Base64;
use wire::engine::mount::Driver;
use wire::engine::secret::ObjectCreated;
use wire::engine::secret::SecretSpec;

/// Create a secret from a file or STDIN.
#[derive(Args)]
pub(crate) struct Create {
    /// Secret labels
    #[arg(short, long)]
    label: Vec<String>,
    /// Template driver
    #[arg(long)]
    template_driver: Option<String>,
    name: String,
    /// A file, or - for STDIN
    file: String,
}

impl Create {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let data = match self.file.as_str() {
            "-" => {
                let mut data = Vec::new();
                // More than any secret may have, so that the engine can say so.
                std::io::stdin().take(2 << 20).read_to_end(&mut data)?;
                data
            }
            path => std::fs::read(path).map_err(|e| anyhow::anyhow!("error reading content from \"{path}\": {e}"))?,
        };
        let spec = SecretSpec {
            name: self.name,
            labels: pairs::map(&self.label),
            data: Base64(data),
            templating: self.template_driver.map(|name| Driver { name, ..Driver::default() }),
            ..SecretSpec::default()
        };
        let made: ObjectCreated = ctx.client.post("/secrets/create").json(&spec)?.read().await?;
        say_line(&made.id);
        Ok(())
    }
}
