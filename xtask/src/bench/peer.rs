//! The peer: dockerd, each node in network, mount, UTS and PID namespaces of its own, on the bare ground's switch.
use super::api::Api;
use super::engine::{Engine, Node, wait};
use super::figures::Of;
use super::ground;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a node does inside its namespaces: its own /sys, /run and names, then the daemon.
const INSIDE: &str = r#"
hostname "$NAME"
mkdir -p "$DIR/cgroup" "$DIR/data"
mount --rbind /sys/fs/cgroup "$DIR/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$DIR/cgroup" /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/docker /run/containerd /run/lock
[ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker
echo "nameserver 127.0.0.1" > /run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf
dockerd --data-root "$DIR/data" --exec-root /run/docker --pidfile /run/docker.pid -H "unix://$DIR/docker.sock" --storage-driver overlay2 &
wait
"#;

/// The nodes; they go when this is dropped.
pub struct Peer {
    nodes: Vec<(Child, PathBuf)>,
}

/// Whether the kernel can do what dockerd balances with.
fn has_ipvs() -> bool {
    Path::new("/proc/net/ip_vs").exists()
}

impl Peer {
    /// Starts a daemon in each of the namespaces in `seats`.
    pub fn raise(seats: &[usize], work: &Path) -> Result<(Self, Engine)> {
        let mut peer = Self { nodes: Vec::new() };
        let mut nodes = Vec::new();
        for (i, seat) in seats.iter().enumerate() {
            let (dir, name) = (work.join(format!("docker-{}", i + 1)), format!("peer-{}", i + 1));
            discard(&dir);
            std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let log = std::fs::File::create(dir.join("log"))?;
            let own = ["-m", "-u", "-p", "-f", "--kill-child", "--mount-proc", "--propagation", "private"];
            let child = Command::new("nsenter")
                .arg(format!("--net=/run/netns/{}", ground::namespace(*seat)))
                .arg("unshare")
                .args(own)
                .args(["sh", "-ec", INSIDE])
                .env("DIR", &dir)
                .env("NAME", &name)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .context("cannot start a node of the peer")?;
            let uts = format!("/proc/{}/ns/uts", child.id());
            let api = Api::at(&dir.join("docker.sock"));
            peer.nodes.push((child, dir.clone()));
            wait("dockerd answers", || Ok(api.answers().then_some(())))
                .with_context(|| format!("see {}", dir.join("log").display()))?;
            nodes.push(Node { name, api, address: ground::address(*seat), uts: std::fs::read_link(uts)? });
        }
        Ok((peer, Engine { of: Of::Docker, nodes, balances: has_ipvs() }))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for (child, dir) in &mut self.nodes {
            // With the first process of its PID namespace the kernel ends all others and its mounts.
            let _ = child.kill();
            let _ = child.wait();
            discard(dir);
        }
        for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_empty(&controller.path().join("docker"));
        }
    }
}

fn discard(dir: &Path) {
    // The mounts of a namespace that is ending go a moment later.
    for _ in 0..100 {
        if !dir.exists() || std::fs::remove_dir_all(dir).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    println!("(cannot remove {})", dir.display());
}

/// Control groups without processes; those in use refuse.
fn remove_empty(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}
