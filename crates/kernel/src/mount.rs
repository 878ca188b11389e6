//! Mounts and paths below a directory that is not to be trusted.
use nix::mount::{MntFlags, MsFlags};
use nix::sys::statfs::FsType;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

const RESOLVE_IN_ROOT: u64 = 0x10;
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;

/// A directory that is the root of every look-up made through it: neither `..` nor a symbolic link leads out.
#[derive(Debug)]
pub struct RootDir(OwnedFd);

impl RootDir {
    /// The directory at `path` (in the caller's view).
    pub fn open_at(path: &Path) -> io::Result<Self> {
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
        Ok(Self(nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())?))
    }

    /// Opens `path` below the root.
    pub fn open(&self, path: impl AsRef<Path>, flags: i32) -> io::Result<OwnedFd> {
        self.open_mode(path.as_ref(), flags, 0)
    }

    fn open_mode(&self, path: &Path, flags: i32, mode: u64) -> io::Result<OwnedFd> {
        #[repr(C)]
        struct OpenHow {
            flags: u64,
            mode: u64,
            resolve: u64,
        }
        let text = CString::new(path.as_os_str().as_bytes())?;
        let how = OpenHow { flags: flags as u64, mode, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
        // The kernel answers EAGAIN when a rename happened meanwhile.
        for _ in 0..128 {
            // SAFETY: a terminated path and a structure of the size that is passed along.
            let fd = unsafe {
                libc::syscall(
                    libc::SYS_openat2,
                    self.0.as_raw_fd(),
                    text.as_ptr(),
                    &raw const how,
                    size_of::<OpenHow>(),
                )
            };
            if fd >= 0 {
                // SAFETY: the kernel just gave us this descriptor.
                return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
            }
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EAGAIN) {
                return Err(error);
            }
        }
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    }

    /// A descriptor that only names `path`.
    pub fn locate(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open(path, libc::O_PATH | libc::O_CLOEXEC)
    }

    /// Makes the directory and those above it (mode 0755), following links within the root; returns it.
    pub fn make_dirs(&self, path: &Path) -> io::Result<OwnedFd> {
        if let Ok(fd) = self.open(path, libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) {
            return Ok(fd);
        }
        let mut reached = PathBuf::from("/");
        for part in path.components() {
            match part {
                Component::Normal(name) => {
                    let parent = self.open(&reached, libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)?;
                    reached.push(name);
                    match nix::sys::stat::mkdirat(&parent, name, nix::sys::stat::Mode::from_bits_truncate(0o755)) {
                        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Component::ParentDir => {
                    reached.pop();
                }
                _ => {}
            }
        }
        self.open(&reached, libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
    }

    /// Makes an empty file if there is nothing; returns it.
    pub fn make_file(&self, path: &Path) -> io::Result<OwnedFd> {
        if let Ok(fd) = self.locate(path) {
            return Ok(fd);
        }
        if let Some(parent) = path.parent() {
            self.make_dirs(parent)?;
        }
        drop(self.open_mode(path, libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW, 0o644)?);
        self.locate(path)
    }

    /// Reads a small text file below the root (at most `limit` bytes).
    pub fn read_text(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
        let fd = self.open(path, libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK)?;
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(std::fs::File::from(fd), limit), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A path that means what the descriptor means, as long as it is open, for calls that take paths.
pub fn fd_path(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Major and minor number if it is a character device.
pub fn device_numbers(fd: impl AsFd) -> io::Result<Option<(u64, u64)>> {
    let stat = nix::sys::stat::fstat(fd)?;
    let character = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
    Ok(character.then(|| (nix::sys::stat::major(stat.st_rdev), nix::sys::stat::minor(stat.st_rdev))))
}

/// Opens a file for exec through a private read-only view of its mount, so that nobody who gets hold of the running
/// program (`/proc/<pid>/exe`) can write to it. Kernels before 5.12: plain.
pub fn open_read_only(path: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC;
    let plain = || Ok(nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())?);
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a terminated path and flags.
    let tree = unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            text.as_ptr(),
            libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC,
        )
    };
    if tree < 0 {
        return plain();
    }
    // SAFETY: the kernel just gave us this descriptor.
    let tree = unsafe { OwnedFd::from_raw_fd(tree as RawFd) };
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 };
    // SAFETY: an empty path with AT_EMPTY_PATH means the descriptor; the structure has the size that is passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result < 0 { plain() } else { Ok(tree) }
}

/// Mounts a tmpfs (`data`: `mode=0700,size=1m`), without devices, programs and setuid.
pub fn tmpfs(path: &Path, data: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID;
    Ok(nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(data))?)
}

/// Unmounts lazily; fine if nothing is mounted there.
pub fn unmount_lazy(path: &Path) -> io::Result<()> {
    match nix::mount::umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What mount options mean: flags, and data for the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// Flags of the mount itself.
    pub flags: MsFlags,
    /// Propagation to be set afterwards.
    pub propagation: Option<MsFlags>,
    /// The rest, for the file system.
    pub data: String,
}

/// Sorts textual mount options (`ro`, `nosuid`, `rslave`, `size=64m`).
pub fn parse_options<'a>(options: impl IntoIterator<Item = &'a str>) -> MountOptions {
    let mut parsed = MountOptions { flags: MsFlags::empty(), propagation: None, data: String::new() };
    let mut data: Vec<&str> = Vec::new();
    for option in options {
        let (set, flag) = match option {
            "" | "defaults" => continue,
            "ro" => (true, MsFlags::MS_RDONLY),
            "rw" => (false, MsFlags::MS_RDONLY),
            "nosuid" => (true, MsFlags::MS_NOSUID),
            "suid" => (false, MsFlags::MS_NOSUID),
            "nodev" => (true, MsFlags::MS_NODEV),
            "dev" => (false, MsFlags::MS_NODEV),
            "noexec" => (true, MsFlags::MS_NOEXEC),
            "exec" => (false, MsFlags::MS_NOEXEC),
            "sync" => (true, MsFlags::MS_SYNCHRONOUS),
            "async" => (false, MsFlags::MS_SYNCHRONOUS),
            "dirsync" => (true, MsFlags::MS_DIRSYNC),
            "mand" => (true, MsFlags::MS_MANDLOCK),
            "nomand" => (false, MsFlags::MS_MANDLOCK),
            "noatime" => (true, MsFlags::MS_NOATIME),
            "atime" => (false, MsFlags::MS_NOATIME),
            "nodiratime" => (true, MsFlags::MS_NODIRATIME),
            "diratime" => (false, MsFlags::MS_NODIRATIME),
            "relatime" => (true, MsFlags::MS_RELATIME),
            "norelatime" => (false, MsFlags::MS_RELATIME),
            "strictatime" => (true, MsFlags::MS_STRICTATIME),
            "nostrictatime" => (false, MsFlags::MS_STRICTATIME),
            "bind" => (true, MsFlags::MS_BIND),
            "rbind" => (true, MsFlags::MS_BIND | MsFlags::MS_REC),
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" | "unbindable" | "runbindable" => {
                let (recursive, kind) = match option.strip_prefix('r') {
                    Some(rest) => (MsFlags::MS_REC, rest),
                    None => (MsFlags::empty(), option),
                };
                let kind = match kind {
                    "private" => MsFlags::MS_PRIVATE,
                    "slave" => MsFlags::MS_SLAVE,
                    "shared" => MsFlags::MS_SHARED,
                    _ => MsFlags::MS_UNBINDABLE,
                };
                parsed.propagation = Some(kind | recursive);
                continue;
            }
            // Hints for Docker's own consistency model and for SELinux, without meaning to the kernel.
            "z" | "Z" | "consistent" | "cached" | "delegated" | "nocopy" => continue,
            other => {
                data.push(other);
                continue;
            }
        };
        parsed.flags.set(flag, set);
    }
    parsed.data = data.join(",");
    parsed
}

/// A path as `/proc/PID/mountinfo` writes it: blanks and their like as octal numbers, a space as `\040`.
pub fn unescape(text: &str) -> PathBuf {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|o| u8::from_str_radix(o, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out.into()
}

/// What kind of file system a directory is on, as Docker calls it.
pub fn filesystem_name(dir: &Path) -> &'static str {
    // include/uapi/linux/magic.h; zfs has its own.
    const NAMES: [(u32, &str); 8] = [
        (0xef53, "extfs"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x794c_7630, "overlayfs"),
        (0xf2f5_2010, "f2fs"),
        (0x6969, "nfs"),
        (0x2fc1_2fc1, "zfs"),
    ];
    let kind = nix::sys::statfs::statfs(dir).map(|s| s.filesystem_type());
    NAMES.iter().find(|(m, _)| kind == Ok(FsType(*m as _))).map_or("<unknown>", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_spells_spaces_in_octal() {
        assert_eq!(unescape("/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(unescape("/plain"), Path::new("/plain"));
    }

    #[test]
    fn options_are_sorted() {
        let parsed = parse_options(["ro", "nosuid", "rw", "rslave", "size=64m", "mode=1777"]);
        assert_eq!(parsed.flags, MsFlags::MS_NOSUID);
        assert_eq!(parsed.propagation, Some(MsFlags::MS_SLAVE | MsFlags::MS_REC));
        assert_eq!(parsed.data, "size=64m,mode=1777");
    }

    #[test]
    fn links_do_not_lead_out() {
        let dir = std::env::temp_dir().join(format!("shoal-rootdir-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink("/", dir.join("out")).unwrap();
        std::os::unix::fs::symlink("../../..", dir.join("up")).unwrap();
        let root = RootDir::open_at(&dir).unwrap();
        root.make_dirs(Path::new("/out/made/here")).unwrap();
        root.make_file(Path::new("/up/made/file")).unwrap();
        assert!(dir.join("made/here").is_dir());
        assert!(dir.join("made/file").is_file());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
