//! Two images from real programs of this machine: the small web service with some tools, and Redis.
use super::stage::Stage;
use crate::program;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Root file systems, as `docker import` takes them.
pub struct Archives {
    /// The web service, busybox and redis-cli.
    pub greeter: PathBuf,
    /// redis-server, redis-cli, busybox.
    pub redis: PathBuf,
    /// Where images are saved on their way to the worker.
    pub saved: PathBuf,
}

const DIRECTORIES: [&str; 12] =
    ["bin", "dev", "etc", "home", "lib", "proc", "root", "run", "sys", "tmp", "usr/bin", "var/tmp"];

/// Makes both.
pub fn make(root: &Path, work: &Path, stage: &Stage) -> Result<Archives> {
    stage.step("Two images from real programs", "nothing is pulled: busybox, redis and a small web service of ours");
    let greeter = work.join("greeter");
    let tree = fresh(&greeter)?;
    let (source, program) = (root.join("xtask/demo/greeter.c"), tree.join("bin/greeter"));
    program::output(root, &["gcc", "-O2", "-static", "-o", text(&program)?, text(&source)?])?;
    with_libraries(&tree, "redis-cli")?;
    let redis = work.join("redis");
    let tree = fresh(&redis)?;
    for program in ["redis-server", "redis-cli"] {
        with_libraries(&tree, program)?;
    }
    Ok(Archives { greeter: pack(&greeter)?, redis: pack(&redis)?, saved: work.join("images.tar") })
}

/// An empty root file system with busybox in it.
fn fresh(tree: &Path) -> Result<PathBuf> {
    if tree.exists() {
        std::fs::remove_dir_all(tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    for dir in DIRECTORIES {
        std::fs::create_dir_all(tree.join(dir)).with_context(|| format!("cannot make {}", tree.join(dir).display()))?;
    }
    let busybox = find("busybox")?;
    copy(&busybox, &tree.join("bin/busybox"))?;
    for applet in program::output(tree, &[text(&busybox)?, "--list"])?.lines().filter(|a| *a != "busybox") {
        std::os::unix::fs::symlink("busybox", tree.join("bin").join(applet)).context("cannot link an applet")?;
    }
    let files = [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        // Every database by name: a static program crashes on modules that it cannot load.
        (
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nservices: files\nprotocols: files\nnetworks: files\n\
             ethers: files\nrpc: files\nhosts: files dns\n",
        ),
        ("etc/services", "http 80/tcp\ndomain 53/udp\nredis 6379/tcp\n"),
    ];
    for (name, content) in files {
        std::fs::write(tree.join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(tree.to_owned())
}

/// Copies a program of this machine with the libraries that the loader would look for.
fn with_libraries(tree: &Path, name: &str) -> Result<()> {
    let program = find(name)?;
    copy(&program, &tree.join("usr/bin").join(name))?;
    let list = program::output(tree, &["ldd", text(&program)?])?;
    // "libssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x…)" and "/lib64/ld-linux-x86-64.so.2 (0x…)"
    let paths: BTreeSet<&str> = list.split_whitespace().filter(|w| w.starts_with('/')).collect();
    if list.contains("not found") || paths.is_empty() {
        bail!("the libraries of {} cannot be found:\n{list}", program.display());
    }
    for path in paths {
        copy(Path::new(path), &tree.join(path.trim_start_matches('/')))?;
    }
    Ok(())
}

fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(more).map(|d| d.join(name)).find(|p| p.is_file());
    found.with_context(|| format!("{name} is not installed"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let from = from.canonicalize()?;
    std::fs::copy(&from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn pack(tree: &Path) -> Result<PathBuf> {
    let archive = tree.with_extension("tar");
    let owner = ["--numeric-owner", "--owner=0", "--group=0"];
    let mut words = vec!["tar", "-C", text(tree)?];
    words.extend(owner);
    words.extend(["-cf", text(&archive)?, "."]);
    program::output(tree, &words)?;
    Ok(archive)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not plain text", path.display()))
}
