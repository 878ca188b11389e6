//! A disk with a Debian on it: made by debootstrap from wherever apt gets its packages on this machine.
use crate::program;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The kernel, an init, and what tests find on a machine.
const PACKAGES: [&str; 19] = [
    "linux-image-amd64",
    "systemd-sysv",
    "dbus",
    "udev",
    "kmod",
    "iproute2",
    "nftables",
    "procps",
    "iputils-ping",
    "curl",
    "busybox-static",
    "redis-server",
    "redis-tools",
    "bpftool",
    "docker-registry",
    "python3",
    "netbase",
    "tcpdump",
    "openssl",
];
const SIZE: &str = "6G";
/// Services that nobody asked for.
const IDLE: [&str; 6] = ["redis-server", "docker-registry", "apt-daily", "e2scrub", "fstrim", "systemd-timesyncd"];
const UNIT: &str = "[Unit]
Description=Tests
After=multi-user.target

[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh -c 'mkdir -p /shared && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 shared /shared && \
exec bash /shared/ring.sh'
ExecStopPost=/bin/systemctl --no-block poweroff
";

/// What qemu is given.
pub struct Image {
    /// The root file system.
    pub disk: PathBuf,
    /// Debian's kernel.
    pub kernel: PathBuf,
    /// Its initial file system.
    pub initrd: PathBuf,
}

/// The image in `home`; made if it is missing or shall be fresh.
pub fn ensure(home: &Path, release: &str, fresh: bool) -> Result<Image> {
    let image = Image { disk: home.join("disk"), kernel: home.join("vmlinuz"), initrd: home.join("initrd") };
    let (recipe, recipe_file) = (format!("{}\n{UNIT}", PACKAGES.join("\n")), home.join("recipe"));
    // Written when all is there; one that was made in another way lacks something.
    if !fresh && std::fs::read_to_string(&recipe_file).is_ok_and(|made| made == recipe) {
        return Ok(image);
    }
    let _ = std::fs::remove_file(&recipe_file);
    std::fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    let tree = home.join("root");
    remove(&tree)?;
    println!("Making a {release} (some minutes, once)…");
    let include = format!("--include={}", PACKAGES.join(","));
    let made = program::run(
        home,
        &["debootstrap", "--variant=minbase", &include, release, &tree.to_string_lossy(), &mirror()?],
    );
    let laid_out = made.and_then(|()| furnish(&tree)).and_then(|()| {
        take(&tree.join("boot"), "vmlinuz-", &image.kernel)?;
        take(&tree.join("boot"), "initrd.img-", &image.initrd)?;
        let _ = std::fs::remove_file(&image.disk);
        let disk = image.disk.to_string_lossy();
        program::run(home, &["mke2fs", "-q", "-t", "ext4", "-d", &tree.to_string_lossy(), &disk, SIZE])
    });
    remove(&tree)?;
    laid_out?;
    std::fs::write(&recipe_file, recipe).with_context(|| format!("cannot write {}", recipe_file.display()))?;
    Ok(image)
}

/// Where apt gets Debian's own packages from.
fn mirror() -> Result<String> {
    let words = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)"];
    let targets = program::output(Path::new("/"), &words)?;
    let debian = targets.lines().filter_map(|l| l.strip_prefix("Debian|main|"));
    let main = debian.filter_map(|l| l.split_once('|')).find(|(release, _)| !release.contains('-'));
    let (_, uri) = main.context("apt knows no Debian here: run `apt-get update`")?;
    Ok(uri.trim_end_matches('/').to_owned())
}

fn furnish(tree: &Path) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = tree.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("etc/hostname", "vm\n")?;
    write("etc/fstab", "/dev/vda / ext4 defaults 0 1\n")?;
    write("etc/systemd/system/ring.service", UNIT)?;
    let system = tree.join("etc/systemd/system");
    for wants in std::fs::read_dir(&system)?.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(".wants")) {
        for unit in std::fs::read_dir(wants.path())?.flatten() {
            if IDLE.iter().any(|idle| unit.file_name().to_string_lossy().starts_with(idle)) {
                std::fs::remove_file(unit.path())?;
            }
        }
    }
    // The console belongs to the tests.
    std::os::unix::fs::symlink("/dev/null", system.join("serial-getty@ttyS0.service")).context("cannot mask a unit")?;
    let wants = system.join("multi-user.target.wants");
    std::fs::create_dir_all(&wants)?;
    std::os::unix::fs::symlink("../ring.service", wants.join("ring.service")).context("cannot enable the tests")
}

fn take(boot: &Path, prefix: &str, to: &Path) -> Result<()> {
    let named = |e: &std::fs::DirEntry| {
        let name = e.file_name().to_string_lossy().into_owned();
        name.starts_with(prefix) && name.ends_with("amd64")
    };
    match std::fs::read_dir(boot)?.flatten().find(named) {
        Some(file) => std::fs::copy(file.path(), to).map(drop).with_context(|| format!("cannot make {}", to.display())),
        None => bail!("debootstrap has put no {prefix} into {}", boot.display()),
    }
}

/// Removes a tree that debootstrap may have mounted things in: never through a mount.
fn remove(tree: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points: Vec<&str> = mounts.lines().filter_map(|l| l.split(' ').nth(4)).collect();
    for point in points.iter().rev().filter(|p| Path::new(p).starts_with(tree)) {
        program::output(Path::new("/"), &["umount", point])?;
    }
    match std::fs::remove_dir_all(tree) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", tree.display()))
        }
        _ => Ok(()),
    }
}
