//! Running other programs: shown before, checked after.
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// A command without what Cargo has told this program about its own package: build scripts of others that look there
/// would be run again, and nearly everything be compiled anew, whenever one goes from `cargo test` to `cargo xtask test`.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|p| name.starts_with(p)) {
            command.env_remove(&key);
        }
    }
    command
}

/// Runs `words` in `dir` with the terminal; an error if it fails.
pub fn run(dir: &Path, words: &[&str]) -> Result<()> {
    run_with(dir, words, &[])
}

/// The same with more in its environment.
pub fn run_with(dir: &Path, words: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    println!("$ {}", words.join(" "));
    let (program, args) = words.split_first().context("no program")?;
    let status = command(program)
        .args(args)
        .current_dir(dir)
        .envs(environment.iter().copied())
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("`{}` failed ({status})", words.join(" "));
    }
    Ok(())
}

/// Whether a program can be found.
pub fn exists(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|d| d.join(name).is_file())
}

/// What a program prints; an error with what it complained of if it fails.
pub fn output(dir: &Path, words: &[&str]) -> Result<String> {
    let (program, args) = words.split_first().context("no program")?;
    let output = command(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
