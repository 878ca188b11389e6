//! What a machine holds in the kernel, and what of it is still there after it was removed. Other engines and other labs
//! work on the same host meanwhile, so only what was seen to be this machine's counts.
use crate::lab::Lab;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CGROUP_DEPTH_MAX: usize = 6;
/// For what the kernel takes down in the background.
const WAIT: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Debug, Default)]
pub struct Traces {
    /// What the machines had on the host's file systems.
    directories: BTreeSet<PathBuf>,
    /// With their start times: numbers are given again.
    processes: BTreeMap<u32, u64>,
    containers: BTreeSet<String>,
    programs: BTreeSet<u64>,
    /// Names with hardware addresses: a link that was moved to the host keeps both.
    links: BTreeSet<(String, String)>,
}

impl Traces {
    /// Looks at a machine, before it is removed. One that is off holds no more than its disk.
    pub fn note(&mut self, lab: &Lab, name: &str) {
        let Ok(record) = lab.machine(name) else { return };
        let (processes, containers) = lab.inhabitants(&record);
        self.processes.extend(processes);
        self.containers.extend(containers);
        self.directories.extend(lab.directories(name));
        // Every machine sees all programs of the kernel, but only its own pins.
        for attached in inside(lab, name, &["bpftool", "--json", "--bpffs", "link", "show"]) {
            let pins = attached["pinned"].as_array().into_iter().flatten();
            let here = |p: &Value| p.as_str().is_some_and(|p| p.starts_with("/run/shoal/bpf/"));
            if pins.into_iter().any(here) {
                self.programs.extend(attached["prog_id"].as_u64());
            }
        }
        for attached in inside(lab, name, &["bpftool", "--json", "net", "show"]) {
            let hooks = attached["tc"].as_array().into_iter().flatten();
            self.programs.extend(hooks.filter_map(|h| h["id"].as_u64().or_else(|| h["prog_id"].as_u64())));
        }
        for link in inside(lab, name, &["ip", "--json", "link", "show"]) {
            if let (Some(name), Some(address)) = (link["ifname"].as_str(), link["address"].as_str())
                && name != "lo"
            {
                self.links.insert((name.to_owned(), address.to_owned()));
            }
        }
    }

    /// What of it is still there, once the kernel has had the time to take it down.
    pub fn left(&self, lab: &Lab) -> Vec<String> {
        let deadline = Instant::now() + WAIT;
        loop {
            let left = self.left_now(lab);
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn left_now(&self, lab: &Lab) -> Vec<String> {
        let mut directories = self.directories.clone();
        if lab.machines().is_empty() {
            directories.extend(lab.own_directories());
        }
        let mut left: Vec<String> =
            directories.iter().filter(|d| d.exists()).map(|d| format!("directory {}", d.display())).collect();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = |point: &str| directories.iter().any(|d| Path::new(point).starts_with(d));
        let points = mounts.lines().filter_map(|l| l.split(' ').nth(4));
        left.extend(points.filter(|p| ours(p)).map(|p| format!("mount {p}")));
        let pids = names("/proc").into_iter().filter_map(|n| n.parse().ok());
        left.extend(pids.filter_map(|pid| self.process_left(pid)));
        self.groups_left(Path::new("/sys/fs/cgroup"), CGROUP_DEPTH_MAX, &mut left);
        let loaded = |id: &u64| succeeds(Command::new("bpftool").args(["prog", "show", "id", &id.to_string()]));
        left.extend(self.programs.iter().filter(|id| loaded(id)).map(|id| format!("BPF program {id}")));
        for name in names("/sys/class/net") {
            let address = std::fs::read_to_string(format!("/sys/class/net/{name}/address")).unwrap_or_default();
            if self.links.contains(&(name.clone(), address.trim().to_owned())) {
                left.push(format!("interface {name}"));
            }
        }
        left
    }

    fn process_left(&self, pid: u32) -> Option<String> {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // A zombie has no command line: only whoever started it has not asked for it yet.
        if line.is_empty() {
            return None;
        }
        let seen = self.processes.get(&pid).is_some_and(|s| kernel::process::start_time(pid).ok() == Some(*s));
        let groups = || std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let contained = || groups().split(['/', '\n', '-', '.']).any(|g| self.containers.contains(g));
        (seen || contained()).then(|| format!("process {pid} {}", String::from_utf8_lossy(&line).replace('\0', " ")))
    }

    /// Control groups that are named by a container's id, also with an init system's words around it.
    fn groups_left(&self, dir: &Path, depth: usize, left: &mut Vec<String>) {
        for name in names(dir) {
            let path = dir.join(&name);
            if !path.is_dir() || path.is_symlink() {
                continue;
            }
            if name.split(['-', '.']).any(|part| self.containers.contains(part)) {
                left.push(format!("control group {}", path.display()));
            } else if depth > 0 {
                self.groups_left(&path, depth - 1, left);
            }
        }
    }
}

/// What a tool says in JSON on a machine; nothing if it is off or has no such tool.
fn inside(lab: &Lab, name: &str, words: &[&str]) -> Vec<Value> {
    let Ok(mut command) = lab.command(name, words[0]) else { return Vec::new() };
    let output = command.args(&words[1..]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said: Value = output.ok().and_then(|o| serde_json::from_slice(&o.stdout).ok()).unwrap_or_default();
    said.as_array().cloned().unwrap_or_default()
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_on_is_named_and_what_has_ended_is_not() {
        let lab = Lab::at(Path::new("/nonexistent/lab"), Path::new("/nonexistent/shoal"));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        // A program that is just being started has no command line yet.
        let command_line = format!("/proc/{}/cmdline", child.id());
        let deadline = Instant::now() + WAIT;
        while std::fs::read(&command_line).unwrap().is_empty() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let mut traces = Traces::default();
        traces.processes.insert(child.id(), kernel::process::start_time(child.id()).unwrap());
        traces.processes.insert(std::process::id(), 1);
        traces.directories.insert(PathBuf::from("/proc"));
        let left = traces.left_now(&lab);
        assert!(left.contains(&format!("process {} sleep 60 ", child.id())), "{left:?}");
        assert!(left.contains(&"directory /proc".to_owned()) && left.contains(&"mount /proc".to_owned()), "{left:?}");
        assert!(!left.iter().any(|l| l.starts_with(&format!("process {} ", std::process::id()))), "{left:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        traces.directories.clear();
        assert_eq!(traces.left_now(&lab), Vec::<String>::new());
    }
}
