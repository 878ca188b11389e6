//! What the doors ask of the house: one narrow trait per noun, implemented by the composition root over the node and
//! the manager (and by fakes in tests).
//!
//! Node-side traits speak [`wire::engine`] types, swarm-side traits speak [`model`] types. Every answer may be a
//! [`wire::Refusal`] with Docker's words. Parsing, conversion, defaults, list filters, framing and hijacking are done
//! here in `api`; an implementation finds things, does them and says what is.
pub mod container;
pub mod diagnosis;
pub mod image;
pub mod network;
pub mod plugin;
pub mod stream;
pub mod swarm;
pub mod system;
pub mod volume;

pub use container::*;
pub use diagnosis::*;
pub use image::*;
pub use network::*;
pub use plugin::*;
pub use stream::*;
pub use swarm::*;
pub use system::*;
pub use volume::*;

use std::sync::Arc;
use wire::Refusal;

/// What every call gives.
pub type Answer<T> = Result<T, Refusal>;

/// All of them together. Cheap to clone.
#[derive(Clone)]
pub struct Backends {
    /// The engine itself.
    pub system: Arc<dyn System>,
    /// Containers.
    pub containers: Arc<dyn Containers>,
    /// Commands in containers.
    pub execs: Arc<dyn Execs>,
    /// Images.
    pub images: Arc<dyn Images>,
    /// Volumes.
    pub volumes: Arc<dyn Volumes>,
    /// Managed plugins.
    pub plugins: Arc<dyn Plugins>,
    /// Networks, of this node and of the swarm.
    pub networks: Arc<dyn Networks>,
    /// The swarm itself.
    pub swarm: Arc<dyn Swarm>,
    /// Nodes.
    pub nodes: Arc<dyn Nodes>,
    /// Services.
    pub services: Arc<dyn Services>,
    /// Looking for what is wrong.
    pub diagnosis: Arc<dyn Diagnosis>,
    /// Tasks.
    pub tasks: Arc<dyn Tasks>,
    /// Secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Configs.
    pub configs: Arc<dyn Configs>,
}
