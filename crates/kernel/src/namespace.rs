//! A set of namespaces that together look like a machine of its own: network, mounts and host name.
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns, unshare};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILES: [&str; 3] = ["net", "mnt", "uts"];

/// Network, mount and UTS namespace, kept alive by this handle.
#[derive(Debug)]
pub struct Namespaces {
    net: OwnedFd,
    mnt: OwnedFd,
    uts: OwnedFd,
}

impl Namespaces {
    /// Makes the three on a thread of its own. `prepare` runs inside before anybody else can; all mounts are private
    /// by then, so that nothing it mounts or unmounts reaches the caller's tree.
    ///
    /// # Errors
    /// When the kernel refuses, or what `prepare` says.
    pub fn create(prepare: impl FnOnce() -> io::Result<()> + Send) -> io::Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let processors = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
        let mut prepare = Some(prepare);
        // First wherever it comes to be, then on each processor in turn (see `can_be_kept`).
        for cpu in std::iter::once(None).chain(processors.map(Some)) {
            let make = || {
                if let Some(cpu) = cpu {
                    let mut only = CpuSet::new();
                    only.set(cpu)?;
                    sched_setaffinity(Pid::from_raw(0), &only)?;
                }
                let from = mount_namespace()?;
                unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
                if !can_be_kept(&mount_namespace()?, &from) {
                    return Ok(None);
                }
                sched_setaffinity(Pid::from_raw(0), &allowed)?;
                part_mounts(MsFlags::MS_PRIVATE)?;
                prepare.take().map_or(Ok(()), |prepare| prepare())?;
                Self::open(Path::new("/proc/thread-self/ns")).map(Some)
            };
            let made = std::thread::scope(|s| {
                let thread = std::thread::Builder::new().name("new-machine".into()).spawn_scoped(s, make)?;
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            if let Some(made) = made? {
                return Ok(made);
            }
        }
        Err(io::Error::other("no processor makes a mount namespace that could be kept in this one"))
    }

    /// Those whose files stand in `dir`: `/proc/<pid>/ns`, or where [`Self::keep_at`] put them.
    ///
    /// # Errors
    /// When one is missing, or is no namespace.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let open = |name: &str| -> io::Result<OwnedFd> {
            let fd: OwnedFd = File::open(dir.join(name))?.into();
            // Fails on anything that is not of this kind; cheap, and the caller stays where it is.
            if nix::sys::statfs::fstatfs(&fd)?.filesystem_type() != nix::sys::statfs::NSFS_MAGIC {
                let text = format!("{} is not a namespace", dir.join(name).display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            Ok(fd)
        };
        Ok(Self { net: open("net")?, mnt: open("mnt")?, uts: open("uts")? })
    }

    /// Mounts them as files in `dir`, so that they outlive every process. `dir` must lie on a private mount: the
    /// kernel does not let a mount namespace be mounted where it would reach itself.
    ///
    /// # Errors
    /// When a mount is refused; what was mounted is gone then.
    pub fn keep_at(&self, dir: &Path) -> io::Result<()> {
        let mounted = FILES.iter().zip([&self.net, &self.mnt, &self.uts]).try_for_each(|(name, fd)| {
            let file = dir.join(name);
            File::options().create(true).append(true).open(&file)?;
            let source = format!("/proc/self/fd/{}", fd.as_raw_fd());
            Ok(mount(Some(source.as_str()), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
        });
        if mounted.is_err() {
            // The first error is the one to report.
            let _ = Self::forget(dir);
        }
        mounted
    }

    /// Takes away what [`Self::keep_at`] mounted; fine if it is gone.
    ///
    /// # Errors
    /// When a file stays.
    pub fn forget(dir: &Path) -> io::Result<()> {
        for name in FILES {
            let file = dir.join(name);
            while umount2(&file, MntFlags::MNT_DETACH).is_ok() {}
            match std::fs::remove_file(&file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// A command that will run inside, in directory `cwd` if that exists there (else `/`), as the leader of a new
    /// session if `detached`.
    pub fn command(&self, program: impl AsRef<OsStr>, cwd: Option<PathBuf>, detached: bool) -> Command {
        // The descriptors are close-on-exec and `self` may be gone before the command is started.
        let fds: io::Result<Vec<OwnedFd>> = [&self.uts, &self.net, &self.mnt].iter().map(|fd| fd.try_clone()).collect();
        let cwd = cwd.map(|c| std::ffi::CString::new(c.into_os_string().into_encoded_bytes()));
        let mut command = Command::new(program);
        let enter = move || {
            let fds =
                fds.as_ref().map_err(|e| io::Error::from_raw_os_error(e.raw_os_error().unwrap_or(libc::EMFILE)))?;
            for fd in fds {
                setns(fd, CloneFlags::empty())?;
            }
            if detached {
                nix::unistd::setsid()?;
            }
            match &cwd {
                Some(Ok(dir)) if nix::unistd::chdir(dir.as_c_str()).is_ok() => {}
                _ => nix::unistd::chdir(c"/")?,
            }
            Ok(())
        };
        // SAFETY: between fork and exec the closure only makes system calls on memory that was prepared before; it
        // neither allocates nor takes a lock (building an error from a number does not allocate).
        unsafe { command.pre_exec(enter) };
        command
    }

    /// The network namespace.
    pub fn net(&self) -> BorrowedFd<'_> {
        self.net.as_fd()
    }

    /// The mount namespace.
    pub fn mnt(&self) -> BorrowedFd<'_> {
        self.mnt.as_fd()
    }

    /// Whether the process has any of the three.
    pub fn hold(&self, pid: u32) -> bool {
        FILES.iter().zip([&self.net, &self.mnt, &self.uts]).any(|(name, fd)| {
            let theirs = nix::sys::stat::stat(format!("/proc/{pid}/ns/{name}").as_str());
            let ours = nix::sys::stat::fstat(fd.as_fd());
            matches!((theirs, ours), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
        })
    }
}

fn mount_namespace() -> io::Result<File> {
    File::open("/proc/thread-self/ns/mnt")
}

/// Whether the kernel will let a mount namespace be mounted as a file in another one: its number must be larger. Since
/// Linux 6.18 each processor has a supply of numbers of its own, so that a younger one may have a smaller number; on the
/// processor that made the older one it never has. `true` where the kernel (before 6.11) does not tell the numbers.
fn can_be_kept(new: &File, within: &File) -> bool {
    nix::ioctl_read!(ns_get_mntns_id, 0xb7, 5, u64);
    let number = |namespace: &File| {
        let mut id = 0;
        // SAFETY: the request (NS_GET_MNTNS_ID of linux/nsfs.h) writes one u64, into `id`.
        unsafe { ns_get_mntns_id(namespace.as_raw_fd(), &mut id) }.ok().map(|_| id)
    };
    number(new).zip(number(within)).is_none_or(|(new, within)| new > within)
}

/// Parts all mounts of the calling thread's mount namespace, which must be its own, from those of other namespaces:
/// `MS_PRIVATE` or `MS_SLAVE`. In a chroot the directory that is the root becomes the root of the namespace on the way:
/// whoever enters a namespace later comes out at its root, and only mounts can be parted or exchanged.
///
/// # Errors
/// With the step that the kernel refused.
pub fn part_mounts(kind: MsFlags) -> io::Result<()> {
    let part = || mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | kind, None::<&str>);
    let step = |what: &'static str| move |e: Errno| said(what, e);
    match part() {
        Err(Errno::EINVAL) => {}
        other => return other.map_err(step("cannot part the mounts from the host's")),
    }
    let root = File::options().read(true).custom_flags(libc::O_DIRECTORY).open("/")?;
    let own = File::open("/proc/thread-self/ns/mnt")?;
    // Entering the namespace that one is in leads to its root.
    setns(&own, CloneFlags::CLONE_NEWNS).map_err(step("cannot leave the chroot"))?;
    part().map_err(step("cannot part the mounts from the host's"))?;
    nix::unistd::fchdir(&root).map_err(step("cannot find the chroot"))?;
    let root = std::env::current_dir()?;
    mount(Some(&root), &root, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(step("cannot make the chroot a mount"))?;
    nix::unistd::chdir(&root).map_err(step("cannot enter the chroot"))?;
    nix::unistd::pivot_root(".", ".").map_err(step("cannot make the chroot the root of the namespace"))?;
    // The old root lies over the new one now.
    umount2(".", MntFlags::MNT_DETACH).map_err(step("cannot let go of the root outside the chroot"))?;
    nix::unistd::chdir("/").map_err(step("cannot enter the root"))
}

fn said(what: &str, e: Errno) -> io::Error {
    let e = io::Error::from(e);
    io::Error::new(e.kind(), format!("{what}: {e}"))
}

/// Makes `dir` a mount of its own that shares nothing, so that namespaces can be kept below it; fine if it is one.
///
/// # Errors
/// When the kernel refuses.
pub fn make_private(dir: &Path) -> io::Result<()> {
    let private = || mount(None::<&str>, dir, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>);
    match private() {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => {
            mount(Some(dir), dir, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(private()?)
        }
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_prepared_inside_is_seen_inside_only_and_outlives_its_maker() {
        let dir = std::env::temp_dir().join(format!("shoal-namespace-test-{}", std::process::id()));
        let place = dir.join("place");
        std::fs::create_dir_all(&place).unwrap();
        make_private(&dir).unwrap();
        make_private(&dir).unwrap();
        let made = Namespaces::create(|| {
            nix::unistd::sethostname("inside")?;
            Ok(mount(Some("none"), &place, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
        });
        let made = made.unwrap();
        made.keep_at(&dir).unwrap();
        drop(made);
        let again = Namespaces::open(&dir).unwrap();
        let script = format!("hostname; touch {0}/seen; ls {0}; pwd", place.display());
        let output = again.command("sh", Some(place.clone()), true).args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, format!("inside\nseen\n{}\n", place.display()));
        assert!(!place.join("seen").exists());
        assert!(!again.hold(std::process::id()));
        assert_ne!(nix::unistd::gethostname().unwrap(), "inside");
        Namespaces::forget(&dir).unwrap();
        Namespaces::forget(&dir).unwrap();
        assert!(Namespaces::open(&dir).is_err());
        umount2(&dir, MntFlags::MNT_DETACH).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// As in a container, or below `unshare -m`: the mount namespace around them is of any processor's numbers.
    #[test]
    fn in_a_mount_namespace_of_any_processor_they_can_be_kept() {
        let dir = std::env::temp_dir().join(format!("shoal-kept-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        for cpu in (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)) {
            let inside = || {
                let mut only = CpuSet::new();
                only.set(cpu).unwrap();
                sched_setaffinity(Pid::from_raw(0), &only).unwrap();
                unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
                sched_setaffinity(Pid::from_raw(0), &allowed).unwrap();
                mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
                make_private(&dir).unwrap();
                for _ in 0..20 {
                    Namespaces::create(|| Ok(())).unwrap().keep_at(&dir).unwrap();
                    Namespaces::forget(&dir).unwrap();
                }
            };
            std::thread::scope(|s| s.spawn(inside).join().unwrap());
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// A chroot is no mount point: the kernel neither parts its mounts nor exchanges it, and a process that enters the
    /// namespace would come out at the host's root.
    #[test]
    fn made_in_a_chroot_they_have_its_root() {
        let dir = std::env::temp_dir().join(format!("shoal-chroot-test-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("proc")).unwrap();
        std::fs::create_dir_all(dir.join("bin")).unwrap();
        std::fs::write(dir.join("here"), "").unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists()).unwrap();
        std::fs::copy(busybox, dir.join("bin/busybox")).unwrap();
        let text = std::thread::scope(|s| {
            let inside = || {
                // A mount namespace around it, so that nothing stays of the test's own mount.
                unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
                mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
                mount(Some("proc"), &dir.join("proc"), Some("proc"), MsFlags::empty(), None::<&str>).unwrap();
                nix::unistd::chroot(&dir).unwrap();
                nix::unistd::chdir("/").unwrap();
                let made = Namespaces::create(|| Ok(nix::unistd::sethostname("inside")?)).unwrap();
                let script = ["sh", "-c", "/bin/busybox hostname; /bin/busybox ls /"];
                // There is no /dev/null for it in here.
                let mut command = made.command("/bin/busybox", None, false);
                let output = command.args(script).stdin(std::process::Stdio::inherit()).output().unwrap();
                assert!(output.status.success(), "{output:?}");
                String::from_utf8(output.stdout).unwrap()
            };
            s.spawn(inside).join().unwrap()
        });
        assert_eq!(text, "inside\nbin\nhere\nproc\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
