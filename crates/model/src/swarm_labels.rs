//! Labels of the swarm itself that the engine reads.
use crate::spec::Labels;

/// How much of the swarm's API workers answer to their clients: `full` (default), `read` or `off`.
pub const WORKERS: &str = "shoal.workers";

/// What the managers let workers ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkersMay {
    /// Everything that concerns the swarm, as on a manager.
    #[default]
    Change,
    /// To look: no change, no join token, no way into containers of other nodes.
    Look,
    /// Nothing: workers answer as Docker's do.
    Nothing,
}

/// Not one of the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label {WORKERS}: {0:?} is not one of full, read and off")]
pub struct WorkersError(pub String);

impl WorkersMay {
    /// What the swarm's labels say.
    ///
    /// # Errors
    /// See [`WorkersError`].
    pub fn from_labels(labels: &Labels) -> Result<Self, WorkersError> {
        match labels.get(WORKERS).map(String::as_str) {
            None | Some("full") => Ok(Self::Change),
            Some("read") => Ok(Self::Look),
            Some("off") => Ok(Self::Nothing),
            Some(other) => Err(WorkersError(other.to_owned())),
        }
    }
}
