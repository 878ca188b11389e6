//! What every handler has at hand.
use crate::backend::{Backends, SwarmRole};
use crate::forward::Forwarder;
use crate::http::Failure;
use std::ops::Deref;
use std::sync::Arc;
use wire::Refusal;

/// The backends, and the way to a manager.
#[derive(Clone)]
pub struct App {
    /// What stands behind the door.
    pub backends: Backends,
    /// Used on workers.
    pub forwarder: Option<Arc<dyn Forwarder>>,
}

impl Deref for App {
    type Target = Backends;
    fn deref(&self) -> &Backends {
        &self.backends
    }
}

/// Handlers' state.
pub type Here = axum::extract::State<App>;

impl App {
    /// Lets only a manager pass.
    ///
    /// # Errors
    /// 503 with Docker's sentence for the state that this node is in.
    pub fn manager(&self) -> Result<(), Failure> {
        match not_a_manager(self.system.swarm_role()) {
            None => Ok(()),
            Some(text) => Err(Refusal::unavailable(text).into()),
        }
    }
}

/// Why this node cannot serve the swarm's nouns.
pub fn not_a_manager(role: SwarmRole) -> Option<&'static str> {
    Some(match role {
        SwarmRole::Manager => return None,
        SwarmRole::Worker => {
            "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager."
        }
        SwarmRole::Inactive => {
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."
        }
        SwarmRole::Pending | SwarmRole::Error => {
            "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster."
        }
        SwarmRole::Locked => {
            "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" to unlock it."
        }
    })
}
