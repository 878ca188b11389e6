//! Which nodes are silent: after a while nobody sends new connections there, a while later the node is down
//! ([`model::lease`] has the times and why they fit together).
use super::{Dispatcher, NodeReport, Present};
use cluster::store::UpdateError;
use model::lease;
use model::{NodeId, NodeState, StoreAction};
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(50);
/// Nodes of a former leader get this long to come here: they must first notice that it is gone.
const TAKEOVER: Duration = Duration::from_secs(5);
/// The former leader's own node has been silent for as long as the election took. If only its leadership ended, it is
/// here at once.
const TAKEOVER_OF_LEADER: Duration = Duration::from_millis(2000);

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
                mask_silent_nodes(&d);
                mark_silent_nodes(&d).await;
                tokio::time::sleep(LOOK).await;
            }
            d.shared.present.lock().clear();
            d.shared.masked.send_replace(Arc::default());
            for (_, open) in d.shared.sessions.lock().drain() {
                open.end.cancel();
            }
        }
    })
    .await;
}

/// Nodes that were ready under the leader before are expected, not believed dead.
fn take_over(d: &Dispatcher) {
    let limit = lease::down_after(d.heartbeat());
    let tables = d.shared.store.tables();
    let mut present = d.shared.present.lock();
    let now = Instant::now();
    for node in tables.nodes().filter(|n| n.status.state == NodeState::Ready) {
        let led = node.manager.as_ref().is_some_and(|m| m.leader);
        let patience = if led { TAKEOVER_OF_LEADER } else { TAKEOVER };
        // Silent from then on when `patience` is over.
        let heard = now + patience.saturating_sub(limit);
        let heard = heard.checked_sub(limit.saturating_sub(patience)).unwrap_or(now);
        present.entry(node.id.clone()).or_insert(Present { heard, report: NodeReport::default() });
    }
}

fn mask_silent_nodes(d: &Dispatcher) {
    let limit = lease::mask_after(d.heartbeat());
    let silent: BTreeSet<NodeId> = {
        let present = d.shared.present.lock();
        present.iter().filter(|(_, p)| p.heard.elapsed() > limit).map(|(n, _)| n.clone()).collect()
    };
    d.shared.masked.send_if_modified(|masked| {
        // Who is marked down leaves this set later than the tables learn it.
        let tables = d.shared.store.tables();
        let down = |n: &NodeId| tables.node(n).is_some_and(|n| n.status.state != NodeState::Ready);
        let mut next = silent;
        next.extend(masked.iter().filter(|n| down(n)).cloned());
        let changed = **masked != next;
        if changed {
            *masked = Arc::new(next);
        }
        changed
    });
}

async fn mark_silent_nodes(d: &Dispatcher) {
    let grace = lease::down_after(d.heartbeat());
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
                    d.cut_tunnels(node);
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
