//! Debian packages that building, testing and the demo need.
use crate::program;
use anyhow::{Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What building, the demo and the figures need that a Debian 12 with git and rustup's cargo lacks.
const PACKAGES: [&str; 16] = [
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
    "bpftool",
];

/// What tests need besides: the other side of what they check.
const TEST_PACKAGES: [&str; 6] = ["docker-registry", "docker-compose", "python3", "netbase", "tcpdump", "openssl"];

/// Clients that may be here without a package: how to ask for them, and the packages that bring them, the first that
/// this Debian has.
const CLIENTS: [(&[&str], &[&str]); 1] = [(&["docker", "--version"], &["docker-cli", "docker.io"])];

/// The Python SDK as its users have it. Debian's is older than the releases that speak to engines of today.
const SDK: &str = "docker==7.2.0";
const SDK_IS_THERE: &str = "import docker, sys; sys.exit(int(docker.__version__.split('.')[0]) < 7)";
/// Where it is put when the machine's own Python has none; the tests look there first.
const SDK_HOME: &str = "target/python-sdk";

const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Known by its words, so that one which an interrupted run has left does not stay.
const POLICY_TEXT: &str = "#!/bin/sh\n# Of `cargo xtask`, while it installs packages.\nexit 101\n";

/// Installs what is missing for building and for the demo.
pub fn ensure() -> Result<()> {
    install(PACKAGES.into_iter().filter(|p| !is_installed(p)).collect())
}

/// The same, and what tests need: a test that cannot run has failed.
pub fn ensure_for_tests(root: &Path) -> Result<()> {
    let missing = PACKAGES.into_iter().chain(TEST_PACKAGES).filter(|p| !is_installed(p)).collect();
    install(missing)?;
    for (ask, packages) in CLIENTS {
        if answers(ask) {
            continue;
        }
        let known = || packages.iter().find(|p| is_known(p));
        let refreshed = || program::run(Path::new("/"), &["apt-get", "update", "-q"]).ok().and_then(|()| known());
        let Some(package) = known().or_else(refreshed) else {
            bail!("tests need `{}`, and there is no package {} here", ask.join(" "), packages.join(" or "));
        };
        install(vec![package])?;
        if !answers(ask) {
            bail!("`{}` does not work although {package} is installed", ask.join(" "));
        }
    }
    python_sdk(root)
}

fn python_sdk(root: &Path) -> Result<()> {
    let home = root.join(SDK_HOME);
    let own = home.join("bin/python").display().to_string();
    if ["python3", &own].iter().any(|python| answers(&[*python, "-c", SDK_IS_THERE])) {
        return Ok(());
    }
    install(["python3-venv"].into_iter().filter(|p| !is_installed(p)).collect())?;
    println!("Installing the Python package {SDK} in {}", home.display());
    program::run(root, &["python3", "-m", "venv", &home.display().to_string()])?;
    program::run(root, &[&own, "-m", "pip", "install", "-q", SDK])?;
    if !answers(&[&own, "-c", SDK_IS_THERE]) {
        bail!("{SDK} does not work although it is installed in {}", home.display());
    }
    Ok(())
}

/// Installs these, where they are missing.
pub fn ensure_these(packages: &[&'static str]) -> Result<()> {
    install(packages.iter().copied().filter(|p| !is_installed(p)).collect())
}

fn install(missing: Vec<&str>) -> Result<()> {
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

/// Whether a program is here and content.
fn answers(words: &[&str]) -> bool {
    let quiet = || Stdio::null();
    let (program, args) = (words[0], &words[1..]);
    let run = Command::new(program).args(args).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    run.is_ok_and(|s| s.success())
}

/// Whether apt could install it.
fn is_known(package: &str) -> bool {
    program::output(Path::new("/"), &["apt-cache", "show", "--no-all-versions", package]).is_ok_and(|o| !o.is_empty())
}

fn is_installed(package: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).stderr(Stdio::null()).output();
    query.is_ok_and(|o| o.stdout == b"installed")
}

fn is_our_policy() -> bool {
    std::fs::read_to_string(POLICY).is_ok_and(|text| text == POLICY_TEXT)
}

/// Takes away what an installation that was interrupted has left.
pub fn undo_interrupted() {
    drop(NoServices { ours: is_our_policy() });
}

/// Debian starts a service when its package is installed; nobody asked for a Redis on this machine.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Self {
        let ours = (is_our_policy() || !Path::new(POLICY).exists())
            && std::fs::write(POLICY, POLICY_TEXT).is_ok()
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
