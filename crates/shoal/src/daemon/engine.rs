//! The engine put together: what the doors and the agent stand on.
use super::membership::Membership;
use super::options::{Reloadable, Settings};
use node::containers::Containers;
use node::events::Events;
use node::volumes::Volumes;
use parking_lot::RwLock;
use std::sync::Arc;

/// What clients are told: the Docker release whose behaviour is kept, and our own version as build metadata.
pub const ENGINE_VERSION: &str = concat!("28.2.2+shoal", env!("CARGO_PKG_VERSION"));

/// One daemon.
pub struct Engine {
    /// Settings.
    pub settings: Settings,
    /// Those that may change while it runs.
    pub reloadable: Arc<RwLock<Reloadable>>,
    /// This engine's own id (not the node's).
    pub id: String,
    /// Containers.
    pub containers: Containers,
    /// Images.
    pub images: images::Images,
    /// Networks.
    pub networks: network::Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// Managed plugins (kept, not run).
    pub plugins: node::plugins::Plugins,
    /// Events.
    pub events: Events,
    /// What it is in a swarm.
    pub membership: Arc<Membership>,
}

impl Engine {
    /// The builder of images.
    pub fn builder(&self) -> node::build::Builder {
        node::build::Builder::new(self.containers.clone(), self.images.clone(), self.events.clone())
    }
}

/// `6.1.0-18-amd64`.
pub fn kernel_version() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map(|v| v.trim().to_owned()).unwrap_or_default()
}
