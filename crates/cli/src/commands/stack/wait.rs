//! Makes services as their dependencies allow, and waits until all of them run, with a line for each task.
use super::deploy::{Deployment, Wish};
use super::gates::Standing;
use crate::Ctx;
use crate::client::Exit;
use crate::commands::service::progress::{Look, Waiting};
use crate::terminal::{Live, interrupted, tell};
use std::time::{Duration, Instant};
use wire::engine::service::ServiceSpec;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a service waits for another one to come far enough, when nothing else happens.
const PATIENCE: Duration = Duration::from_secs(600);

/// The deploy of one stack, as it goes on.
pub(super) struct Waiter<'d, 'c> {
    pub(super) deployment: &'d Deployment<'c>,
    pub(super) detach: bool,
    pub(super) quiet: bool,
}

/// A service that was made and is not there yet.
struct Open {
    id: String,
    name: String,
    waiting: Waiting,
}

impl Waiter<'_, '_> {
    /// `free`: to be made at once; `gated`: when their gates are open. Gives the specs as they were sent.
    pub(super) async fn run(&self, ctx: &Ctx, free: Vec<Wish>, gated: Vec<Wish>) -> anyhow::Result<Vec<ServiceSpec>> {
        let (mut sent, mut open) = (Vec::new(), Vec::new());
        for wish in &free {
            self.make(wish, &mut sent, &mut open).await?;
        }
        if self.detach && gated.is_empty() {
            return Ok(sent);
        }
        let mut gated = gated;
        let mut live = Live::new(self.quiet);
        tokio::select! {
            over = self.all(ctx, &mut gated, &mut sent, open, &mut live) => over?,
            () = interrupted() => {
                if gated.is_empty() {
                    tell(&format!("Operation continuing in background.\nUse `{} stack ps` to check progress.", ctx.name));
                } else {
                    tell(&format!("{} not made yet: give the same command again to go on.", names(&gated)));
                    return Err(Exit(130).into());
                }
            }
        }
        Ok(sent)
    }

    async fn make(&self, wish: &Wish, sent: &mut Vec<ServiceSpec>, open: &mut Vec<Open>) -> anyhow::Result<()> {
        let (id, spec) = self.deployment.apply(wish).await?;
        sent.push(spec);
        if !self.detach {
            open.push(Open { id, name: wish.name.clone(), waiting: Waiting::default() });
        }
        Ok(())
    }

    async fn all(
        &self,
        ctx: &Ctx,
        gated: &mut Vec<Wish>,
        sent: &mut Vec<ServiceSpec>,
        mut open: Vec<Open>,
        live: &mut Live,
    ) -> anyhow::Result<()> {
        let mut failures: Vec<String> = Vec::new();
        let mut moved = Instant::now();
        // Something waits for what will never be.
        let mut given_up = false;
        loop {
            let mut closed = Vec::new();
            for wish in std::mem::take(gated) {
                match standing(ctx, &wish).await? {
                    Standing::Open => {
                        self.make(&wish, sent, &mut open).await?;
                        moved = Instant::now();
                    }
                    Standing::Closed(why) => {
                        live.set(&wish.name, format!("waits for {why}"));
                        closed.push(wish);
                    }
                    Standing::Never(why) => {
                        failures.push(format!("{}: not made: {why}", wish.name));
                        given_up = true;
                    }
                }
            }
            *gated = closed;
            let mut still = Vec::new();
            for mut service in open {
                match service.waiting.look(ctx, &service.id, live, &format!("{} ", service.name)).await {
                    Ok(Look::Done) => moved = Instant::now(),
                    Ok(Look::Open) => still.push(service),
                    Err(e) => failures.push(format!("{}: {e:#}", service.name)),
                }
            }
            open = still;
            if given_up && gated.is_empty() {
                break;
            }
            if !gated.is_empty() && (!failures.is_empty() || moved.elapsed() > PATIENCE) {
                failures.push(format!("{} not made, because of what they wait for", names(gated)));
                break;
            }
            if gated.is_empty() && open.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("\n"));
        Ok(())
    }
}

/// The first gate that is not open.
async fn standing(ctx: &Ctx, wish: &Wish) -> anyhow::Result<Standing> {
    for gate in &wish.waits {
        match gate.look(ctx).await? {
            Standing::Open => {}
            other => return Ok(other),
        }
    }
    Ok(Standing::Open)
}

fn names(wishes: &[Wish]) -> String {
    wishes.iter().map(|w| w.name.as_str()).collect::<Vec<_>>().join(", ")
}
