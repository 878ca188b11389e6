//! The rules of the house that the compiler does not know.
mod documents;
mod sources;
mod walls;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Checks all; prints every finding.
pub fn run(root: &Path) -> Result<()> {
    println!("$ cargo xtask tidy");
    let files = files(root)?;
    let mut findings = walls::check(root)?;
    for file in &files {
        let path = root.join(file);
        match file.extension().and_then(|e| e.to_str()) {
            Some("rs") => findings.extend(sources::check(file, &read(&path)?)),
            Some("md") => findings.extend(documents::check(root, file, &read(&path)?)),
            _ => {}
        }
        findings.extend(sources::check_name(file));
    }
    for finding in &findings {
        println!("  {finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What git keeps or would keep, relative to the root.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let list = crate::program::output(root, &["git", "ls-files", "--cached", "--others", "--exclude-standard"])?;
    let mut files: Vec<PathBuf> = list.lines().map(PathBuf::from).filter(|f| root.join(f).is_file()).collect();
    files.sort();
    files.dedup();
    Ok(files)
}
