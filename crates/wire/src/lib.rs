//! What travels: Docker's JSON ([`engine`]), the messages between nodes and managers ([`agent`]) and how they are
//! framed ([`codec`]). No behaviour beyond conversion.
#![forbid(unsafe_code)]

pub mod agent;
pub mod codec;
pub mod engine;
pub mod refusal;

pub use refusal::{Refusal, RefusalKind};
