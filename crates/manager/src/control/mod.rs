//! Every wish of a user, checked and then written: swarm, nodes, services, networks, secrets, configs, attachments.
//!
//! Sentences and statuses are Docker's. What swarmkit's control API would refuse carries its `rpc error: code = … desc
//! = …`, what Docker's daemon itself refuses does not.
mod attachments;
mod lookup;
mod membership;
mod networks;
mod nodes;
mod secrets;
mod services;
mod swarm;
mod tasks;
mod validate;

pub use attachments::AttachRequest;
pub use swarm::{JoinTokens, Rotate};
pub(crate) use swarm::{check_settings, finish_rotation, trusts_rightly};

use arc_swap::ArcSwapOption;
use cluster::Store;
use cluster::store::UpdateError;
use model::{NodeId, StoreAction, StoreError, Tables};
use std::sync::Arc;
use wire::{Refusal, RefusalKind};

/// Says the name of a network of this machine that is not the swarm's, by its id or name. Given by whoever puts the
/// daemon together.
pub type LocalNetworks = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Checked operations. Clones are handles.
#[derive(Clone)]
pub struct Control {
    store: Store,
    own: NodeId,
    local_networks: Arc<ArcSwapOption<LocalNetworks>>,
}

impl Control {
    pub(crate) fn new(store: Store, own: NodeId) -> Self {
        Self { store, own, local_networks: Arc::default() }
    }

    /// The tables as they are now.
    pub fn tables(&self) -> Arc<Tables> {
        self.store.tables()
    }

    /// Tells which networks are this machine's own, for the sentence that refuses them to services.
    pub fn set_local_networks(&self, known: LocalNetworks) {
        self.local_networks.store(Some(Arc::new(known)));
    }

    fn local_network(&self, name: &str) -> Option<String> {
        self.local_networks.load().as_ref().and_then(|known| known(name))
    }

    async fn update<T>(&self, f: impl FnOnce(&Tables) -> Result<(Vec<StoreAction>, T), Refusal>) -> Result<T, Refusal> {
        self.store.update(f).await.map_err(refusal)
    }
}

/// Swarmkit's `FailedPrecondition`, which Docker answers with 400.
fn failed_precondition(text: impl AsRef<str>) -> Refusal {
    Refusal::invalid(format!("rpc error: code = FailedPrecondition desc = {}", text.as_ref()))
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::invalid(text).as_rpc()
}

fn refusal(e: UpdateError<Refusal>) -> Refusal {
    match e {
        UpdateError::Declined(refusal) => refusal,
        UpdateError::Refused(e) => {
            let kind = match &e {
                StoreError::NameConflict { .. } | StoreError::Exists(_) => RefusalKind::Conflict,
                StoreError::NotFound(_) => RefusalKind::NotFound,
                StoreError::PortTaken { .. } => RefusalKind::Invalid,
                StoreError::OutOfSequence(_) | StoreError::AddressTaken { .. } | StoreError::VniTaken { .. } => {
                    RefusalKind::Internal
                }
            };
            Refusal { kind, message: e.to_string() }.as_rpc()
        }
        UpdateError::NotLeader(_) | UpdateError::Stopped(_) => Refusal::internal(e.to_string()).as_rpc(),
    }
}

/// The version a change is based on must be the stored one.
fn check_version(stored: u64, given: u64) -> Result<(), Refusal> {
    if stored == given { Ok(()) } else { Err(Refusal::internal("update out of sequence").as_rpc()) }
}
