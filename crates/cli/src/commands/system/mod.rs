//! The engine.
pub(crate) mod df;
pub(crate) mod events;
pub(crate) mod info;
pub(crate) mod prune;
pub(crate) mod version;

use super::{noun, verbs};

verbs! {
    /// What can be done with the engine.
    Verb;
    /// Show disk usage
    Df => df::DiskFree,
    /// Get real time events from the server
    Events => events::Events,
    /// Display system-wide information
    Info => info::Info,
    /// Remove unused data
    Prune => prune::Prune,
}
noun!(System, Verb);
