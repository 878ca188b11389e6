//! Debian packages that building, testing and the demo need.
use crate::program;
use anyhow::{Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a Debian 12 with git and rustup's cargo lacks.
const PACKAGES: [&str; 15] = [
    "clang",
    "libbpf-dev",
    "libc6-dev",
    "libseccomp-dev",
    "gcc",
    "pkg-config",
    "make",
    "iproute2",
    "iputils-ping",
    "nftables",
    "procps",
    "curl",
    "busybox-static",
    "redis-server",
    "redis-tools",
];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing.
pub fn ensure() -> Result<()> {
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|p| !is_installed(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !program::exists("apt-get") {
        bail!("these Debian packages are needed and there is no apt-get here: {list}");
    }
    if program::output(Path::new("/"), &["id", "-u"])?.trim() != "0" {
        bail!("these packages are needed: run `apt-get install -y {list}` as root");
    }
    println!("Installing {list}");
    let _quiet = NoServices::new();
    let root = Path::new("/");
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    let mut install = vec!["apt-get", "install", "-y", "-q", "--no-install-recommends"];
    install.extend(&missing);
    // The lists of a fresh machine may be old or missing; those of a prepared one may be all there is.
    if program::run_with(root, &["apt-get", "update", "-q"], &quiet).is_err() {
        println!("(the package lists could not be refreshed; trying with those that are here)");
    }
    program::run_with(root, &install, &quiet)
}

fn is_installed(package: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).stderr(Stdio::null()).output();
    query.is_ok_and(|o| o.stdout == b"installed")
}

/// Debian starts a service when its package is installed; nobody asked for a Redis on this machine.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Self {
        let ours = !Path::new(POLICY).exists()
            && std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").is_ok()
            && std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755)).is_ok();
        Self { ours }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            // It stays harmless if it cannot be removed: it only keeps services from starting.
            let _ = std::fs::remove_file(POLICY);
        }
    }
}
