//! The managers' side of the nodes' sessions.
//!
//! One task per session ([`session`]); what they share is here: who is there, when each was last heard, how far each has
//! applied the directory, and the streams that nodes were asked to open.
mod assignments;
mod directory;
mod liveness;
mod session;
mod status;
mod tunnels;

pub use tunnels::Tunnel;

use cluster::Store;
use directory::DirectoryCache;
use model::NodeId;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::agent::{FromNode, ManagerPeer, ToNode};

/// How often nodes beat, unless the swarm's settings ask for more.
pub const HEARTBEAT: Duration = model::lease::BEAT;

/// What a node has told of its own state; for `/metrics` and `shoal doctor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// The directory revision that it shows.
    pub applied: u64,
    /// Digest of what its kernel holds, 0 when not read yet.
    pub digest: u64,
    /// Differences that it found and repaired, in all.
    pub repaired: u64,
}

/// A node that is there.
#[derive(Debug)]
struct Present {
    heard: Instant,
    report: NodeReport,
}

/// An open session, for the others.
struct Open {
    number: u64,
    to: mpsc::Sender<ToNode>,
    end: CancellationToken,
}

/// Shared by all sessions. Clones are handles.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    own: NodeId,
    sessions: Mutex<HashMap<NodeId, Open>>,
    present: Mutex<HashMap<NodeId, Present>>,
    directory: Mutex<DirectoryCache>,
    /// Every node that is there has applied this much.
    barrier: watch::Sender<u64>,
    /// Nodes that are silent for so long that nobody shall send new connections there.
    masked: watch::Sender<Arc<BTreeSet<NodeId>>>,
    statuses: mpsc::Sender<status::Report>,
    tunnels: tunnels::Tunnels,
    numbers: AtomicU64,
    stop: CancellationToken,
}

impl Dispatcher {
    /// Starts the common tasks: the clock that finds silent nodes and the writer of statuses.
    pub fn start(store: Store, own: NodeId, stop: CancellationToken) -> Self {
        let (statuses, reports) = mpsc::channel(1024);
        let shared = Arc::new(Shared {
            store: store.clone(),
            own,
            sessions: Mutex::default(),
            present: Mutex::default(),
            directory: Mutex::default(),
            barrier: watch::Sender::new(0),
            masked: watch::Sender::default(),
            statuses,
            tunnels: tunnels::Tunnels::default(),
            numbers: AtomicU64::new(1),
            stop: stop.clone(),
        });
        let me = Self { shared };
        tokio::spawn(liveness::watch(me.clone()));
        tokio::spawn(status::write(store, reports, stop));
        me
    }

    /// Serves one session until it ends.
    pub async fn serve(
        &self,
        node: NodeId,
        ip: IpAddr,
        from: mpsc::Receiver<FromNode>,
        to: mpsc::Sender<ToNode>,
        hang_up: CancellationToken,
    ) {
        let number = self.shared.numbers.fetch_add(1, Ordering::Relaxed);
        let open = Open { number, to: to.clone(), end: hang_up.clone() };
        if let Some(before) = self.shared.sessions.lock().insert(node.clone(), open) {
            before.end.cancel();
        }
        tracing::info!(%node, %ip, "session opened");
        let end = session::run(self.clone(), node.clone(), ip, from, to, hang_up).await;
        tracing::info!(%node, "session ended: {end}");
        let mut sessions = self.shared.sessions.lock();
        if sessions.get(&node).is_some_and(|o| o.number == number) {
            sessions.remove(&node);
        }
    }

    /// How often nodes shall beat.
    fn heartbeat(&self) -> Duration {
        let asked = self.shared.store.tables().cluster().map(|c| c.spec.dispatcher_heartbeat).unwrap_or(HEARTBEAT);
        asked.clamp(Duration::from_millis(100), HEARTBEAT)
    }

    /// Managers, as nodes are told.
    pub fn managers(&self) -> Vec<ManagerPeer> {
        let tables = self.shared.store.tables();
        let mut all: Vec<(bool, ManagerPeer)> = tables
            .nodes()
            .filter_map(|n| n.manager.as_ref().map(|m| (!m.leader, ManagerPeer { node: n.id.clone(), addr: m.addr })))
            .collect();
        all.sort_by_key(|(follower, _)| *follower);
        all.into_iter().map(|(_, m)| m).collect()
    }

    /// What the nodes that are there have told.
    pub fn reports(&self) -> HashMap<NodeId, NodeReport> {
        self.shared.present.lock().iter().map(|(n, p)| (n.clone(), p.report)).collect()
    }

    /// The revision that every node which is there has applied.
    pub fn barrier(&self) -> watch::Receiver<u64> {
        self.shared.barrier.subscribe()
    }

    /// Ends the sessions of a node, telling it why.
    pub fn disconnect(&self, node: &NodeId, why: &str, removed: bool) {
        if let Some(open) = self.shared.sessions.lock().remove(node) {
            let _ = open.to.try_send(ToNode::Disconnect { why: why.to_owned(), removed });
            open.end.cancel();
        }
        self.cut_tunnels(node);
        self.shared.present.lock().remove(node);
        self.move_barrier();
    }

    /// The node has just been heard.
    fn heard(&self, node: &NodeId) {
        if let Some(p) = self.shared.present.lock().get_mut(node) {
            p.heard = Instant::now();
        }
    }

    /// The node has told something of itself.
    fn told(&self, node: &NodeId, change: impl FnOnce(&mut NodeReport)) {
        if let Some(p) = self.shared.present.lock().get_mut(node) {
            change(&mut p.report);
        }
        self.move_barrier();
    }

    /// The barrier is the least of what the nodes that are there have applied. It never goes back.
    fn move_barrier(&self) {
        let Some(least) = self.shared.present.lock().values().map(|p| p.report.applied).min() else { return };
        self.shared.barrier.send_if_modified(|b| {
            let more = least > *b;
            *b = least.max(*b);
            more
        });
    }
}
