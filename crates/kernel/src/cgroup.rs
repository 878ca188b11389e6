//! Control groups, version 1 (with or without a version 2 tree beside it) and version 2.
mod abilities;
mod devices;
mod limits;

pub use abilities::Abilities;
pub use limits::{DeviceRule, Limits, Rate};

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How this machine mounts its control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Version 1 controllers (`memory`, …) and where each is mounted; empty on a version 2 machine.
    pub v1: BTreeMap<String, PathBuf>,
    /// Version 1 hierarchies without a controller (`systemd`).
    pub named: BTreeMap<String, PathBuf>,
    /// The version 2 tree, if there is one.
    pub v2: Option<PathBuf>,
}

impl Layout {
    /// The layout that this process sees, read once.
    pub fn of_this_machine() -> &'static Self {
        static LAYOUT: OnceLock<Layout> = OnceLock::new();
        LAYOUT.get_or_init(|| Self::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()))
    }

    /// Reads a `mountinfo` text.
    pub fn parse(mountinfo: &str) -> Self {
        let mut layout = Self::default();
        for line in mountinfo.lines() {
            let Some((place, kind)) = line.split_once(" - ") else { continue };
            let Some(dir) = place.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut kind = kind.split(' ');
            match (kind.next(), kind.nth(1)) {
                (Some("cgroup2"), _) => {
                    layout.v2.get_or_insert(dir);
                }
                (Some("cgroup"), Some(options)) => {
                    for option in options.split(',') {
                        if let Some(name) = option.strip_prefix("name=") {
                            layout.named.entry(name.to_owned()).or_insert_with(|| dir.clone());
                        } else if !matches!(option, "rw" | "ro" | "none" | "xattr" | "clone_children" | "noprefix")
                            && !option.contains('=')
                        {
                            layout.v1.entry(option.to_owned()).or_insert_with(|| dir.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// Whether version 2 does all the work.
    pub fn is_v2(&self) -> bool {
        self.v1.is_empty()
    }

    fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.v1.values().chain(self.named.values()).chain(self.v2.iter())
    }
}

/// One group: the same path in every hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The group at `path` below each hierarchy's root (`docker/<id>`); `..` parts are dropped.
    pub fn at(path: impl AsRef<Path>) -> Self {
        let parts = path.as_ref().components().filter(|part| matches!(part, std::path::Component::Normal(_)));
        Self { path: parts.collect() }
    }

    /// The path below each hierarchy's root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a controller's files of this group are (`memory`); on version 2 all are in one directory.
    pub fn dir(&self, controller: &str) -> Option<PathBuf> {
        let layout = Layout::of_this_machine();
        let root = if layout.is_v2() { layout.v2.as_ref() } else { layout.v1.get(controller) };
        root.map(|root| root.join(&self.path))
    }

    /// The group's directory in every hierarchy, without repetition.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = Layout::of_this_machine().roots().map(|root| root.join(&self.path)).collect();
        dirs.sort();
        dirs.dedup();
        dirs
    }

    /// Files that a process writes `0` to, to be in the group.
    pub fn join_files(&self) -> Vec<PathBuf> {
        self.dirs().into_iter().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Makes the group in every hierarchy; fine if it is there.
    pub fn create(&self) -> io::Result<()> {
        let layout = Layout::of_this_machine();
        for dir in self.dirs() {
            std::fs::create_dir_all(&dir).map_err(|error| at(&dir, error))?;
        }
        if let Some(root) = layout.v1.get("cpuset") {
            // A new cpuset is empty, and an empty one takes no process.
            let mut dir = root.clone();
            for part in &self.path {
                let parent = dir.clone();
                dir.push(part);
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let now = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
                    if now.trim().is_empty() {
                        let value =
                            std::fs::read_to_string(parent.join(file)).map_err(|e| at(&parent.join(file), e))?;
                        write(&dir.join(file), value.trim())?;
                    }
                }
            }
        }
        if let (true, Some(root)) = (layout.is_v2(), &layout.v2) {
            let mut dir = root.clone();
            for part in &self.path {
                let offered = std::fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
                for controller in offered.split_whitespace() {
                    // One by one: a controller that cannot be handed down must not take the others along.
                    let _ = std::fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
                }
                dir.push(part);
            }
        }
        Ok(())
    }

    /// Processes of the group and of the groups below it, as this process numbers them.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let layout = Layout::of_this_machine();
        let root = layout
            .v1
            .get("pids")
            .or_else(|| layout.v1.get("devices"))
            .or_else(|| layout.v1.values().next())
            .or(layout.v2.as_ref())
            .ok_or_else(|| io::Error::other("no control groups are mounted"))?;
        let mut pids = Vec::new();
        walk(&root.join(&self.path), &mut |dir| {
            if let Ok(text) = std::fs::read_to_string(dir.join("cgroup.procs")) {
                pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            }
        });
        Ok(pids)
    }

    /// Stops all processes where they are, or lets them go on; returns when they are all stopped (or after two seconds).
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let (file, value, state, want) = match Layout::of_this_machine().v1.get("freezer") {
            Some(root) => {
                let dir = root.join(&self.path);
                let value = if frozen { "FROZEN" } else { "THAWED" };
                (dir.join("freezer.state"), value, dir.join("freezer.state"), value.to_owned())
            }
            None => {
                let dir = self.dir("freezer").ok_or_else(|| io::Error::other("no freezer is mounted"))?;
                let value = if frozen { "1" } else { "0" };
                (dir.join("cgroup.freeze"), value, dir.join("cgroup.events"), format!("frozen {value}"))
            }
        };
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            write(&file, value)?;
            let now = std::fs::read_to_string(&state).map_err(|error| at(&state, error))?;
            if now.lines().any(|line| line == want) {
                return Ok(());
            }
            if Instant::now() > deadline {
                if frozen {
                    let _ = write(&file, if value == "1" { "0" } else { "THAWED" });
                }
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{} stays {}", file.display(), now.trim()),
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many processes the kernel killed here for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let Some(dir) = self.dir("memory") else { return 0 };
        let file = dir.join(if Layout::of_this_machine().is_v2() { "memory.events" } else { "memory.oom_control" });
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }

    /// Kills every process of the group and of those below.
    pub fn kill_all(&self) -> io::Result<()> {
        let own = std::process::id();
        for pid in self.pids()? {
            if pid != own {
                let _ =
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL);
            }
        }
        Ok(())
    }

    /// Kills what is left in the group and removes it, and the groups below it, from every hierarchy.
    pub fn remove(&self) -> io::Result<()> {
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut frozen = true;
        loop {
            let mut left = None;
            for dir in self.dirs() {
                if let Err(error) = remove_tree(&dir) {
                    left = Some(at(&dir, error));
                }
            }
            let Some(error) = left else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(error);
            }
            // A stopped process does not die before it goes on.
            if std::mem::take(&mut frozen) {
                let _ = self.freeze(false);
            }
            let _ = self.kill_all();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(()) => return Ok(()),
        Err(_) => {}
    }
    for entry in std::fs::read_dir(dir)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match std::fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(dir);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    // Never creates: a missing file is a controller that is not there.
    let mut file = std::fs::OpenOptions::new().write(true).open(path).map_err(|error| at(path, error))?;
    io::Write::write_all(&mut file, value.as_bytes())
        .map_err(|error| at(path, io::Error::new(error.kind(), format!("cannot write \"{value}\": {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let hybrid = Layout::parse(
            "30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert!(!hybrid.is_v2());
        assert_eq!(hybrid.v1["cpuacct"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(hybrid.named["systemd"], Path::new("/sys/fs/cgroup/systemd"));
        assert_eq!(hybrid.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        let pure = Layout::parse("31 30 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
        assert!(pure.is_v2());
    }

    #[test]
    fn a_path_stays_below_the_root() {
        assert_eq!(Cgroup::at("/docker/../../x").path(), Path::new("docker/x"));
    }

    #[test]
    fn made_and_removed_with_children() {
        let group = Cgroup::at(format!("shoal-test-{}/a", std::process::id()));
        group.create().unwrap();
        for dir in group.dirs() {
            std::fs::create_dir(dir.join("below")).unwrap();
        }
        group.remove().unwrap();
        Cgroup::at(group.path().parent().unwrap()).remove().unwrap();
        assert!(group.dirs().iter().all(|dir| !dir.exists()));
    }
}
