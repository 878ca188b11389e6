//! The nouns of a swarm as plain data: ids, specs, objects, task states, the tables that hold them, and the network
//! directory derived from them.
//!
//! Pure: no clock, no randomness, no I/O. Time and random bytes are arguments. The types derive serde because the
//! raft log, the snapshot and the node protocol carry these very nouns; Docker's own JSON shapes live in
//! `wire::engine` and are converted by hand there.
#![forbid(unsafe_code)]

pub mod balance;
pub mod directory;
pub mod endpoint;
pub mod id;
pub mod lease;
pub mod object;
pub mod service_labels;
pub mod spec;
pub mod store_action;
pub mod swarm_labels;
pub mod swarm_time;
pub mod tables;
pub mod task_state;
pub mod template;
pub mod time;

pub use balance::{Balance, BalanceError, BalancePolicy};
pub use directory::{
    Directory, DirectoryDelta, EndpointState, EndpointView, NetworkAttrs, NetworkView, PeerView, ServiceView,
};
pub use endpoint::{EndpointSpec, PortConfig, Protocol, PublishMode, ResolutionMode, VirtualIp};
pub use id::{ClusterId, ConfigId, Id, NetworkId, NodeId, SecretId, ServiceId, TaskId};
pub use object::*;
pub use spec::*;
pub use store_action::{Object, ObjectKind, ObjectRef, StoreAction, StoreError};
pub use swarm_labels::WorkersMay;
pub use swarm_time::{Moment, SwarmTime};
pub use tables::Tables;
pub use task_state::{DesiredState, TaskState};
pub use time::Timestamp;
