//! The process beside each container: holds its terminal and log, reaps it, records how it ended.
//!
//! One thread, one loop, no async runtime: it lives as long as its container, whatever becomes of the daemon.
//!
//! ```text
//!  Empty ──create──► Created ──start──► Running ──init reaped──► Draining ──output at its end──► Ended ─► gone
//!    └──── create failed ───────────────────┴──(killed before start)──┘
//! ```
//! Never: a second thread, a blocking call on a client, a path of the container opened without its root.
mod client;
mod output;
mod reap;

use crate::container_process::{Ends, Failure, become_exec, become_init};
use crate::exit::Exit;
use crate::launch::{LogConfig, NamespaceMode};
use crate::protocol::{Kind, Reply, Request, json_frame};
use crate::watchdog::{Look, Watchdog};
use client::{Client, Role};
use kernel::cgroup::Cgroup;
use kernel::process::{PidFd, PidNamespace, fork_into};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use output::{Log, Outputs};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long output may still come after process 1 has ended (only when others outside hold its pipes).
const DRAIN_MAX: Duration = Duration::from_millis(300);
/// How long the end of a container waits for a log that is written aside.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);
/// How long the ended shim waits for clients to take their last bytes.
const LINGER_MAX: Duration = Duration::from_secs(10);

/// What a shim must know; `shim.json` in its directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShimConfig {
    pub(crate) id: String,
    pub(crate) cgroup: PathBuf,
    pub(crate) pid: NamespaceMode,
    pub(crate) tty: bool,
    pub(crate) console_size: (u16, u16),
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) log: LogConfig,
}

/// Files in a container's directory.
pub(crate) const CONFIG_FILE: &str = "shim.json";
pub(crate) const PLAN_FILE: &str = "plan.json";
pub(crate) const STATE_FILE: &str = "state.json";
pub(crate) const EXIT_FILE: &str = "exit";
pub(crate) const SOCKET_FILE: &str = "shim.sock";

/// Process 1, named for ever; `state.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) pid: u32,
    /// Kernel's start time of the process.
    pub(crate) ticks: u64,
    /// Nanoseconds since 1970; 0 = not started yet.
    pub(crate) started_at: i64,
}

/// Runs a shim: the listening socket is its stdin, its directory its only argument.
pub(crate) fn run(dir: &Path) -> io::Result<()> {
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    let _ = nix::sys::prctl::set_name(c"shoal-shim");
    let signals =
        kernel::signal::events(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE])?;
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let config = read_config(dir)?;
    let shim = Shim {
        dir: dir.to_owned(),
        cgroup: Cgroup::at(&config.cgroup),
        outputs: Outputs::new(Log::open(&config.log, dir)?),
        config,
        listener,
        signals,
        clients: Vec::new(),
        init: None,
        execs: Vec::new(),
        ended: None,
        exit: None,
        watchdog: None,
        quit: false,
    };
    kernel::process::trim_heap();
    shim.serve()
}

/// Writes the log of the shim in this directory, for it.
pub(crate) fn write_log(dir: &Path) -> io::Result<()> {
    crate::logs::aside::run(&read_config(dir)?.log)
}

fn read_config(dir: &Path) -> io::Result<ShimConfig> {
    Ok(serde_json::from_slice(&std::fs::read(dir.join(CONFIG_FILE))?)?)
}

struct Shim {
    dir: PathBuf,
    config: ShimConfig,
    cgroup: Cgroup,
    outputs: Outputs,
    listener: UnixListener,
    signals: SignalFd,
    clients: Vec<Client>,
    init: Option<Init>,
    execs: Vec<Exec>,
    /// Process 1 was reaped then; its output is being drained.
    ended: Option<(Exit, Instant)>,
    /// Recorded and told.
    exit: Option<(Exit, Instant)>,
    watchdog: Option<Look>,
    quit: bool,
}

struct Init {
    state: State,
    pidfd: PidFd,
    start: Option<OwnedFd>,
}

/// A process that joined the container.
struct Exec {
    pid: u32,
    client: u64,
    /// Says why it could not start, or closes when it has.
    status: Option<File>,
    said: Vec<u8>,
    exit: Option<Exit>,
}

/// Who is to be looked at after `poll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Stdout,
    Stderr,
    Stdin,
    Client(u64),
    Exec(u32),
}

impl Shim {
    fn serve(mut self) -> io::Result<()> {
        loop {
            let ready = self.wait()?;
            for (source, events) in ready {
                match source {
                    Source::Signals => self.reap()?,
                    Source::Listener => self.accept(),
                    Source::Stdout | Source::Stderr => self.outputs.pump(source == Source::Stderr, &mut self.clients),
                    Source::Stdin => self.outputs.feed(),
                    Source::Client(id) => self.talk(id, events),
                    Source::Exec(pid) => self.hear_exec(pid),
                }
            }
            self.drop_gone();
            self.heed_watchdog();
            self.finish()?;
            if self.done() {
                // Last of all, so that whoever finds no socket finds the exit file.
                let _ = std::fs::remove_file(self.dir.join(SOCKET_FILE));
                return Ok(());
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Signals, self.signals.as_fd(), PollFlags::POLLIN),
            (Source::Listener, self.listener.as_fd(), PollFlags::POLLIN),
        ];
        // A client that cannot keep up holds the container back, until it is given up.
        if !self.clients.iter().any(Client::is_full) {
            sources.extend(
                self.outputs
                    .readable()
                    .map(|(error, fd)| (if error { Source::Stderr } else { Source::Stdout }, fd, PollFlags::POLLIN)),
            );
        }
        sources.extend(self.outputs.writable().map(|fd| (Source::Stdin, fd, PollFlags::POLLOUT)));
        for client in &self.clients {
            let takes_input = client.role != Role::Attach || self.outputs.has_room();
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, takes_input);
            events.set(PollFlags::POLLOUT, client.has_output());
            sources.push((Source::Client(client.id), client.as_fd(), events));
        }
        for exec in &self.execs {
            if let Some(status) = &exec.status {
                sources.push((Source::Exec(exec.pid), status.as_fd(), PollFlags::POLLIN));
            }
        }
        let mut fds: Vec<PollFd<'_>> = sources.iter().map(|(_, fd, events)| PollFd::new(*fd, *events)).collect();
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(sources.iter().zip(events).filter(|(_, e)| !e.is_empty()).map(|(source, e)| (source.0, e)).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let drain = self
            .ended
            .filter(|_| self.exit.is_none())
            .map(|(_, at)| at + if self.outputs.awaits_writer() { WRITTEN_WITHIN } else { DRAIN_MAX });
        let linger = self.exit.map(|(_, at)| at + LINGER_MAX);
        let slow = self.clients.iter().filter_map(Client::deadline).min();
        let look = self.watchdog.as_ref().filter(|_| self.ended.is_none()).map(Look::at);
        match [drain, linger, slow, look].into_iter().flatten().min() {
            Some(at) => PollTimeout::try_from(at.saturating_duration_since(now) + Duration::from_millis(1))
                .unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if let Ok(client) = Client::new(stream) {
                self.clients.push(client);
            }
        }
    }

    fn talk(&mut self, id: u64, events: PollFlags) {
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
        if events.contains(PollFlags::POLLOUT) {
            client.flush();
        }
        if !events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            return;
        }
        client.receive();
        loop {
            let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
            match client.next() {
                Some((Kind::Request, body)) => match serde_json::from_slice(&body) {
                    Ok(request) => self.answer(id, request),
                    Err(_) => client.give_up(),
                },
                Some((Kind::Exec, body)) => {
                    let stdio = client.take_fds();
                    if let Err(failure) = self.exec(id, &body, stdio) {
                        self.reply(id, &Reply::Failed(failure));
                    }
                }
                Some((Kind::Stdin, body)) if client.feeds => self.outputs.input(&body),
                Some((Kind::StdinEnd, _)) if client.feeds => {
                    client.feeds = false;
                    self.stdin_ends();
                }
                Some(_) => client.give_up(),
                None => return,
            }
        }
    }

    fn stdin_ends(&mut self) {
        if self.config.stdin_once && !self.config.tty {
            self.outputs.end_input();
        }
    }

    fn reply(&mut self, id: u64, reply: &Reply) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.send(json_frame(Kind::Reply, reply));
        }
    }

    fn answer(&mut self, id: u64, request: Request) {
        let reply = match request {
            Request::Create => match self.create() {
                Ok(pid) => Reply::Created { pid },
                Err(failure) => {
                    self.quit = true;
                    Reply::Failed(failure)
                }
            },
            Request::Start => match self.start() {
                Ok(()) => Reply::Done,
                Err(failure) => Reply::Failed(failure),
            },
            Request::Resize(rows, columns) => match self.outputs.resize(rows, columns) {
                Ok(()) => Reply::Done,
                Err(error) => Reply::Failed(failed("cannot resize the terminal", &error)),
            },
            Request::Attach { .. } | Request::Watch => {
                let state = self.init.as_ref().map(|init| init.state).unwrap_or_default();
                let exit = self.exit;
                let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
                let attach = request != Request::Watch;
                client.feeds = request == Request::Attach { stdin: true };
                client.role = if attach { Role::Attach } else { Role::Watch };
                let reply =
                    if attach { Reply::Done } else { Reply::State { pid: state.pid, started_at: state.started_at } };
                client.send(json_frame(Kind::Reply, &reply));
                if let Some((exit, _)) = exit {
                    client.finish(&exit);
                }
                return;
            }
            Request::Watchdog(file) => {
                self.watchdog = Some(Look::begin(Watchdog::at(file), Instant::now()));
                Reply::Done
            }
            Request::Quit => {
                self.quit = true;
                self.kill();
                Reply::Done
            }
        };
        self.reply(id, &reply);
    }

    fn kill(&self) {
        if let Some(init) = &self.init
            && self.ended.is_none()
        {
            let _ = init.pidfd.signal(libc::SIGKILL);
        }
    }

    /// Nobody has said for too long that the container may run.
    fn heed_watchdog(&mut self) {
        if self.ended.is_none() && self.watchdog.as_mut().is_some_and(|look| look.has_passed(Instant::now())) {
            self.watchdog = None;
            self.kill();
        }
    }

    fn create(&mut self) -> Result<u32, Failure> {
        if self.init.is_some() {
            return Err(failed("the container is made already", &io::ErrorKind::AlreadyExists.into()));
        }
        let what = "cannot prepare the container";
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| failed(what, &error.into()));
        let (status, status_end) = pipe()?;
        let (start_end, start) = pipe()?;
        let mut ends = Ends { status: status_end, stdio: None, console: None, start: Some(start_end) };
        let mut console = None;
        if self.config.tty {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|error| failed(what, &error))?;
            console = Some(ours);
            ends.console = Some(theirs.into());
        } else {
            let stdin = if self.config.open_stdin {
                let (end, ours) = pipe()?;
                self.outputs.set_input(ours).map_err(|error| failed(what, &error))?;
                end
            } else {
                File::open("/dev/null").map_err(|error| failed(what, &error))?.into()
            };
            let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
            self.outputs.set_pipes(out, err).map_err(|error| failed(what, &error))?;
            ends.stdio = Some([stdin, out_end, err_end]);
        }
        let plan = self.dir.join(PLAN_FILE);
        let joined = match &self.config.pid {
            NamespaceMode::Path(path) => Some(File::open(path).map_err(|error| failed(what, &error))?),
            _ => None,
        };
        let namespace = match (&self.config.pid, &joined) {
            (NamespaceMode::Host, _) => PidNamespace::Own,
            (_, Some(file)) => PidNamespace::Of(file.as_fd()),
            _ => PidNamespace::New,
        };
        let mut ends = Some(ends);
        let mut start = Some(start);
        let pid = fork_into(namespace, || {
            // The child must see the shim's end close.
            start = None;
            match ends.take() {
                Some(ends) => become_init(&plan, ends),
                None => 255,
            }
        })
        .map_err(|error| failed("cannot fork", &error))?;
        drop(ends);
        let pidfd = PidFd::open(pid).map_err(|error| failed("cannot hold the process", &error))?;
        // The child says everything in one go, so waiting for it here keeps nobody for long.
        let mut said = Vec::new();
        let mut first = [0u8; 4096];
        let mut status = File::from(status);
        let count = status.read(&mut first).unwrap_or(0);
        said.extend_from_slice(&first[..count]);
        if said.first() != Some(&b'R') {
            let _ = status.read_to_end(&mut said);
            let _ = pidfd.signal(libc::SIGKILL);
            return Err(failure_of(&said).unwrap_or_else(|| Failure {
                exit_code: 128,
                message: "the first process of the container died before it was ready".to_owned(),
            }));
        }
        if let Some(console) = console {
            self.outputs
                .set_terminal(client::receive_fd(&console).map_err(|error| failed("cannot take the terminal", &error))?)
                .map_err(|error| failed(what, &error))?;
            let (rows, columns) = self.config.console_size;
            let _ = self.outputs.resize(rows, columns);
        }
        let ticks = kernel::process::start_time(pid).unwrap_or(0);
        let state = State { pid, ticks, started_at: 0 };
        self.init = Some(Init { state, pidfd, start });
        self.save_state().map_err(|error| failed("cannot record the process", &error))?;
        Ok(pid)
    }

    fn start(&mut self) -> Result<(), Failure> {
        let gone = || Failure { exit_code: 128, message: "cannot start a stopped process".to_owned() };
        if self.ended.is_some() {
            return Err(gone());
        }
        let init = self.init.as_mut().ok_or_else(gone)?;
        let start = init.start.take().ok_or_else(gone)?;
        init.state.started_at = now().0;
        self.save_state().map_err(|error| failed("cannot record the start", &error))?;
        File::from(start).write_all(b"s").map_err(|_| gone())
    }

    fn save_state(&self) -> io::Result<()> {
        let state = self.init.as_ref().map(|init| init.state).unwrap_or_default();
        write_whole(&self.dir.join(STATE_FILE), &serde_json::to_vec(&state)?)
    }

    fn exec(&mut self, client: u64, process: &[u8], stdio: Vec<OwnedFd>) -> Result<(), Failure> {
        let running = self.init.as_ref().filter(|init| init.start.is_none() && self.ended.is_none());
        let init = running.ok_or_else(|| Failure { exit_code: 126, message: "container not running".to_owned() })?;
        let stdio: [OwnedFd; 3] = stdio
            .try_into()
            .map_err(|_| Failure { exit_code: 126, message: "the streams did not come along".to_owned() })?;
        let what = "cannot prepare the process";
        let (status, status_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| failed(what, &error.into()))?;
        let mut ends = Some(Ends { status: status_end, stdio: Some(stdio), console: None, start: None });
        let cgroup = &self.cgroup;
        let pid = fork_into(PidNamespace::Of(init.pidfd.as_fd()), || match ends.take() {
            Some(ends) => become_exec(process, cgroup, &init.pidfd, ends),
            None => 255,
        })
        .map_err(|error| failed("cannot fork", &error))?;
        self.execs.push(Exec { pid, client, status: Some(status.into()), said: Vec::new(), exit: None });
        Ok(())
    }

    /// The process says why it failed, or has started when it says nothing.
    fn hear_exec(&mut self, pid: u32) {
        let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == pid) else { return };
        let Some(status) = &mut exec.status else { return };
        let mut buffer = [0; 4096];
        match status.read(&mut buffer) {
            Ok(count) if count > 0 => return exec.said.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            _ => exec.status = None,
        }
        let reply = match failure_of(&exec.said) {
            Some(failure) => Reply::Failed(failure),
            None => Reply::Created { pid },
        };
        let client = exec.client;
        self.reply(client, &reply);
        self.tell_execs();
    }

    /// Tells how exec processes ended whose start has been told.
    fn tell_execs(&mut self) {
        let (told, left) = std::mem::take(&mut self.execs)
            .into_iter()
            .partition::<Vec<_>, _>(|exec| exec.status.is_none() && exec.exit.is_some());
        self.execs = left;
        for exec in told {
            if let (Some(client), Some(exit)) = (self.clients.iter_mut().find(|c| c.id == exec.client), exec.exit) {
                client.finish(&exit);
            }
        }
    }

    fn drop_gone(&mut self) {
        for client in &mut self.clients {
            client.drop_if_slow();
        }
        let feeder_gone = self.clients.iter().any(|client| client.is_gone() && client.feeds);
        self.clients.retain(|client| !client.is_gone());
        if feeder_gone {
            self.stdin_ends();
        }
    }

    /// Records and tells the end, once the output is at its end.
    fn finish(&mut self) -> io::Result<()> {
        let (Some((exit, since)), None) = (self.ended, self.exit) else { return Ok(()) };
        if !self.outputs.at_end() && since.elapsed() < DRAIN_MAX {
            return Ok(());
        }
        self.outputs.close();
        if self.outputs.awaits_writer() && since.elapsed() < WRITTEN_WITHIN {
            return Ok(());
        }
        write_whole(&self.dir.join(EXIT_FILE), &serde_json::to_vec(&exit)?)?;
        self.exit = Some((exit, Instant::now()));
        for client in self.clients.iter_mut().filter(|client| matches!(client.role, Role::Attach | Role::Watch)) {
            client.finish(&exit);
        }
        Ok(())
    }

    fn done(&self) -> bool {
        let flushed = !self.clients.iter().any(Client::has_output);
        match self.exit {
            Some((_, at)) => (flushed && self.execs.is_empty()) || at.elapsed() > LINGER_MAX,
            None => self.quit && self.init.is_none() && flushed,
        }
    }
}

/// Writes a file as a whole, or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(temporary, path)
}

pub(crate) fn now() -> model::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    model::Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn failed(what: &str, error: &io::Error) -> Failure {
    Failure { exit_code: 128, message: format!("{what}: {}", crate::container_process::in_words(error)) }
}

fn failure_of(said: &[u8]) -> Option<Failure> {
    serde_json::from_slice(said.strip_prefix(b"E")?).ok()
}
