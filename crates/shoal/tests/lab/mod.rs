//! Machines for one test: a lab of its own, images from busybox, commands as a person types them, and a look afterwards
//! whether the kernel is as empty as before.
// Each test binary uses its part of it.
#![allow(dead_code)]
mod image;

use machine::{Lab, Record};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The image of everything that the tests run: busybox with some scripts.
pub const IMAGE: &str = "shoal/greeter";
/// The seat without a daemon.
pub const LAPTOP: &str = machine::LAPTOP;
/// Its address.
pub const LAPTOP_ADDRESS: &str = "192.168.99.2";

const LOG_TAIL: usize = 40;

/// What limits of time are multiplied by: a machine that is emulated says how many times slower it is.
pub fn patience() -> u32 {
    std::env::var("SHOAL_PATIENCE").ok().and_then(|p| p.parse().ok()).unwrap_or(1)
}

/// A lab that takes itself away.
pub struct TestLab {
    lab: Lab,
    storage: PathBuf,
    machines: Vec<Record>,
    ended: bool,
}

/// How a command ended.
#[derive(Debug)]
pub struct Said {
    /// Exit code 0.
    pub ok: bool,
    /// Standard output, without the last line end.
    pub out: String,
    /// What was complained of.
    pub err: String,
}

impl TestLab {
    /// Machines with the images loaded.
    pub fn new(names: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::SeqCst);
        let storage = PathBuf::from(format!("/var/lib/shoal-machines-tutorial-{}-{n}", std::process::id()));
        let lab = Lab::at(&storage, env!("CARGO_BIN_EXE_shoal").as_ref());
        let mut test = Self { lab, storage, machines: Vec::new(), ended: false };
        for name in names {
            let record = test.lab.create(name).unwrap_or_else(|e| panic!("{name}: {e}"));
            test.machines.push(record);
        }
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("busybox.tar");
        image::write(&archive);
        for name in names {
            for (image, command) in [(IMAGE, r#"["/bin/web"]"#), ("redis", r#"["/bin/store"]"#)] {
                let change = format!("--change 'ENV PATH=/bin' --change 'CMD {command}'");
                test.on(name, &format!("docker import {change} {} {image}:latest", archive.display()));
            }
        }
        test
    }

    /// A manager and workers that have joined it, all ready.
    pub fn swarm(names: &[&str]) -> Self {
        let test = Self::new(names);
        test.make_swarm();
        test
    }

    /// The first machine begins a swarm, the others join it as workers.
    pub fn make_swarm(&self) {
        let manager = self.machines[0].name.clone();
        let address = self.address(&manager);
        self.on(&manager, &format!("docker swarm init --advertise-addr {address}"));
        let token = self.on(&manager, "docker swarm join-token -q worker");
        for worker in self.machines.iter().skip(1) {
            self.on(&worker.name, &format!("docker swarm join --token {token} {address}:2377"));
        }
        for machine in &self.machines {
            self.node_becomes(&machine.name, "Ready", Duration::from_secs(20));
        }
    }

    /// Waits until `docker node ls` says so of a node; how long it took.
    pub fn node_becomes(&self, name: &str, status: &str, limit: Duration) -> Duration {
        let (began, wanted) = (Instant::now(), format!("{name} {status}"));
        self.until(&format!("{name} becomes {status}"), limit, || {
            let nodes = self.say(&self.machines[0].name, "docker node ls --format '{{.Hostname}} {{.Status}}'");
            if nodes.out.lines().any(|l| l == wanted) { Ok(()) } else { Err(format!("{nodes:?}")) }
        });
        began.elapsed()
    }

    /// Waits until `docker service ls` shows as many replicas.
    pub fn replicas(&self, service: &str, wanted: &str, limit: Duration) {
        self.replicas_seen_by(&self.machines[0].name, service, wanted, limit);
    }

    /// The same, as one machine shows it.
    pub fn replicas_seen_by(&self, machine: &str, service: &str, wanted: &str, limit: Duration) {
        self.until(&format!("{service} runs {wanted}"), limit, || {
            let services = self.say(machine, "docker service ls --format '{{.Name}} {{.Replicas}}'");
            if services.out.lines().any(|l| l == format!("{service} {wanted}")) {
                Ok(())
            } else {
                Err(format!("{services:?}"))
            }
        });
    }

    /// A running container of a service on a machine.
    pub fn container(&self, machine: &str, service: &str) -> Option<String> {
        self.containers(machine, service).into_iter().next()
    }

    /// All running containers of a service on a machine.
    pub fn containers(&self, machine: &str, service: &str) -> Vec<String> {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        let ids = self.on(machine, &format!("docker container ls -q --no-trunc --filter {filter}"));
        ids.lines().map(str::to_owned).collect()
    }

    /// The machine's address on the lab's switch.
    pub fn address(&self, name: &str) -> String {
        self.machines.iter().find(|r| r.name == name).unwrap().address.to_string()
    }

    /// The directory that is the machine's /var/lib/shoal.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.storage.join(name).join("disk")
    }

    /// The lab itself, to break it.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// SIGKILL for the daemon; everything else on the machine lives on.
    pub fn kill_daemon(&self, name: &str) {
        self.end_daemon(name, nix::libc::SIGKILL);
    }

    /// SIGTERM for the daemon, as a service manager says it.
    pub fn stop_daemon(&self, name: &str) {
        self.end_daemon(name, nix::libc::SIGTERM);
    }

    fn end_daemon(&self, name: &str, signal: i32) {
        let daemon = self.lab.daemon(name).unwrap();
        let process = kernel::process::PidFd::open_started(daemon.pid, daemon.started).unwrap();
        process.signal(signal).unwrap();
        assert!(process.wait_ended(10_000).unwrap(), "the daemon of {name} does not end");
        // The test's own child: it stays a zombie until somebody asks for it.
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(daemon.pid as i32), None);
    }

    /// A signal for the daemon (SIGSTOP, SIGCONT).
    pub fn signal_daemon(&self, name: &str, signal: i32) {
        let daemon = self.lab.daemon(name).unwrap();
        kernel::process::PidFd::open_started(daemon.pid, daemon.started).unwrap().signal(signal).unwrap();
    }

    /// Runs a line in a shell on a machine.
    pub fn say(&self, machine: &str, line: &str) -> Said {
        let mut command = self.lab.command(machine, "sh").unwrap_or_else(|e| panic!("{machine}: {e}"));
        let output = command.args(["-c", line]).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Said { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The same for a line that must succeed; what it prints.
    #[track_caller]
    pub fn on(&self, machine: &str, line: &str) -> String {
        let said = self.say(machine, line);
        assert!(said.ok, "{machine}$ {line}\n{}\n{}", said.out, said.err);
        said.out
    }

    /// The same for a line that must be refused, with these words.
    #[track_caller]
    pub fn refused(&self, machine: &str, line: &str, because: &str) {
        let said = self.say(machine, line);
        let text = format!("{}\n{}", said.out, said.err);
        assert!(!said.ok, "{machine}$ {line}\nshould have been refused\n{text}");
        assert!(text.contains(because), "{machine}$ {line}\nshould say: {because}\nbut says: {text}");
    }

    /// Starts a line and goes on.
    pub fn begin(&self, machine: &str, line: &str) -> Child {
        let mut command = self.lab.command(machine, "sh").unwrap();
        command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Asks again until the answer is there; panics with what was last missing.
    #[track_caller]
    pub fn until<T>(&self, what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
        let limit = limit * patience();
        let deadline = Instant::now() + limit;
        loop {
            match ask() {
                Ok(answer) => return answer,
                Err(missing) => {
                    assert!(Instant::now() < deadline, "{what}: not within {limit:?}: {missing}");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// Takes everything away, and looks whether anything stays.
    pub fn end(mut self) {
        let names: Vec<String> = self.machines.iter().map(|r| r.name.clone()).collect();
        self.lab.remove_all(&names).unwrap_or_else(|e| panic!("{e}"));
        self.ended = true;
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            for record in &self.machines {
                let log = std::fs::read_to_string(self.lab.log(&record.name)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {}\n{}", record.name, lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n"));
            }
        }
        for record in &self.machines {
            if let Err(e) = self.lab.remove(&record.name) {
                eprintln!("{}: {e}", record.name);
            }
        }
    }
}
