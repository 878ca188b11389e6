//! One more process in a running container. Its streams are pipes (or a terminal) between it and the daemon; the shim
//! only starts and reaps it.
use super::{Container, Result, Runtime, attach, lock, shim_link};
use crate::error::{LaunchError, RuntimeError};
use crate::exit::{Exit, ExitWatch};
use crate::launch::ExecSpec;
use crate::plan::{self, Process};
use crate::protocol::{Kind, Reply, exit_of, json_frame, read_reply};
use crate::stdio::{AttachedIo, StdStream, StdinWriter};
use crate::surroundings;
use bytes::Bytes;
use kernel::mount::RootDir;
use kernel::process::PidFd;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};

/// How long output may still come after the process has ended, when others hold its streams.
const DRAIN_MAX: Duration = Duration::from_millis(300);

/// A process that runs in a container.
#[derive(Debug)]
pub struct ExecHandle {
    /// Names it in `exec_wait`, `exec_resize`, `exec_signal`, as long as it runs.
    pub exec_id: String,
    /// As the host numbers it.
    pub pid: u32,
    /// Its streams; the output ends after the exit code is known.
    pub io: AttachedIo,
    /// How it ends.
    pub exit: ExitWatch,
}

pub(super) struct Running {
    pidfd: Option<PidFd>,
    terminal: Option<Arc<OwnedFd>>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Runtime {
    /// Runs one more process in the container. A start that fails is an error in Docker's words, which Docker also
    /// writes to the client's stream (with `\r\n`).
    pub async fn exec(&self, id: &str, spec: ExecSpec) -> std::result::Result<ExecHandle, LaunchError> {
        let container = self.running(id).map_err(LaunchError::internal)?;
        let (runtime, target) = (self.clone(), container.clone());
        let has_stdin = spec.stdin;
        let started = tokio::task::spawn_blocking(move || start(&runtime, &target, &spec));
        let started = started.await.map_err(LaunchError::internal)??;
        self.supervise(&container, started, has_stdin).map_err(LaunchError::internal)
    }

    /// Waits for the end of a running exec process.
    pub async fn exec_wait(&self, id: &str, exec_id: &str) -> Result<Exit> {
        let exit = self.running_exec(id, exec_id)?.exit.clone();
        Ok(ExitWatch(exit).wait().await)
    }

    /// Sets the size of an exec process's terminal. Without one there is nothing to do, as for Docker.
    pub async fn exec_resize(&self, id: &str, exec_id: &str, rows: u16, columns: u16) -> Result<()> {
        let exec = self.running_exec(id, exec_id)?;
        let failed =
            |source| RuntimeError::Kernel { id: id.to_owned(), what: "resize an exec terminal".to_owned(), source };
        match &exec.terminal {
            Some(terminal) => kernel::pty::resize(terminal.as_fd(), rows, columns).map_err(failed),
            None => Ok(()),
        }
    }

    /// Sends a signal to an exec process.
    pub async fn exec_signal(&self, id: &str, exec_id: &str, signal: i32) -> Result<()> {
        let exec = self.running_exec(id, exec_id)?;
        let gone = || RuntimeError::NoSuchExec { id: id.to_owned(), exec: exec_id.to_owned() };
        exec.pidfd.as_ref().ok_or_else(gone)?.signal(signal).map_err(|_| gone())
    }

    fn running_exec(&self, id: &str, exec_id: &str) -> Result<Arc<Running>> {
        let container = self.container(id)?;
        let found = lock(&container.execs).get(exec_id).cloned();
        found.ok_or_else(|| RuntimeError::NoSuchExec { id: id.to_owned(), exec: exec_id.to_owned() })
    }

    /// Connects the streams to tasks, and enters the process into the table until it has ended.
    fn supervise(&self, container: &Arc<Container>, started: Started, has_stdin: bool) -> io::Result<ExecHandle> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let exec_id = format!("{:x}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (tell, exit) = watch::channel(None);
        let (sender, output) = mpsc::channel(attach::QUEUE);
        let mut pumps = tokio::task::JoinSet::new();
        let mut terminal_fd = None;
        let stdin = match started.streams {
            Streams::Pipes { stdin, stdout, stderr } => {
                pumps.spawn(pump(pipe::Receiver::from_owned_fd(stdout)?, StdStream::Stdout, sender.clone()));
                pumps.spawn(pump(pipe::Receiver::from_owned_fd(stderr)?, StdStream::Stderr, sender.clone()));
                match stdin {
                    Some(stdin) => Some(StdinWriter::new(pipe::Sender::from_owned_fd(stdin)?)),
                    None => None,
                }
            }
            Streams::Terminal(master) => {
                let master = Arc::new(master);
                terminal_fd = Some(master.clone());
                let (reader, writer) = open_terminal(&master)?;
                pumps.spawn(pump(reader, StdStream::Stdout, sender.clone()));
                has_stdin.then(|| StdinWriter::new(writer))
            }
        };
        let running = Running { pidfd: PidFd::open(started.pid).ok(), terminal: terminal_fd, exit: exit.clone() };
        lock(&container.execs).insert(exec_id.clone(), Arc::new(running));
        let link = shim_link::into_async(started.link)?;
        tokio::spawn(attend(container.clone(), exec_id.clone(), link, pumps, sender, tell));
        Ok(ExecHandle { exec_id, pid: started.pid, io: AttachedIo { stdin, output }, exit: ExitWatch(exit) })
    }
}

/// Waits for the end, then for the rest of the output; only then the stream ends.
async fn attend(
    container: Arc<Container>,
    exec_id: String,
    mut link: tokio::net::UnixStream,
    mut pumps: tokio::task::JoinSet<()>,
    sender: mpsc::Sender<(StdStream, Bytes)>,
    tell: watch::Sender<Option<Exit>>,
) {
    let exit = match shim_link::read_frame(&mut link).await {
        Ok((Kind::Exit, body)) => exit_of(&body).unwrap_or_else(|_| Exit::killed()),
        // The shim is gone, and the container with it.
        _ => Exit::killed(),
    };
    tell.send_replace(Some(exit));
    lock(&container.execs).remove(&exec_id);
    let drained = async { while pumps.join_next().await.is_some() {} };
    // A client that is slow to take what was written is no reason to cut it off; somebody who only holds the pipe is.
    let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
    while sender.capacity() < sender.max_capacity() && !sender.is_closed() {
        let before = sender.capacity();
        let more = async { while pumps.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN_MAX, more).await;
        if sender.capacity() == before && pumps.is_empty() {
            break;
        }
    }
}

async fn pump(mut from: impl tokio::io::AsyncRead + Unpin, stream: StdStream, to: mpsc::Sender<(StdStream, Bytes)>) {
    let mut buffer = bytes::BytesMut::with_capacity(32 << 10);
    loop {
        buffer.reserve(16 << 10);
        let read = tokio::select! {
            read = from.read_buf(&mut buffer) => read,
            () = to.closed() => return,
        };
        // A terminal nobody holds any more answers EIO.
        if !read.is_ok_and(|count| count > 0) || to.send((stream, buffer.split().freeze())).await.is_err() {
            return;
        }
    }
}

/// A terminal's master as two streams; they are read and written like a pipe's ends.
fn open_terminal(master: &OwnedFd) -> io::Result<(pipe::Receiver, pipe::Sender)> {
    let flags = OFlag::from_bits_truncate(fcntl(master, FcntlArg::F_GETFL)?);
    fcntl(master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok((
        pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?,
        pipe::Sender::from_owned_fd_unchecked(master.try_clone()?)?,
    ))
}

/// The daemon's ends.
enum Streams {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal(OwnedFd),
}

struct Started {
    pid: u32,
    link: UnixStream,
    streams: Streams,
}

fn start(runtime: &Runtime, container: &Container, spec: &ExecSpec) -> std::result::Result<Started, LaunchError> {
    let process = decide(runtime, container, spec)?;
    let (streams, theirs) = open_streams(container, spec)
        .map_err(|error| LaunchError::internal(format!("cannot prepare the streams of the exec process: {error}")))?;
    let broken = |error: io::Error| {
        LaunchError::internal(format!("cannot talk to the shim of container {}: {error}", container.id))
    };
    let mut link = shim_link::connect(&container.dir).map_err(broken)?;
    let frame = json_frame(Kind::Exec, &process);
    let fds = theirs.each_ref().map(AsRawFd::as_raw_fd);
    let sent = sendmsg::<()>(
        link.as_raw_fd(),
        &[IoSlice::new(&frame)],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
    let sent = sent.map_err(|error| broken(error.into()))?;
    link.write_all(&frame[sent..]).map_err(broken)?;
    drop(theirs);
    match read_reply(&mut link).map_err(broken)? {
        Reply::Created { pid } => Ok(Started { pid, link, streams }),
        Reply::Failed(failure) => Err(LaunchError::exec(failure)),
        _ => Err(LaunchError::internal("the shim gave an answer to another question")),
    }
}

fn decide(runtime: &Runtime, container: &Container, spec: &ExecSpec) -> std::result::Result<Process, LaunchError> {
    // Seen through process 1, so that mounted account files count; the plain root when that is not possible.
    let seen = PathBuf::from(format!("/proc/{}/root", container.state.pid));
    let here = surroundings::accounts(if seen.join(".").exists() { &seen } else { &container.rootfs });
    let mut filter = None;
    if spec.privileged && container.process.seccomp.is_some() {
        // As in Docker: more capabilities, but still the container's filter, which they unlock parts of.
        let program = runtime.filter(&wanted_filter(&container.dir), here.capabilities)?;
        let path = container.dir.join("privileged.bpf");
        if !path.exists() {
            crate::shim::write_whole(&path, &program).map_err(LaunchError::internal)?;
        }
        filter = Some(path);
    }
    plan::exec_process(&container.process, spec, &here, filter)
}

fn wanted_filter(dir: &Path) -> crate::launch::Seccomp {
    super::recover::read_launch(dir).map(|launch| launch.seccomp).unwrap_or_default()
}

fn open_streams(container: &Container, spec: &ExecSpec) -> io::Result<(Streams, [OwnedFd; 3])> {
    if spec.tty {
        let root = RootDir::open_at(Path::new(&format!("/proc/{}/root", container.state.pid)))?;
        let pty = kernel::pty::open_in(&root)?;
        let (rows, columns) = spec.console_size;
        kernel::pty::resize(pty.master.as_fd(), rows, columns)?;
        let theirs = [pty.slave.try_clone()?, pty.slave.try_clone()?, pty.slave];
        return Ok((Streams::Terminal(pty.master), theirs));
    }
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from);
    let ((stdout, out_end), (stderr, err_end)) = (pipe()?, pipe()?);
    let (stdin, in_end) = if spec.stdin {
        let (end, ours) = pipe()?;
        (Some(ours), end)
    } else {
        (None, File::open("/dev/null")?.into())
    };
    Ok((Streams::Pipes { stdin, stdout, stderr }, [in_end, out_end, err_end]))
}
