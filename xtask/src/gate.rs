//! `verify`, the one gate that reads; `fix`, the one task that writes.
use crate::{prerequisites, program, tidy};
use anyhow::{Result, bail};
use std::path::Path;

/// Runs every check, also after one has failed, and says at the end which did.
pub fn verify(root: &Path) -> Result<()> {
    prerequisites::ensure()?;
    let clippy = ["cargo", "clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let document = ["cargo", "doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"];
    let checks: [(&str, Result<()>); 4] = [
        ("format", program::run(root, &["cargo", "fmt", "--all", "--check"])),
        ("tidy", tidy::run(root)),
        ("clippy", program::run(root, &clippy)),
        ("documentation", program::run_with(root, &document, &[("RUSTDOCFLAGS", "-D warnings")])),
    ];
    let mut failed = Vec::new();
    println!();
    for (name, result) in checks {
        match result {
            Ok(()) => println!("{name:<14} ok"),
            Err(e) => {
                println!("{name:<14} FAILED: {e:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("{} (`cargo xtask fix` mends format and some of clippy's findings)", failed.join(", "));
    }
    Ok(())
}

/// Formats, and lets clippy apply what it can.
pub fn fix(root: &Path) -> Result<()> {
    program::run(
        root,
        &["cargo", "clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"],
    )?;
    program::run(root, &["cargo", "fmt", "--all"])
}
