//! What the kernel held before the demo, and whether it holds more after.
use crate::program;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Everything that a lab could leave behind.
#[derive(Default, Serialize, Deserialize)]
struct Traces {
    interfaces: BTreeSet<String>,
    mounts: BTreeSet<String>,
    control_groups: BTreeSet<String>,
    programs: BTreeSet<String>,
    processes: BTreeSet<String>,
    files: BTreeSet<String>,
}

/// Writes down what is there now, unless the demo runs already.
pub fn remember(work: &Path) -> Result<()> {
    let file = work.join("before.json");
    if file.exists() && Path::new("/run/shoal-machines").exists() {
        return Ok(());
    }
    std::fs::write(&file, serde_json::to_vec_pretty(&now())?)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Compares with what was there before; waits a moment for what the kernel takes down in the background.
pub fn look(work: &Path) -> Result<()> {
    let before: Traces = match std::fs::read(work.join("before.json")) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) => Traces { programs: now().programs, interfaces: now().interfaces, ..Traces::default() },
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let after = now();
        let left: Vec<String> = [
            ("interface", after.interfaces.difference(&before.interfaces)),
            ("mount", after.mounts.difference(&before.mounts)),
            ("control group", after.control_groups.difference(&before.control_groups)),
            ("BPF program", after.programs.difference(&before.programs)),
            ("process", after.processes.difference(&before.processes)),
            ("file", after.files.difference(&before.files)),
        ]
        .into_iter()
        .flat_map(|(kind, names)| names.map(move |n| format!("{kind} {n}")))
        .collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("this is still here:\n  {}", left.join("\n  "));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn now() -> Traces {
    let names = |dir: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    };
    let ours = |name: &String| name.starts_with("shoal");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|l| l.split(' ').nth(4)).filter(|m| m.contains("/shoal"));
    let mut control_groups = BTreeSet::new();
    groups(Path::new("/sys/fs/cgroup"), 6, &mut control_groups);
    let processes = names("/proc").into_iter().filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let processes = processes.filter_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let ours = line.contains("/shoal ") && (line.contains(" daemon ") || line.contains(" shim"));
        (ours || line.contains("greeter") || line.contains("redis-server")).then(|| format!("{pid} {line}"))
    });
    Traces {
        interfaces: names("/sys/class/net"),
        mounts: mounts.map(str::to_owned).collect(),
        control_groups,
        programs: programs(),
        processes: processes.collect(),
        files: ["/run", "/var/lib"]
            .into_iter()
            .flat_map(|d| names(d).into_iter().filter(ours).map(move |n| format!("{d}/{n}")))
            .collect(),
    }
}

/// Groups named by a container's id.
fn groups(dir: &Path, depth: usize, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() >= 64 && name.split(['-', '.']).any(|p| p.len() == 64 && p.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            found.insert(entry.path().display().to_string());
        } else if depth > 0 {
            groups(&entry.path(), depth - 1, found);
        }
    }
}

/// Loaded BPF programs, where there is a tool to list them.
fn programs() -> BTreeSet<String> {
    let list = program::output(Path::new("/"), &["bpftool", "--json", "prog", "list"]).unwrap_or_default();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap_or_default();
    let list = list.as_array().cloned().unwrap_or_default();
    // Those of the traffic control hooks; others come and go with the machine's own services.
    list.iter().filter(|p| p["type"] == "sched_cls").map(|p| format!("{} {}", p["id"], p["name"])).collect()
}
