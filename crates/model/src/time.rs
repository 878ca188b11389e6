//! Instants as the swarm stores them.
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Nanoseconds since the Unix epoch, UTC. `0` means "never" (Docker writes it as `0001-01-01T00:00:00Z`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The instant `d` later (saturating).
    pub fn after(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }
    /// How long ago `earlier` was, zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
    /// Whether this is the "never" value.
    pub fn is_never(self) -> bool {
        self.0 == 0
    }
}
