//! Which crate may lean on which: the stairs of ARCHITECTURE.md, as Cargo knows them.
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Crate → workspace crates that it may depend on. ARCHITECTURE.md shows the same table, and is checked against it.
const WALLS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wire", &["model"]),
    ("planner", &["model"]),
    ("cluster", &["model", "wire"]),
    ("kernel", &[]),
    ("datapath", &["model", "kernel"]),
    ("network", &["model", "wire", "kernel", "datapath"]),
    ("runtime", &["model", "kernel"]),
    ("dockerfile", &[]),
    ("images", &["kernel", "dockerfile"]),
    ("node", &["model", "wire", "runtime", "network", "images", "kernel", "dockerfile"]),
    ("manager", &["model", "wire", "cluster", "planner"]),
    ("compose", &["model"]),
    ("api", &["model", "wire"]),
    ("cli", &["wire", "compose", "dockerfile", "model"]),
    ("machine", &["kernel"]),
    ("xtask", &[]),
];
/// The composition root: everything.
const ROOT: &str = "shoal";

/// Compares with what Cargo says, and with what ARCHITECTURE.md says.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let words = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--offline"];
    let metadata: Value = serde_json::from_str(&crate::program::output(root, &words)?).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        if name == ROOT {
            continue;
        }
        let Some((_, allowed)) = WALLS.iter().find(|(n, _)| *n == name) else {
            findings.push(format!("crate {name} has no place in the table of xtask/src/tidy/walls.rs"));
            continue;
        };
        // What only tests need stands outside the house.
        let used = package["dependencies"].as_array().into_iter().flatten().filter(|d| d["kind"] != "dev");
        let used: BTreeSet<&str> = used.filter_map(|d| d["name"].as_str()).filter(|d| names.contains(d)).collect();
        for wrong in used.iter().filter(|d| !allowed.contains(d)) {
            findings.push(format!("crate {name} must not depend on {wrong} (it may on: {})", allowed.join(", ")));
        }
    }
    match std::fs::read_to_string(root.join("ARCHITECTURE.md")) {
        Ok(architecture) => findings.extend(compare(&architecture)),
        Err(e) => findings.push(format!("ARCHITECTURE.md, which shows the same table, cannot be read: {e}")),
    }
    Ok(findings)
}

/// Rows `| `name` | what it is | a, b |`.
fn compare(architecture: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, allowed) in WALLS {
        let row = architecture.lines().map(cells).find(|c| c.len() >= 3 && c[0] == format!("`{name}`"));
        let Some(row) = row else {
            findings.push(format!("ARCHITECTURE.md has no row for crate {name} in its table"));
            continue;
        };
        let said: BTreeSet<&str> = row[row.len() - 1].split(',').map(|w| w.trim().trim_matches('`')).collect();
        let said: BTreeSet<&str> = said.into_iter().filter(|w| !matches!(*w, "" | "–" | "-" | "—")).collect();
        if said != allowed.iter().copied().collect() {
            findings.push(format!(
                "ARCHITECTURE.md lets {name} depend on {said:?}, xtask/src/tidy/walls.rs on {allowed:?}"
            ));
        }
    }
    findings
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().strip_prefix('|').map_or_else(Vec::new, |l| l.trim_end_matches('|').split('|').map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wall_leads_up_the_stairs() {
        // A crate may only lean on crates that stand before it, so there is no circle.
        for (at, (name, allowed)) in WALLS.iter().enumerate() {
            for below in *allowed {
                assert!(WALLS[..at].iter().any(|(n, _)| n == below), "{name} → {below}");
            }
        }
    }

    #[test]
    fn a_table_that_says_otherwise_is_found() {
        let text: String = WALLS.iter().map(|(n, d)| format!("| `{n}` | what | {} |\n", d.join(", "))).collect();
        assert_eq!(compare(&text), Vec::<String>::new());
        assert_eq!(compare(&text.replace("| `wire` | what | model |", "| `wire` | what | – |")).len(), 1);
    }
}
