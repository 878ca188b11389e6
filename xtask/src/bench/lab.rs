//! Shoal's two machines, in a lab of their own beside whatever else runs here.
use super::api::Api;
use super::engine::{Engine, Node};
use super::figures::Of;
use crate::program;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MACHINES: [&str; 2] = ["bench-1", "bench-2"];

/// The lab; its machines go when this is dropped.
pub struct ShoalLab {
    binary: PathBuf,
    storage: PathBuf,
}

impl ShoalLab {
    /// Makes the machines.
    pub fn raise(binary: &Path, work: &Path) -> Result<(Self, Engine)> {
        let lab = Self { binary: binary.to_owned(), storage: work.join("lab") };
        lab.sweep();
        let mut nodes = Vec::new();
        for name in MACHINES {
            lab.machine(&["create", name])?;
            let url = lab.machine(&["url", name])?;
            let socket = PathBuf::from(url.trim().trim_start_matches("unix://"));
            let address = lab.machine(&["ip", name])?.trim().to_owned();
            let daemon = lab.machine(&["ssh", name, "--", "readlink /proc/self/ns/uts"])?;
            nodes.push(Node {
                name: name.to_owned(),
                api: Api::at(&socket),
                address,
                uts: PathBuf::from(daemon.trim()),
            });
        }
        Ok((lab, Engine { of: Of::Shoal, nodes, balances: true }))
    }

    /// A command at the lab's third seat, which runs no engine.
    pub fn at_laptop(&self) -> Command {
        let mut command = self.command();
        command.args(["run-from-laptop", "--"]);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("machine").arg("--storage-path").arg(&self.storage).stdin(Stdio::null());
        command
    }

    fn machine(&self, words: &[&str]) -> Result<String> {
        let out = self.command().args(words).output().context("cannot run shoal machine")?;
        if !out.status.success() {
            anyhow::bail!("shoal machine {}: {}", words.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn sweep(&self) {
        if self.storage.exists() {
            for name in MACHINES {
                if let Err(e) = self.machine(&["rm", "--force", name]) {
                    println!("(a machine of this run may stay: {e:#})");
                }
            }
        }
    }
}

impl Drop for ShoalLab {
    fn drop(&mut self) {
        self.sweep();
    }
}

/// The release binary, built if it is not there.
pub fn binary(root: &Path) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |d| root.join(d));
    let binary = target.join("release/shoal");
    if !binary.is_file() {
        program::run(root, &["cargo", "build", "--release", "--package", "shoal"])?;
    }
    binary.canonicalize().with_context(|| format!("the build made no {}", binary.display()))
}
