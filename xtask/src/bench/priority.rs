//! Numbers from a machine that others use too: what is measured gets the CPU first, and how much the others took is
//! told.
use std::path::{Path, PathBuf};

const GROUP: &str = "shoal-bench";
/// Where both engines put containers.
const CONTAINERS: &str = "docker";
const ROOT: &str = "/sys/fs/cgroup";
/// Sixteen times a process's usual weight: first, but never alone.
const SHARES: &str = "16384";

/// While it lives, this process and what it starts come first.
pub struct Priority {
    containers_were: Option<String>,
}

/// CPU time of everybody, and of what is measured, in seconds.
#[derive(Clone, Copy)]
pub struct Clock {
    busy: f64,
    ours: f64,
    at: std::time::Instant,
}

fn v1(controller: &str, group: &str, file: &str) -> PathBuf {
    Path::new(ROOT).join(controller).join(group).join(file)
}

impl Priority {
    /// Takes it. Best effort: without control groups the numbers are only noisier.
    pub fn take() -> Self {
        let pid = std::process::id().to_string();
        for controller in ["cpu", "cpuacct"] {
            let _ = std::fs::create_dir_all(v1(controller, GROUP, ""));
            let _ = std::fs::write(v1(controller, GROUP, "cgroup.procs"), &pid);
        }
        let _ = std::fs::write(v1("cpu", GROUP, "cpu.shares"), SHARES);
        let _ = std::fs::create_dir_all(v1("cpu", CONTAINERS, ""));
        let _ = std::fs::create_dir_all(v1("cpuacct", CONTAINERS, ""));
        let shares = v1("cpu", CONTAINERS, "cpu.shares");
        let containers_were = std::fs::read_to_string(&shares).ok();
        let _ = std::fs::write(&shares, SHARES);
        Self { containers_were }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        let pid = std::process::id().to_string();
        for controller in ["cpu", "cpuacct"] {
            let _ = std::fs::write(v1(controller, "", "cgroup.procs"), &pid);
            let _ = std::fs::remove_dir(v1(controller, GROUP, ""));
        }
        if let Some(shares) = &self.containers_were {
            let _ = std::fs::write(v1("cpu", CONTAINERS, "cpu.shares"), shares.trim());
        }
    }
}

impl Clock {
    /// Now.
    pub fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let words: Vec<f64> =
            stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|w| w.parse().ok()).collect();
        let ticks: f64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|i| words.get(*i)).sum();
        let used = |group| {
            let text = std::fs::read_to_string(v1("cpuacct", group, "cpuacct.usage")).unwrap_or_default();
            text.trim().parse::<f64>().unwrap_or(0.0) / 1e9
        };
        Self { busy: ticks / 100.0, ours: used(GROUP) + used(CONTAINERS), at: std::time::Instant::now() }
    }

    /// CPU seconds of what is measured, and the part of the whole machine that others used, since `before`.
    pub fn since(&self, before: &Self) -> (f64, f64) {
        let cpus = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let ours = self.ours - before.ours;
        let wall = (self.at - before.at).as_secs_f64().max(0.001);
        (ours, ((self.busy - before.busy - ours) / wall / cpus).clamp(0.0, 1.0))
    }
}
