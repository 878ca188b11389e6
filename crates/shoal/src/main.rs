//! Shoal's one binary: `shoal` (its own CLI), `shoal daemon`, `shoal machine`, and by the name it is called with
//! `docker`, `dockerd` or `docker-machine`. The only composition root.
#![forbid(unsafe_code)]

mod backend;
mod daemon;
mod doctor;

use std::ffi::OsString;
use std::process::ExitCode;

/// What the command line can do on this machine when no daemon answers.
const LOCAL: cli::Local = cli::Local { doctor: doctor::alone };

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // A shim or one of its helpers: single-threaded, nothing of the daemon may have begun.
    if let Some(code) = runtime::dispatch(&args) {
        return code;
    }
    let called = args.first().and_then(|a| std::path::Path::new(a).file_name()).unwrap_or_default().to_owned();
    let rest = args.get(1..).unwrap_or_default();
    match called.to_str() {
        Some("dockerd") => daemon::main(with_name("dockerd", rest)),
        Some("docker-machine") => machine::main(with_name("docker-machine", rest)),
        Some("docker") => cli::main(with_name("docker", rest), LOCAL),
        _ => match rest.first().and_then(|a| a.to_str()) {
            Some("daemon") => daemon::main(with_name("shoal daemon", &rest[1..])),
            Some("machine") => machine::main(with_name("shoal machine", &rest[1..])),
            _ => cli::main(with_name("shoal", rest), LOCAL),
        },
    }
}

fn with_name(name: &str, rest: &[OsString]) -> Vec<OsString> {
    std::iter::once(OsString::from(name)).chain(rest.iter().cloned()).collect()
}
