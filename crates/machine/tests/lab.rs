//! A whole lab, with a stand-in for the daemon: made, used, broken, taken away without a trace.
use machine::{Engine, Lab, MachineError, State};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

struct TestLab {
    lab: Lab,
    storage: PathBuf,
}

impl Drop for TestLab {
    fn drop(&mut self) {
        for m in self.lab.machines() {
            if let Err(e) = self.lab.remove(&m.name) {
                eprintln!("{}: {e}", m.name);
            }
        }
    }
}

fn lab(script: &str) -> TestLab {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, Ordering::SeqCst);
    let storage = PathBuf::from(format!("/var/lib/shoal-machines-test-{}-{n}", std::process::id()));
    let argv = ["sh", "-c", script].iter().map(Into::into).collect();
    let program = std::env::current_exe().unwrap();
    TestLab { lab: Lab::at(&storage, &program).with_engine(Engine { argv, socket: None }), storage }
}

const STAND_IN: &str = "echo up; echo mark >> /var/lib/shoal/mark; setsid sleep 98765 & exec sleep 98765";

fn sh(lab: &Lab, machine: &str, script: &str) -> (bool, String) {
    let output = lab.command(machine, "sh").unwrap().args(["-c", script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.trim().to_owned())
}

fn pings(lab: &Lab, from: &str, to: &str) -> bool {
    sh(lab, from, &format!("ping -c1 -W1 {to}")).0
}

fn poll(what: &str, f: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mounts_with(text: &str) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|l| l.contains(text)).map(str::to_owned).collect()
}

#[test]
fn two_machines_and_a_laptop_see_each_other_and_nothing_else() {
    let t = lab(STAND_IN);
    let (a, b) = (t.lab.create("alpha").unwrap(), t.lab.create("beta").unwrap());
    assert_eq!((a.address.to_string(), b.address.to_string()), ("192.168.99.100".into(), "192.168.99.101".into()));
    assert!(pings(&t.lab, "alpha", "192.168.99.101"));
    assert!(pings(&t.lab, "laptop", "beta"), "the laptop knows machines by name");
    assert_eq!(sh(&t.lab, "alpha", "hostname; cat /etc/hostname").1, "alpha\nalpha");
    assert_eq!(sh(&t.lab, "alpha", "ls /sys/class/net").1, "eth0\nlo");
    assert_eq!(sh(&t.lab, "alpha", "ip route").1.lines().count(), 1, "no way out");
    assert!(!sh(&t.lab, "alpha", "ping -c1 -W1 192.0.2.1").0);
    let (ok, text) = sh(
        &t.lab,
        "beta",
        "ls -d /sys/fs/cgroup/*/ && touch /run/x && test -e /var/run/x && grep -c ' /run ' /proc/mounts",
    );
    assert!(ok, "{text}");
    assert!(Path::new(&t.lab.socket("beta")).with_file_name("x").exists(), "the host reaches /run of a machine");
    assert!(!Path::new("/run/x").exists());
    assert!(!sh(&t.lab, "beta", "ls /run/shoal-machines*").0, "no machine sees the lab's own files");
    assert!(matches!(t.lab.create("alpha"), Err(MachineError::Exists(_))));
    assert!(matches!(t.lab.create("laptop"), Err(MachineError::Reserved(_))));
    assert!(matches!(t.lab.stop("gamma"), Err(MachineError::Unknown(_))));
    let run = t.lab.socket("beta").parent().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let daemon = t.lab.daemon("beta").unwrap();
    t.lab.remove("alpha").unwrap();
    t.lab.remove("beta").unwrap();
    assert!(!daemon.is_alive());
    assert!(!t.storage.exists() && !run.exists(), "{} {}", t.storage.display(), run.display());
    assert_eq!(mounts_with(run.to_str().unwrap()), Vec::<String>::new());
    assert_eq!(mounts_with(t.storage.to_str().unwrap()), Vec::<String>::new());
}

#[test]
fn power_cuts_take_processes_and_leave_the_disk() {
    let t = lab(STAND_IN);
    t.lab.create("alpha").unwrap();
    poll("the daemon leaves a mark", || sh(&t.lab, "alpha", "cat /var/lib/shoal/mark").1 == "mark");
    let first = t.lab.daemon("alpha").unwrap();
    let in_use = format!("{}/alpha/run", t.lab.socket("alpha").ancestors().nth(3).unwrap().display());
    t.lab.kill("alpha").unwrap();
    assert_eq!((t.lab.state("alpha"), first.is_alive()), (State::Stopped, false));
    assert_eq!(mounts_with(&in_use), Vec::<String>::new());
    assert!(matches!(t.lab.command("alpha", "true"), Err(MachineError::Off(_))));
    t.lab.kill("alpha").unwrap();
    t.lab.start("alpha").unwrap();
    poll("the daemon starts again on the same disk", || {
        sh(&t.lab, "alpha", "cat /var/lib/shoal/mark").1 == "mark\nmark"
    });
    t.lab.start("alpha").unwrap();
    t.lab.stop("alpha").unwrap();
    assert_eq!(t.lab.state("alpha"), State::Stopped);
    t.lab.start("alpha").unwrap();
    let daemon = t.lab.daemon("alpha").unwrap();
    kernel::process::PidFd::open_started(daemon.pid, daemon.started).unwrap().signal(9).unwrap();
    poll("a daemon that ended is noticed", || t.lab.state("alpha") == State::Error);
    t.lab.start("alpha").unwrap();
    assert_eq!(t.lab.state("alpha"), State::Running);
}

/// A container whose supervisor is gone: own namespaces and a parent outside the machine.
#[test]
fn a_container_without_a_parent_is_found_by_its_control_group_and_goes_too() {
    let id = format!("{:064x}", 0xabc0_0000_0000_u64 + u64::from(std::process::id()));
    let script = format!(
        "mkdir -p /var/lib/shoal/containers/{id}
         G=/sys/fs/cgroup/pids; test -d $G || G=/sys/fs/cgroup; G=$G/docker/{id}; mkdir -p $G/inner
         (sh -c 'echo $$ > '$G'/inner/cgroup.procs; exec setsid unshare -n -m -u -p -f sleep 98764' &)
         exec sleep 98765"
    );
    let t = lab(&script);
    t.lab.create("alpha").unwrap();
    let groups = || {
        let pids = Path::new("/sys/fs/cgroup/pids");
        let root = if pids.is_dir() { pids } else { Path::new("/sys/fs/cgroup") };
        root.join("docker").join(&id)
    };
    let residents = || std::fs::read_to_string(groups().join("inner/cgroup.procs")).unwrap_or_default();
    poll("the container runs", || residents().lines().count() == 2);
    let pids: Vec<String> = residents().lines().map(str::to_owned).collect();
    t.lab.remove("alpha").unwrap();
    assert!(!groups().exists());
    for pid in pids {
        // Whoever inherited it may take a while to bury it.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{pid} lives on: {stat}");
    }
}

#[test]
fn partitions_cut_and_heal() {
    let t = lab(STAND_IN);
    for name in ["alpha", "beta", "gamma"] {
        t.lab.create(name).unwrap();
    }
    t.lab.partition(&["alpha".into(), "beta".into()]).unwrap();
    assert!(!pings(&t.lab, "alpha", "192.168.99.102"));
    assert!(pings(&t.lab, "alpha", "192.168.99.101"), "those that were cut off together reach each other");
    assert!(t.lab.is_cut_off(&t.lab.machine("alpha").unwrap()));
    assert_eq!(sh(&t.lab, "alpha", "cat /sys/class/net/eth0/carrier").1, "1");
    t.lab.heal(&[]).unwrap();
    poll("healed", || pings(&t.lab, "alpha", "192.168.99.102"));
    assert!(!t.lab.is_cut_off(&t.lab.machine("alpha").unwrap()));
    t.lab.kill("gamma").unwrap();
    assert!(matches!(t.lab.partition(&["gamma".into()]), Err(MachineError::Off(_))));
}

#[test]
fn a_daemon_that_ends_at_once_leaves_no_machine_and_its_last_words() {
    let mut t = lab("true");
    let argv = ["sh", "-c", "echo no such option >&2; exit 3"].iter().map(Into::into).collect();
    t.lab =
        Lab::at(&t.storage, Path::new("/bin/true")).with_engine(Engine { argv, socket: Some("docker.sock".into()) });
    let error = t.lab.create("alpha").unwrap_err();
    assert!(error.to_string().contains("no such option"), "{error}");
    assert!(t.lab.machines().is_empty() && !t.storage.exists());
}

#[test]
fn what_an_interrupted_command_has_left_goes_too() {
    let t = lab(STAND_IN);
    let run = t.lab.socket("alpha").ancestors().nth(3).unwrap().to_owned();
    // Interrupted before anything was made, in the middle of a machine's directory, or of the laptop's.
    for left in ["", "alpha/disk", "laptop/etc"] {
        std::fs::create_dir_all(t.storage.join(left)).unwrap();
        std::fs::write(t.storage.join("lock"), "").unwrap();
        std::fs::create_dir_all(&run).unwrap();
        let names: Vec<String> = ["alpha"].into_iter().filter(|n| t.lab.is_begun(n)).map(str::to_owned).collect();
        t.lab.remove_all(&names).unwrap();
        assert!(!t.storage.exists() && !run.exists(), "after {left:?}");
    }
    // A machine that is made again where one had been begun.
    std::fs::create_dir_all(t.storage.join("alpha/etc")).unwrap();
    t.lab.create("alpha").unwrap();
    t.lab.create("beta").unwrap();
    // Half removed: it is off, and its record is gone.
    t.lab.kill("beta").unwrap();
    std::fs::remove_file(t.storage.join("beta/machine.json")).unwrap();
    t.lab.remove_all(&["beta".to_owned()]).unwrap();
    assert!(!t.storage.join("beta").exists());
    assert_eq!(t.lab.state("alpha"), State::Running, "the others stay");
    t.lab.remove_all(&["alpha".to_owned()]).unwrap();
    assert!(!t.storage.exists() && !run.exists());
}
