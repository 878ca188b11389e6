//! What a lab holds in the kernel, and what of it is still there afterwards. Other labs run beside this one, so only
//! what was seen to be this lab's counts.
use machine::Lab;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// What was seen.
#[derive(Default)]
pub struct Traces {
    run: Option<std::path::PathBuf>,
    /// With their start times: numbers are given again, those of namespaces too.
    processes: BTreeMap<String, u64>,
    containers: BTreeSet<String>,
    programs: BTreeSet<u64>,
    links: BTreeSet<String>,
    host_links: BTreeSet<String>,
}

impl Traces {
    /// Looks at a machine that is on.
    pub fn note(&mut self, lab: &Lab, name: &str) {
        let run = lab.socket(name).parent().and_then(Path::parent).unwrap().to_owned();
        let namespace = |kind: &&str| std::fs::metadata(run.join(kind)).ok().map(|m| m.ino());
        let mut namespaces: BTreeSet<u64> = ["net", "mnt", "uts"].iter().filter_map(namespace).collect();
        self.run = run.parent().map(Path::to_owned);
        let inside = |words: &[&str]| -> serde_json::Value {
            let output = lab.command(name, words[0]).unwrap().args(&words[1..]).output();
            output.ok().and_then(|o| serde_json::from_slice(&o.stdout).ok()).unwrap_or_default()
        };
        // Every machine sees all programs of the kernel, but only its own pins.
        for attached in inside(&["bpftool", "--json", "--bpffs", "link", "show"]).as_array().into_iter().flatten() {
            let pins = attached["pinned"].as_array().into_iter().flatten();
            let here = |p: &serde_json::Value| p.as_str().is_some_and(|p| p.starts_with("/run/shoal/bpf/"));
            if pins.into_iter().any(here) {
                self.programs.extend(attached["prog_id"].as_u64());
            }
        }
        let links = inside(&["ip", "--json", "link", "show"]);
        let links = links.as_array().into_iter().flatten().filter_map(|l| l["ifname"].as_str().map(str::to_owned));
        self.links.extend(links.filter(|l| l.starts_with("ve") || l.starts_with("vb") || l.starts_with("shoal")));
        let sandboxes =
            lab.command(name, "sh").unwrap().args(["-c", "stat -c %i /run/shoal/netns/*"]).output().unwrap();
        let sandboxes = String::from_utf8_lossy(&sandboxes.stdout).into_owned();
        namespaces.extend(sandboxes.lines().filter_map(|l| l.parse::<u64>().ok()));
        for pid in processes_here() {
            let holds = |kind: &&str| {
                std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).is_ok_and(|m| namespaces.contains(&m.ino()))
            };
            let number = pid.parse().unwrap_or_default();
            if let (true, Ok(started)) = (["net", "mnt", "uts"].iter().any(holds), kernel::process::start_time(number))
            {
                self.processes.insert(pid, started);
            }
        }
        let ids = lab.command(name, "ls").unwrap().arg("/var/lib/shoal/containers").output().unwrap();
        let ids = String::from_utf8_lossy(&ids.stdout).into_owned();
        self.containers.extend(ids.lines().filter(|l| l.len() == 64).map(str::to_owned));
        self.host_links = links_here();
    }

    /// What of it is still there.
    pub fn left(&self, storage: &Path) -> Vec<String> {
        let mut left = Vec::new();
        let run = self.run.clone().unwrap_or_default();
        for dir in [storage, run.as_path()] {
            if dir.exists() {
                left.push(format!("directory {}", dir.display()));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = |l: &&str| [storage, run.as_path()].iter().any(|d| l.contains(&*d.to_string_lossy()));
        left.extend(mounts.lines().filter(ours).map(|l| format!("mount {l}")));
        for pid in processes_here() {
            self.look_at(&pid, &mut left);
        }
        self.groups(Path::new("/sys/fs/cgroup"), 4, &mut left);
        for id in &self.programs {
            let show = Command::new("bpftool").args(["prog", "show", "id", &id.to_string()]).output();
            if show.is_ok_and(|o| o.status.success()) {
                left.push(format!("BPF program {id}"));
            }
        }
        left.extend(links_here().difference(&self.host_links).filter(|l| self.links.contains(*l)).cloned());
        left
    }

    fn look_at(&self, pid: &str, left: &mut Vec<String>) {
        let started = pid.parse().ok().and_then(|p| kernel::process::start_time(p).ok());
        let seen = started.is_some() && self.processes.get(pid).copied() == started;
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // A daemon is the test's own child: until it is asked for it is a zombie, without a command line.
        if !line.is_empty() && (seen || groups.split(['/', '\n']).any(|g| self.containers.contains(g))) {
            left.push(format!("process {pid} {}", String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }

    fn groups(&self, dir: &Path, depth: usize, left: &mut Vec<String>) {
        for name in names(dir.to_string_lossy().as_ref()) {
            let path = dir.join(&name);
            if self.containers.contains(&name) {
                left.push(format!("control group {}", path.display()));
            } else if depth > 0 && path.is_dir() && !path.is_symlink() {
                self.groups(&path, depth - 1, left);
            }
        }
    }
}

fn processes_here() -> impl Iterator<Item = String> {
    names("/proc").into_iter().filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

fn links_here() -> BTreeSet<String> {
    names("/sys/class/net").into_iter().collect()
}

fn names(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}
