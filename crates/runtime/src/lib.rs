//! One container's life: plan, launch, supervise, exec, attach, logs, stats.
//!
//! ```text
//!  Launch ──plan (pure)──► Plan ──► shim (one small process per container) ──fork──► process 1, exec processes
//!     Runtime (in the daemon, async) ◄── frames over a unix socket ──┘
//! ```
//! Entry: `Runtime`. Never: a container that dies with the daemon; output that is lost; an OCI field without a user.
mod account;
mod capability;
mod container_process;
mod error;
mod exit;
mod launch;
pub mod logs;
mod plan;
mod protocol;
mod runtime;
mod seccomp;
mod shim;
mod stats;
mod stdio;
mod surroundings;
mod watchdog;

pub use error::{LaunchError, RuntimeError};
pub use exit::{Exit, ExitWatch, Recovered, RecoveredState};
pub use launch::*;
pub use runtime::{Created, ExecHandle, Runtime};
pub use stats::{BlkioEntry, BlkioStats, CpuStats, MemoryStats, Stats};
pub use stdio::{AttachedIo, StdStream, StdinWriter};
pub use watchdog::Watchdog;

use std::ffi::OsString;
use std::process::ExitCode;

/// First argument of a shim.
pub(crate) const SHIM_ROLE: &str = "shim-container";

/// What an unprivileged container does not see, and what it sees read-only, unless it is asked otherwise.
pub fn default_hidden_paths() -> (&'static [&'static str], &'static [&'static str]) {
    plan::HIDDEN
}

/// Runs the hidden roles of this binary, the shim and the writer of its log. `main` calls it before anything else (before
/// any thread is started) with its arguments, and ends with the code it returns. `None` = an ordinary start.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let role = args.get(1)?;
    if role != SHIM_ROLE && role != logs::aside::LOG_ROLE {
        return None;
    }
    let dir = std::path::Path::new(args.get(2)?);
    let done = if role == SHIM_ROLE { shim::run(dir) } else { shim::write_log(dir) };
    match done {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            let _ = std::fs::write(dir.join("shim.error"), error.to_string());
            Some(ExitCode::FAILURE)
        }
    }
}

/// Process 1 of `--init` containers, when this build has one.
pub(crate) fn init_binary() -> Option<&'static [u8]> {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/docker-init"));
    (!bytes.is_empty()).then_some(bytes)
}
