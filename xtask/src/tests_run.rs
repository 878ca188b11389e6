//! `cargo xtask test`: every ring of tests, as CI runs them.
use crate::{prerequisites, program};
use anyhow::Result;
use std::path::Path;

/// Installs, builds, tests. The binary that end-to-end tests start is built with them: a build of its own before would
/// have other features switched on, and compile nearly everything twice.
pub fn run(root: &Path, rest: &[String]) -> Result<()> {
    prerequisites::ensure_for_tests(root)?;
    let mut words = if program::exists("cargo-nextest") {
        vec!["cargo", "nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        vec!["cargo", "test", "--workspace", "--no-fail-fast"]
    };
    words.extend(rest.iter().map(String::as_str));
    program::run(root, &words)
}
