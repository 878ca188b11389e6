//! The BPF file system: where pinned maps, programs and links live on after the process that made them.
use nix::mount::{MntFlags, MsFlags};
use nix::sys::statfs::{FsType, statfs};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Whether `path` lies on a BPF file system.
pub fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|s| s.filesystem_type() == FsType(BPF_FS_MAGIC as _))
}

/// Makes `path` a directory on a BPF file system: mounts one there unless it lies on one already.
pub fn mount(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    if is_bpffs(path) {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("bpf"), path, Some("bpf"), flags, Some("mode=0700")).map_err(io::Error::from)
}

/// Takes the mount at `path` away, if `path` is the root of a BPF file system; what is pinned there is let go.
pub fn unmount(path: &Path) -> io::Result<()> {
    let (Some(parent), Ok(own)) = (path.parent(), std::fs::metadata(path)) else { return Ok(()) };
    if !is_bpffs(path) || std::fs::metadata(parent)?.dev() == own.dev() {
        return Ok(());
    }
    nix::mount::umount2(path, MntFlags::MNT_DETACH).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_once_and_goes_away() {
        let dir = std::env::temp_dir().join(format!("shoal-bpffs-{}", std::process::id()));
        mount(&dir).unwrap();
        mount(&dir).unwrap();
        assert!(is_bpffs(&dir));
        std::fs::create_dir(dir.join("a")).unwrap();
        mount(&dir.join("a")).unwrap();
        unmount(&dir.join("a")).unwrap();
        assert!(is_bpffs(&dir.join("a")), "a directory inside is not a mount of its own");
        unmount(&dir).unwrap();
        assert!(!is_bpffs(&dir));
        std::fs::remove_dir(&dir).unwrap();
    }
}
