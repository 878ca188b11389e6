//! What can go wrong with a container, in Docker's words where a user sees them.
use std::path::PathBuf;

/// Why a container or an exec process could not be made or started.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// Docker's sentence.
    pub message: String,
    /// Exit code that Docker records: 127 no such program, 126 not executable, 128 anything else.
    pub exit_code: i32,
}

/// Why an operation on a container failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nothing is known about this container.
    #[error("container {0} is not known to the runtime")]
    Unknown(String),
    /// It has ended, or was never started.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// No such exec process.
    #[error("exec process {exec} of container {id} is not running")]
    NoSuchExec {
        /// Container.
        id: String,
        /// Exec.
        exec: String,
    },
    /// The shim's socket failed.
    #[error("cannot talk to the shim of container {id}")]
    Shim {
        /// Container.
        id: String,
        /// What the socket said.
        source: std::io::Error,
    },
    /// The shim refused, in its own words.
    #[error("{message}")]
    Refused {
        /// Container.
        id: String,
        /// The shim's sentence.
        message: String,
    },
    /// The kernel refused.
    #[error("cannot {what} of container {id}")]
    Kernel {
        /// Container.
        id: String,
        /// What was being done.
        what: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file of the runtime directory.
    #[error("cannot {what} {path}")]
    File {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}
