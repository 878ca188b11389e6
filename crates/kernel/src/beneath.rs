//! Work inside a directory tree that nothing can lead out of: paths are resolved by `openat2(RESOLVE_IN_ROOT)`, so that
//! `..`, absolute names and symbolic links made by whoever owns the tree stay below its root, as after a chroot.
//!
//! [`Root`] resolves whole paths; [`Dir`] is one directory and takes single names only, never following a link in the
//! last place.
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat, renameat},
    sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fstat, fstatat, makedev, mkdirat, mknodat, utimensat},
    sys::time::TimeSpec,
    unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat},
};
use std::{
    ffi::{CString, OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

/// How often a resolution that raced with a rename is tried again.
const RACE_RETRIES_MAX: usize = 64;
/// Deepest tree that is removed or walked.
const DEPTH_MAX: usize = 1024;

/// What `stat` says, in plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Device the file is on.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Hard links.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Modification time, seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Change time.
    pub ctime: (i64, i64),
}

impl Stat {
    fn of(s: &libc::stat) -> Self {
        Self {
            dev: s.st_dev,
            ino: s.st_ino,
            mode: s.st_mode,
            // Narrower on other architectures.
            #[allow(clippy::unnecessary_cast)]
            nlink: s.st_nlink as u64,
            uid: s.st_uid,
            gid: s.st_gid,
            rdev: s.st_rdev,
            size: s.st_size.max(0) as u64,
            blocks: s.st_blocks.max(0) as u64,
            mtime: (s.st_mtime, s.st_mtime_nsec),
            ctime: (s.st_ctime, s.st_ctime_nsec),
        }
    }
    /// The type bits (`S_IFREG` and so on).
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }
    /// Directory?
    pub fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }
    /// Regular file?
    pub fn is_file(&self) -> bool {
        self.kind() == libc::S_IFREG
    }
    /// Symbolic link?
    pub fn is_symlink(&self) -> bool {
        self.kind() == libc::S_IFLNK
    }
    /// Character device 0/0: overlayfs' mark of a deleted name.
    pub fn is_whiteout(&self) -> bool {
        self.kind() == libc::S_IFCHR && self.rdev == 0
    }
    /// Major and minor of `rdev`.
    pub fn device(&self) -> (u32, u32) {
        (nix::sys::stat::major(self.rdev) as u32, nix::sys::stat::minor(self.rdev) as u32)
    }
}

/// A node that is neither file nor directory nor link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Character device.
    Character(u32, u32),
    /// Block device.
    Block(u32, u32),
    /// Named pipe.
    Fifo,
}

/// The root of a tree.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// One open directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

fn resolve(base: BorrowedFd<'_>, path: &Path, flags: OFlag, rules: ResolveFlag) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(rules | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..RACE_RETRIES_MAX {
        match openat2(base, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::EAGAIN.into())
}

fn one_name(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(Errno::EINVAL.into());
    }
    Ok(name)
}

impl Root {
    /// Opens a directory as the root of all that follows. The path itself is trusted.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { fd })
    }
    /// The root itself as a directory.
    pub fn top(&self) -> io::Result<Dir> {
        Ok(Dir { fd: self.fd.try_clone()? })
    }
    /// A directory inside; links are followed within the root.
    pub fn dir(&self, path: &Path) -> io::Result<Dir> {
        let fd = resolve(self.fd.as_fd(), path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, ResolveFlag::RESOLVE_IN_ROOT)?;
        Ok(Dir { fd })
    }
    /// A regular file inside, for reading; links are followed within the root.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        Ok(File::from(resolve(self.fd.as_fd(), path, flags, ResolveFlag::RESOLVE_IN_ROOT)?))
    }
    /// `stat` of a path, following links within the root.
    pub fn stat(&self, path: &Path) -> io::Result<Stat> {
        let fd = resolve(self.fd.as_fd(), path, OFlag::O_PATH, ResolveFlag::RESOLVE_IN_ROOT)?;
        Ok(Stat::of(&fstat(&fd)?))
    }
    /// `stat` of a path; a link in the last place is looked at, not followed.
    pub fn lstat(&self, path: &Path) -> io::Result<Stat> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let fd = resolve(self.fd.as_fd(), path, flags, ResolveFlag::RESOLVE_IN_ROOT)?;
        Ok(Stat::of(&fstat(&fd)?))
    }
    /// A directory inside, made with its parents (mode 0755) where missing. Tells which directories were made.
    pub fn make_dirs(&self, path: &Path) -> io::Result<(Dir, Vec<PathBuf>)> {
        match self.dir(path) {
            Ok(dir) => return Ok((dir, Vec::new())),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            Err(e) => return Err(e),
        }
        let (mut at, mut made, mut so_far) = (self.top()?, Vec::new(), PathBuf::new());
        for component in path.components() {
            let Component::Normal(name) = component else {
                if matches!(component, Component::ParentDir) {
                    return Err(Errno::EINVAL.into());
                }
                continue;
            };
            so_far.push(name);
            at = match self.dir(&so_far) {
                Ok(dir) => dir,
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                    at.make_dir(name, 0o755)?;
                    made.push(so_far.clone());
                    at.dir(name)?
                }
                Err(e) => return Err(e),
            };
        }
        Ok((at, made))
    }
    /// Where a path leads when all its links are followed within the root, as an absolute path inside.
    pub fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let target = resolve(self.fd.as_fd(), path, OFlag::O_PATH, ResolveFlag::RESOLVE_IN_ROOT)?;
        let root = std::fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))?;
        let full = std::fs::read_link(format!("/proc/self/fd/{}", target.as_raw_fd()))?;
        let inner = full.strip_prefix(&root).map_err(|_| io::Error::from(Errno::EXDEV))?;
        Ok(Path::new("/").join(inner))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens a trusted path.
    pub fn open(path: &Path) -> io::Result<Self> {
        Root::open(path).map(|root| Self { fd: root.fd })
    }
    /// Another handle on the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }
    /// `stat` of the directory itself.
    pub fn own_stat(&self) -> io::Result<Stat> {
        Ok(Stat::of(&fstat(&self.fd)?))
    }
    /// A child directory; a link is refused.
    pub fn dir(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self { fd: openat(&self.fd, one_name(name)?, flags, Mode::empty())? })
    }
    /// A child file for reading; a link is refused, a pipe does not block.
    pub fn file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, one_name(name)?, flags, Mode::empty())?))
    }
    /// A new file for writing; it must not be there yet.
    pub fn create_file(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, one_name(name)?, flags, Mode::from_bits_truncate(mode & 0o7777))?))
    }
    /// A new directory.
    pub fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(mkdirat(&self.fd, one_name(name)?, Mode::from_bits_truncate(mode & 0o7777))?)
    }
    /// A new symbolic link.
    pub fn make_symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(symlinkat(target, &self.fd, one_name(name)?)?)
    }
    /// A new hard link here to a file in `from`; a link there is not followed.
    pub fn make_hard_link(&self, from: &Dir, old: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(linkat(&from.fd, one_name(old)?, &self.fd, one_name(name)?, AtFlags::empty())?)
    }
    /// A new device node or pipe.
    pub fn make_node(&self, name: &OsStr, node: Node, mode: u32) -> io::Result<()> {
        let (kind, device) = match node {
            Node::Character(major, minor) => (SFlag::S_IFCHR, makedev(major.into(), minor.into())),
            Node::Block(major, minor) => (SFlag::S_IFBLK, makedev(major.into(), minor.into())),
            Node::Fifo => (SFlag::S_IFIFO, 0),
        };
        Ok(mknodat(&self.fd, one_name(name)?, kind, Mode::from_bits_truncate(mode & 0o7777), device)?)
    }
    /// `stat` of a child, not following it.
    pub fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(Stat::of(&fstatat(&self.fd, one_name(name)?, AtFlags::AT_SYMLINK_NOFOLLOW)?))
    }
    /// Where a child link points.
    pub fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        Ok(readlinkat(&self.fd, one_name(name)?)?)
    }
    /// Names inside, sorted.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))? {
            names.push(entry?.file_name());
        }
        names.sort();
        Ok(names)
    }
    /// Owner of a child.
    pub fn set_owner(&self, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(fchownat(&self.fd, one_name(name)?, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }
    /// Permissions of a child; a link is refused.
    pub fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let child = openat(&self.fd, one_name(name)?, flags, Mode::empty())?;
        if Stat::of(&fstat(&child)?).is_symlink() {
            return Err(Errno::ELOOP.into());
        }
        // The magic link names the very file that was opened, whatever has happened to its name since.
        let path = format!("/proc/self/fd/{}", child.as_raw_fd());
        Ok(nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            path.as_str(),
            Mode::from_bits_truncate(mode & 0o7777),
            FchmodatFlags::FollowSymlink,
        )?)
    }
    /// Modification (and access) time of a child.
    pub fn set_mtime(&self, name: &OsStr, seconds: i64, nanos: i64) -> io::Result<()> {
        let time = TimeSpec::new(seconds, nanos);
        Ok(utimensat(&self.fd, one_name(name)?, &time, &time, UtimensatFlags::NoFollowSymlink)?)
    }
    /// Moves a child to another directory of the same filesystem, replacing what is there.
    pub fn rename(&self, name: &OsStr, to: &Dir, new: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.fd, one_name(name)?, &to.fd, one_name(new)?)?)
    }
    /// Removes a child with all that is in it. Fine if it is gone.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        self.remove_at_depth(one_name(name)?, 0)
    }
    fn remove_at_depth(&self, name: &OsStr, depth: usize) -> io::Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(e) => return Err(e.into()),
        }
        if depth > DEPTH_MAX {
            return Err(Errno::ELOOP.into());
        }
        let child = self.dir(name)?;
        for inner in child.names()? {
            child.remove_at_depth(&inner, depth + 1)?;
        }
        match unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
    /// Sets an extended attribute of a child.
    pub fn set_xattr(&self, name: &OsStr, key: &OsStr, value: &[u8]) -> io::Result<()> {
        let (path, key) = (self.proc_path(name)?, CString::new(key.as_bytes())?);
        // SAFETY: three valid pointers with their lengths, which the call only reads; `l` does not follow the last name,
        // and what is before it is the directory held by `self.fd`.
        let rc = unsafe { libc::lsetxattr(path.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
        Errno::result(rc)?;
        Ok(())
    }
    /// Reads an extended attribute of a child.
    pub fn xattr(&self, name: &OsStr, key: &OsStr) -> io::Result<Option<Vec<u8>>> {
        get_xattr(&self.proc_path(name)?, &CString::new(key.as_bytes())?)
    }
    /// All extended attributes of a child; none where the filesystem has none.
    pub fn xattrs(&self, name: &OsStr) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        list_xattrs(&self.proc_path(name)?)
    }
    /// Copies owner, permissions, times and attributes of the directory itself from another one.
    pub fn copy_attributes_from(&self, from: &Dir) -> io::Result<()> {
        let s = from.own_stat()?;
        nix::unistd::fchown(&self.fd, Some(Uid::from_raw(s.uid)), Some(Gid::from_raw(s.gid)))?;
        nix::sys::stat::fchmod(&self.fd, Mode::from_bits_truncate(s.mode & 0o7777))?;
        let mtime = TimeSpec::new(s.mtime.0, s.mtime.1);
        nix::sys::stat::futimens(&self.fd, &mtime, &mtime)?;
        Ok(())
    }
    /// Owner, permissions and time of the directory itself.
    pub fn set_own_attributes(&self, uid: u32, gid: u32, mode: u32, mtime: (i64, i64)) -> io::Result<()> {
        nix::unistd::fchown(&self.fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        nix::sys::stat::fchmod(&self.fd, Mode::from_bits_truncate(mode & 0o7777))?;
        let mtime = TimeSpec::new(mtime.0, mtime.1);
        Ok(nix::sys::stat::futimens(&self.fd, &mtime, &mtime)?)
    }
    fn proc_path(&self, name: &OsStr) -> io::Result<CString> {
        let mut path = format!("/proc/self/fd/{}/", self.fd.as_raw_fd()).into_bytes();
        path.extend_from_slice(one_name(name)?.as_bytes());
        Ok(CString::new(path)?)
    }
}

/// Owner, permissions and time of an open file.
pub fn set_file_attributes(file: &File, owner: Option<(u32, u32)>, mode: u32, mtime: (i64, i64)) -> io::Result<()> {
    if let Some((uid, gid)) = owner {
        nix::unistd::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    nix::sys::stat::fchmod(file, Mode::from_bits_truncate(mode & 0o7777))?;
    let mtime = TimeSpec::new(mtime.0, mtime.1);
    Ok(nix::sys::stat::futimens(file, &mtime, &mtime)?)
}

/// Puts all that was written to the filesystem of `path` on the disk.
pub fn sync_filesystem(path: &Path) -> io::Result<()> {
    let dir = Dir::open(path)?;
    // SAFETY: a system call on a descriptor that lives until after it.
    Errno::result(unsafe { libc::syncfs(dir.fd.as_raw_fd()) })?;
    Ok(())
}

fn get_xattr(path: &CString, key: &CString) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0u8; 256];
    loop {
        // SAFETY: the buffer is valid for the length given with it; the strings end in NUL.
        let n = unsafe { libc::lgetxattr(path.as_ptr(), key.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        match Errno::result(n) {
            Ok(n) => {
                value.truncate(n as usize);
                return Ok(Some(value));
            }
            Err(Errno::ENODATA | Errno::ENOTSUP) => return Ok(None),
            Err(Errno::ERANGE) if value.len() < 1 << 17 => value.resize(value.len() * 4, 0),
            Err(e) => return Err(e.into()),
        }
    }
}

fn list_xattrs(path: &CString) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let mut names = vec![0u8; 1024];
    let length = loop {
        // SAFETY: the buffer is valid for the length given with it; the path ends in NUL.
        let n = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
        match Errno::result(n) {
            Ok(n) => break n as usize,
            Err(Errno::ENOTSUP) => return Ok(Vec::new()),
            Err(Errno::ERANGE) if names.len() < 1 << 17 => names.resize(names.len() * 4, 0),
            Err(e) => return Err(e.into()),
        }
    };
    let mut found = Vec::new();
    for name in names[..length].split(|&b| b == 0).filter(|n| !n.is_empty()) {
        if let Some(value) = get_xattr(path, &CString::new(name)?)? {
            found.push((OsString::from_vec(name.to_vec()), value));
        }
    }
    Ok(found)
}
