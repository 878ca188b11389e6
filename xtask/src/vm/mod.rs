//! `cargo xtask vm`: the real tests on a stock Debian kernel with plain cgroup v2, in qemu. Without hardware for it the
//! machine is emulated, which takes a while: not a part of `cargo xtask test`.
mod image;

use crate::{prerequisites, program};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Crates whose tests ask the kernel for something.
const CRATES: [&str; 8] = ["kernel", "datapath", "network", "runtime", "images", "node", "machine", "shoal"];
const RING: &str = include_str!("../../vm/ring.sh");

/// What is run, where.
#[derive(Args)]
pub struct Options {
    /// The Debian release whose kernel and system it is.
    #[arg(long, default_value = "bookworm")]
    release: String,
    /// Make the image anew.
    #[arg(long)]
    fresh: bool,
    /// Memory of the machine, in MiB.
    #[arg(long, default_value_t = 3072)]
    memory: u32,
    /// How many times slower than a real machine it may be: limits of tests are multiplied by it.
    #[arg(long, default_value_t = 6)]
    patience: u32,
    /// Only tests whose "crate-binary::name" contains one of these.
    filters: Vec<String>,
}

/// Makes the image if there is none, boots it, runs the tests in it.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    if program::output(Path::new("/"), &["id", "-u"])?.trim() != "0" {
        bail!("a root file system is made, which needs root: run `sudo -E cargo xtask vm`");
    }
    prerequisites::ensure_for_tests(root)?;
    prerequisites::ensure_these(&["qemu-system-x86", "debootstrap", "e2fsprogs"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |d| root.join(d));
    let home = target.join("vm").join(&options.release);
    let image = image::ensure(&home, &options.release, options.fresh)?;
    let shared = home.join("shared");
    let _ = std::fs::remove_dir_all(&shared);
    std::fs::create_dir_all(&shared)?;
    std::fs::write(shared.join("tests"), tests(root)?)?;
    std::fs::write(shared.join("ring.sh"), RING)?;
    let here =
        format!("REPOSITORY={}\nTARGET={}\nSHOAL_PATIENCE={}\n", root.display(), target.display(), options.patience);
    let filters: String = options.filters.iter().map(|f| format!("{f}\n")).collect();
    std::fs::write(shared.join("filters"), filters)?;
    std::fs::write(shared.join("here"), here)?;
    let began = Instant::now();
    boot(&image, &[("repository", root, true), ("target", &target, true), ("shared", &shared, false)], options.memory)?;
    let summary = std::fs::read_to_string(shared.join("summary")).context("the machine ended before its tests did")?;
    println!("\n{} on {}, {} s with the boot", summary.trim(), options.release, began.elapsed().as_secs());
    match summary.contains(" 0 failed") {
        true => Ok(()),
        false => bail!("some tests failed"),
    }
}

/// One test binary a line: its name, the directory to run it in, its file.
fn tests(root: &Path) -> Result<String> {
    println!("Building the tests…");
    let words = ["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"];
    let output = program::command("cargo").args(words).current_dir(root).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let mut lines = String::new();
    for message in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(message).unwrap_or_default();
        let (Some(file), true) = (message["executable"].as_str(), message["profile"]["test"] == true) else { continue };
        let manifest = PathBuf::from(message["manifest_path"].as_str().unwrap_or_default());
        let dir = manifest.parent().unwrap_or(root);
        let package = dir.file_name().unwrap_or_default().to_string_lossy();
        if CRATES.contains(&&*package) {
            let name = message["target"]["name"].as_str().unwrap_or_default();
            lines.push_str(&format!("{package}-{name} {} {file}\n", dir.display()));
        }
    }
    if lines.is_empty() { bail!("cargo told of no test") } else { Ok(lines) }
}

/// Emulating the newest processor takes twice as long: its wide registers, its five levels of pages and what the kernel
/// does against leaks between processes all cost here, and show nothing of Shoal.
const PROCESSOR: &str = "Nehalem,+aes,+pclmulqdq,+rdrand,+rdtscp,+fsgsbase";

/// Boots the image, shows its console, waits until it has switched itself off. Nothing that is written stays in it.
fn boot(image: &image::Image, shares: &[(&str, &Path, bool)], memory: u32) -> Result<()> {
    println!("Booting {} (emulated where the processor cannot do it)…", image.disk.display());
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", PROCESSOR, "-smp", "2"]);
    qemu.args(["-m", &memory.to_string(), "-display", "none", "-no-reboot", "-nodefaults", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initrd);
    qemu.args(["-append", "root=/dev/vda rw console=ttyS0 panic=-1 net.ifnames=0 mitigations=off quiet"]);
    qemu.arg("-drive").arg(format!("file={},if=virtio,format=raw,snapshot=on", image.disk.display()));
    for (tag, path, read_only) in shares {
        let mode = if *read_only { ",readonly=on" } else { "" };
        let share = format!("local,path={},mount_tag={tag},security_model=none,multidevs=remap{mode}", path.display());
        qemu.arg("-virtfs").arg(share);
    }
    let status = qemu.stdin(Stdio::null()).status().context("cannot run qemu-system-x86_64")?;
    if status.success() { Ok(()) } else { bail!("qemu failed ({status})") }
}
