//! `attach`, and the conversation with a process that `run`, `start` and `exec` have too.
use super::run::exit_with;
use crate::Ctx;
use crate::client::{Hijacked, demultiplex};
use crate::commands::Done;
use crate::terminal::{RawMode, forward_signals, watch_size};
use clap::Args;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::engine::container::{ContainerInspect, ContainerWait};

/// Attach local standard input, output, and error streams to a running container.
#[derive(Args)]
pub(crate) struct Attach {
    /// Override the key sequence for detaching a container
    #[arg(long)]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    container: String,
}

impl Attach {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let c: ContainerInspect = ctx.client.get(format!("/containers/{}/json", self.container)).read().await?;
        anyhow::ensure!(c.state.running, "cannot attach to a stopped container, start it first");
        anyhow::ensure!(!c.state.paused, "cannot attach to a paused container, unpause it first");
        anyhow::ensure!(!c.state.restarting, "cannot attach to a restarting container, wait until it is running");
        let streams =
            Streams { stdin: !self.no_stdin && c.config.open_stdin, stdout: true, stderr: true, tty: c.config.tty };
        if streams.stdin && streams.tty && !crate::terminal::stdin_is_tty() {
            anyhow::bail!("the input device is not a TTY");
        }
        let wait = ctx.client.post(format!("/containers/{}/wait", c.id)).send().await?;
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
        let signals =
            (self.sig_proxy && !streams.tty).then(|| tokio::spawn(forward_signals(ctx.client.clone(), c.id.clone())));
        let sizes =
            streams.tty.then(|| tokio::spawn(watch_size(ctx.client.clone(), format!("/containers/{}/resize", c.id))));
        converse(connection, streams).await?;
        sizes.inspect(|s| s.abort());
        signals.inspect(|s| s.abort());
        outcome(ctx, &c.id, wait, true).await
    }
}

/// How long an end may take to be known after the output has ended; if it is not, the user has detached.
const END_KNOWN_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Ends as the container ends, which `wait` tells. `may_detach`: the output may have ended because the user went.
pub(super) async fn outcome(ctx: &Ctx, id: &str, wait: Response<Incoming>, may_detach: bool) -> Done {
    let mut end = std::pin::pin!(wait.into_body().collect());
    let body = loop {
        let patience = async {
            match may_detach {
                true => tokio::time::sleep(END_KNOWN_WITHIN).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            body = &mut end => break body?.to_bytes(),
            () = patience => {
                let still: anyhow::Result<ContainerInspect> = ctx.client.get(format!("/containers/{id}/json")).read().await;
                if still.is_ok_and(|c| c.state.running) {
                    return Ok(());
                }
            }
        }
    };
    let end: ContainerWait = wire::engine::lenient::from_slice(&body)?;
    if let Some(error) = end.error.filter(|e| !e.message.is_empty()) {
        anyhow::bail!("Error waiting for container: {}", error.message);
    }
    exit_with(end.status_code)
}

/// What is connected.
#[derive(Clone, Copy)]
pub(super) struct Streams {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

/// Talks to a process until its output ends. True if it may be the user who went (detach keys on a terminal).
pub(super) async fn converse(connection: Hijacked, streams: Streams) -> anyhow::Result<bool> {
    let Hijacked { mut output, mut input } = connection;
    let raw = (streams.stdin && streams.tty).then(RawMode::enter);
    let stdin = streams.stdin.then(|| {
        tokio::spawn(async move {
            let mut from = tokio::io::stdin();
            let mut buffer = vec![0; 16 << 10];
            while let Ok(n @ 1..) = from.read(&mut buffer).await {
                if input.write_all(&buffer[..n]).await.is_err() || input.flush().await.is_err() {
                    return;
                }
            }
            // The process sees the end of its stdin; what it still has to say goes on.
            let _ = input.shutdown().await;
            std::future::pending::<()>().await;
        })
    });
    let result = if streams.tty {
        let mut out = tokio::io::stdout();
        let mut buffer = vec![0; 16 << 10];
        loop {
            match output.read(&mut buffer).await {
                Ok(0) => break Ok(()),
                Ok(n) => {
                    out.write_all(&buffer[..n]).await?;
                    out.flush().await?;
                }
                Err(e) => break Err(e.into()),
            }
        }
    } else {
        demultiplex(output, tokio::io::stdout(), tokio::io::stderr()).await
    };
    drop(raw);
    if let Some(task) = stdin {
        task.abort();
    }
    result.map(|()| streams.tty && streams.stdin)
}
