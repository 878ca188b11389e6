//! `run`: create, attach, start, and end as the container ends.
use super::attach::{Streams, converse, outcome};
use super::create::create;
use super::flags::ContainerFlags;
use crate::Ctx;
use crate::client::{DaemonError, Exit};
use crate::commands::Done;
use crate::terminal::{forward_signals, say_line, tell, watch_size};
use clap::Args;

/// Create and run a new container from an image.
#[derive(Args)]
#[command(disable_help_flag = true, override_usage = "run [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct Run {
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    detach_keys: Option<String>,
    /// Proxy received signals to the process
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[command(flatten)]
    flags: ContainerFlags,
}

impl Run {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        match self.go(ctx).await {
            Err(e) if e.downcast_ref::<Exit>().is_none() => {
                let code = code_of(&e);
                tell(&format!("docker: {e:#}\n\nRun '{} run --help' for more information", ctx.name));
                Err(Exit(code).into())
            }
            other => other,
        }
    }

    async fn go(self, ctx: &Ctx) -> Done {
        if self.detach && !self.flags.attach.is_empty() {
            anyhow::bail!("conflicting options: cannot specify both --attach and --detach");
        }
        if self.flags.interactive && self.flags.tty && !self.detach && !crate::terminal::stdin_is_tty() {
            anyhow::bail!("the input device is not a TTY");
        }
        let body = self.flags.body(self.detach)?;
        let id = create(ctx, &self.flags, &body).await?.id;
        if self.detach {
            ctx.client.post(format!("/containers/{id}/start")).done().await?;
            say_line(&id);
            return Ok(());
        }
        let streams = Streams {
            stdin: body.config.attach_stdin,
            stdout: body.config.attach_stdout,
            stderr: body.config.attach_stderr,
            tty: body.config.tty,
        };
        let connection = ctx
            .client
            .post(format!("/containers/{id}/attach"))
            .query("stream", 1)
            .flag("stdin", streams.stdin)
            .flag("stdout", streams.stdout)
            .flag("stderr", streams.stderr)
            .text("detachKeys", self.detach_keys.as_deref().unwrap_or_default())
            .hijack()
            .await?;
        // The wait must be known to the engine before the start, or a short life could be missed.
        let condition = if self.flags.rm { "removed" } else { "next-exit" };
        let wait = ctx.client.post(format!("/containers/{id}/wait")).query("condition", condition).send().await?;
        let signals =
            (self.sig_proxy && !streams.tty).then(|| tokio::spawn(forward_signals(ctx.client.clone(), id.clone())));
        let conversation = tokio::spawn(converse(connection, streams));
        if let Err(e) = ctx.client.post(format!("/containers/{id}/start")).done().await {
            conversation.abort();
            return Err(e);
        }
        let sizes =
            streams.tty.then(|| tokio::spawn(watch_size(ctx.client.clone(), format!("/containers/{id}/resize"))));
        let detached = conversation.await??;
        sizes.inspect(|s| s.abort());
        let ended = outcome(ctx, &id, wait, detached).await;
        signals.inspect(|s| s.abort());
        ended
    }
}

/// Ends as a process with this code.
pub(super) fn exit_with(code: i64) -> Done {
    match u8::try_from(code & 0xff) {
        Ok(0) | Err(_) => Ok(()),
        Ok(code) => Err(Exit(code).into()),
    }
}

/// 127: not found; 126: cannot be run; 125: anything else of the engine.
fn code_of(error: &anyhow::Error) -> u8 {
    let Some(DaemonError { message, .. }) = error.downcast_ref() else { return 125 };
    let has = |texts: &[&str]| texts.iter().any(|t| message.contains(t));
    if has(&["executable file not found", "no such file or directory"]) {
        127
    } else if has(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    }
}
