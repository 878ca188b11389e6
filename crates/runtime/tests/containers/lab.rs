//! A runtime with a directory of its own and a busybox root.
use runtime::{AttachedIo, Exit, Launch, LogConfig, Runtime, StdStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Lab {
    pub dir: PathBuf,
    pub runtime: Runtime,
    name: String,
    next: AtomicU32,
}

impl Lab {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{:08x}{:04x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Not in /run, where nothing may be executed on many a machine; sockets need a short path.
        let dir = PathBuf::from(format!("/var/tmp/shoal-rt-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        make_root(&dir.join("root"));
        Self { runtime: open(&dir), dir, name, next: AtomicU32::new(0) }
    }

    /// A container that runs a shell command, without network.
    pub fn launch(&self, command: &str) -> Launch {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{number:052x}", self.name);
        Launch {
            rootfs: self.dir.join("root"),
            hostname: "box".into(),
            args: ["sh", "-c", command].map(str::to_owned).into(),
            log: LogConfig { path: self.dir.join(format!("{id}-json.log")), ..LogConfig::default() },
            cgroup_parent: self.parent(),
            id,
            ..Launch::default()
        }
    }

    fn parent(&self) -> String {
        format!("shoal-test-{}", self.name)
    }

    /// Runs to the end; what it wrote, and how it ended.
    pub async fn run(&self, launch: &Launch) -> (String, Exit) {
        self.runtime.create(launch).await.unwrap();
        let io = self.runtime.attach(&launch.id).await.unwrap();
        self.runtime.start(&launch.id).await.unwrap();
        let text = collect(io).await;
        let exit = self.wait(&launch.id).await;
        self.runtime.delete(&launch.id).await.unwrap();
        (text, exit)
    }

    pub async fn sh(&self, command: &str) -> (String, Exit) {
        self.run(&self.launch(command)).await
    }

    pub async fn up(&self, launch: &Launch) {
        self.runtime.create(launch).await.unwrap();
        self.runtime.start(&launch.id).await.unwrap();
    }

    pub async fn wait(&self, id: &str) -> Exit {
        tokio::time::timeout(PATIENCE, self.runtime.wait(id)).await.expect("it never ended").unwrap()
    }

    pub async fn wait_for_log(&self, launch: &Launch, text: &str) {
        until(|| std::fs::read_to_string(&launch.log.path).is_ok_and(|log| log.contains(text))).await;
    }

    pub fn group(&self, controller: &str, launch: &Launch) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        let root = if kernel::cgroup::Layout::of_this_machine().is_v2() { root.into() } else { root.join(controller) };
        root.join(self.parent()).join(&launch.id)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let group = kernel::cgroup::Cgroup::at(self.parent());
        let left = || {
            let mut left = group.pids().unwrap_or_default();
            left.extend(shims(&self.dir).iter().map(|(pid, _)| *pid));
            left
        };
        // A shim goes shortly after its last word.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !left().is_empty() && Instant::now() < deadline && !std::thread::panicking() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = left();
        group.remove().unwrap();
        for (pid, _) in shims(&self.dir) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL);
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounted = mounts.contains(self.dir.to_str().unwrap());
        std::fs::remove_dir_all(&self.dir).unwrap();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "processes were left: {left:?}");
            assert!(!mounted, "mounts were left");
        }
    }
}

pub fn open(dir: &Path) -> Runtime {
    Runtime::open_with_exe(dir.to_owned(), env!("CARGO_BIN_EXE_shim-test").into()).unwrap()
}

/// Shims of this directory that run: pid and container.
pub fn shims(dir: &Path) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let args: Vec<&str> = line.split(|byte| *byte == 0).filter_map(|arg| std::str::from_utf8(arg).ok()).collect();
        if args.get(1) == Some(&"shim-container") && args.get(2).is_some_and(|arg| Path::new(arg).starts_with(dir)) {
            found.push((pid, args[2].rsplit('/').next().unwrap().to_owned()));
        }
    }
    found
}

pub async fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn collect(mut io: AttachedIo) -> String {
    drop(io.stdin.take());
    let mut text = Vec::new();
    let all = async {
        while let Some((_, bytes)) = io.output.recv().await {
            text.extend_from_slice(&bytes);
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the output never ended");
    String::from_utf8_lossy(&text).into_owned()
}

pub async fn read_until(io: &mut AttachedIo, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let piece = tokio::time::timeout(PATIENCE, io.output.recv()).await.expect("it never came");
        let (_, bytes) = piece.unwrap_or_else(|| panic!("ended without {wanted:?}: {text:?}"));
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    text
}

pub async fn split(mut io: AttachedIo) -> (String, String) {
    let mut texts = (String::new(), String::new());
    while let Some((stream, bytes)) = io.output.recv().await {
        let text = if stream == StdStream::Stdout { &mut texts.0 } else { &mut texts.1 };
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    texts
}

fn make_root(root: &Path) {
    for dir in ["bin", "etc", "tmp", "proc", "sys", "dev", "data"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    let list = std::process::Command::new("busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox") {
        let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(name));
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nweb:x:33:\nmedia:x:44:web\n").unwrap();
    std::fs::write(root.join("plain"), "no program").unwrap();
}
