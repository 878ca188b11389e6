//! `stack rm`: removes, and waits until the tasks are gone, so that the same stack can be deployed again at once.
use super::objects::{Other, failed, of};
use super::{check_name, of_stack};
use crate::Ctx;
use crate::client::{Exit, is_status};
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use clap::Args;
use std::time::{Duration, Instant};
use wire::engine::service::Service;
use wire::engine::task::Task;

/// Tasks have their grace period; after this we say so and go on waiting no longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Remove one or more stacks.
#[derive(Args)]
pub(crate) struct Remove {
    /// Do not wait for stack removal
    #[arg(short, long)]
    detach: bool,
    #[arg(required = true)]
    stacks: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut bad = false;
        for stack in &self.stacks {
            check_name(stack)?;
            bad |= !remove(ctx, stack, self.detach).await?;
        }
        if bad { Err(Exit(1).into()) } else { Ok(()) }
    }
}

async fn remove(ctx: &Ctx, stack: &str, detach: bool) -> anyhow::Result<bool> {
    let mut services: Vec<Service> = ctx.client.get("/services").filters(&of_stack(stack)).read().await?;
    let others = of(ctx, stack).await?;
    if services.is_empty() && others.is_empty() {
        tell(&format!("Nothing found in stack: {stack}"));
        return Ok(true);
    }
    services.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    let mut good = true;
    for service in &services {
        say_line(&format!("Removing service {}", service.spec.name));
        if let Err(e) = ctx.client.delete(format!("/services/{}", service.id)).done().await {
            good = false;
            failed("service", &service.spec.name, &e);
        }
    }
    let (mut networks, mut at_once) = (Vec::new(), Vec::new());
    for object in others {
        if object.kind == "network" { networks.push(object) } else { at_once.push(object) }
    }
    for Other { kind, id, name, record } in &at_once {
        if !record {
            say_line(&format!("Removing {kind} {name}"));
        }
        if let Err(e) = ctx.client.delete(format!("/{kind}s/{id}")).done().await {
            good = false;
            failed(kind, name, &e);
        }
    }
    for Other { id, name, .. } in &networks {
        say_line(&format!("Removing network {name}"));
        if let Err(e) = remove_network(ctx, id, detach).await {
            good = false;
            failed("network", name, &e);
        }
    }
    if !detach {
        wait(ctx, stack).await?;
    }
    Ok(good)
}

/// A network is in use until the last task has gone; unless nobody waits, that is waited for.
async fn remove_network(ctx: &Ctx, id: &str, detach: bool) -> Done {
    let until = Instant::now() + PATIENCE;
    loop {
        match ctx.client.delete(format!("/networks/{id}")).done().await {
            Err(e) if is_status(&e, 404) => return Ok(()),
            Err(e)
                if !detach
                    && Instant::now() < until
                    && (is_status(&e, 400) || is_status(&e, 403))
                    && e.to_string().contains("in use") =>
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            other => return other,
        }
    }
}

async fn wait(ctx: &Ctx, stack: &str) -> Done {
    let until = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        let tasks: Vec<Task> = ctx.client.get("/tasks").filters(&of_stack(stack)).read().await?;
        let alive = tasks
            .iter()
            .filter(|t| {
                !matches!(
                    t.status.state.as_str(),
                    "complete" | "shutdown" | "failed" | "rejected" | "orphaned" | "remove"
                )
            })
            .count();
        if alive == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            tell(&format!("{alive} tasks of {stack} have not stopped yet; see `{} stack ps {stack}`", ctx.name));
            return Ok(());
        }
        if !told {
            tell(&format!("Waiting for {alive} tasks of {stack} to stop"));
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
