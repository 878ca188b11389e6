//! What a machine sees: its own /run, /sys, /var/lib/shoal and names in /etc, on the host's root file system.
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::io;
use std::path::{Path, PathBuf};

/// Everything that [`furnish`] needs, decided before.
pub struct Interior {
    /// Host name.
    pub hostname: String,
    /// The machine's directory on the host; holds `etc/` and the empty directory `boot`.
    pub state: PathBuf,
    /// Becomes /var/lib/shoal; `None` for a seat without a daemon.
    pub disk: Option<PathBuf>,
    /// A tmpfs that becomes /run, so that the host can reach the sockets in it.
    pub run: PathBuf,
    /// Directories of the host whose mounts must not be kept alive by this machine.
    pub hidden: Vec<PathBuf>,
}

/// The directory that the machine's disk is mounted on.
pub const DATA_ROOT: &str = "/var/lib/shoal";
/// The daemon's settings on a machine: its own, for the host's file in `/etc/docker` is meant for the host's daemon.
pub const CONFIG_FILE: &str = "/run/daemon.json";

/// Builds it. Runs inside the fresh namespaces, where every mount is private already.
///
/// # Errors
/// With the path that failed.
pub fn furnish(interior: &Interior) -> io::Result<()> {
    nix::unistd::sethostname(&interior.hostname)?;
    let staging = interior.state.join("boot");
    bind(&interior.run, &staging)?;
    let_go_of_the_hosts(interior, &staging);
    shift(&staging, Path::new("/run"))?;
    let var_run = Path::new("/var/run");
    if var_run.is_dir() && !var_run.is_symlink() {
        bind(Path::new("/run"), var_run)?;
    }
    std::fs::write(CONFIG_FILE, "{}\n")?;
    own_sys()?;
    if let Some(disk) = &interior.disk {
        bind(disk, Path::new(DATA_ROOT))?;
    }
    for name in ["hostname", "hosts", "resolv.conf"] {
        bind_file(&interior.state.join("etc").join(name), &Path::new("/etc").join(name))?;
    }
    Ok(())
}

/// A new mount namespace holds a copy of every mount of the host, among them namespaces of other machines and the
/// pinned programs of a daemon on the host, which would live on in it after the host has let them go.
fn let_go_of_the_hosts(interior: &Interior, staging: &Path) {
    let Ok(mounts) = std::fs::read_to_string("/proc/thread-self/mountinfo") else { return };
    let hidden = |dir: &Path| interior.hidden.iter().any(|h| dir.starts_with(h)) || dir.starts_with("/run");
    for line in mounts.lines().rev() {
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        let Some(dir) = place.split(' ').nth(4).map(kernel::mount::unescape) else { continue };
        let held = kind.starts_with("nsfs ") || kind.starts_with("bpf ");
        if dir != staging && (held || hidden(&dir)) {
            // What stays costs memory, not correctness.
            let _ = umount2(&dir, MntFlags::MNT_DETACH);
        }
    }
}

/// sysfs shows the network devices of whoever mounted it; the cgroup tree stays the host's; pinned BPF objects are
/// the machine's own and go with it.
fn own_sys() -> io::Result<()> {
    let cgroup = Path::new("/sys/fs/cgroup");
    let aside = Path::new("/run/.cgroup");
    std::fs::create_dir_all(aside)?;
    mount(Some(cgroup), aside, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|e| named("bind", cgroup, e))?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("sysfs"), "/sys", Some("sysfs"), plain, None::<&str>)
        .map_err(|e| named("mount", Path::new("/sys"), e))?;
    shift(aside, cgroup)?;
    std::fs::remove_dir(aside)?;
    let bpf = Path::new("/sys/fs/bpf");
    if bpf.is_dir() {
        mount(Some("bpf"), bpf, Some("bpf"), plain, Some("mode=0700")).map_err(|e| named("mount", bpf, e))?;
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|e| named("bind to", to, e))
}

fn shift(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>).map_err(|e| named("move a mount to", to, e))
}

/// Binds over a file that may be a link into /run, which is empty now.
fn bind_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = to.to_owned();
    for _ in 0..8 {
        match std::fs::read_link(&target) {
            Ok(next) => target = target.parent().unwrap_or(Path::new("/")).join(next),
            Err(_) => break,
        }
    }
    if !target.exists() {
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&target, "")?;
    }
    bind(from, &target)
}

fn named(step: &str, path: &Path, e: nix::errno::Errno) -> io::Error {
    let e = io::Error::from(e);
    io::Error::new(e.kind(), format!("{step} {}: {e}", path.display()))
}
