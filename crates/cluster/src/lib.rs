//! The replicated truth and the trust between machines: tables behind raft, certificates, and the channel that nodes
//! and managers speak over.
#![forbid(unsafe_code)]

pub mod ca;
pub mod channel;
pub mod raft;
pub mod store;

pub use channel::Channel;
pub use store::Store;
