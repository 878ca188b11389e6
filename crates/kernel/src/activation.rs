//! Sockets that the service manager has opened for this process (`LISTEN_FDS`), and what it wants to hear from it
//! (`NOTIFY_SOCKET`).
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;

/// A socket that was handed over.
#[derive(Debug)]
pub enum Activated {
    /// A unix socket that listens.
    Unix(UnixListener),
    /// A TCP socket that listens.
    Tcp(TcpListener),
    /// Something else.
    Other,
}

/// Takes the sockets with their names; nothing the second time, or when they are another process's.
pub fn take() -> Vec<(String, Activated)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let last = FIRST + number("LISTEN_FDS").unwrap_or(0).min(1024) as RawFd;
    (FIRST..last)
        .filter_map(|raw| {
            let name = names.next().filter(|n| !n.is_empty()).unwrap_or_else(|| "unknown".to_owned());
            // SAFETY: only lent for the question whether it is open at all; the kernel checks the number.
            let lent = unsafe { BorrowedFd::borrow_raw(raw) };
            fcntl(lent, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
            // SAFETY: it is open, the service manager gave it to this very process (LISTEN_PID), and nobody else in the
            // process takes it: numbers from 3 up are handed over before main, and this runs once.
            Some((name, of(unsafe { OwnedFd::from_raw_fd(raw) })))
        })
        .collect()
}

fn of(fd: OwnedFd) -> Activated {
    let family = getsockname::<SockaddrStorage>(fd.as_raw_fd()).ok().and_then(|a| a.family());
    match (family, getsockopt(&fd, sockopt::AcceptConn)) {
        (Some(AddressFamily::Unix), Ok(true)) => Activated::Unix(fd.into()),
        (Some(AddressFamily::Inet | AddressFamily::Inet6), Ok(true)) => Activated::Tcp(fd.into()),
        _ => Activated::Other,
    }
}

/// Tells the service manager (`READY=1`, `STOPPING=1`, …). Nobody asked: fine.
pub fn notify(state: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let to = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &to).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_is_told_from_what_does_not() {
        let dir = std::env::temp_dir().join(format!("shoal-activation-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let unix = UnixListener::bind(dir.join("s")).unwrap();
        assert!(matches!(of(unix.into()), Activated::Unix(_)));
        assert!(matches!(of(TcpListener::bind("127.0.0.1:0").unwrap().into()), Activated::Tcp(_)));
        assert!(matches!(of(UnixDatagram::unbound().unwrap().into()), Activated::Other));
        assert!(matches!(of(std::fs::File::open(&dir).unwrap().into()), Activated::Other));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn without_a_service_manager_there_is_nothing() {
        assert!(take().is_empty());
        notify("READY=1").unwrap();
    }
}
