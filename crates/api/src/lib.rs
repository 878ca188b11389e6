//! The Engine API: Docker's HTTP door. What stands behind it is named by the traits of [`backend`].
#![forbid(unsafe_code)]

pub mod backend;

pub use backend::Backends;
