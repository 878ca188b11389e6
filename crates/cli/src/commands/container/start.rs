//! `start`.
use super::attach::{Streams, converse, outcome};
use crate::Ctx;
use crate::commands::{Done, each};
use crate::terminal::{forward_signals, watch_size};
use clap::Args;
use wire::engine::container::ContainerInspect;

/// Start one or more stopped containers.
#[derive(Args)]
pub(crate) struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Start {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if !self.attach && !self.interactive {
            return each(&self.containers, async |name| {
                ctx.client.post(format!("/containers/{name}/start")).done().await
            })
            .await;
        }
        let [name] = &self.containers[..] else {
            anyhow::bail!("you cannot start and attach multiple containers at once")
        };
        let c: ContainerInspect = ctx.client.get(format!("/containers/{name}/json")).read().await?;
        let streams =
            Streams { stdin: self.interactive && c.config.open_stdin, stdout: true, stderr: true, tty: c.config.tty };
        let connection = ctx
            .client
            .post(format!("/containers/{}/attach", c.id))
            .query("stream", 1)
            .flag("stdin", streams.stdin)
            .query("stdout", 1)
            .query("stderr", 1)
            .text("detachKeys", self.detach_keys.as_deref().unwrap_or_default())
            .hijack()
            .await?;
        let condition = if c.host_config.auto_remove { "removed" } else { "next-exit" };
        let wait = ctx.client.post(format!("/containers/{}/wait", c.id)).query("condition", condition).send().await?;
        let signals = (!streams.tty).then(|| tokio::spawn(forward_signals(ctx.client.clone(), c.id.clone())));
        let conversation = tokio::spawn(converse(connection, streams));
        if let Err(e) = ctx.client.post(format!("/containers/{}/start", c.id)).done().await {
            conversation.abort();
            return Err(e);
        }
        let sizes =
            streams.tty.then(|| tokio::spawn(watch_size(ctx.client.clone(), format!("/containers/{}/resize", c.id))));
        let detached = conversation.await??;
        sizes.inspect(|s| s.abort());
        let ended = outcome(ctx, &c.id, wait, detached).await;
        signals.inspect(|s| s.abort());
        ended
    }
}
