//! The Engine API: Docker's HTTP door. What stands behind it is named by the traits of [`backend`].
//!
//! `server` takes connections apart, `routes/<noun>` turn requests into calls of [`backend`] traits, `http` is what they
//! share. A request is refused in Docker's words or served; none is silently ignored.
#![forbid(unsafe_code)]

pub mod app;
pub mod backend;
pub mod forward;
pub mod http;
pub mod lookup;
mod routes;
pub mod server;
mod socket;

pub use backend::Backends;
pub use forward::{Destination, Forwarder};
pub use server::{Forwarded, Server};
