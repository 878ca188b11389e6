//! Managers among managers: keeps the rows' `ManagerStatus` as raft has it, and this manager's certificate fresh.
use crate::control;
use cluster::Store;
use cluster::ca::{Credentials, CredentialsError, KeyRing, UnlockKey};
use cluster::channel::PeerTransport;
use cluster::raft::Member;
use cluster::store::UpdateError;
use model::{ManagerStatus, NodeId, NodeRole, StoreAction, Tables};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LOOK: Duration = Duration::from_secs(1);
/// However rarely snapshots are wished, the log does not grow beyond this.
const SNAPSHOT_ENTRIES_MAX: u64 = 100_000;

/// Looks while this manager leads.
pub async fn watch(store: Store, own: NodeId, stop: CancellationToken) {
    let mut leadership = store.leadership();
    let mut members = store.raft().watch_voters();
    stop.run_until_cancelled(async {
        loop {
            members.mark_unchanged();
            if leadership.wait_for(|l| l.here).await.is_err() {
                return;
            }
            let voters = reached(&store, &own).await;
            let written = store.update(|tables| Ok::<_, Infallible>((differences(tables, &voters), ()))).await;
            if let Err(e @ UpdateError::Refused(_)) = written {
                tracing::error!("the managers' rows cannot be written: {e}");
            }
            finish_demotions(&store).await;
            let rotated = store.update(|tables| Ok::<_, Infallible>((control::finish_rotation(tables), ()))).await;
            if let Err(e @ UpdateError::Refused(_)) = rotated {
                tracing::error!("the new root cannot be written: {e}");
            }
            // A manager that comes or goes is shown at once.
            let _ = tokio::time::timeout(LOOK, members.changed()).await;
        }
    })
    .await;
}

/// The managers as raft has them, each asked whether it is there.
async fn reached(store: &Store, own: &NodeId) -> BTreeMap<String, ManagerStatus> {
    let asked = store.raft().voters().into_iter().map(|(raft_id, m)| async move {
        let leader = m.node == own.as_str();
        let reachable = leader || store.raft().reaches(raft_id, &m).await;
        let addr = m.addr.parse().ok()?;
        Some((m.node, ManagerStatus { raft_id, addr, leader, reachable }))
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Tells the others where this manager is, for as long as raft has another address of it.
pub async fn announce(store: Store, transport: Arc<PeerTransport>, me: Member, stop: CancellationToken) {
    let id = store.raft().id();
    let mut voters = store.raft().watch_voters();
    stop.run_until_cancelled(async {
        loop {
            let known = voters.borrow_and_update().clone();
            let moved = known.get(&id).is_some_and(|m| *m != me);
            if moved {
                let done = if store.is_leader() {
                    store.raft().add_voter(id, me.clone()).await.map_err(|e| e.to_string())
                } else {
                    let others: Vec<Member> = known.into_values().filter(|m| m.node != me.node).collect();
                    transport.add_me(&others, id, &me).await.map_err(|e| e.to_string())
                };
                match done {
                    Ok(()) => tracing::info!(addr = me.addr, "the other managers know the new address"),
                    Err(e) => tracing::debug!("the new address is not known yet: {e}"),
                }
            }
            let again = tokio::time::sleep(if moved { LOOK / 4 } else { Duration::MAX });
            tokio::select! {
                () = again => {}
                changed = voters.changed() => if changed.is_err() { return },
            }
        }
    })
    .await;
}

/// One file decides; whatever is done before or after can be read either way.
fn relock(ring: &KeyRing, credentials: &Credentials, unlock: Option<&UnlockKey>) -> Result<(), CredentialsError> {
    if unlock.is_some() {
        credentials.guard(Some(ring.data_key()))?;
    }
    ring.relock(unlock)?;
    if unlock.is_none() {
        credentials.guard(None)?;
    }
    Ok(())
}

/// Keeps what a manager does by the swarm's settings: the lock of its keys, and when it takes snapshots.
pub async fn obey_settings(store: Store, ring: KeyRing, credentials: Credentials, stop: CancellationToken) {
    let mut changes = store.watch_revision();
    stop.run_until_cancelled(async {
        loop {
            changes.borrow_and_update();
            if let Some(c) = store.tables().cluster().cloned() {
                store.raft().set_snapshot_entries(c.spec.snapshot_interval.min(SNAPSHOT_ENTRIES_MAX));
                let wanted: Option<UnlockKey> = c.unlock_key.as_ref().and_then(|k| k.parse().ok());
                if ring.unlock_key().as_deref() != wanted.as_ref() {
                    match relock(&ring, &credentials, wanted.as_ref()) {
                        Ok(()) => {
                            tracing::info!(locked = wanted.is_some(), "the lock of this manager's keys has changed")
                        }
                        Err(e) => tracing::error!("the lock of this manager's keys cannot be changed: {e}"),
                    }
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    })
    .await;
}

/// A manager that is wished to be a worker leaves raft; tried again until it has.
async fn finish_demotions(store: &Store) {
    for raft_id in demoted(&store.tables(), store.raft().members()) {
        if let Err(e) = store.raft().remove(raft_id).await {
            tracing::warn!(raft_id, "a demoted manager is still in raft: {e}");
        }
    }
}

/// Which of raft's members, voting or learning, are wished to be workers.
fn demoted(tables: &Tables, members: BTreeMap<u64, Member>) -> Vec<u64> {
    let worker = |m: &Member| {
        let id = m.node.parse::<NodeId>().ok();
        id.and_then(|id| tables.node(&id)).is_some_and(|n| n.spec.role == NodeRole::Worker)
    };
    members.into_iter().filter(|(_, m)| worker(m)).map(|(id, _)| id).collect()
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
