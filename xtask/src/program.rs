//! Running other programs: shown before, checked after.
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `words` in `dir` with the terminal; an error if it fails.
pub fn run(dir: &Path, words: &[&str]) -> Result<()> {
    run_with(dir, words, &[])
}

/// The same with more in its environment.
pub fn run_with(dir: &Path, words: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    println!("$ {}", words.join(" "));
    let (program, args) = words.split_first().context("no program")?;
    let status = Command::new(program)
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
    let output = Command::new(program)
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
