//! Looks at the machine and at the root file system for the pure part.
use crate::launch::Launch;
use crate::plan::{HostNode, Surroundings};
use kernel::cgroup::Layout;
use kernel::mount::RootDir;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Larger account files are cut.
const ACCOUNTS_MAX: u64 = 16 << 20;

/// What `plan` must know for this container.
pub(crate) fn look(launch: &Launch, init_binary: &Path) -> Surroundings {
    let mut nodes = BTreeMap::new();
    if launch.privileged {
        nodes.insert(PathBuf::from("/dev"), nodes_below(Path::new("/dev")));
    } else {
        for device in &launch.devices {
            nodes.insert(device.host.clone(), nodes_below(&device.host));
        }
    }
    Surroundings { nodes, init_binary: init_binary.to_owned(), ..accounts(&launch.rootfs) }
}

/// Only the accounts of a root, and the machine's capabilities.
pub(crate) fn accounts(root: &Path) -> Surroundings {
    let read =
        |path: &str| RootDir::open_at(root).and_then(|root| root.read_text(path, ACCOUNTS_MAX)).unwrap_or_default();
    Surroundings {
        cgroups: Layout::of_this_machine().clone(),
        passwd: read("/etc/passwd"),
        group: read("/etc/group"),
        capabilities: kernel::process::capabilities().map(|own| own.bounding & own.permitted).unwrap_or(0),
        nodes: BTreeMap::new(),
        init_binary: PathBuf::new(),
    }
}

/// The node at `path`, or all below it.
fn nodes_below(path: &Path) -> Vec<HostNode> {
    let mut found = Vec::new();
    let Ok(meta) = std::fs::metadata(path) else { return found };
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            // Links in /dev only lead to other nodes.
            if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
                found.extend(nodes_below(&entry.path()));
            }
        }
    } else if meta.file_type().is_char_device() || meta.file_type().is_block_device() {
        found.push(HostNode {
            path: path.to_owned(),
            kind: if meta.file_type().is_block_device() { 'b' } else { 'c' },
            major: libc::major(meta.rdev()).into(),
            minor: libc::minor(meta.rdev()).into(),
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
        });
    }
    found
}

/// Numbers of a block device node.
pub(crate) fn block_device(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(path).ok().filter(|meta| meta.file_type().is_block_device())?;
    Some((libc::major(meta.rdev()).into(), libc::minor(meta.rdev()).into()))
}
