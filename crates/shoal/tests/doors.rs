//! The daemon's doors, as those who open them see them: flags and file, TLS with the genuine client, a service manager's
//! sockets, signals, figures. Each daemon lives in a network namespace of its own.
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");
const WITHIN: Duration = Duration::from_secs(30);

struct Daemon {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Daemon {
    fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("shoal-doors").tempdir_in("/var/tmp").unwrap(), child: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// In a network namespace with nothing but a loopback that is up.
    fn command(&self, words: &[&str], wrap: &str) -> Command {
        let mut c = Command::new("unshare");
        c.args(["--net", "--kill-child=SIGTERM", "sh", "-c"]);
        c.arg(format!("ip link set lo up; {wrap} exec \"$@\"")).arg("sh").arg(SHOAL).arg("daemon");
        c.arg("--data-root").arg(self.path("data")).arg("--exec-root").arg(self.path("exec"));
        c.arg("--pidfile").arg(self.path("pid")).args(words).stdin(Stdio::null());
        c
    }

    fn start(&mut self, words: &[&str]) {
        let log = std::fs::File::create(self.path("log")).unwrap();
        self.child = Some(self.command(words, "").stderr(log).spawn().unwrap());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn until(&self, what: &str, ask: impl Fn() -> bool) {
        let deadline = Instant::now() + WITHIN;
        while !ask() {
            assert!(Instant::now() < deadline, "{what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn pid(&self) -> u32 {
        std::fs::read_to_string(self.path("pid")).unwrap().trim().parse().unwrap()
    }

    /// A program beside the daemon, in its network namespace.
    fn beside(&self, words: &[&str]) -> Output {
        let mut c = Command::new("nsenter");
        c.args(["-t", &self.pid().to_string(), "--net"]).args(words);
        c.env("HOME", self.dir.path()).env_remove("DOCKER_HOST").stdin(Stdio::null()).output().unwrap()
    }

    fn docker(&self, words: &[&str]) -> Output {
        self.beside(&[&["docker"], words].concat())
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap().success());
    }

    /// Asks it to end; how long that took.
    fn end(&mut self) -> Duration {
        let began = Instant::now();
        self.signal("TERM");
        let mut child = self.child.take().unwrap();
        while child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < WITHIN, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        began.elapsed()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = std::fs::read_to_string(self.path("pid")).unwrap_or_default();
            let _ = Command::new("kill").args(["-s", "KILL", pid.trim()]).status();
            let _ = child.kill();
            let _ = child.wait();
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points: Vec<&str> = mounts.lines().filter_map(|l| l.split(' ').nth(4)).collect();
        for point in points.iter().rev().filter(|p| Path::new(p).starts_with(self.dir.path())) {
            let _ = Command::new("umount").args(["-l", point]).status();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_makes_no_sense_is_told_before_anything_is_touched() {
    let d = Daemon::new();
    let refused = |words: &[&str]| {
        let output = d.command(words, "").output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        assert!(!d.path("data").exists(), "{words:?}");
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = refused(&["--no-such-flag"]);
    assert_eq!((code, said.lines().next().unwrap()), (Some(125), "unknown flag: --no-such-flag"));
    assert!(refused(&["--userns-remap", "me", "-s", "zfs"]).1.contains("zfs"));
    let file = d.path("daemon.json");
    std::fs::write(&file, r#"{"labels": ["a=b"]}"#).unwrap();
    let file = file.to_str().unwrap();
    let (code, said) = refused(&["--config-file", file, "--label", "c=d"]);
    assert!(code == Some(1) && said.contains("labels: (from flag: [c=d], from file: [a=b])"), "{said}");
    let checked = d.command(&["--config-file", file, "--validate"], "").output().unwrap();
    assert_eq!((checked.status.success(), text(&checked.stdout).as_str()), (true, "configuration OK\n"));
}

#[test]
fn the_genuine_client_comes_in_by_tls_and_strangers_do_not() {
    let mut d = Daemon::new();
    certificates(d.dir.path());
    let dir = d.dir.path().to_owned();
    let pem = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (pem("ca.pem"), pem("server.pem"), pem("server-key.pem"));
    let words = ["-H", "tcp://127.0.0.1:2376", "--tlsverify", "--tlscacert", &ca, "--tlscert", &cert, "--tlskey", &key];
    d.start(&words);
    let host = ["-H", "tcp://127.0.0.1:2376"];
    let (mine, my_key) = (pem("client.pem"), pem("client-key.pem"));
    let known = [&host[..], &["--tlsverify", "--tlscacert", &ca, "--tlscert", &mine, "--tlskey", &my_key]].concat();
    let info = [&known[..], &["info", "--format", "{{.Driver}}"]].concat();
    d.until("the client with a certificate comes in", || {
        d.path("pid").exists() && text(&d.docker(&info).stdout).trim() == "overlay2"
    });
    let stranger = d.docker(&[&host[..], &["--tls", "--tlscacert", &ca, "info"]].concat());
    assert!(!text(&stranger.stdout).contains("overlay2"), "{}", text(&stranger.stdout));
    let clear = d.beside(&["curl", "-s", "-m", "5", "http://127.0.0.1:2376/_ping"]);
    assert!(!text(&clear.stdout).contains("OK"));
    assert!(d.end() < Duration::from_secs(10));
}

#[test]
fn a_service_managers_socket_is_taken_and_it_hears_that_we_are_ready() {
    let mut d = Daemon::new();
    let notify = UnixDatagram::bind(d.path("notify")).unwrap();
    notify.set_read_timeout(Some(WITHIN)).unwrap();
    let socket = d.path("api.sock");
    // What systemd does before it starts a program: the socket at descriptor 3, the process' own number beside it.
    let script = "import os, socket, sys\n\
        s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n\
        os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n\
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='shoal')\n\
        os.execv(sys.argv[2], sys.argv[2:])";
    let mut c = d.command(&["-H", "fd://"], &format!("set -- python3 -c \"$SCRIPT\" {} \"$@\";", socket.display()));
    c.env("SCRIPT", script).env("NOTIFY_SOCKET", d.path("notify"));
    d.child = Some(c.stderr(std::fs::File::create(d.path("log")).unwrap()).spawn().unwrap());
    let mut state = [0; 64];
    let n = notify.recv(&mut state).unwrap_or_else(|e| panic!("{e}\n{}", d.log()));
    assert_eq!(&state[..n], b"READY=1");
    let url = format!("unix://{}", socket.display());
    let version = d.docker(&["-H", &url, "version", "--format", "{{.Server.Os}}"]);
    assert_eq!(text(&version.stdout).trim(), "linux", "{}", text(&version.stderr));
    d.end();
    let n = notify.recv(&mut state).unwrap();
    assert_eq!(&state[..n], b"STOPPING=1");
    assert!(socket.exists(), "it is the service manager's");
}

#[test]
fn hangup_reads_labels_again_figures_are_answered_and_state_survives() {
    let mut d = Daemon::new();
    let (file, socket) = (d.path("daemon.json"), d.path("s"));
    let url = format!("unix://{}", socket.display());
    let config = |labels: &str| std::fs::write(&file, format!(r#"{{"labels": [{labels}], "mtu": 1400}}"#)).unwrap();
    config(r#""a=1""#);
    let file = file.to_str().unwrap().to_owned();
    let words = ["-H", &url, "--config-file", &file, "--metrics-addr", "127.0.0.1:9323", "--log-format", "json"];
    d.start(&words);
    let labels = |d: &Daemon| text(&d.docker(&["-H", &url, "info", "--format", "{{json .Labels}} {{.Debug}}"]).stdout);
    d.until("it answers", || d.path("pid").exists() && labels(&d).trim() == r#"["a=1"] false"#);
    std::fs::write(&file, r#"{"labels": ["a=2"], "debug": true, "mtu": 1400}"#).unwrap();
    d.signal("HUP");
    d.until("the labels are new", || labels(&d).trim() == r#"["a=2"] true"#);
    std::fs::write(&file, "nonsense").unwrap();
    d.signal("HUP");
    d.until("the mistake is told", || d.log().contains("the settings are not read again"));
    assert_eq!(labels(&d).trim(), r#"["a=2"] true"#);
    for line in d.log().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    let made = d.docker(&["-H", &url, "volume", "create", "kept"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let figures = text(&d.beside(&["curl", "-s", "http://127.0.0.1:9323/metrics"]).stdout);
    for line in ["engine_daemon_container_states_containers{state=\"running\"} 0", "shoal_swarm_member 0"] {
        assert!(figures.contains(line), "{line} is not in\n{figures}");
    }
    let network = [
        "-H",
        &url,
        "network",
        "inspect",
        "bridge",
        "--format",
        "{{index .Options \"com.docker.network.driver.mtu\"}}",
    ];
    assert_eq!(text(&d.docker(&network).stdout).trim(), "1400");
    assert!(d.end() < Duration::from_secs(10));
    assert!(!socket.exists());
    std::fs::remove_file(&file).unwrap();
    d.start(&["-H", &url, "--mtu", "1300"]);
    let kept = || text(&d.docker(&["-H", &url, "volume", "ls", "-q"]).stdout);
    d.until("it is back", || d.path("pid").exists() && kept().trim() == "kept");
    assert_eq!(text(&d.docker(&network).stdout).trim(), "1300");
    d.end();
}

/// A CA, a server's and a client's certificate.
fn certificates(dir: &Path) {
    let openssl = |words: &str| {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "openssl {words}: {}", text(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=test-ca"));
    for (name, more) in [
        ("server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"),
        ("client", "extendedKeyUsage=clientAuth\n"),
    ] {
        std::fs::File::create(dir.join("more")).unwrap().write_all(more.as_bytes()).unwrap();
        openssl(&format!("req {key} -keyout {name}-key.pem -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out {name}.pem -days 2 -extfile more"
        ));
    }
}
