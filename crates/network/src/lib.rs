//! (being built)
pub mod dns;
