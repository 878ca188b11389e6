//! How a container or an exec process ended.
use model::Timestamp;
use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// Exit code; 128 + signal when it was killed.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// When.
    pub at: Timestamp,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
}

/// What `recover` found of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Container.
    pub id: String,
    /// Its state.
    pub state: RecoveredState,
}

/// State of a container after a restart of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveredState {
    /// Made, not started.
    Created {
        /// Process 1, on the host.
        pid: u32,
    },
    /// Running (or paused).
    Running {
        /// Process 1, on the host.
        pid: u32,
        /// When it was started.
        started_at: Timestamp,
    },
    /// It has ended meanwhile.
    Exited(Exit),
}
