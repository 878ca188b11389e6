//! `service scale`.
use super::progress::converge;
use crate::Ctx;
use crate::client::Exit;
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use clap::Args;
use wire::engine::service::{Service, ServiceUpdated};

/// Scale one or multiple replicated services.
#[derive(Args)]
pub(crate) struct Scale {
    /// Exit immediately instead of waiting for the service to converge
    #[arg(short, long)]
    detach: bool,
    /// SERVICE=REPLICAS
    #[arg(required = true, value_parser = wish)]
    services: Vec<(String, u64)>,
}

fn wish(text: &str) -> Result<(String, u64), String> {
    let (name, count) = text
        .split_once('=')
        .filter(|(name, count)| !name.is_empty() && !count.is_empty())
        .ok_or_else(|| format!("invalid scale specifier '{text}'"))?;
    let count = count.parse().map_err(|_| format!("invalid replicas value {count}: it must be a number"))?;
    Ok((name.to_owned(), count))
}

impl Scale {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut failed = false;
        let mut scaled = Vec::new();
        for (name, count) in &self.services {
            match scale(ctx, name, *count).await {
                Ok(id) => {
                    say_line(&format!("{name} scaled to {count}"));
                    scaled.push(id);
                }
                Err(e) => {
                    failed = true;
                    tell(&format!("{name}: {e:#}"));
                }
            }
        }
        if !self.detach {
            for id in &scaled {
                converge(ctx, id, false).await?;
            }
        }
        if failed { Err(Exit(1).into()) } else { Ok(()) }
    }
}

async fn scale(ctx: &Ctx, name: &str, count: u64) -> anyhow::Result<String> {
    let mut service: Service = ctx.client.get(format!("/services/{name}")).read().await?;
    if let Some(replicated) = &mut service.spec.mode.replicated {
        replicated.replicas = Some(count);
    } else if let Some(job) = &mut service.spec.mode.replicated_job {
        job.total_completions = Some(count);
    } else {
        anyhow::bail!("scale can only be used with replicated or replicated-job mode");
    }
    let call = ctx.client.post(format!("/services/{}/update", service.id)).query("version", service.version.index);
    let done: ServiceUpdated = call.json(&service.spec)?.read().await?;
    done.warnings.unwrap_or_default().iter().for_each(|w| tell(w));
    Ok(service.id)
}
