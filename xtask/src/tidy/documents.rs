//! Documents that mention what is not there.
use std::path::Path;

/// Paths in backticks and link targets must exist.
pub fn check(root: &Path, file: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        let named = line.split('`').skip(1).step_by(2).filter(|w| is_path(root, w)).map(|w| root.join(trimmed(w)));
        let here = root.join(file);
        let dir = here.parent().unwrap_or(root);
        let linked = links(line).map(|l| dir.join(l));
        for path in named.chain(linked).filter(|p| !p.exists()) {
            let path = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            findings.push(format!("{}:{}: {path} does not exist", file.display(), at + 1));
        }
    }
    findings
}

fn trimmed(word: &str) -> &str {
    word.split(':').next().unwrap_or(word).trim_end_matches('/')
}

/// `crates/x/src/y.rs` and the like: it starts with something that stands in the root.
fn is_path(root: &Path, word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    let Some((first, _)) = word.split_once('/') else { return false };
    !first.is_empty() && first != "target" && word.chars().all(plain) && root.join(first).is_dir()
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.match_indices("](").filter_map(move |(at, _)| line[at + 2..].split(')').next());
    let local = targets.filter(|t| !t.contains("://") && !t.starts_with('#') && !t.starts_with("mailto:"));
    local.filter_map(|t| t.split(['#', ' ']).next()).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_links_are_followed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = "See `xtask/src/main.rs`, `xtask/src/nowhere.rs`, [this](Cargo.toml) and [that](gone.md#a).\n\
                    ```\n`xtask/not/checked`\n```\n`io/o`, `a / b`, [x](https://example.org/y)\n";
        let findings = check(root, Path::new("README.md"), text);
        assert_eq!(findings.len(), 2, "{findings:?}");
    }
}
