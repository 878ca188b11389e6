//! A lab in the box: machines made of namespaces on a switch without an uplink, each with a daemon of its own.
//!
//! It is how a person tries Shoal on a laptop, and how every end-to-end test gets its hosts. A machine has its own
//! network, mounts (`/run`, `/sys`, `/var/lib/shoal`, its names in `/etc`) and host name; the root file system is the
//! host's. [`Lab`] makes, boots, breaks and removes them; [`main`] is `shoal machine` and `docker-machine`.
//!
//! Nothing from a lab can leave: the switch has no uplink and no interface of a lab ever stands in the host's
//! namespace. Lab addresses are reached from inside only, for instance from the seat called `laptop`.
#![forbid(unsafe_code)]

pub mod command;
pub mod engine;
pub mod error;
mod interior;
pub mod lab;
pub mod record;
mod residents;
mod switch;
mod traces;

pub use command::main;
pub use engine::Engine;
pub use error::MachineError;
pub use lab::{Lab, State};
pub use record::{LAPTOP, Record};
