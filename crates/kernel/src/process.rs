//! Processes: handles that cannot be confused by reused numbers, forking, and becoming somebody with fewer rights.
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// When a process was started, in clock ticks since boot: with the pid, it names a process for ever.
pub fn start_time(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may contain spaces and brackets; what follows its last bracket does not.
    stat.rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(19))
        .and_then(|ticks| ticks.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat has no start time")))
}

/// A handle on one process, which never means another one.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has this number now.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers and returns a new descriptor or an error.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor, nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// The process that has this number and was started then; `NotFound` when the number was reused or is free.
    pub fn open_started(pid: u32, started: u64) -> io::Result<Self> {
        let fd = Self::open(pid).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => io::Error::from(io::ErrorKind::NotFound),
            _ => error,
        })?;
        // Read after the descriptor was opened: if it still matches, the descriptor is that process.
        match start_time(pid) {
            Ok(ticks) if ticks == started => Ok(fd),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: a descriptor we own, a number, no siginfo.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until the process has ended (somebody else reaps it); `false` = not within the time.
    pub fn wait_ended(&self, timeout_ms: u16) -> io::Result<bool> {
        let mut fds = [nix::poll::PollFd::new(self.0.as_fd(), nix::poll::PollFlags::POLLIN)];
        Ok(nix::poll::poll(&mut fds, timeout_ms)? > 0)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Forks; the child runs `child` and ends with the code it returns. Only for processes with one thread.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<u32> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("cannot fork a process with {threads} threads")));
    }
    // SAFETY: there is one thread, so the child inherits no lock held by another one and may run any code.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(child.as_raw() as u32),
        nix::unistd::ForkResult::Child => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(255);
            exit_now(code)
        }
    }
}

/// Which PID namespace a forked child is born into.
#[derive(Debug)]
pub enum PidNamespace<'a> {
    /// The caller's.
    Own,
    /// A new one, whose process 1 the child is.
    New,
    /// One that is named by a descriptor (a namespace file or a `PidFd`).
    Of(BorrowedFd<'a>),
}

/// Like `fork`, with the child in a PID namespace of choice; the caller stays where it is.
pub fn fork_into(namespace: PidNamespace<'_>, child: impl FnOnce() -> i32) -> io::Result<u32> {
    use nix::sched::{CloneFlags, setns, unshare};
    match namespace {
        PidNamespace::Own => return fork(child),
        PidNamespace::New => unshare(CloneFlags::CLONE_NEWPID)?,
        PidNamespace::Of(fd) => setns(fd, CloneFlags::CLONE_NEWPID)?,
    }
    let result = fork(child);
    // Only children are born elsewhere; later ones shall not be.
    setns(std::fs::File::open("/proc/self/ns/pid")?, CloneFlags::CLONE_NEWPID)?;
    result
}

/// Ends this process without running any exit handler.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Puts every signal back to its default action and unblocks all: what a program expects of its parent.
pub fn reset_signals() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        // SAFETY: the default action runs none of our code.
        unsafe { sigaction(signal, &default) }?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Holds back every signal, also across exec: for a program that takes them when it is ready.
pub fn hold_signals() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?)
}

/// Marks every descriptor from `first` on to be closed by exec.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: only flags of descriptors change; none is closed under anybody's feet.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the terminal the controlling one of this session.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an ioctl with an integer argument on a descriptor we borrow.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives this process a session keyring of its own; kernels without keyrings are left alone.
pub fn new_session_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
}

/// Sets one resource limit of this process. `resource` is the kernel's number (`libc::RLIMIT_…`).
pub fn set_limit(resource: i32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel copies the structure we point to.
    let result = unsafe { libc::setrlimit(resource as _, &limit) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets this process have as many open files as it may give itself. Gives the limits that it had before: soft, hard.
pub fn raise_open_files() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the structure we point to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    set_limit(libc::RLIMIT_NOFILE as i32, limit.rlim_max, limit.rlim_max)?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// The kernel's number of a resource by its short name (`nofile`).
pub fn limit_number(name: &str) -> Option<i32> {
    Some(match name {
        "core" => libc::RLIMIT_CORE,
        "cpu" => libc::RLIMIT_CPU,
        "data" => libc::RLIMIT_DATA,
        "fsize" => libc::RLIMIT_FSIZE,
        "locks" => libc::RLIMIT_LOCKS,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "rss" => libc::RLIMIT_RSS,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "stack" => libc::RLIMIT_STACK,
        _ => return None,
    } as i32)
}

/// Capability sets as bit masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What exec may ever give.
    pub bounding: u64,
    /// What may be used.
    pub permitted: u64,
    /// What is in use.
    pub effective: u64,
    /// What exec hands on to files that ask.
    pub inheritable: u64,
}

/// The highest capability number this kernel knows.
pub fn last_capability() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(40)
}

/// Drops everything outside `bounding` from the bounding set (needs `CAP_SETPCAP`).
pub fn limit_bounding_set(bounding: u64) -> io::Result<()> {
    for capability in 0..=last_capability() {
        if bounding & (1 << capability) == 0 {
            // SAFETY: prctl with integer arguments.
            let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) };
            if result < 0 && Errno::last() != Errno::EINVAL {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Whether a change of user keeps the permitted capabilities (until exec).
pub fn keep_capabilities(keep: bool) -> io::Result<()> {
    // SAFETY: prctl with integer arguments.
    let result = unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, keep as libc::c_ulong, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets permitted, effective and inheritable; clears the ambient set.
pub fn set_capabilities(sets: CapabilitySets) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let header = Header { version: VERSION_3, pid: 0 };
    let data = [half(0), half(32)];
    // SAFETY: version 3 takes a header and two data structures, laid out as the kernel's.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: prctl with integer arguments.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0, 0, 0) };
    Ok(())
}

/// One field of a `/proc/PID/status`.
fn status_field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// Whether the kernel would drop a signal that is sent to this process now: it is the first of its pid namespace, and such
/// a process gets only what it has a handler for, or holds back (pid_namespaces(7)).
pub fn drops_signal(pid: u32, signal: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let first = status_field(&status, "NSpid").is_some_and(|ids| {
        let mut ids = ids.split_whitespace();
        ids.next().is_some() && ids.next_back() == Some("1")
    });
    let has = |key: &str| {
        let mask = status_field(&status, key).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
    };
    first
        && (1..=64).contains(&signal)
        && !matches!(signal, libc::SIGKILL | libc::SIGSTOP)
        && !has("SigCgt")
        && !has("SigBlk")
}

/// This process's capability sets.
pub fn capabilities() -> io::Result<CapabilitySets> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = |key| status_field(&status, key).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    Ok(CapabilitySets {
        bounding: mask("CapBnd"),
        permitted: mask("CapPrm"),
        effective: mask("CapEff"),
        inheritable: mask("CapInh"),
    })
}

/// Loads a compiled system call filter (an array of `sock_filter`). There is no way back.
pub fn load_seccomp(program: &[u8]) -> io::Result<()> {
    let size = size_of::<libc::sock_filter>();
    if program.is_empty() || !program.len().is_multiple_of(size) || program.len() / size > u16::MAX as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a system call filter"));
    }
    // Copied, because bytes need not be aligned as instructions are.
    let filter: Vec<libc::sock_filter> = program
        .chunks_exact(size)
        .map(|b| libc::sock_filter {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    let fprog = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `len` instructions from `filter`, which lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const fprog) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes a descriptor that came over a socket (`SCM_RIGHTS`): it belongs to the receiver and to nobody else.
pub fn own_received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for us when the message was received.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Gives memory that was freed back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only touches the allocator's own free lists.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_number_is_not_the_process() {
        let pid = std::process::id();
        let started = start_time(pid).unwrap();
        assert!(PidFd::open_started(pid, started).is_ok());
        assert_eq!(PidFd::open_started(pid, started + 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn threads_forbid_forking() {
        let other = std::thread::spawn(std::thread::park);
        assert!(fork(|| 0).is_err());
        other.thread().unpark();
        other.join().unwrap();
    }
}
