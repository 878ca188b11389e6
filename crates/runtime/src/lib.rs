//! One container's life: bundle, launch, supervise, exec, attach, logs, stats.
mod error;
mod exit;
mod launch;
pub mod logs;
mod runtime;
mod stats;
mod stdio;

pub use error::{LaunchError, RuntimeError};
pub use exit::{Exit, Recovered, RecoveredState};
pub use launch::*;
pub use runtime::{Created, ExecHandle, Runtime};
pub use stats::{BlkioEntry, BlkioStats, CpuStats, MemoryStats, Stats};
pub use stdio::{AttachedIo, StdStream, StdinWriter};

/// Runs the hidden roles of this binary (shim and its short-lived helpers). `main` calls it before anything else, and
/// ends with the code it returns. `None` = an ordinary start.
pub fn dispatch(args: &[std::ffi::OsString]) -> Option<std::process::ExitCode> {
    let _ = args;
    None
}
