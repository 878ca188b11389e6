//! The tutorial as a demonstration: what a person would type, with what it shows checked at every step.
//!
//! `up` may be run again at any time: it reuses the machines and starts the story over. `down` takes away everything.
mod images;
mod stage;
mod tutorial;

use crate::{prerequisites, program};
use anyhow::{Context, Result, bail};
use stage::Stage;
use std::path::{Path, PathBuf};

/// The two machines.
pub const MANAGER: &str = "vm-manager";
/// See [`MANAGER`].
pub const WORKER: &str = "vm-worker1";

/// Plays it.
pub fn up(root: &Path, binary: Option<PathBuf>) -> Result<()> {
    need_root()?;
    prerequisites::ensure()?;
    let binary = match binary {
        Some(binary) => absolute(&binary)?,
        None => build(root)?,
    };
    let work = work_dir(root)?;
    let stage = Stage::new(binary, root.join("demo"));
    let archives = images::make(root, &work, &stage)?;
    tutorial::play(&stage, &archives)
}

/// Takes everything away. Removing a machine looks whether anything of it stayed in the kernel or on the disk.
pub fn down(root: &Path, binary: Option<PathBuf>) -> Result<()> {
    need_root()?;
    // Also what an interrupted command has left of them.
    if ["/var/lib/shoal-machines", "/run/shoal-machines"].iter().any(|dir| Path::new(dir).exists()) {
        let built = ["release", "debug"].map(|p| target_dir(root).join(p).join("shoal"));
        let binary = match binary.or_else(|| built.into_iter().find(|b| b.is_file())) {
            Some(binary) => absolute(&binary)?,
            None => build(root)?,
        };
        Stage::new(binary, root.join("demo")).machine(&["rm", "--force", MANAGER, WORKER])?;
    }
    prerequisites::undo_interrupted();
    let work = target_dir(root).join("demo");
    if work.exists() {
        std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    println!("Nothing of the demo is left.");
    Ok(())
}

fn need_root() -> Result<()> {
    if program::output(Path::new("/"), &["id", "-u"])?.trim() != "0" {
        bail!("machines are made of namespaces, which needs root: run `sudo -E cargo xtask demo`");
    }
    Ok(())
}

/// Commands are typed in another directory than this one.
fn absolute(binary: &Path) -> Result<PathBuf> {
    binary.canonicalize().with_context(|| format!("{} is not there", binary.display()))
}

fn build(root: &Path) -> Result<PathBuf> {
    println!("Building (the first time takes some minutes)…");
    program::run(root, &["cargo", "build", "--release", "--package", "shoal"])?;
    let binary = target_dir(root).join("release/shoal");
    binary.canonicalize().with_context(|| format!("the build made no {}", binary.display()))
}

fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |d| root.join(d))
}

fn work_dir(root: &Path) -> Result<PathBuf> {
    let work = target_dir(root).join("demo");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    Ok(work)
}
