//! `cargo xtask test`: every ring of tests, as CI runs them.
use crate::{prerequisites, program};
use anyhow::Result;
use std::path::Path;

/// Installs, builds, tests.
pub fn run(root: &Path, rest: &[String]) -> Result<()> {
    prerequisites::ensure_for_tests()?;
    // End-to-end tests start the binary itself.
    program::run(root, &["cargo", "build", "--workspace"])?;
    let mut words = if program::exists("cargo-nextest") {
        vec!["cargo", "nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        vec!["cargo", "test", "--workspace", "--no-fail-fast"]
    };
    words.extend(rest.iter().map(String::as_str));
    program::run(root, &words)
}
