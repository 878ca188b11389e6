//! Managers among managers: keeps the rows' `ManagerStatus` as raft has it, and this manager's certificate fresh.
use crate::clock;
use cluster::Store;
use cluster::store::UpdateError;
use model::{ManagerStatus, NodeRole, StoreAction, Tables};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LOOK: Duration = Duration::from_secs(1);

/// Looks while this manager leads.
pub async fn watch(store: Store, own: model::NodeId, stop: CancellationToken) {
    let mut leadership = store.leadership();
    stop.run_until_cancelled(async {
        loop {
            if leadership.wait_for(|l| l.here).await.is_err() {
                return;
            }
            let mut voters = BTreeMap::new();
            for (raft_id, m) in store.raft().voters() {
                let leader = m.node == own.as_str();
                let reachable = leader || store.raft().reaches(&m).await;
                if let Ok(addr) = m.addr.parse() {
                    voters.insert(m.node, ManagerStatus { raft_id, addr, leader, reachable });
                }
            }
            let written = store.update(|tables| Ok::<_, Infallible>((differences(tables, &voters), ()))).await;
            if let Err(e @ UpdateError::Refused(_)) = written {
                tracing::error!("the managers' rows cannot be written: {e}");
            }
            finish_demotions(&store).await;
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// A manager that is wished to be a worker leaves raft; tried again until it has.
async fn finish_demotions(store: &Store) {
    let demoted: Vec<u64> = {
        let tables = store.tables();
        let gone = |n: &&std::sync::Arc<model::Node>| n.spec.role == NodeRole::Worker;
        tables.nodes().filter(gone).filter_map(|n| n.manager.as_ref().map(|m| m.raft_id)).collect()
    };
    for raft_id in demoted {
        if store.raft().voters().contains_key(&raft_id)
            && let Err(e) = store.raft().remove_voter(raft_id).await
        {
            tracing::warn!(raft_id, "a demoted manager is still in raft: {e}");
        }
    }
}

fn differences(tables: &Tables, voters: &BTreeMap<String, ManagerStatus>) -> Vec<StoreAction> {
    let mut actions = Vec::new();
    for node in tables.nodes() {
        let status = voters.get(node.id.as_str());
        let role = if status.is_some() { NodeRole::Manager } else { NodeRole::Worker };
        if node.manager.as_ref() != status || node.role != role {
            let mut node = (**node).clone();
            node.manager = status.cloned();
            node.role = role;
            actions.push(StoreAction::Update(node.into()));
        }
    }
    actions
}

/// Signs a new certificate for this manager itself at 50–80 % of the old one's life.
pub async fn renew_own(control: crate::Control, credentials: cluster::ca::Credentials, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        loop {
            let at = credentials.renew_at(rand::random());
            let wait = at.duration_since(std::time::SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(wait.max(Duration::from_secs(60))).await;
            if let Err(e) = control.renew_own(&credentials).await {
                tracing::warn!(now = clock::now().0, "the certificate cannot be renewed: {e}");
            }
        }
    })
    .await;
}
