//! The container's view of the file system: mounts, device nodes, what is hidden; then everything else goes away.
use super::{During, Failure, Result, in_words};
use crate::plan::{Node, Plan, PlannedMount};
use kernel::mount::{RootDir, device_numbers, fd_path, parse_options};
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const NONE: Option<&str> = None;

/// Builds the root and moves into it. Returns the terminal, whose master is sent over `console`.
pub(super) fn build(plan: &Plan, console: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
    let wants = |words: [&str; 2]| {
        plan.mounts.iter().any(|mount| mount.options.iter().any(|option| words.contains(&option.as_str())))
    };
    let propagation = if wants(["shared", "rshared"]) {
        None
    } else if wants(["slave", "rslave"]) {
        Some(MsFlags::MS_SLAVE)
    } else {
        Some(MsFlags::MS_PRIVATE)
    };
    match propagation {
        Some(kind) => kernel::namespace::part_mounts(kind).during("cannot build the root")?,
        None => part_root(&plan.rootfs)?,
    }
    mount(Some(&plan.rootfs), &plan.rootfs, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .during(format_args!("error mounting \"{}\"", plan.rootfs.display()))?;
    mount(NONE, &plan.rootfs, NONE, MsFlags::MS_PRIVATE, NONE).during("cannot part the root")?;
    let root = RootDir::open_at(&plan.rootfs).during(format_args!("cannot open {}", plan.rootfs.display()))?;
    for planned in &plan.mounts {
        make_mount(&root, planned).map_err(|error| Failure {
            exit_code: if error.raw_os_error() == Some(libc::ENOTDIR) { 126 } else { 128 },
            message: format!(
                "error mounting \"{}\" to rootfs at \"{}\": {}",
                planned.source.display(),
                planned.target.display(),
                in_words(&error)
            ),
        })?;
    }
    nix::sys::stat::umask(Mode::empty());
    for node in &plan.nodes {
        make_node(&root, node).during(format_args!("error creating device nodes: {}", node.path.display()))?;
    }
    for (link, text) in &plan.links {
        make_link(&root, link, text).during(format_args!("cannot link {}", link.display()))?;
    }
    let terminal = match console {
        Some(console) => Some(make_terminal(&root, &console)?),
        None => None,
    };
    // A missing working directory is made, as long as the root can be written to.
    let _ = root.make_dirs(Path::new(&plan.process.cwd));
    pivot(&root)?;
    hide(plan)?;
    Ok(terminal)
}

/// Some mount is to be shared with the host, so only the one that carries the root is parted from it.
fn part_root(rootfs: &Path) -> Result<()> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").during("cannot read mountinfo")?;
    let parent = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(kernel::mount::unescape))
        .filter(|point| rootfs.starts_with(point))
        .max_by_key(|point| point.components().count())
        .unwrap_or_else(|| PathBuf::from("/"));
    mount(NONE, &parent, NONE, MsFlags::MS_PRIVATE, NONE).during("cannot part from the host's mounts")?;
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE, NONE).during("cannot part from the host's mounts")
}

fn make_mount(root: &RootDir, planned: &PlannedMount) -> io::Result<()> {
    let options = parse_options(planned.options.iter().map(String::as_str));
    if planned.kind == "bind" {
        // Links below a volume are its users': followed there and nowhere else.
        let below = match planned.subpath.as_os_str().is_empty() {
            true => None,
            false => Some(RootDir::open_at(&planned.source)?.locate(&planned.subpath)?),
        };
        let source = below.as_ref().map_or_else(|| planned.source.clone(), fd_path);
        let target = if std::fs::metadata(&source)?.is_dir() {
            root.make_dirs(&planned.target)?
        } else {
            root.make_file(&planned.target)?
        };
        let how = MsFlags::MS_BIND | (options.flags & MsFlags::MS_REC);
        mount(Some(&source), &fd_path(&target), NONE, how, NONE)?;
        let flags = options.flags - MsFlags::MS_BIND - MsFlags::MS_REC;
        if !flags.is_empty() {
            restrict(&root.locate(&planned.target)?, flags)?;
        }
    } else {
        let mut data = options.data.clone();
        if planned.kind == "tmpfs"
            && !data.contains("mode=")
            && let Ok(covered) = root.locate(&planned.target)
        {
            let mode = nix::sys::stat::fstat(&covered)?.st_mode & 0o7777;
            data.push_str(&format!("{}mode={mode:o}", if data.is_empty() { "" } else { "," }));
        }
        let target = root.make_dirs(&planned.target)?;
        let data = (!data.is_empty()).then_some(data.as_str());
        mount(Some(&planned.source), &fd_path(&target), Some(planned.kind.as_str()), options.flags, data)?;
    }
    if let Some(propagation) = options.propagation {
        let mounted = root.locate(&planned.target)?;
        mount(NONE, &fd_path(&mounted), NONE, propagation, NONE)?;
    }
    Ok(())
}

/// Adds restrictions to a mount, keeping those that it has.
fn restrict(target: &OwnedFd, more: MsFlags) -> io::Result<()> {
    let now = fstatvfs(target)?.flags();
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | more;
    for (have, flag) in [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        flags.set(flag, flags.contains(flag) || now.contains(have));
    }
    Ok(mount(NONE, &fd_path(target), NONE, flags, NONE)?)
}

fn make_node(root: &RootDir, node: &Node) -> io::Result<()> {
    let (parent, name) = split(&node.path)?;
    let parent = root.make_dirs(parent)?;
    let kind = if node.kind == 'b' { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    match mknodat(&parent, name, kind, Mode::from_bits_truncate(node.mode), makedev(node.major, node.minor)) {
        Ok(()) => {
            let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
            let (uid, gid) = (nix::unistd::Uid::from_raw(node.uid), nix::unistd::Gid::from_raw(node.gid));
            Ok(nix::unistd::fchownat(&parent, name, Some(uid), Some(gid), flags)?)
        }
        Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn make_link(root: &RootDir, link: &Path, text: &Path) -> io::Result<()> {
    let (parent, name) = split(link)?;
    let parent = root.make_dirs(parent)?;
    match nix::unistd::symlinkat(text, &parent, name) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    path.parent().zip(path.file_name()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A terminal of the container's own devpts, also seen as /dev/console.
fn make_terminal(root: &RootDir, console: &OwnedFd) -> Result<OwnedFd> {
    let pty = kernel::pty::open_in(root).during("cannot open a terminal")?;
    let place = root.make_file(Path::new("/dev/console")).during("cannot make /dev/console")?;
    mount(Some(&fd_path(&pty.slave)), &fd_path(&place), NONE, MsFlags::MS_BIND, NONE)
        .during("cannot mount /dev/console")?;
    let fds = [pty.master.as_raw_fd()];
    sendmsg::<()>(
        console.as_raw_fd(),
        &[IoSlice::new(b"m")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        None,
    )
    .during("cannot hand over the terminal")?;
    Ok(pty.slave)
}

/// Makes the new root the only one.
fn pivot(root: &RootDir) -> Result<()> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let old = nix::fcntl::open("/", flags, Mode::empty()).during("cannot open the old root")?;
    nix::unistd::fchdir(root.as_fd()).during("cannot enter the root")?;
    nix::unistd::pivot_root(".", ".").during("cannot change the root")?;
    // The old root lies over the new one now. What happens to it here must not happen on the host.
    nix::unistd::fchdir(&old).during("cannot reach the old root")?;
    mount(NONE, ".", NONE, MsFlags::MS_SLAVE | MsFlags::MS_REC, NONE).during("cannot part from the old root")?;
    umount2(".", MntFlags::MNT_DETACH).during("cannot leave the old root")?;
    nix::unistd::chdir("/").during("cannot enter the root")
}

/// Read-only and masked paths, and the root itself.
fn hide(plan: &Plan) -> Result<()> {
    let root = RootDir::open_at(Path::new("/")).during("cannot open the root")?;
    if plan.read_only_root {
        restrict(&root.locate("/").during("cannot open the root")?, MsFlags::MS_RDONLY)
            .during("cannot make the root read-only")?;
    }
    for path in &plan.readonly_paths {
        let result = (|| {
            let Ok(place) = root.locate(path) else { return Ok(()) };
            mount(Some(&fd_path(&place)), &fd_path(&place), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
            restrict(&root.locate(path)?, MsFlags::MS_RDONLY)
        })();
        result.during(format_args!("can't make \"{path}\" read-only"))?;
    }
    let null = root.locate("/dev/null").during("cannot open /dev/null")?;
    if !plan.masked_paths.is_empty() && device_numbers(&null).during("cannot look at /dev/null")? != Some((1, 3)) {
        return Err(Failure {
            exit_code: 128,
            message: "/dev/null of the container is not the null device".to_owned(),
        });
    }
    for path in &plan.masked_paths {
        let result = (|| -> io::Result<()> {
            let Ok(place) = root.locate(path) else { return Ok(()) };
            let is_dir = nix::sys::stat::fstat(&place)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
            if is_dir {
                mount(Some("tmpfs"), &fd_path(&place), Some("tmpfs"), MsFlags::MS_RDONLY, Some("size=0k"))?;
            } else {
                mount(Some(&fd_path(&null)), &fd_path(&place), NONE, MsFlags::MS_BIND, NONE)?;
            }
            Ok(())
        })();
        result.during(format_args!("can't mask path \"{path}\""))?;
    }
    Ok(())
}
