//! Flags' values → parts of requests. Pure.
pub(crate) mod env;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod pairs;
pub(crate) mod port;
pub(crate) mod units;
pub(crate) mod words;
