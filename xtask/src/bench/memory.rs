//! What an engine's own processes hold.
use super::engine::Engine;
use std::collections::BTreeMap;
use std::path::Path;

/// Of all processes of one program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// How many.
    pub processes: usize,
    /// Proportional set size, in bytes.
    pub pss: f64,
    /// Pages that nobody else has, in bytes.
    pub private: f64,
}

/// By program, of all nodes. A container's own processes have another UTS namespace.
pub fn of(engine: &Engine) -> BTreeMap<String, Held> {
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let dir = entry.path();
        let Ok(uts) = std::fs::read_link(dir.join("ns/uts")) else { continue };
        if !engine.nodes.iter().any(|n| n.uts == uts) {
            continue;
        }
        let Some(program) = program(&dir) else { continue };
        let Ok(rollup) = std::fs::read_to_string(dir.join("smaps_rollup")) else { continue };
        let sum = |keys: &[&str]| -> f64 {
            let lines = rollup.lines().filter(|l| keys.iter().any(|k| l.starts_with(k)));
            let kilobytes = lines.filter_map(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
            kilobytes.sum::<f64>() * 1024.0
        };
        let h = held.entry(program).or_default();
        h.processes += 1;
        h.pss += sum(&["Pss:"]);
        h.private += sum(&["Private_Clean:", "Private_Dirty:"]);
    }
    held
}

/// What it is to its engine; `None` for the scaffolding around it.
fn program(dir: &Path) -> Option<String> {
    let line = std::fs::read(dir.join("cmdline")).ok()?;
    let mut words = line.split(|b| *b == 0).map(String::from_utf8_lossy);
    let name = Path::new(words.next()?.as_ref()).file_name()?.to_string_lossy().into_owned();
    let verb = words.next().unwrap_or_default().into_owned();
    match name.as_str() {
        "sh" | "bash" | "unshare" | "nsenter" | "" => None,
        _ if verb == "daemon" => Some("daemon".into()),
        _ if verb.starts_with("shim") => Some("shim".into()),
        _ if name.starts_with("containerd-shim") => Some("shim".into()),
        "dockerd" | "containerd" => Some("daemon".into()),
        _ => Some(name),
    }
}
