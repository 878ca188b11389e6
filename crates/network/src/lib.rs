//! The networks of one machine: desired → diff → apply.
//!
//! * [`Networks`] is the handle; one thread owns everything behind it (`owner`).
//! * Bridges, sandboxes and published ports: `local`, `sandbox`, `ports`, `firewall`.
//! * Overlays, fed by the managers' directory: `overlay`; node-local clients of the routing mesh: `overlay::ingress`.
//! * Names: [`dns`].
//!
//! Never here: a decision about where a task runs or which address it has on an overlay; a packet of an overlay
//! (that is `datapath`'s); anything that must be undone when the daemon stops.
#![forbid(unsafe_code)]

mod bridge;
pub mod dns;
mod endpoint;
mod error;
mod firewall;
mod handle;
mod ipam;
mod local;
mod macvlan;
mod overlay;
mod owner;
mod ports;
mod relay;
mod sandbox;
mod store;

pub use endpoint::{Attach, BoundPort, EndpointInfo, LocalAttach, OverlayAttach, PortBinding, mac_text};
pub use error::NetworkError;
pub use handle::{Config, DefaultBridge, Networks, VerifyReport};
pub use local::{BRIDGE, GWBRIDGE, HOST, IpamText, LocalNetwork, LocalNetworkSpec, NONE, Pool, parse_ipam};
pub use sandbox::{NameFiles, Sandbox, SandboxKind, SandboxSpec};
