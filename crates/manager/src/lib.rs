//! What only managers do: keep the truth, plan when leading, serve the nodes' sessions, and check every wish of a user.
//!
//! ```text
//!   user ──► control ──► store ◄── driver (planner, on the leader)
//!                          │ ▲
//!          assignments,    ▼ │ status, descriptions
//!          directory    dispatcher ◄──► sessions of nodes (server: mTLS; the own node: in process)
//! ```
#![forbid(unsafe_code)]

mod backup;
mod clock;
pub mod control;
mod dispatcher;
mod driver;
mod first_rows;
mod lifecycle;
mod members;
mod options;
mod server;

pub use control::Control;
pub use dispatcher::{NodeReport, Tunnel};
pub use lifecycle::Manager;
pub use options::{InitError, InitOptions};
pub use server::EngineHandler;
