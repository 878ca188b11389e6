//! One lab: its machines, its switch, its seat for a person; made, found again, taken away.
//!
//! ```text
//!            create                 stop / kill
//!   (none) ────────► Running ──────────────────────► Stopped ──rm──► (none)
//!                     │   ▲                             │
//!      daemon ends    ▼   │ start                       │ start
//!                    Error ◄────────────────────────────┘ (a daemon that does not come up)
//! ```
//! A stopped machine has no namespaces, no processes and no mounts, only its disk: power is off.
use crate::engine::Engine;
use crate::error::{MachineError, Result};
use crate::interior::{DATA_ROOT, Interior, furnish};
use crate::record::{self, DaemonProcess, LAPTOP, Record, check_name};
use crate::residents::{Residents, containers_on};
use crate::switch::{self, Side, Switch};
use crate::traces::Traces;
use kernel::namespace::{Namespaces, make_private};
use kernel::netns::NetNs;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where machines are kept unless somebody says otherwise.
pub const DEFAULT_STORAGE: &str = "/var/lib/shoal-machines";

const POLITE: Duration = Duration::from_secs(10);
const PATH: &str = "/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LAPTOP_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 99, 2);

/// A lab.
pub struct Lab {
    storage: PathBuf,
    run: PathBuf,
    program: PathBuf,
    engine: Engine,
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its daemon runs.
    Running,
    /// It is on, but its daemon has ended.
    Error,
    /// It is off.
    Stopped,
}

impl State {
    /// docker-machine's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Error => "Error",
            Self::Stopped => "Stopped",
        }
    }
}

impl Lab {
    /// The lab whose machines are kept in `storage`. `program` is Shoal's own binary.
    pub fn at(storage: &Path, program: &Path) -> Self {
        let run = if storage == Path::new(DEFAULT_STORAGE) {
            PathBuf::from("/run/shoal-machines")
        } else {
            // Another lab beside the usual one, with its own switch: sockets need short paths.
            let hash = storage
                .as_os_str()
                .as_encoded_bytes()
                .iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
            PathBuf::from(format!("/run/shoal-machines.{:08x}", hash as u32))
        };
        Self { storage: storage.to_owned(), run, program: program.to_owned(), engine: Engine::shoal(program) }
    }

    /// The same lab with another daemon.
    pub fn with_engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    fn state_dir(&self, name: &str) -> PathBuf {
        self.storage.join(name)
    }

    fn run_dir(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// The machine's API socket, as the host sees it.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.run_dir(name).join("run/docker.sock")
    }

    /// What its daemon says.
    pub fn log(&self, name: &str) -> PathBuf {
        self.state_dir(name).join("daemon.log")
    }

    /// One change at a time, also between processes.
    fn lock(&self) -> Result<Flock<std::fs::File>> {
        if !nix::unistd::geteuid().is_root() {
            return Err(MachineError::NotRoot);
        }
        std::fs::create_dir_all(&self.storage).map_err(MachineError::file("make", &self.storage))?;
        let path = self.storage.join("lock");
        let file = std::fs::File::create(&path).map_err(MachineError::file("open", &path))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| MachineError::file("lock", &path)(e.into()))
    }

    /// All machines, by name.
    pub fn machines(&self) -> Vec<Record> {
        let entries = std::fs::read_dir(&self.storage).into_iter().flatten().flatten();
        let mut records: Vec<Record> =
            entries.filter_map(|e| record::read(&e.path().join("machine.json")).ok()).collect();
        records.retain(|r: &Record| r.name != LAPTOP);
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records
    }

    /// One machine (or the laptop).
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn machine(&self, name: &str) -> Result<Record> {
        let unknown = || MachineError::Unknown(name.to_owned());
        if name != LAPTOP {
            check_name(name).map_err(|_| unknown())?;
        }
        record::read(&self.state_dir(name).join("machine.json")).map_err(|_| unknown())
    }

    /// What it is doing.
    pub fn state(&self, name: &str) -> State {
        match (Namespaces::open(&self.run_dir(name)), self.daemon(name)) {
            (Err(_), _) => State::Stopped,
            (Ok(_), Some(d)) if d.is_alive() => State::Running,
            (Ok(_), _) => State::Error,
        }
    }

    /// The daemon that was started last.
    pub fn daemon(&self, name: &str) -> Option<DaemonProcess> {
        record::read(&self.run_dir(name).join("daemon.json")).ok()
    }

    /// Makes a machine and boots it.
    ///
    /// # Errors
    /// When there is one of that name, or a step fails; nothing is left behind then.
    pub fn create(&self, name: &str) -> Result<Record> {
        check_name(name)?;
        let lock = self.lock()?;
        let dir = self.state_dir(name);
        if dir.join("machine.json").exists() {
            return Err(MachineError::Exists(name.to_owned()));
        }
        let address = record::free_address(&self.machines()).ok_or(MachineError::Full)?;
        let created = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let record = Record { name: name.to_owned(), address, created };
        let booted = self.install(&record).and_then(|()| self.boot(&record));
        if let Err(e) = booted {
            // The daemon's log would go with the directory; its end is in the error.
            let _ = self.demolish(&record);
            return Err(e);
        }
        self.seat_neighbours();
        drop(lock);
        Ok(record)
    }

    fn install(&self, record: &Record) -> Result<()> {
        let dir = self.state_dir(&record.name);
        for sub in ["disk", "etc", "boot"] {
            let path = dir.join(sub);
            std::fs::create_dir_all(&path).map_err(MachineError::file("make", &path))?;
        }
        let write = |name: &str, text: String| {
            let path = dir.join("etc").join(name);
            std::fs::write(&path, text).map_err(MachineError::file("write", &path))
        };
        write("hostname", format!("{}\n", record.name))?;
        write("hosts", self.hosts(record))?;
        // The laptop is the lab's outside world; unless a test puts a resolver there, it refuses at once.
        write("resolv.conf", format!("nameserver {LAPTOP_ADDRESS}\nsearch lab.test\n"))?;
        record::write(&dir.join("machine.json"), record)
    }

    fn hosts(&self, record: &Record) -> String {
        let mut text = format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{}\t{}\n",
            record.address, record.name
        );
        if record.name == LAPTOP {
            for m in self.machines() {
                text.push_str(&format!("{}\t{}\n", m.address, m.name));
            }
        }
        text
    }

    /// The laptop knows the machines by name; the file is written in place because it is mounted.
    fn seat_neighbours(&self) {
        if let Ok(laptop) = self.machine(LAPTOP) {
            let path = self.state_dir(LAPTOP).join("etc/hosts");
            if let Err(e) = std::fs::write(&path, self.hosts(&laptop)) {
                tracing::warn!(error = %e, "the laptop's hosts file is out of date");
            }
        }
    }

    /// Power on.
    fn boot(&self, record: &Record) -> Result<()> {
        {
            let _others = among_labs()?;
            std::fs::create_dir_all(&self.run).map_err(MachineError::file("make", &self.run))?;
            std::fs::create_dir_all(DATA_ROOT).map_err(MachineError::file("make", DATA_ROOT))?;
        }
        make_private(&self.run).map_err(MachineError::file("make a private mount of", &self.run))?;
        let switch = Switch::ensure(&self.run)?;
        if record.name != LAPTOP && Namespaces::open(&self.run_dir(LAPTOP)).is_err() {
            let laptop = Record { name: LAPTOP.to_owned(), address: LAPTOP_ADDRESS, created: 0 };
            self.install(&laptop)?;
            self.boot(&laptop)?;
        }
        let started = self
            .build(record, &switch)
            .and_then(|namespaces| if record.name == LAPTOP { Ok(()) } else { self.start_daemon(record, &namespaces) });
        if started.is_err() {
            // The first error is the one to report.
            let _ = self.power_off(record);
        }
        started
    }

    fn build(&self, record: &Record, switch: &Switch) -> Result<Namespaces> {
        let (name, run, dir) = (&record.name, self.run_dir(&record.name), self.state_dir(&record.name));
        let tmpfs = run.join("run");
        std::fs::create_dir_all(&tmpfs).map_err(MachineError::file("make", &tmpfs))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), &tmpfs, Some("tmpfs"), flags, Some("mode=0755"))
            .map_err(|e| MachineError::file("mount a tmpfs on", &tmpfs)(e.into()))?;
        self.lay_out_programs(&tmpfs)?;
        let seat = *name == LAPTOP;
        let interior = Interior {
            hostname: name.clone(),
            disk: (!seat).then(|| dir.join("disk")),
            state: dir,
            run: tmpfs,
            hidden: vec![self.run.clone(), self.storage.clone()],
        };
        let failed = |step| move |source| MachineError::Namespaces { step, name: name.clone(), source };
        let namespaces = Namespaces::create(|| furnish(&interior)).map_err(failed("make"))?;
        namespaces.keep_at(&run).map_err(failed("keep"))?;
        let net = NetNs::open(&run.join("net")).map_err(failed("open"))?;
        switch.plug(&net, record.address)?;
        Ok(namespaces)
    }

    /// `shoal` and, where the genuine one is missing, `docker`, for whoever works inside.
    fn lay_out_programs(&self, tmpfs: &Path) -> Result<()> {
        let bin = tmpfs.join("bin");
        std::fs::create_dir_all(&bin).map_err(MachineError::file("make", &bin))?;
        let genuine = PATH.split(':').any(|d| Path::new(d).join("docker").exists());
        for name in ["shoal", "docker"].iter().filter(|n| **n == "shoal" || !genuine) {
            let link = bin.join(name);
            std::os::unix::fs::symlink(&self.program, &link).map_err(MachineError::file("link", &link))?;
        }
        Ok(())
    }

    fn start_daemon(&self, record: &Record, namespaces: &Namespaces) -> Result<()> {
        let (run, log) = (self.run_dir(&record.name), self.log(&record.name));
        let process = self.engine.start(&record.name, namespaces, &environment(&record.name), &log)?;
        record::write(&run.join("daemon.json"), &process)?;
        self.engine.wait_ready(&record.name, process, &run.join("run"), &log)
    }

    fn residents<'a>(&self, record: &'a Record, namespaces: Option<&'a Namespaces>) -> Residents<'a> {
        let containers = containers_on(&self.state_dir(&record.name).join("disk"));
        Residents { name: &record.name, namespaces, containers }
    }

    /// The machine's processes with their start times, and its containers.
    pub(crate) fn inhabitants(&self, record: &Record) -> (BTreeMap<u32, u64>, BTreeSet<String>) {
        let namespaces = Namespaces::open(&self.run_dir(&record.name)).ok();
        let residents = self.residents(record, namespaces.as_ref());
        (residents.processes(), residents.containers)
    }

    /// What a machine has on the host's file systems.
    pub(crate) fn directories(&self, name: &str) -> [PathBuf; 2] {
        [self.state_dir(name), self.run_dir(name)]
    }

    /// What the lab itself has there.
    pub(crate) fn own_directories(&self) -> [PathBuf; 2] {
        [self.storage.clone(), self.run.clone()]
    }

    /// Power off, at once: every process, namespace, mount and cable.
    fn power_off(&self, record: &Record) -> Result<()> {
        let run = self.run_dir(&record.name);
        let namespaces = Namespaces::open(&run).ok();
        self.residents(record, namespaces.as_ref()).kill()?;
        drop(namespaces);
        if let Some(switch) = Switch::find(&self.run) {
            switch.unplug(record.address)?;
        }
        Namespaces::forget(&run).map_err(MachineError::file("unmount", &run))?;
        let tmpfs = run.join("run");
        while nix::mount::umount2(&tmpfs, nix::mount::MntFlags::MNT_DETACH).is_ok() {}
        remove_tree(&run)
    }

    /// Boots a machine that is off, or starts the daemon again of one that is on. Already so: fine.
    ///
    /// # Errors
    /// When there is none, or the daemon does not come up.
    pub fn start(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let record = self.machine(name)?;
        match self.state(name) {
            State::Running => Ok(()),
            State::Stopped => {
                // What a reboot of the host may have left.
                self.power_off(&record)?;
                self.boot(&record)
            }
            State::Error => {
                let open = |source| MachineError::Namespaces { step: "open", name: name.to_owned(), source };
                self.start_daemon(&record, &Namespaces::open(&self.run_dir(name)).map_err(open)?)
            }
        }
    }

    /// Shuts a machine down: the daemon first, then what is left is asked, then killed. Already off: fine.
    ///
    /// # Errors
    /// When there is none, or something stays.
    pub fn stop(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let record = self.machine(name)?;
        if let Ok(namespaces) = Namespaces::open(&self.run_dir(name)) {
            if let Some(d) = self.daemon(name)
                && let Ok(process) = kernel::process::PidFd::open_started(d.pid, d.started)
                && process.signal(nix::libc::SIGTERM).is_ok()
            {
                // Longer than it takes is as good as killed.
                let _ = process.wait_ended(POLITE.as_millis() as u16);
            }
            let residents = self.residents(&record, Some(&namespaces));
            residents.signal(nix::libc::SIGTERM);
            residents.wait_gone(Duration::from_secs(2));
        }
        self.power_off(&record)
    }

    /// Cuts a machine's power. Already off: fine.
    ///
    /// # Errors
    /// When there is none, or something stays.
    pub fn kill(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let record = self.machine(name)?;
        self.power_off(&record)
    }

    /// Takes a machine away with its disk; with the last one, the lab.
    ///
    /// # Errors
    /// When there is none, or something stays.
    pub fn remove(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let lock = self.lock()?;
        match self.machine(name) {
            Ok(record) => self.demolish(&record)?,
            // Somebody was interrupted while making it, before it was booted, or while removing it, when it was off.
            Err(_) if self.is_begun(name) => {
                remove_tree(&self.state_dir(name))?;
                self.dismantle_if_unused()?;
            }
            Err(e) => return Err(e),
        }
        self.seat_neighbours();
        drop(lock);
        Ok(())
    }

    /// Whether there is something of a machine on the disk, if only the beginning of it.
    pub fn is_begun(&self, name: &str) -> bool {
        check_name(name).is_ok() && self.state_dir(name).exists()
    }

    /// Takes machines away, with the last one the lab, also what an interrupted command has left of it; looks whether
    /// anything stays.
    ///
    /// # Errors
    /// When one does not exist or something stays; the others are removed all the same.
    pub fn remove_all(&self, names: &[String]) -> Result<()> {
        let mut traces = Traces::default();
        names.iter().for_each(|n| traces.note(self, n));
        let removed = names.iter().map(|n| self.remove(n)).fold(Ok(()), Result::and);
        let begun = self.storage.exists() || self.run.exists();
        let removed =
            removed.and(if begun { self.lock().and_then(|_lock| self.dismantle_if_unused()) } else { Ok(()) });
        let left = traces.left(self);
        removed.and(if left.is_empty() { Ok(()) } else { Err(MachineError::Left(left)) })
    }

    fn demolish(&self, record: &Record) -> Result<()> {
        self.power_off(record)?;
        remove_tree(&self.state_dir(&record.name))?;
        if record.name == LAPTOP { Ok(()) } else { self.dismantle_if_unused() }
    }

    fn dismantle_if_unused(&self) -> Result<()> {
        if self.machines().is_empty() { self.dismantle() } else { Ok(()) }
    }

    /// The laptop, the switch, and the directories, if nobody else has put something there.
    fn dismantle(&self) -> Result<()> {
        if let Ok(laptop) = self.machine(LAPTOP) {
            self.demolish(&laptop)?;
        }
        remove_tree(&self.state_dir(LAPTOP))?;
        Switch::remove(&self.run)?;
        debug_assert_eq!(switch::path(&self.run).parent(), Some(self.run.as_path()));
        while nix::mount::umount2(&self.run, nix::mount::MntFlags::MNT_DETACH).is_ok() {}
        let _ = std::fs::remove_file(self.storage.join("lock"));
        let _ = std::fs::remove_dir(&self.storage);
        let _others = among_labs()?;
        let _ = std::fs::remove_dir(&self.run);
        // Removing a directory takes away what other mount namespaces have mounted on it: only after the last lab.
        let is_lab = |e: std::fs::DirEntry| e.file_name().to_string_lossy().starts_with("shoal-machines");
        if !std::fs::read_dir("/run").into_iter().flatten().flatten().any(is_lab) {
            let _ = std::fs::remove_dir(DATA_ROOT);
        }
        Ok(())
    }

    /// A command that will run on a machine, in the same directory as here if it is there.
    ///
    /// # Errors
    /// When there is no such machine, or it is off.
    pub fn command(&self, name: &str, program: impl AsRef<OsStr>) -> Result<Command> {
        self.machine(name)?;
        if !nix::unistd::geteuid().is_root() {
            return Err(MachineError::NotRoot);
        }
        let namespaces = Namespaces::open(&self.run_dir(name)).map_err(|_| MachineError::Off(name.to_owned()))?;
        let mut command = namespaces.command(program, std::env::current_dir().ok(), false);
        command.env_clear().envs(environment(name));
        Ok(command)
    }

    /// Cuts machines off from the others; they still reach each other.
    ///
    /// # Errors
    /// When one does not exist or is off.
    pub fn partition(&self, names: &[String]) -> Result<()> {
        self.move_all(names, Side::Island)
    }

    /// Puts machines back (all, if none is named).
    ///
    /// # Errors
    /// When one does not exist or is off.
    pub fn heal(&self, names: &[String]) -> Result<()> {
        if names.is_empty() {
            let on = |r: &Record| self.state(&r.name) != State::Stopped;
            let all: Vec<String> = self.machines().into_iter().filter(on).map(|r| r.name).collect();
            return self.move_all(&all, Side::Main);
        }
        self.move_all(names, Side::Main)
    }

    fn move_all(&self, names: &[String], side: Side) -> Result<()> {
        let _lock = self.lock()?;
        let addresses: Vec<Ipv4Addr> = names.iter().map(|n| self.cabled(n)).collect::<Result<_>>()?;
        if addresses.is_empty() {
            return Ok(());
        }
        Switch::ensure(&self.run)?.move_to(&addresses, side)
    }

    /// Whether it is cut off.
    pub fn is_cut_off(&self, record: &Record) -> bool {
        Switch::find(&self.run).is_some_and(|s| s.is_cut_off(record.address).unwrap_or(false))
    }

    /// Delays what travels to a machine.
    ///
    /// # Errors
    /// When the kernel cannot.
    pub fn delay(&self, name: &str, milliseconds: u32) -> Result<()> {
        let _lock = self.lock()?;
        let address = self.cabled(name)?;
        Switch::ensure(&self.run)?.delay(address, milliseconds)
    }

    fn cabled(&self, name: &str) -> Result<Ipv4Addr> {
        let record = self.machine(name)?;
        match self.state(name) {
            State::Stopped => Err(MachineError::Off(name.to_owned())),
            _ => Ok(record.address),
        }
    }
}

/// Removes a directory with what is in it; fine if it is gone.
fn remove_tree(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(MachineError::file("remove", dir)(e)),
        _ => Ok(()),
    }
}

/// Labs share the directory that machines mount their disks on. The lock is on the one above it, so that no file stays.
fn among_labs() -> Result<Flock<std::fs::File>> {
    let dir = Path::new(DATA_ROOT).parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir).map_err(MachineError::file("make", dir))?;
    let file = std::fs::File::open(dir).map_err(MachineError::file("open", dir))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| MachineError::file("lock", dir)(e.into()))
}

/// What a process on a machine finds in its environment: the caller's, without a word about another daemon.
fn environment(name: &str) -> Vec<(OsString, OsString)> {
    let own = ["PATH", "HOSTNAME", "DOCKER_CONFIG", "OLDPWD", "PWD"];
    let kept = std::env::vars_os().filter(|(key, _)| {
        let key = key.to_string_lossy();
        !own.contains(&&*key) && !["DOCKER_", "SHOAL_", "MACHINE_", "CARGO", "RUST"].iter().any(|p| key.starts_with(p))
    });
    let fixed = [("PATH", PATH), ("HOSTNAME", name), ("DOCKER_CONFIG", "/run/docker-cli")];
    kept.chain(fixed.iter().map(|(k, v)| (OsString::from(k), OsString::from(v)))).collect()
}
