//! `swarm backup` and `swarm restore`.
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use anyhow::Context;
use clap::Args;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// Keep everything that the swarm is in one file.
#[derive(Args)]
pub(crate) struct Backup {
    /// Where to write it ("-": to standard output)
    file: String,
}

impl Backup {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let bytes = ctx.client.get("/swarm/backup").bytes().await?;
        if self.file == "-" {
            std::io::stdout().write_all(&bytes)?;
            return Ok(());
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file)
            .with_context(|| format!("cannot write {}", self.file))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).with_context(|| format!("cannot write {}", self.file))?;
        let open = bytes.windows(5).take(64).any(|w| w == b"open\n");
        say_line(&format!("The swarm is kept in {} ({} bytes).", self.file, bytes.len()));
        if open {
            tell("Keep it in a safe place: it holds the swarm's secrets and the key of its certificate authority.");
        } else {
            tell("It is sealed with the swarm's unlock key: keep that too.");
        }
        Ok(())
    }
}

/// Make a swarm out of a backup.
#[derive(Args)]
pub(crate) struct Restore {
    /// Advertised address (format: "<ip|interface>[:port]"); without it the former one, if this machine has it
    #[arg(long)]
    advertise_addr: Option<String>,
    /// Listen address (format: "<ip|interface>[:port]"); without it the former one
    #[arg(long)]
    listen_addr: Option<String>,
    /// The unlock key, if the swarm was locked
    #[arg(long)]
    unlock_key: Option<String>,
    /// What swarm backup has written
    file: String,
}

impl Restore {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let bytes = std::fs::read(&self.file).with_context(|| format!("cannot read {}", self.file))?;
        let pieces = futures::stream::once(async move { Ok(bytes.into()) });
        let call = ctx
            .client
            .post("/swarm/restore")
            .text("listen", self.listen_addr.as_deref().unwrap_or_default())
            .text("advertise", self.advertise_addr.as_deref().unwrap_or_default())
            .header("x-unlock-key", self.unlock_key.as_deref().unwrap_or_default());
        let node: String = call.tar(pieces).read().await?;
        say_line(&format!("Swarm restored: current node ({node}) is now its only manager."));
        Ok(())
    }
}
