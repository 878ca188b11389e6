//! Network namespaces as values: made, found by a path, entered on a thread of their own.
use crate::netlink::{Netlink, NetlinkError};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::fstatfs;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// `f_type` of a namespace file (`linux/magic.h`).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// A network namespace, kept alive by this handle.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
}

/// Why a namespace could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// The mount point could not be made or removed.
    #[error("namespace file {}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a namespace at this path already.
    #[error("a namespace is mounted at {} already", .0.display())]
    Exists(PathBuf),
    /// The thread that makes it could not.
    #[error("cannot make a network namespace")]
    Make(#[source] io::Error),
    /// The bind mount or its removal failed.
    #[error("namespace mount {}", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its loopback interface did not come up.
    #[error("loopback of the namespace {}", path.display())]
    Loopback {
        /// Where.
        path: PathBuf,
        /// Why.
        source: NetlinkError,
    },
}

impl NetNs {
    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When /proc is not there.
    pub fn current() -> io::Result<Self> {
        Ok(Self { fd: File::open("/proc/thread-self/ns/net")?.into() })
    }

    /// The namespace of a process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of_process(pid: i32) -> io::Result<Self> {
        Ok(Self { fd: File::open(format!("/proc/{pid}/ns/net"))?.into() })
    }

    /// The namespace that is mounted at `path`.
    ///
    /// # Errors
    /// When there is no file, or one that is no namespace (the mount did not survive a reboot, say).
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd: OwnedFd = File::open(path)?.into();
        if fstatfs(&fd)?.filesystem_type().0 as i64 != NSFS_MAGIC {
            let text = format!("{} is not a namespace", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Self { fd })
    }

    /// A new namespace without a name, with `lo` up. It ends with its last user.
    ///
    /// # Errors
    /// See [`NetNsError`].
    pub fn anonymous() -> Result<Self, NetNsError> {
        let fresh = Self::unshared()?;
        fresh.loopback_up(Path::new("(without a name)"))?;
        Ok(fresh)
    }

    /// Makes a new namespace, brings its `lo` up and mounts it at `path` (the file and its parents are made).
    ///
    /// # Errors
    /// See [`NetNsError`]; nothing is left behind then.
    pub fn create_at(path: &Path) -> Result<Self, NetNsError> {
        let file = |source| NetNsError::File { path: path.to_owned(), source };
        if Self::open(path).is_ok() {
            return Err(NetNsError::Exists(path.to_owned()));
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(file)?;
        }
        File::options().create(true).append(true).open(path).map_err(file)?;
        let made = Self::unshared().and_then(|ns| {
            ns.loopback_up(path)?;
            ns.mount_at(path)?;
            Ok(ns)
        });
        if made.is_err() {
            // The first error is the one to report; the file is empty and unused.
            let _ = Self::remove(path);
        }
        made
    }

    /// Mounts this namespace at `path`, which must be a file.
    fn mount_at(&self, path: &Path) -> Result<(), NetNsError> {
        use std::os::fd::AsRawFd;
        let source = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        mount(Some(source.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|e| NetNsError::Mount { path: path.to_owned(), source: e.into() })
    }

    fn unshared() -> Result<Self, NetNsError> {
        std::thread::scope(|s| {
            let thread = std::thread::Builder::new().name("new-netns".into()).spawn_scoped(s, || {
                unshare(CloneFlags::CLONE_NEWNET)?;
                Self::current()
            });
            thread.and_then(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
        .map_err(NetNsError::Make)
    }

    fn loopback_up(&self, path: &Path) -> Result<(), NetNsError> {
        let up = Netlink::open_in(self).and_then(|n| {
            let lo = n.link("lo")?;
            n.set_up(lo.index)
        });
        up.map_err(|source| NetNsError::Loopback { path: path.to_owned(), source })
    }

    /// Lazily unmounts the namespace at `path` and removes the file; fine if it is gone.
    ///
    /// # Errors
    /// See [`NetNsError`].
    pub fn remove(path: &Path) -> Result<(), NetNsError> {
        loop {
            match umount2(path, MntFlags::MNT_DETACH) {
                Ok(()) => {}
                Err(Errno::EINVAL | Errno::ENOENT) => break,
                Err(e) => return Err(NetNsError::Mount { path: path.to_owned(), source: e.into() }),
            }
        }
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(NetNsError::File { path: path.to_owned(), source: e }),
            _ => Ok(()),
        }
    }

    /// Runs `f` on a thread of its own inside the namespace and returns its result. What `f` opens stays in the
    /// namespace; the calling thread never leaves its own.
    ///
    /// # Errors
    /// When the thread cannot be made or the namespace not be entered. A panic of `f` goes on in the caller.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|s| {
            let thread = std::thread::Builder::new().name("in-netns".into()).spawn_scoped(s, || {
                self.enter()?;
                Ok(f())
            })?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into the namespace **for good**. Only for threads that live there (never a worker of
    /// a shared runtime); everything else uses [`Self::run`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.fd, CloneFlags::CLONE_NEWNET)?)
    }

    /// Whether both are the same namespace.
    pub fn same_as(&self, other: &Self) -> bool {
        let id = |ns: &Self| nix::sys::stat::fstat(&ns.fd).map(|s| (s.st_dev, s.st_ino)).ok();
        id(self).is_some() && id(self) == id(other)
    }

    /// A second handle.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// The descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path in a directory that goes with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("shoal-netns-test-{}-{name}", std::process::id())))
        }
        fn path(&self) -> PathBuf {
            self.0.join("ns")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = NetNs::remove(&self.path());
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_namespace_is_made_found_again_and_removed() {
        let place = Place::new("one");
        let p = place.path();
        let ns = NetNs::create_at(&p).unwrap();
        assert!(matches!(NetNs::create_at(&p), Err(NetNsError::Exists(_))));
        assert!(NetNs::open(&p).unwrap().same_as(&ns));
        assert!(!NetNs::current().unwrap().same_as(&ns));
        let names = ns.run(|| Netlink::open().unwrap().links().unwrap()).unwrap();
        assert!(names.iter().any(|l| l.name == "lo" && l.up));
        NetNs::remove(&p).unwrap();
        NetNs::remove(&p).unwrap();
        assert!(!p.exists());
    }

    #[test]
    fn a_plain_file_is_no_namespace_and_does_not_hinder_a_new_one() {
        let place = Place::new("plain");
        let p = place.path();
        std::fs::create_dir_all(p.parent().unwrap()).unwrap();
        std::fs::write(&p, "").unwrap();
        assert_eq!(NetNs::open(&p).unwrap_err().kind(), io::ErrorKind::InvalidData);
        NetNs::create_at(&p).unwrap();
        NetNs::remove(&p).unwrap();
    }

    #[test]
    fn the_caller_never_moves() {
        let before = NetNs::current().unwrap();
        let ns = NetNs::anonymous().unwrap();
        let caught = std::panic::catch_unwind(|| ns.run(|| panic!("inside")));
        assert!(caught.is_err());
        assert!(NetNs::current().unwrap().same_as(&before));
    }
}
