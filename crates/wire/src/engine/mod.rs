//! Docker's JSON, noun by noun: lenient in reading ([`lenient`]), exact in writing (what Docker always sends is always
//! sent; `omitempty` where its Go source says so). Conversion to and from the [`model`] is in [`convert`].
pub mod config;
pub mod container;
pub mod convert;
pub mod diagnosis;
pub mod events;
pub mod exec;
pub mod filters;
pub mod image;
pub mod lenient;
pub mod mount;
pub mod network;
pub mod node;
pub mod plugin;
pub mod progress;
pub mod secret;
pub mod service;
pub mod shape;
pub mod stats;
pub mod swarm;
pub mod system;
pub mod task;
pub mod volume;

pub use filters::Filters;
pub use shape::{Base64, Empty, Map, Set, StrSlice, Time};

/// `{"message": …}`: how every error is worded.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// For the user.
    pub message: String,
}
