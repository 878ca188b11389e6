//! Waiting for changes of files.
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Tells that something happened in a directory.
#[derive(Debug)]
pub struct DirWatch(OwnedFd);

impl DirWatch {
    /// Watches writes to, and the coming and going of, files in `dir`.
    pub fn new(dir: &Path) -> io::Result<Self> {
        // SAFETY: takes flags, returns a new descriptor or an error.
        let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let text = CString::new(dir.as_os_str().as_bytes())?;
        let mask = libc::IN_MODIFY | libc::IN_CREATE | libc::IN_MOVED_TO | libc::IN_MOVED_FROM | libc::IN_DELETE;
        // SAFETY: a terminated path and a mask.
        if unsafe { libc::inotify_add_watch(fd.as_raw_fd(), text.as_ptr(), mask) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(fd))
    }

    /// Waits for a change, for `stop` to become readable or closed, or for the time to pass.
    pub fn wait(&self, stop: BorrowedFd<'_>, timeout_ms: u16) -> io::Result<()> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN), PollFd::new(stop, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(timeout_ms)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // What happened is looked up by the caller; only the fact counts.
        let mut buffer = [0u8; 4096];
        while nix::unistd::read(&self.0, &mut buffer).is_ok_and(|count| count > 0) {}
        Ok(())
    }
}
