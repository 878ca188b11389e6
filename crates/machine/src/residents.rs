//! The processes and control groups of a machine: there is no PID namespace around them, so they are searched.
use crate::error::{MachineError, Result};
use kernel::cgroup::{Cgroup, Layout};
use kernel::namespace::Namespaces;
use kernel::process::PidFd;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KILL_SECONDS: u64 = 10;
const CGROUP_DEPTH_MAX: usize = 6;

/// How a machine's processes are recognised: by its namespaces, by the containers on its disk, and by descent.
pub struct Residents<'a> {
    /// The machine's name, for messages.
    pub name: &'a str,
    /// Its namespaces, if it is on.
    pub namespaces: Option<&'a Namespaces>,
    /// Ids of the containers on its disk.
    pub containers: BTreeSet<String>,
}

/// The ids of the containers that a daemon left on a disk.
pub fn containers_on(disk: &Path) -> BTreeSet<String> {
    let is_id = |n: &String| n.len() == 64 && n.bytes().all(|b| b.is_ascii_hexdigit());
    let entries = std::fs::read_dir(disk.join("containers")).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).filter(is_id).collect()
}

struct Seen {
    parent: u32,
    started: u64,
}

impl Residents<'_> {
    /// Process numbers with start times; zombies do not count.
    pub fn processes(&self) -> BTreeMap<u32, u64> {
        let all = all_processes();
        let mut ours: BTreeSet<u32> = all.keys().copied().filter(|pid| self.is_ours(*pid)).collect();
        loop {
            let before = ours.len();
            ours.extend(all.iter().filter(|(_, p)| ours.contains(&p.parent)).map(|(pid, _)| *pid).collect::<Vec<_>>());
            if ours.len() == before {
                break;
            }
        }
        ours.remove(&std::process::id());
        ours.into_iter().filter_map(|pid| Some((pid, all.get(&pid)?.started))).collect()
    }

    fn is_ours(&self, pid: u32) -> bool {
        if self.namespaces.is_some_and(|n| n.hold(pid)) {
            return true;
        }
        if self.containers.is_empty() {
            return false;
        }
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.split(['/', '\n', '-', '.']).any(|part| self.containers.contains(part))
    }

    /// Sends `signal` to all of them.
    pub fn signal(&self, signal: i32) {
        for (pid, started) in self.processes() {
            if let Ok(process) = PidFd::open_started(pid, started) {
                // Gone meanwhile is as good.
                let _ = process.signal(signal);
            }
        }
    }

    /// Waits until none is left; `false` if some still are.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            reap(left.keys());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills all of them, again and again until none is left, and removes the containers' control groups.
    ///
    /// # Errors
    /// When some cannot be killed.
    pub fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(KILL_SECONDS);
        for id in &self.containers {
            // A paused process does not die before it goes on; most are not paused.
            let _ = Cgroup::at(Path::new("docker").join(id)).freeze(false);
        }
        loop {
            self.signal(nix::libc::SIGKILL);
            if self.wait_gone(Duration::from_millis(100)) {
                break;
            }
            if Instant::now() >= deadline {
                let pids = self.processes().into_keys().collect();
                return Err(MachineError::Immortal { name: self.name.to_owned(), seconds: KILL_SECONDS, pids });
            }
        }
        self.remove_cgroups();
        Ok(())
    }

    fn remove_cgroups(&self) {
        if self.containers.is_empty() {
            return;
        }
        let layout = Layout::of_this_machine();
        let roots = layout.v1.values().chain(layout.named.values()).chain(layout.v2.iter());
        let mut groups = Vec::new();
        for root in roots {
            collect(root, &self.containers, false, CGROUP_DEPTH_MAX, &mut groups);
        }
        // Children stand behind their parents.
        for group in groups.iter().rev() {
            let deadline = Instant::now() + Duration::from_secs(1);
            // A group is busy for a moment after its last process has ended.
            while std::fs::remove_dir(group).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound) {
                if Instant::now() > deadline {
                    tracing::warn!(group = %group.display(), "a control group could not be removed");
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        for parent in groups.iter().filter_map(|g| g.parent()) {
            if parent.ends_with("docker") {
                // Only when it is empty.
                let _ = std::fs::remove_dir(parent);
            }
        }
    }
}

fn collect(dir: &Path, ids: &BTreeSet<String>, inside: bool, depth: usize, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let here = inside || name.split(['-', '.']).any(|part| ids.contains(part));
        if here {
            found.push(entry.path());
        }
        if here || depth > 0 {
            collect(&entry.path(), ids, here, depth.saturating_sub(1), found);
        }
    }
}

fn all_processes() -> BTreeMap<u32, Seen> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, seen(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// Parent and start time from a `stat` line; `None` for a process that has ended.
fn seen(stat: &str) -> Option<Seen> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Seen { parent, started })
}

/// Those that are our own children leave no zombie behind.
fn reap<'p>(pids: impl Iterator<Item = &'p u32>) {
    for pid in pids {
        let pid = nix::unistd::Pid::from_raw(*pid as i32);
        // "Not a child of ours" is the usual answer.
        let _ = nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_name() {
        let me = std::process::id();
        let stat = std::fs::read_to_string(format!("/proc/{me}/stat")).unwrap();
        assert_eq!(seen(&stat).unwrap().started, kernel::process::start_time(me).unwrap());
        assert!(seen("7 (a) b) Z 1 2 3").is_none());
    }

    #[test]
    fn only_ids_count_as_containers() {
        let dir = std::env::temp_dir().join(format!("shoal-residents-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("containers").join("a".repeat(64))).unwrap();
        std::fs::create_dir_all(dir.join("containers/leftover")).unwrap();
        assert_eq!(containers_on(&dir), ["a".repeat(64)].into());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
