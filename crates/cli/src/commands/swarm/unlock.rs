//! `swarm unlock` and `swarm unlock-key`.
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::{say, say_line};
use clap::Args;
use wire::engine::swarm::{Swarm, UnlockKey as Key};

/// Unlock swarm.
#[derive(Args)]
pub(crate) struct Unlock {}

impl Unlock {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut key = String::new();
        eprint!("Enter unlock key: ");
        std::io::stdin().read_line(&mut key)?;
        ctx.client.post("/swarm/unlock").json(&Key { unlock_key: key.trim().to_owned() })?.done().await
    }
}

/// Manage the unlock key.
#[derive(Args)]
pub(crate) struct UnlockKey {
    /// Only display token
    #[arg(short, long)]
    quiet: bool,
    /// Rotate unlock key
    #[arg(long)]
    rotate: bool,
}

impl UnlockKey {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if self.rotate {
            let swarm: Swarm = ctx.client.get("/swarm").read().await?;
            anyhow::ensure!(
                swarm.spec.encryption_config.auto_lock_managers,
                "cannot rotate because autolock is not turned on"
            );
            let call = ctx.client.post("/swarm/update").query("version", swarm.version.index);
            call.query("rotateManagerUnlockKey", "true").json(&swarm.spec)?.done().await?;
            if !self.quiet {
                say("Successfully rotated manager unlock key.\n\n");
            }
        }
        let key: Key = ctx.client.get("/swarm/unlockkey").read().await?;
        anyhow::ensure!(!key.unlock_key.is_empty(), "no unlock key is set");
        if self.quiet {
            say_line(&key.unlock_key);
            return Ok(());
        }
        show(ctx, &key.unlock_key);
        Ok(())
    }
}

pub(super) async fn show_key(ctx: &Ctx) -> Done {
    let key: Key = ctx.client.get("/swarm/unlockkey").read().await?;
    show(ctx, &key.unlock_key);
    Ok(())
}

fn show(ctx: &Ctx, key: &str) {
    say(&format!(
        "To unlock a swarm manager after it restarts, run the `{} swarm unlock`\ncommand and provide the following key:\n\n    {key}\n\n\
         Remember to store this key in a password manager, since without it you\nwill not be able to restart the manager.\n",
        ctx.name
    ));
}
