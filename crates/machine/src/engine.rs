//! The daemon on a machine: started, waited for, asked for its version.
use crate::error::{MachineError, Result};
use crate::record::DaemonProcess;
use kernel::namespace::Namespaces;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A slow machine (an emulated one, a loaded one) takes its time; one whose daemon ends is told so at once.
const READY_WITHIN: Duration = Duration::from_secs(90);
const LOG_TAIL: usize = 15;

/// Which program a machine runs as its daemon.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Program and arguments, as seen inside the machine.
    pub argv: Vec<OsString>,
    /// Its API socket below /run, to wait for; `None`: it is ready when it runs.
    pub socket: Option<String>,
}

impl Engine {
    /// `program daemon …`, with everything in its usual place.
    pub fn shoal(program: &Path) -> Self {
        let words = ["daemon", "-H", "unix:///var/run/docker.sock", "--config-file", crate::interior::CONFIG_FILE];
        let mut argv = vec![program.as_os_str().to_owned()];
        argv.extend(words.iter().map(OsString::from));
        argv.extend(["--data-root", crate::interior::DATA_ROOT, "--exec-root", "/run/shoal"].map(OsString::from));
        Self { argv, socket: Some("docker.sock".into()) }
    }

    /// Starts it as the leader of a session of its own, so that it outlives the caller.
    pub(crate) fn start(
        &self,
        name: &str,
        namespaces: &Namespaces,
        environment: &[(OsString, OsString)],
        log: &Path,
    ) -> Result<DaemonProcess> {
        let program = self.argv.first().cloned().unwrap_or_default();
        let spawn = |source| MachineError::Spawn {
            program: program.to_string_lossy().into_owned(),
            name: name.to_owned(),
            source,
        };
        if log.exists() {
            std::fs::rename(log, log.with_extension("log.1")).map_err(MachineError::file("rotate", log))?;
        }
        let out = std::fs::File::create(log).map_err(MachineError::file("write", log))?;
        let err = out.try_clone().map_err(MachineError::file("write", log))?;
        let child = namespaces
            .command(&program, None, true)
            .args(self.argv.get(1..).unwrap_or_default())
            .env_clear()
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(spawn)?;
        let pid = child.id();
        Ok(DaemonProcess { pid, started: kernel::process::start_time(pid).map_err(spawn)? })
    }

    /// Waits until the API answers.
    pub(crate) fn wait_ready(&self, name: &str, process: DaemonProcess, run: &Path, log: &Path) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let failed = |what| MachineError::Daemon { name: name.to_owned(), what, log: log.to_owned(), tail: tail(log) };
        loop {
            if !process.is_alive() {
                return Err(failed("ended"));
            }
            match &self.socket {
                None => return Ok(()),
                Some(socket) if get(&run.join(socket), "/_ping").is_some_and(|b| b.starts_with("OK")) => return Ok(()),
                Some(_) if Instant::now() > deadline => return Err(failed("does not answer")),
                Some(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// The version that the daemon behind `socket` says it is.
pub fn version(socket: &Path) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(&get(socket, "/version")?).ok()?;
    Some(body.get("Version")?.as_str()?.to_owned())
}

/// The body of one small answer. HTTP/1.0, so that it comes in one piece and the connection ends with it.
fn get(socket: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}
