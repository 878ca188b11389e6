//! What this kernel's control groups can limit: controllers may be compiled out, or be switched off at boot.
use super::Layout;
use std::path::{Path, PathBuf};

/// What can be limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Memory.
    pub memory: bool,
    /// Memory and swap together.
    pub swap: bool,
    /// That the group as a whole is not killed for want of memory (version 1 only).
    pub oom_kill_disable: bool,
    /// Processor time within a period.
    pub cpu_quota: bool,
    /// Shares of processor time.
    pub cpu_shares: bool,
    /// Which processors.
    pub cpuset: bool,
    /// Number of processes.
    pub pids: bool,
}

impl Abilities {
    /// Those of a machine whose groups are mounted like this.
    pub fn of(layout: &Layout) -> Self {
        if layout.is_v2() {
            return layout.v2.as_deref().map(Self::of_v2).unwrap_or_default();
        }
        let has = |controller: &str, file: &str| layout.v1.get(controller).is_some_and(|dir| dir.join(file).exists());
        Self {
            memory: has("memory", "memory.limit_in_bytes"),
            swap: has("memory", "memory.memsw.limit_in_bytes"),
            oom_kill_disable: has("memory", "memory.oom_control"),
            cpu_quota: has("cpu", "cpu.cfs_quota_us"),
            cpu_shares: has("cpu", "cpu.shares"),
            cpuset: has("cpuset", "cpuset.cpus"),
            // The root of the hierarchy has no limit of its own.
            pids: layout.v1.contains_key("pids"),
        }
    }

    fn of_v2(root: &Path) -> Self {
        let controllers = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let has = |name: &str| controllers.split_whitespace().any(|c| c == name);
        // The root has no limits of its own: a group below it tells.
        let below: Vec<PathBuf> =
            std::fs::read_dir(root).map(|dir| dir.flatten().map(|e| e.path()).collect()).unwrap_or_default();
        let limits = |file: &str| below.iter().any(|group| group.join(file).exists());
        let memory = has("memory");
        let swap = memory && (limits("memory.swap.max") || !limits("memory.max"));
        let (cpu, cpuset, pids) = (has("cpu"), has("cpuset"), has("pids"));
        Self { memory, swap, oom_kill_disable: false, cpu_quota: cpu, cpu_shares: cpu, cpuset, pids }
    }

    /// What is missing, in dockerd's words.
    pub fn warnings(&self) -> Vec<String> {
        let missing = [
            (self.memory, "No memory limit support"),
            (!self.memory || self.swap, "No swap limit support"),
            (self.cpu_quota, "No cpu cfs quota support"),
            (self.cpu_quota, "No cpu cfs period support"),
            (self.cpu_shares, "No cpu shares support"),
            (self.cpuset, "No cpuset support"),
            (self.pids, "No pids limit support"),
        ];
        missing.iter().filter(|(there, _)| !there).map(|(_, text)| format!("WARNING: {text}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mounted_cannot_be_limited() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let mut v1 = Layout::default();
        for controller in ["memory", "cpu", "pids"] {
            v1.v1.insert(controller.into(), dir.path().join(controller));
        }
        for file in ["memory/memory.limit_in_bytes", "cpu/cpu.shares", "cpu/cpu.cfs_quota_us"] {
            make(file);
        }
        let abilities = Abilities::of(&v1);
        assert!(abilities.memory && abilities.cpu_shares && abilities.cpu_quota && abilities.pids, "{abilities:?}");
        assert_eq!(abilities.warnings(), ["WARNING: No swap limit support", "WARNING: No cpuset support"]);

        let v2 = Layout { v2: Some(dir.path().join("unified")), ..Layout::default() };
        make("unified/cgroup.controllers");
        std::fs::write(dir.path().join("unified/cgroup.controllers"), "cpuset cpu io memory\n").unwrap();
        make("unified/some.slice/memory.max");
        let abilities = Abilities::of(&v2);
        assert_eq!(abilities.warnings(), ["WARNING: No swap limit support", "WARNING: No pids limit support"]);
        make("unified/some.slice/memory.swap.max");
        assert!(Abilities::of(&v2).swap);
    }
}
