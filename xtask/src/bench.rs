//! `cargo xtask bench`: what can be measured on this machine so far.
use crate::{prerequisites, program};
use anyhow::Result;
use std::path::Path;

/// Runs every measurement that there is; each prints its own lines and what it is compared with.
pub fn run(root: &Path) -> Result<()> {
    prerequisites::ensure()?;
    program::run(root, &["cargo", "run", "--quiet", "--release", "--package", "network", "--example", "dns_rate"])
}
