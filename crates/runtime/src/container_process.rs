//! What a forked child does to become process 1 of a container, or one more process in it.
//!
//! We set containers up ourselves, because the library that we meant to use runs exec processes without the system call
//! filter, lets a container write to its own version 1 control groups, and ignores the propagation of bind mounts:
//! `docs/decisions/0005-containers-on-the-kernel-directly.md`.
//!
//! Runs in the shim's child, single-threaded, and ends with exec. While it is still our own program inside somebody
//! else's namespaces it is not dumpable, and its binary was opened through a read-only mount, so that nothing in the
//! container can reach the host through it.
mod become_user;
mod build_root;

use crate::launch::NamespaceMode;
use crate::plan::{INIT_PATH, Plan, Process};
use kernel::cgroup::Cgroup;
use kernel::process::PidFd;
use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Why a process could not be started: the sentence, and Docker's exit code for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) exit_code: i32,
    pub(crate) message: String,
}

impl Failure {
    fn new(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self { exit_code: 128, message: format!("{what}: {error}") }
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// Words for an error number as C and Go print them, without Rust's "(os error 2)".
pub(crate) fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let mut text = nix::errno::Errno::from_raw(number).desc().to_owned();
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            text
        }
        None => error.to_string(),
    }
}

/// Names what was being done when it failed.
trait During<T> {
    fn during(self, what: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::new(what, in_words(&error.into())))
    }
}

/// What the child holds of its parent.
pub(crate) struct Ends {
    /// Told `R` when everything is ready, or `E` and a `Failure`; closed by exec.
    pub(crate) status: OwnedFd,
    /// stdin, stdout, stderr; `None` = the terminal.
    pub(crate) stdio: Option<[OwnedFd; 3]>,
    /// Process 1: where the master of its terminal is sent.
    pub(crate) console: Option<OwnedFd>,
    /// Process 1: a byte means "start".
    pub(crate) start: Option<OwnedFd>,
}

/// Becomes process 1 of a container; returns only when that fails.
pub(crate) fn become_init(plan: &Path, ends: Ends) -> i32 {
    let status = ends.status.try_clone();
    let result = File::open(plan)
        .and_then(|file| Ok(serde_json::from_reader::<_, Plan>(io::BufReader::new(file))?))
        .during("cannot read the plan of the container")
        .and_then(|plan| init(&plan, ends));
    report(status, result)
}

/// Becomes one more process of the container; returns only when that fails.
pub(crate) fn become_exec(process: &[u8], cgroup: &Cgroup, init: &PidFd, ends: Ends) -> i32 {
    let status = ends.status.try_clone();
    let result = serde_json::from_slice::<Process>(process)
        .map_err(io::Error::from)
        .during("cannot read the process to be run")
        .and_then(|process| exec(&process, cgroup, init, ends));
    report(status, result)
}

fn report(status: io::Result<OwnedFd>, result: Result<std::convert::Infallible>) -> i32 {
    let Err(failure) = result;
    if let Ok(status) = status {
        let mut text = vec![b'E'];
        text.extend(serde_json::to_vec(&failure).unwrap_or_default());
        let _ = File::from(status).write_all(&text);
    }
    failure.exit_code
}

/// What both kinds of process do first, while they still see the host.
fn prepare(process: &Process, cgroup: &Cgroup) -> Result<Option<Vec<u8>>> {
    kernel::process::reset_signals().during("cannot reset signals")?;
    nix::unistd::setsid().during("cannot start a session")?;
    for file in cgroup.join_files() {
        // `0` means the writer, whatever its number is in which namespace.
        std::fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|mut file| file.write_all(b"0"))
            .during(format_args!("cannot join the control group {}", file.display()))?;
    }
    set_oom_score(process.oom_score_adj)?;
    // From here on nobody in the namespaces we join may look into us.
    nix::sys::prctl::set_dumpable(false).during("cannot hide from the container")?;
    for (resource, soft, hard) in &process.limits {
        kernel::process::set_limit(*resource, *soft, *hard)
            .during(format_args!("error setting rlimits for ready process: error setting rlimit type {resource}"))?;
    }
    kernel::process::new_session_keyring();
    match &process.seccomp {
        Some(path) => Ok(Some(std::fs::read(path).during("cannot read the seccomp filter")?)),
        None => Ok(None),
    }
}

fn set_oom_score(wanted: i32) -> Result<()> {
    let file = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if now == Some(wanted) {
        return Ok(());
    }
    match std::fs::write(file, wanted.to_string()) {
        // A daemon that was started with a score of its own cannot always give a plain one.
        Err(_) if wanted == 0 => Ok(()),
        other => other.during("cannot set oom_score_adj"),
    }
}

fn init(plan: &Plan, mut ends: Ends) -> Result<std::convert::Infallible> {
    let filter = prepare(&plan.process, &Cgroup::at(&plan.cgroup))?;
    enter_namespaces(plan)?;
    if let Some(hostname) = &plan.hostname {
        nix::unistd::sethostname(hostname).during("cannot set the host name")?;
    }
    if let Some(domainname) = &plan.domainname {
        std::fs::write("/proc/sys/kernel/domainname", domainname).during("cannot set the domain name")?;
    }
    for (name, value) in &plan.sysctls {
        let path = Path::new("/proc/sys").join(if name.contains('/') { name.clone() } else { name.replace('.', "/") });
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(value.as_bytes()))
            .during(format_args!("open sysctl {name} file"))?;
    }
    let terminal = build_root::build(plan, ends.console.take())?;
    let program = become_user::become_user(&plan.process, filter.as_deref(), terminal, ends.stdio.take())?;
    kernel::process::close_on_exec_from(3).during("cannot close descriptors")?;
    if plan.process.args.first().is_some_and(|program| program == INIT_PATH) {
        kernel::process::hold_signals().during("cannot hold signals back")?;
    }
    File::from(ends.status).write_all(b"R").during("cannot report to the shim")?;
    if let Some(start) = ends.start.take() {
        let mut byte = [0];
        let told = File::from(start).read(&mut byte).during("cannot wait for the start")?;
        if told == 0 {
            // The shim is gone before the container was ever started.
            return Err(Failure { exit_code: 128, message: "the shim has gone".to_owned() });
        }
    }
    let error = program.run();
    // It counts as started, so this belongs to the container's own output.
    let _ = writeln!(io::stderr(), "exec {}: {}", program.path.to_string_lossy(), in_words(&error.into()));
    kernel::process::exit_now(255)
}

fn exec(process: &Process, cgroup: &Cgroup, init: &PidFd, mut ends: Ends) -> Result<std::convert::Infallible> {
    let filter = prepare(process, cgroup)?;
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    setns(init.as_fd(), all).during("cannot join the namespaces of the container")?;
    let terminal = match (process.tty, &ends.stdio) {
        (true, Some([stdin, ..])) => Some(stdin.try_clone().during("cannot take the terminal")?),
        _ => None,
    };
    let stdio = if terminal.is_some() { None } else { ends.stdio.take() };
    let program = become_user::become_user(process, filter.as_deref(), terminal, stdio)?;
    kernel::process::close_on_exec_from(3).during("cannot close descriptors")?;
    let error = program.run();
    Err(Failure {
        exit_code: 126,
        message: format!("exec {}: {}", program.path.to_string_lossy(), in_words(&error.into())),
    })
}

fn enter_namespaces(plan: &Plan) -> Result<()> {
    let wanted = &plan.namespaces;
    let mut made = CloneFlags::CLONE_NEWNS;
    for (mode, flag) in [
        (&wanted.ipc, CloneFlags::CLONE_NEWIPC),
        (&wanted.uts, CloneFlags::CLONE_NEWUTS),
        (&wanted.cgroup, CloneFlags::CLONE_NEWCGROUP),
    ] {
        match mode {
            NamespaceMode::Private => made |= flag,
            NamespaceMode::Host => {}
            NamespaceMode::Path(path) => join(path, flag)?,
        }
    }
    if let Some(path) = &wanted.network {
        join(path, CloneFlags::CLONE_NEWNET)?;
    }
    unshare(made).during("cannot make namespaces")
}

fn join(path: &Path, flag: CloneFlags) -> Result<()> {
    let file = File::open(path).during(format_args!("cannot open the namespace {}", path.display()))?;
    setns(file.as_fd(), flag).during(format_args!("cannot join the namespace {}", path.display()))
}

/// Puts the three descriptors in the places of stdin, stdout and stderr.
fn take_stdio(stdio: [&OwnedFd; 3]) -> Result<()> {
    nix::unistd::dup2_stdin(stdio[0].as_fd()).during("cannot take stdin")?;
    nix::unistd::dup2_stdout(stdio[1].as_fd()).during("cannot take stdout")?;
    nix::unistd::dup2_stderr(stdio[2].as_fd()).during("cannot take stderr")?;
    debug_assert!(stdio.iter().all(|fd| fd.as_raw_fd() > 2));
    Ok(())
}
