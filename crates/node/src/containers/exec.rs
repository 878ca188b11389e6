//! Further processes in running containers.
use super::attach::{copy_stdin, detach_keys};
use super::{Containers, Status, Streams, refuse};
use crate::clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, mpsc, watch};
use wire::Refusal;
use wire::engine::exec::{ExecConfig, ExecInspect, ProcessConfig};

pub(super) struct Exec {
    id: String,
    container: String,
    config: ExecConfig,
    state: Mutex<ExecState>,
    /// Whether its start is over, well or not.
    begun: watch::Sender<bool>,
}

#[derive(Clone, Debug, Default)]
struct ExecState {
    started: bool,
    /// The runtime's own name for it.
    runtime_id: String,
    pid: i64,
    exit_code: Option<i64>,
}

/// Execs that a container may have at once, running or not.
const EXECS_MAX: usize = 1024;

/// So long a resize waits for the start (dockerd's).
const START_WITHIN: Duration = Duration::from_secs(10);

/// Exit code of a command that could not be started.
const NOT_STARTED: i32 = 126;

/// Digits that an exec's id has in common with its container's.
pub const EXEC_PREFIX: usize = 16;

impl Containers {
    /// Prepares one; gives its id.
    ///
    /// # Errors
    /// 409 when the container does not run; 400 without a command.
    pub async fn exec_create(&self, container: &str, config: ExecConfig) -> Result<String, Refusal> {
        let c = self.find(container)?;
        match c.status() {
            Status::Running => {}
            Status::Paused => {
                return Err(Refusal::conflict(format!(
                    "container {container} is paused, unpause the container before exec"
                )));
            }
            Status::Restarting => {
                return Err(Refusal::conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    c.id
                )));
            }
            _ => return Err(Refusal::conflict(format!("container {} is not running", c.id))),
        }
        if config.cmd.words().is_empty() {
            return Err(Refusal::invalid("no exec command specified"));
        }
        detach_keys(&config.detach_keys)?;
        // Begins like its container, so that any node of a swarm can tell where it is.
        let id = format!("{}{}", &c.id[..EXEC_PREFIX], &clock::random_id()[EXEC_PREFIX..]);
        let text = config.cmd.words().join(" ");
        let exec = Exec {
            id: id.clone(),
            container: c.id.clone(),
            config,
            state: Mutex::default(),
            begun: watch::Sender::new(false),
        };
        {
            let mut ids = c.exec_ids.lock();
            let mut execs = self.inner.execs.lock();
            if ids.len() >= EXECS_MAX {
                // The oldest that has ended makes room.
                let over = |id: &String| execs.get(id).is_none_or(|e| e.state.lock().exit_code.is_some());
                let Some(at) = ids.iter().position(over) else {
                    return Err(Refusal::conflict(format!("container {} has {EXECS_MAX} execs already", c.id)));
                };
                execs.remove(&ids.remove(at));
            }
            execs.insert(id.clone(), Arc::new(exec));
            ids.push(id.clone());
        }
        self.tell(&c, &format!("exec_create: {text}"), &[("execID", &id)]);
        Ok(id)
    }

    fn exec(&self, id: &str) -> Result<Arc<Exec>, Refusal> {
        let execs = self.inner.execs.lock();
        if let Some(e) = execs.get(id) {
            return Ok(e.clone());
        }
        let mut matches = execs.iter().filter(|(full, _)| !id.is_empty() && full.starts_with(id));
        match (matches.next(), matches.next()) {
            (Some((_, e)), None) => Ok(e.clone()),
            _ => Err(Refusal::not_found(format!("No such exec instance: {id}"))),
        }
    }

    /// Whether it was prepared here.
    pub fn has_exec(&self, id: &str) -> bool {
        self.exec(id).is_ok()
    }

    /// Whether it was prepared with a terminal.
    ///
    /// # Errors
    /// 404.
    pub fn exec_tty(&self, id: &str) -> Result<bool, Refusal> {
        self.exec(id).map(|e| e.config.tty)
    }

    /// Runs it.
    ///
    /// # Errors
    /// 409 when it has run already; what the runtime says of a missing program.
    pub async fn exec_start(&self, id: &str, size: Option<(u16, u16)>) -> Result<Streams, Refusal> {
        let exec = self.exec(id)?;
        let c = self.find(&exec.container)?;
        {
            let mut s = exec.state.lock();
            if s.exit_code.is_some() {
                return Err(Refusal::conflict(format!("exec command {id} has already run")));
            }
            if s.started {
                return Err(Refusal::conflict(format!("exec command {id} is already running")));
            }
            s.started = true;
        }
        let e = &exec.config;
        let spec = runtime::ExecSpec {
            args: e.cmd.words().to_vec(),
            env: e.env.clone().unwrap_or_default(),
            cwd: Some(e.working_dir.clone()).filter(|d| !d.is_empty()),
            user: Some(runtime::User::Named(e.user.clone())).filter(|_| !e.user.is_empty()),
            tty: e.tty,
            console_size: size.or(e.console_size).unwrap_or((0, 0)),
            stdin: e.attach_stdin,
            privileged: e.privileged,
        };
        let handle = match self.inner.base.runtime.exec(&c.id, spec).await {
            Ok(handle) => handle,
            Err(e) => {
                // What never came to an exec is Docker's 126, whatever it was.
                let code = if e.message.starts_with("OCI runtime") { e.exit_code } else { NOT_STARTED };
                exec.state.lock().exit_code = Some(i64::from(code));
                exec.begun.send_replace(true);
                self.tell(&c, "exec_die", &[("execID", &exec.id), ("exitCode", &code.to_string())]);
                return Err(Refusal::invalid(e.message));
            }
        };
        {
            let mut s = exec.state.lock();
            s.runtime_id = handle.exec_id.clone();
            s.pid = i64::from(handle.pid);
        }
        exec.begun.send_replace(true);
        self.tell(&c, &format!("exec_start: {}", e.cmd.words().join(" ")), &[("execID", &exec.id)]);
        Ok(self.run_exec(&c, &exec, handle))
    }

    /// Pumps its streams and notes its end before they close.
    fn run_exec(&self, c: &Arc<super::Container>, exec: &Arc<Exec>, handle: runtime::ExecHandle) -> Streams {
        let (tx, output) = mpsc::channel(64);
        let (mine, theirs) = tokio::io::duplex(64 << 10);
        let keys = if exec.config.tty { detach_keys(&exec.config.detach_keys).ok() } else { None };
        let wants_stdin = exec.config.attach_stdin;
        let mut io = handle.io;
        let mut exit = handle.exit;
        let left = Arc::new(Notify::new());
        if let (Some(writer), true) = (io.stdin.take(), wants_stdin) {
            let left = left.clone();
            tokio::spawn(async move {
                if copy_stdin(theirs, writer, keys.as_deref()).await {
                    left.notify_one();
                }
            });
        }
        let (all, c, exec) = (self.clone(), c.clone(), exec.clone());
        let tty = exec.config.tty;
        tokio::spawn(async move {
            let mut client = Some(tx);
            loop {
                let chunk = tokio::select! {
                    chunk = io.output.recv() => chunk,
                    () = left.notified() => {
                        client = None;
                        continue;
                    }
                };
                let Some(chunk) = chunk else { break };
                // A client that went away does not end the process; its output is read on and dropped.
                if let Some(tx) = &client
                    && tx.send(chunk).await.is_err()
                {
                    client = None;
                }
            }
            let code = i64::from(exit.wait().await.code);
            exec.state.lock().exit_code = Some(code);
            all.tell(&c, "exec_die", &[("execID", &exec.id), ("exitCode", &code.to_string())]);
            drop(client);
        });
        let stdin = wants_stdin.then(|| Box::new(mine) as Box<dyn AsyncWrite + Send + Unpin>);
        Streams { tty, stdin, output }
    }

    /// Size of its terminal. Clients ask for it as soon as they have asked for the start: that is waited for.
    ///
    /// # Errors
    /// 404; 400 when it could not be started, 500 when it is not.
    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), Refusal> {
        let exec = self.exec(id)?;
        let mut begun = exec.begun.subscribe();
        if tokio::time::timeout(START_WITHIN, begun.wait_for(|begun| *begun)).await.is_err() {
            return Err(Refusal::internal("timeout waiting for exec session ready"));
        }
        let runtime_id = exec.state.lock().runtime_id.clone();
        if runtime_id.is_empty() {
            return Err(Refusal::invalid("exec process is not started"));
        }
        self.inner.base.runtime.exec_resize(&exec.container, &runtime_id, rows, columns).await.map_err(refuse)
    }

    /// How it is.
    ///
    /// # Errors
    /// 404.
    pub fn exec_inspect(&self, id: &str) -> Result<ExecInspect, Refusal> {
        let e = self.exec(id)?;
        let s = e.state.lock().clone();
        let words = e.config.cmd.words();
        Ok(ExecInspect {
            id: e.id.clone(),
            running: s.started && s.exit_code.is_none(),
            exit_code: s.exit_code,
            process_config: ProcessConfig {
                tty: e.config.tty,
                entrypoint: words.first().cloned().unwrap_or_default(),
                arguments: words.iter().skip(1).cloned().collect(),
                privileged: Some(e.config.privileged),
                user: e.config.user.clone(),
            },
            open_stdin: e.config.attach_stdin,
            open_stderr: e.config.attach_stderr,
            open_stdout: e.config.attach_stdout,
            can_remove: s.exit_code.is_some(),
            container_id: e.container.clone(),
            detach_keys: e.config.detach_keys.clone(),
            pid: s.pid,
        })
    }

    /// The execs of a container that run.
    pub(super) fn running_execs(&self, c: &super::Container) -> Vec<String> {
        let execs = self.inner.execs.lock();
        let running = |id: &&String| {
            execs.get(*id).is_some_and(|e| {
                let s = e.state.lock();
                s.started && s.exit_code.is_none()
            })
        };
        c.exec_ids.lock().iter().filter(running).cloned().collect()
    }
}
