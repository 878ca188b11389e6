//! Overlay mounts with any number of layers that the kernel takes.
//!
//! The option text of `mount(2)` is one page, so the lower directories are named relative to a directory of short links,
//! and the call is made by a thread of its own whose working directory is that one.
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs},
};
use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What to mount.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// Directory that the names in `lower` are relative to.
    pub lower_base: PathBuf,
    /// Topmost first; no `:` or `,` in the names.
    pub lower: Vec<String>,
    /// Upper and work directory; none makes it read-only.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// Where.
    pub target: PathBuf,
}

impl Overlay {
    /// Mounts it. No deviations from plain directories are allowed in the upper tree (no redirects, no metadata-only
    /// copies), so that it can be read as a layer; kernels that do not know those options are asked without.
    pub fn mount(&self) -> io::Result<()> {
        let plain = self.options("");
        let strict = self.options(",index=off,redirect_dir=nofollow,metacopy=off");
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_FS)?;
                    std::env::set_current_dir(&self.lower_base)?;
                    match self.call(&strict) {
                        Err(Errno::EINVAL) => self.call(&plain),
                        other => other,
                    }
                    .map_err(io::Error::from)
                })
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("mount thread panicked")))
        })
    }

    fn options(&self, more: &str) -> String {
        let mut options = format!("lowerdir={}", self.lower.join(":"));
        if let Some((upper, work)) = &self.upper {
            options.push_str(&format!(",upperdir={},workdir={}", escape(upper), escape(work)));
        }
        options + more
    }

    fn call(&self, options: &str) -> Result<(), Errno> {
        let flags = if self.upper.is_none() { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        mount(Some("overlay"), &self.target, Some("overlay"), flags, Some(options))
    }
}

/// Commas and backslashes end an option's value unless escaped.
fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:")
}

/// Whether an overlay is mounted at this very directory.
pub fn is_mounted(target: &Path) -> bool {
    let Ok(kind) = statfs(target) else { return false };
    if kind.filesystem_type() != OVERLAYFS_SUPER_MAGIC {
        return false;
    }
    let parent = target.parent().unwrap_or(target);
    match (std::fs::metadata(target), std::fs::metadata(parent)) {
        (Ok(here), Ok(above)) => here.dev() != above.dev() || here.ino() == above.ino(),
        _ => false,
    }
}

/// Takes a mount away, at once if nobody is in it, else as soon as the last one has left. Fine if there is none.
pub fn unmount(target: &Path) -> io::Result<()> {
    loop {
        match umount2(target, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => continue,
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY) => {}
            Err(e) => return Err(e.into()),
        }
        match umount2(target, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Takes a mount away unless somebody uses it. Fine if there is none.
pub fn unmount_if_idle(target: &Path) -> io::Result<()> {
    match umount2(target, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::EBUSY) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Mounts any filesystem, with options as `mount(8)` takes them (`bind,ro` or `addr=…,nfsvers=4`).
pub fn mount_with_options(source: &str, target: &Path, kind: &str, options: &str) -> io::Result<()> {
    let parsed = crate::mount::parse_options(options.split(',').filter(|o| !o.is_empty()));
    let flags = parsed.flags;
    let bind = flags.contains(MsFlags::MS_BIND);
    mount(
        Some(source),
        target,
        Some(kind).filter(|k| !k.is_empty() && *k != "none"),
        flags,
        Some(parsed.data.as_str()).filter(|d| !d.is_empty() && !bind),
    )?;
    // A bind mount takes its other flags in a second step only.
    let rest = flags & !(MsFlags::MS_BIND | MsFlags::MS_REC);
    if bind && !rest.is_empty() {
        mount(None::<&str>, target, None::<&str>, rest | MsFlags::MS_BIND | MsFlags::MS_REMOUNT, None::<&str>)?;
    }
    Ok(())
}
