//! Which nodes are silent. Three missed beats, and the node is down.
use super::{Dispatcher, NodeReport, Present};
use cluster::store::UpdateError;
use model::{NodeId, NodeState, StoreAction};
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// Beats that may be missed.
const MISSED_MAX: u32 = 3;
const LOOK: Duration = Duration::from_millis(50);
/// Nodes of a former leader get this long to come here.
const TAKEOVER: Duration = Duration::from_secs(4);

/// Looks while this manager leads.
pub async fn watch(d: Dispatcher) {
    let stop = d.shared.stop.clone();
    let mut leadership = d.shared.store.leadership();
    stop.run_until_cancelled(async {
        loop {
            if leadership.wait_for(|l| l.here).await.is_err() {
                return;
            }
            take_over(&d);
            while leadership.borrow().here {
                mark_silent_nodes(&d).await;
                tokio::time::sleep(LOOK).await;
            }
            d.shared.present.lock().clear();
            for (_, open) in d.shared.sessions.lock().drain() {
                open.end.cancel();
            }
        }
    })
    .await;
}

/// Nodes that were ready under the leader before are expected, not believed dead.
fn take_over(d: &Dispatcher) {
    let heartbeat = d.heartbeat();
    let tables = d.shared.store.tables();
    let mut present = d.shared.present.lock();
    for node in tables.nodes().filter(|n| n.status.state == NodeState::Ready) {
        let grace = TAKEOVER.saturating_sub(heartbeat * MISSED_MAX);
        let expected = Present { heard: Instant::now() + grace, report: NodeReport::default() };
        present.entry(node.id.clone()).or_insert(expected);
    }
}

async fn mark_silent_nodes(d: &Dispatcher) {
    // A beat is noticed at most one look late; the sum stays below three beats.
    let grace = d.heartbeat() * MISSED_MAX - 2 * LOOK;
    let silent: Vec<NodeId> = {
        let present = d.shared.present.lock();
        present.iter().filter(|(_, p)| p.heard.elapsed() > grace).map(|(n, _)| n.clone()).collect()
    };
    if silent.is_empty() {
        return;
    }
    for node in &silent {
        tracing::warn!(%node, "heartbeat failure");
    }
    // The sessions that are silent; one that opens while the rows are written is not.
    let sessions: HashMap<NodeId, u64> = {
        let open = d.shared.sessions.lock();
        silent.iter().filter_map(|n| Some((n.clone(), open.get(n)?.number))).collect()
    };
    let now = d.shared.store.now();
    let done = d
        .shared
        .store
        .update(|tables| {
            let mut actions = Vec::new();
            for id in &silent {
                let Some(node) = tables.node(id).filter(|n| n.status.state == NodeState::Ready) else { continue };
                let mut node = (**node).clone();
                node.status.state = NodeState::Down;
                node.status.message = format!("Heartbeat failure for node {id}");
                node.status.since = now;
                actions.push(StoreAction::Update(node.into()));
            }
            Ok::<_, Infallible>((actions, ()))
        })
        .await;
    match done {
        Ok(()) => {
            let mut present = d.shared.present.lock();
            for node in &silent {
                // It may have been heard while the row was written; then its session writes "ready" again.
                if present.get(node).is_some_and(|p| p.heard.elapsed() > grace) {
                    present.remove(node);
                }
            }
            drop(present);
            for (node, number) in sessions {
                let still_silent = !d.shared.present.lock().contains_key(&node);
                let mut open = d.shared.sessions.lock();
                if still_silent && open.get(&node).is_some_and(|o| o.number == number) {
                    open.remove(&node).into_iter().for_each(|o| o.end.cancel());
                }
            }
            d.move_barrier();
        }
        Err(UpdateError::NotLeader(_) | UpdateError::Stopped(_)) => {}
        Err(e) => tracing::error!("silent nodes cannot be marked: {e}"),
    }
}
