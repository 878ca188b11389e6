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

/// Tells how a process ended, now or later. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ExitWatch(pub(crate) tokio::sync::watch::Receiver<Option<Exit>>);

impl ExitWatch {
    /// How it ended, if it has.
    pub fn now(&self) -> Option<Exit> {
        *self.0.borrow()
    }

    /// Waits until it has ended.
    pub async fn wait(&mut self) -> Exit {
        match self.0.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or_default(),
            // Whoever watched it is gone without a word: as if it had been killed.
            Err(_) => Exit::killed(),
        }
    }
}

impl Exit {
    /// Killed, just now, by what nobody saw.
    pub(crate) fn killed() -> Self {
        Self { code: 137, signal: Some(libc::SIGKILL), at: crate::shim::now(), oom_killed: false }
    }
}
