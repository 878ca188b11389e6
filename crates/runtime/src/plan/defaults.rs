//! What every container gets unless it asks otherwise.
use super::{Node, PlannedMount, Surroundings, bind};
use crate::launch::{Launch, NamespaceMode};
use std::path::{Path, PathBuf};

pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Links in /dev, made after the mounts.
pub(super) const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Masked and read-only paths.
pub(crate) const HIDDEN: (&[&str], &[&str]) = (
    &[
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ],
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
);

/// kind, major, minor, access.
pub(super) const DEVICE_RULES: [(char, Option<u64>, Option<u64>, &str); 11] = [
    ('c', None, None, "m"),
    ('b', None, None, "m"),
    ('c', Some(1), Some(3), "rwm"),
    ('c', Some(1), Some(5), "rwm"),
    ('c', Some(1), Some(7), "rwm"),
    ('c', Some(1), Some(8), "rwm"),
    ('c', Some(1), Some(9), "rwm"),
    ('c', Some(5), Some(0), "rwm"),
    ('c', Some(5), Some(1), "rwm"),
    ('c', Some(5), Some(2), "rwm"),
    ('c', Some(136), None, "rwm"),
];

/// Device nodes of every container.
pub(super) fn nodes() -> Vec<Node> {
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
        .map(|(name, major, minor)| Node {
            path: PathBuf::from("/dev").join(name),
            kind: 'c',
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .into()
}

/// Names in /dev that a container has of its own, also a privileged one.
pub(super) fn is_own_device(path: &Path) -> bool {
    ["/dev/console", "/dev/ptmx", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd"]
        .iter()
        .any(|own| path.starts_with(own))
}

/// The default mounts, without those that the user's replace.
pub(super) fn mounts(
    launch: &Launch,
    here: &Surroundings,
    cgroup: &Path,
    links: &mut Vec<(PathBuf, PathBuf)>,
) -> Vec<PlannedMount> {
    let mount = |target: &str, kind: &str, options: &[&str]| PlannedMount {
        target: PathBuf::from(target),
        kind: kind.to_owned(),
        source: PathBuf::from(kind),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..PlannedMount::default()
    };
    let access = if launch.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
    ];
    cgroup_mounts(here, cgroup, access, &mut mounts, links);
    // It shows the queues of whatever IPC namespace it is mounted in.
    mounts.push(mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    if launch.ipc == NamespaceMode::Host {
        mounts.push(bind("/dev/shm".into(), "/dev/shm", &["rbind", "nosuid", "noexec", "nodev"]));
    } else if launch.shm_size >= 0 {
        let size = if launch.shm_size > 0 { launch.shm_size } else { 64 << 20 };
        let size = format!("size={size}");
        mounts.push(mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
    }
    mounts.retain(|default| !launch.mounts.iter().any(|own| default.target.starts_with(&own.target)));
    mounts
}

/// Version 1: never a mount of type `cgroup`, which a container could write to, but read-only views of its own group.
fn cgroup_mounts(
    here: &Surroundings,
    cgroup: &Path,
    access: &str,
    mounts: &mut Vec<PlannedMount>,
    links: &mut Vec<(PathBuf, PathBuf)>,
) {
    let top = PathBuf::from("/sys/fs/cgroup");
    let options = |more: &[&str]| {
        ["nosuid", "noexec", "nodev"].iter().chain(more).map(|option| (*option).to_owned()).collect::<Vec<_>>()
    };
    if here.cgroups.is_v2() {
        let options = options(&[access]);
        mounts.push(PlannedMount {
            target: top,
            kind: "cgroup2".into(),
            source: "cgroup".into(),
            options,
            ..PlannedMount::default()
        });
        return;
    }
    let tmpfs = PlannedMount {
        target: top.clone(),
        kind: "tmpfs".into(),
        source: "tmpfs".into(),
        options: options(&["mode=755"]),
        ..PlannedMount::default()
    };
    mounts.push(tmpfs);
    for (controller, dir) in here.cgroups.v1.iter().chain(&here.cgroups.named) {
        let name = dir.file_name().map_or_else(|| controller.clone(), |name| name.to_string_lossy().into_owned());
        let target = top.join(&name);
        if *controller != name && here.cgroups.v1.contains_key(controller) {
            links.push((top.join(controller), PathBuf::from(&name)));
        }
        if !mounts.iter().any(|mount| mount.target == target) {
            let options = options(&["rbind", "rprivate", access]);
            mounts.push(PlannedMount {
                target,
                kind: "bind".into(),
                source: dir.join(cgroup),
                options,
                ..PlannedMount::default()
            });
        }
    }
}
