//! Terminals, taken from the devpts of any root directory without trusting what lies in it.
use crate::mount::{RootDir, device_numbers};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that sees what the program writes.
    pub master: OwnedFd,
    /// The program's end.
    pub slave: OwnedFd,
}

/// Opens a new terminal of the devpts that is mounted on `/dev/pts` below `root`.
pub fn open_in(root: &RootDir) -> io::Result<Pty> {
    let master = root.open("/dev/pts/ptmx", libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC)?;
    // A container's root could put anything there: only a multiplexer on a devpts is one.
    if device_numbers(&master)? != Some((5, 2)) || nix::sys::statfs::fstatfs(&master)?.filesystem_type().0 != 0x1cd1 {
        return Err(io::Error::other("/dev/pts/ptmx is not a terminal multiplexer"));
    }
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int through the pointer.
    if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: TIOCGPTPEER takes open flags and returns a new descriptor; no path is looked up.
    let slave =
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    if slave < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor.
    Ok(Pty { master, slave: unsafe { OwnedFd::from_raw_fd(slave) } })
}

/// Sets the size of a terminal; 0 × 0 is left alone.
pub fn resize(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    if rows == 0 && columns == 0 {
        return Ok(());
    }
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize through the pointer.
    if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
