//! One daemon, whoever's, in network, mount, UTS and PID namespaces of its own, on the bare ground's switch.
use super::api::Api;
use super::engine::{Node, wait_every};
use super::ground;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// What it does inside its namespaces: its own /sys, /run and names, then the daemon.
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
date +%s%N > "$DIR/began"
"$@" --data-root "$DIR/data" --exec-root /run/docker --pidfile /run/docker.pid -H "unix://$DIR/docker.sock" &
wait
"#;

/// A daemon; it goes when this is dropped, and its data with it.
pub struct Stand {
    seat: usize,
    name: String,
    dir: PathBuf,
    daemon: Vec<String>,
    child: Option<Child>,
}

impl Stand {
    /// A place for the program `daemon` (with what it wants to be told besides its directories) in the namespace `seat`.
    pub fn new(seat: usize, name: &str, work: &Path, daemon: &[&str]) -> Result<Self> {
        let dir = work.join(name);
        discard(&dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let daemon = daemon.iter().map(|w| (*w).to_owned()).collect();
        Ok(Self { seat, name: name.to_owned(), dir, daemon, child: None })
    }

    /// Starts the daemon, new or again; how long its own program took until the API answered.
    pub fn start(&mut self) -> Result<(Node, Duration)> {
        let log = std::fs::File::create(self.dir.join("log"))?;
        let own = ["-m", "-u", "-p", "-f", "--kill-child", "--mount-proc", "--propagation", "private"];
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", ground::namespace(self.seat)))
            .arg("unshare")
            .args(own)
            .args(["sh", "-ec", INSIDE, "sh"])
            .args(&self.daemon)
            .env("DIR", &self.dir)
            .env("NAME", &self.name)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let uts = format!("/proc/{}/ns/uts", child.id());
        self.child = Some(child);
        let api = Api::at(&self.dir.join("docker.sock"));
        wait_every(Duration::from_millis(2), "the API answers", || Ok(api.answers().then_some(())))
            .with_context(|| format!("see {}", self.dir.join("log").display()))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let began: u64 = std::fs::read_to_string(self.dir.join("began"))?.trim().parse()?;
        let took = now.saturating_sub(Duration::from_nanos(began));
        let address = ground::address(self.seat);
        Ok((Node { name: self.name.clone(), api, address, uts: std::fs::read_link(uts)? }, took))
    }

    /// Ends it with everything that it started; its data stay.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // With the first process of its PID namespace the kernel ends all others and its mounts.
            let _ = child.kill();
            let _ = child.wait();
        }
        // A socket without a daemon would only refuse.
        let _ = std::fs::remove_file(self.dir.join("docker.sock"));
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.stop();
        discard(&self.dir);
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
