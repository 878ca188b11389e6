//! What the doors ask for, answered by the node and the manager: one file per noun.
mod build;
mod containers;
mod diagnosis;
mod execs;
mod images;
mod log_order;
mod networks;
mod objects;
mod plugins;
mod service_logs;
mod services;
mod system;
mod volumes;

pub(crate) use images::pull_credentials;
pub(crate) use system::{hostname, memory_total};

use crate::daemon::engine::Engine;
use std::sync::Arc;

/// The engine behind all of the API's traits.
#[derive(Clone)]
pub struct Backend(pub Arc<Engine>);

impl Backend {
    /// As the API takes it.
    pub fn all(engine: Arc<Engine>) -> api::Backends {
        let b = Arc::new(Self(engine));
        api::Backends {
            system: b.clone(),
            containers: b.clone(),
            execs: b.clone(),
            images: b.clone(),
            volumes: b.clone(),
            plugins: b.clone(),
            networks: b.clone(),
            swarm: b.clone(),
            nodes: b.clone(),
            services: b.clone(),
            diagnosis: b.clone(),
            tasks: b.clone(),
            secrets: b.clone(),
            configs: b,
        }
    }
}
