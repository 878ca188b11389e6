//! `exec`: a further process in a container.
use super::attach::{Streams, converse};
use super::run::exit_with;
use crate::Ctx;
use crate::commands::Done;
use crate::spec::env::environment;
use crate::terminal::{size, stdin_is_tty, watch_size};
use clap::Args;
use wire::engine::container::IdResponse;
use wire::engine::exec::{ExecConfig, ExecInspect, ExecStart};

/// Execute a command in a running container.
#[derive(Args)]
#[command(override_usage = "exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(crate) struct Exec {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long)]
    env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long)]
    workdir: Option<String>,
    /// Container, command and its arguments
    #[arg(required = true, trailing_var_arg = true, num_args = 2.., value_name = "CONTAINER COMMAND [ARG...]")]
    words: Vec<String>,
}

impl Exec {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if self.interactive && self.tty && !self.detach && !stdin_is_tty() {
            anyhow::bail!("the input device is not a TTY");
        }
        let [container, command @ ..] = &self.words[..] else { anyhow::bail!("no container given") };
        let console_size = if self.tty { size() } else { None };
        let config = ExecConfig {
            user: self.user.clone().unwrap_or_default(),
            privileged: self.privileged,
            tty: self.tty,
            console_size,
            attach_stdin: !self.detach && self.interactive,
            attach_stdout: !self.detach,
            attach_stderr: !self.detach,
            detach: self.detach,
            detach_keys: self.detach_keys.clone().unwrap_or_default(),
            env: Some(environment(&self.env, &self.env_file, &|k| std::env::var(k).ok())?).filter(|e| !e.is_empty()),
            working_dir: self.workdir.clone().unwrap_or_default(),
            cmd: command.to_vec().into(),
        };
        let created: IdResponse =
            ctx.client.post(format!("/containers/{container}/exec")).json(&config)?.read().await?;
        let id = created.id;
        let start = ExecStart { detach: self.detach, tty: self.tty, console_size };
        let call = ctx.client.post(format!("/exec/{id}/start")).json(&start)?;
        if self.detach {
            return call.done().await;
        }
        let streams = Streams { stdin: self.interactive, stdout: true, stderr: true, tty: self.tty };
        let connection = call.hijack().await?;
        let sizes = self.tty.then(|| tokio::spawn(watch_size(ctx.client.clone(), format!("/exec/{id}/resize"))));
        converse(connection, streams).await?;
        sizes.inspect(|s| s.abort());
        let end: ExecInspect = ctx.client.get(format!("/exec/{id}/json")).read().await?;
        exit_with(end.exit_code.unwrap_or(0))
    }
}
