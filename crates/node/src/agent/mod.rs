//! The agent: keeps the session with a manager, drives the tasks assigned to this node, applies the directory.
//!
//! Intent comes down ([`ToNode`]), facts go up ([`FromNode`]). Drivers and the directory outlive a session: while no
//! manager can be reached, what runs goes on running.
pub mod driver;
pub mod executor;

use async_trait::async_trait;
use driver::{Surroundings, Wish, drive};
use executor::{Dependencies, Executor};
use model::lease::{Fence, Lease};
use model::{Directory, NodeDescription, NodeId, NodeRole, NodeSpec, TaskId, TaskStatus, Timestamp};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use wire::agent::{Assignments, FromNode, ManagerPeer, ToNode, TunnelRequest};

/// Applies directories to the kernel and to the names.
#[async_trait]
pub trait DirectorySink: Send + Sync + 'static {
    /// Applies one whole; gives the revision applied.
    async fn apply(&self, directory: Directory) -> Result<u64, String>;
    /// Compares the kernel with what was applied and repairs: (digest, differences repaired).
    async fn verify(&self) -> (u64, u64);
}

/// Serves tunnels that a manager asks for.
#[async_trait]
pub trait TunnelServer: Send + Sync + 'static {
    /// Serves one in the background.
    async fn open(&self, id: u64, request: TunnelRequest) -> Result<(), String>;
}

/// What the agent needs.
pub struct AgentConfig {
    /// This node.
    pub node: NodeId,
    /// The machine.
    pub executor: Arc<dyn Executor>,
    /// The data plane and the names.
    pub directory: Arc<dyn DirectorySink>,
    /// Tunnels.
    pub tunnels: Arc<dyn TunnelServer>,
    /// What the machine says of itself.
    pub describe: Arc<dyn Fn() -> NodeDescription + Send + Sync>,
    /// Address of the tunnel endpoint. It may change while the node runs.
    pub data_path_addr: Arc<dyn Fn() -> Option<IpAddr> + Send + Sync>,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// The two directions of a session.
pub struct Session {
    /// To the manager.
    pub up: mpsc::Sender<FromNode>,
    /// From the manager.
    pub down: mpsc::Receiver<ToNode>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The stream broke: try again.
    Broken,
    /// The manager wants a new session.
    Restart(String),
    /// This node is no member any more.
    Removed(String),
}

/// The agent. Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    config: AgentConfig,
    drivers: Mutex<BTreeMap<TaskId, Handle>>,
    statuses: Mutex<BTreeMap<TaskId, TaskStatus>>,
    reports: mpsc::UnboundedSender<(TaskId, TaskStatus)>,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<(TaskId, TaskStatus)>>,
    all_applied: watch::Sender<u64>,
    applied: watch::Sender<u64>,
    wanted: watch::Sender<Arc<Directory>>,
    dependencies: watch::Sender<Arc<Dependencies>>,
    managers: watch::Sender<Vec<ManagerPeer>>,
    row: watch::Sender<Option<(NodeSpec, NodeRole)>>,
    renewals: watch::Sender<u64>,
    describe_again: Notify,
    verified: Mutex<(u64, u64)>,
    lease: Mutex<Lease>,
    fence: watch::Sender<Fence>,
    /// Whether a leader was heard, or none was there, since the agent began: nothing starts before.
    heard: watch::Sender<bool>,
    /// When `lease` counts from.
    begun: Instant,
    loops: Mutex<Vec<JoinHandle<()>>>,
}

struct Handle {
    wish: watch::Sender<Wish>,
    done: JoinHandle<()>,
}

impl Agent {
    /// Starts the agent (no session yet). Must be called inside a tokio runtime.
    pub fn new(config: AgentConfig) -> Self {
        let (reports, incoming) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            config,
            drivers: Mutex::default(),
            statuses: Mutex::default(),
            reports,
            incoming: tokio::sync::Mutex::new(incoming),
            all_applied: watch::Sender::new(0),
            applied: watch::Sender::new(0),
            wanted: watch::Sender::new(Arc::default()),
            dependencies: watch::Sender::new(Arc::default()),
            managers: watch::Sender::new(Vec::new()),
            row: watch::Sender::new(None),
            renewals: watch::Sender::new(0),
            describe_again: Notify::new(),
            verified: Mutex::default(),
            lease: Mutex::new(Lease::begin(Duration::ZERO)),
            fence: watch::Sender::new(Fence::Open),
            heard: watch::Sender::new(false),
            begun: Instant::now(),
            loops: Mutex::default(),
        });
        let loops = vec![tokio::spawn(apply_loop(inner.clone())), tokio::spawn(lease_loop(inner.clone()))];
        *inner.loops.lock() = loops;
        Self { inner }
    }

    /// The managers last heard of.
    pub fn managers(&self) -> Vec<ManagerPeer> {
        self.inner.managers.borrow().clone()
    }

    /// What is wished of this node, and the role that it has in the managers' eyes.
    pub fn row(&self) -> watch::Receiver<Option<(NodeSpec, NodeRole)>> {
        self.inner.row.subscribe()
    }

    /// How often the managers have asked this node to get a new certificate.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.inner.renewals.subscribe()
    }

    /// Tells the managers again what the machine is.
    pub fn describe_again(&self) {
        self.inner.describe_again.notify_one();
    }

    /// The directory as it shall be, and as it changes.
    pub fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.inner.wanted.subscribe()
    }

    /// The revision that the data plane and the names show.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.subscribe()
    }

    /// At `at` so many managers said that they know no leader, or refused the connection, that there was none: nobody
    /// could have replaced this node's tasks then.
    pub fn no_leader(&self, at: Instant) {
        self.inner.lease.lock().no_leader(at.saturating_duration_since(self.inner.begun));
        self.inner.feed();
    }

    /// What has been stopped because no leader was heard for too long.
    pub fn fence(&self) -> watch::Receiver<Fence> {
        self.inner.fence.subscribe()
    }

    /// Keeps one session until it ends.
    pub async fn serve(&self, mut session: Session) -> SessionEnd {
        let inner = &self.inner;
        let mut incoming = inner.incoming.lock().await;
        let hello = inner.hello();
        let known: Vec<_> = inner.statuses.lock().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        if session.up.send(hello).await.is_err() || session.up.send(FromNode::Status(known)).await.is_err() {
            return SessionEnd::Broken;
        }
        inner.lease.lock().session(model::lease::BEAT);
        let mut beat = tokio::time::interval(model::lease::BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut applied = inner.applied.subscribe();
        let mut sequence = 0;
        loop {
            let up = tokio::select! {
                message = session.down.recv() => {
                    let Some(message) = message else { return SessionEnd::Broken };
                    match self.take(message, &mut sequence, &mut beat).await {
                        Ok(None) => continue,
                        Ok(Some(answer)) => answer,
                        Err(end) => return end,
                    }
                }
                Some(first) = incoming.recv() => {
                    let mut batch = vec![first];
                    while let Ok(more) = incoming.try_recv() {
                        batch.push(more);
                    }
                    inner.remember(&batch);
                    FromNode::Status(batch)
                }
                _ = beat.tick() => {
                    inner.lease.lock().beaten(inner.begun.elapsed());
                    let (digest, repaired) = std::mem::take(&mut *inner.verified.lock());
                    FromNode::Heartbeat { applied: *applied.borrow(), digest, repaired }
                }
                Ok(()) = applied.changed() => FromNode::Applied(*applied.borrow_and_update()),
                () = inner.describe_again.notified() => inner.hello(),
            };
            if session.up.send(up).await.is_err() {
                return SessionEnd::Broken;
            }
        }
    }

    async fn take(
        &self,
        message: ToNode,
        sequence: &mut u64,
        beat: &mut tokio::time::Interval,
    ) -> Result<Option<FromNode>, SessionEnd> {
        let inner = &self.inner;
        match message {
            ToNode::Welcome { managers, heartbeat } => {
                inner.managers.send_replace(managers);
                let heartbeat = heartbeat.clamp(Duration::from_millis(50), Duration::from_secs(60));
                inner.lease.lock().interval(heartbeat);
                *beat = tokio::time::interval(heartbeat);
                beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            }
            ToNode::Managers(managers) => drop(inner.managers.send_replace(managers)),
            ToNode::Node { spec, role } => drop(inner.row.send_replace(Some((spec, role)))),
            ToNode::Renew => inner.renewals.send_modify(|n| *n += 1),
            ToNode::Heard => {
                inner.lease.lock().confirmed();
                inner.look_at_lease();
                inner.feed();
            }
            ToNode::Assignments(a) => {
                let follows = a.sequence == 1 || a.sequence == *sequence + 1;
                if !follows {
                    return Err(SessionEnd::Restart(format!("assignments {} after {sequence}", a.sequence)));
                }
                *sequence = a.sequence;
                self.assign(a);
            }
            ToNode::Directory(d) => drop(inner.wanted.send_replace(Arc::new(d))),
            ToNode::DirectoryDelta(delta) => {
                let mut next = (**inner.wanted.borrow()).clone();
                match next.apply(delta) {
                    Ok(()) => drop(inner.wanted.send_replace(Arc::new(next))),
                    Err(e) => return Err(SessionEnd::Restart(e.to_string())),
                }
            }
            // A new leader starts lower; what was reached stays reached.
            ToNode::AllApplied(revision) => inner.all_applied.send_modify(|r| *r = revision.max(*r)),
            ToNode::OpenTunnel { id, request } => {
                if let Err(why) = inner.config.tunnels.open(id, request).await {
                    return Ok(Some(FromNode::TunnelRefused { id, why }));
                }
            }
            ToNode::Disconnect { why, removed: true } => return Err(SessionEnd::Removed(why)),
            ToNode::Disconnect { why, removed: false } => return Err(SessionEnd::Restart(why)),
        }
        Ok(None)
    }

    fn assign(&self, a: Assignments) {
        let inner = &self.inner;
        let full = a.sequence == 1;
        inner.dependencies.send_modify(|deps| {
            let mut next = if full { Dependencies::default() } else { (**deps).clone() };
            for (id, secret) in a.secrets {
                match secret {
                    Some(s) => drop(next.secrets.insert(id, Arc::new(s))),
                    None => drop(next.secrets.remove(&id)),
                }
            }
            for (id, config) in a.configs {
                match config {
                    Some(c) => drop(next.configs.insert(id, Arc::new(c))),
                    None => drop(next.configs.remove(&id)),
                }
            }
            *deps = Arc::new(next);
        });
        let mut drivers = inner.drivers.lock();
        drivers.retain(|_, h| !h.done.is_finished());
        if full {
            for (id, handle) in drivers.iter().filter(|(id, _)| !a.tasks.contains_key(*id)) {
                tracing::info!(task = %id, "no longer assigned");
                handle.wish.send_replace(None);
                inner.statuses.lock().remove(id);
            }
        }
        for (id, wish) in a.tasks {
            match (drivers.get(&id), wish) {
                (Some(handle), wish) => {
                    if wish.is_none() {
                        inner.statuses.lock().remove(&id);
                    }
                    handle.wish.send_replace(wish);
                }
                (None, Some(assignment)) => {
                    let (wish, changes) = watch::channel(Some(assignment.clone()));
                    let around = Surroundings {
                        executor: inner.config.executor.clone(),
                        reports: inner.reports.clone(),
                        all_applied: inner.all_applied.subscribe(),
                        dependencies: inner.dependencies.subscribe(),
                        fence: inner.fence.subscribe(),
                        heard: inner.heard.subscribe(),
                        now: inner.config.now,
                    };
                    let done = tokio::spawn(drive(assignment, changes, around));
                    drivers.insert(id, Handle { wish, done });
                }
                (None, None) => drop(inner.statuses.lock().remove(&id)),
            }
        }
    }

    /// Stops and removes every task, as on leaving a swarm, and ends the agent.
    pub async fn abandon(&self) {
        let handles = std::mem::take(&mut *self.inner.drivers.lock());
        self.inner.all_applied.send_replace(u64::MAX);
        for handle in handles.values() {
            handle.wish.send_replace(None);
        }
        for (id, handle) in handles {
            if tokio::time::timeout(Duration::from_secs(30), handle.done).await.is_err() {
                tracing::warn!(task = %id, "a task did not stop in time");
            }
        }
        self.inner.loops.lock().drain(..).for_each(|l| l.abort());
    }
}

impl Inner {
    fn look_at_lease(&self) {
        let now = self.lease.lock().look(self.begun.elapsed());
        self.fence.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                tracing::warn!(from = ?before, to = ?now, "lease");
                *before = now;
            }
            changed
        });
    }

    /// Says how long what runs here may run without another word, also to those who go on when this daemon does not.
    fn feed(&self) {
        let lease = self.lease.lock();
        let (leased, all) = lease.rest(self.begun.elapsed());
        let managers = self.managers.borrow();
        // While the daemon of a sole manager, or of one of two, is away, no leader can be who replaces anything.
        let alone = managers.len() <= 2 && managers.iter().any(|m| m.node == self.config.node);
        self.config.executor.may_run((!alone).then_some(leased), (!alone).then_some(all));
        drop(lease);
        self.heard.send_if_modified(|heard| !std::mem::replace(heard, true));
    }

    fn hello(&self) -> FromNode {
        FromNode::Hello {
            description: (self.config.describe)(),
            data_path_addr: (self.config.data_path_addr)(),
            directory: self.wanted.borrow().revision,
        }
    }

    fn remember(&self, batch: &[(TaskId, TaskStatus)]) {
        let drivers = self.drivers.lock();
        let mut statuses = self.statuses.lock();
        for (id, status) in batch.iter().filter(|(id, _)| drivers.contains_key(id)) {
            statuses.insert(id.clone(), status.clone());
        }
    }
}

/// Notices when the lease is over.
async fn lease_loop(inner: Arc<Inner>) {
    const LOOK: Duration = Duration::from_millis(50);
    loop {
        tokio::time::sleep(LOOK).await;
        inner.look_at_lease();
    }
}

/// Applies the newest directory, and compares with the kernel now and then.
async fn apply_loop(inner: Arc<Inner>) {
    const VERIFY_EVERY: Duration = Duration::from_secs(10);
    let mut wanted = inner.wanted.subscribe();
    let mut retry = false;
    loop {
        let wait = if retry { Duration::from_millis(500) } else { VERIFY_EVERY };
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {
                if !retry {
                    if *inner.applied.borrow() != 0 {
                        let (digest, repaired) = inner.config.directory.verify().await;
                        let mut v = inner.verified.lock();
                        *v = (digest, v.1 + repaired);
                    }
                    continue;
                }
            }
        }
        let next = wanted.borrow_and_update().clone();
        if next.revision == 0 {
            continue;
        }
        match inner.config.directory.apply((*next).clone()).await {
            Ok(revision) => {
                retry = false;
                inner.applied.send_replace(revision);
            }
            Err(e) => {
                retry = true;
                tracing::error!(revision = next.revision, error = %e, "the directory cannot be applied; trying again");
            }
        }
    }
}
