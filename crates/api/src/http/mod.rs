//! What all routes share: answers, parameters, bodies, frames, hijacked connections.
pub mod answer;
pub mod body;
pub mod frame;
pub mod hijack;
pub mod json_error;
pub mod logs;
pub mod params;
pub mod time;
pub mod unasked;
pub mod version;
pub mod websocket;

pub use answer::{Failure, Reply, created, json, no_content, ok};
pub use params::Params;
pub use version::ApiVersion;
