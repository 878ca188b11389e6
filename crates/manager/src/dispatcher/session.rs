//! One session: says what the node shall know, hears what it has to tell.
use super::assignments::Sent;
use super::directory::Picture;
use super::{Dispatcher, NodeReport, Present, status};
use crate::control;
use model::{Node, NodeDescription, NodeId, NodeRole, NodeSpec, NodeState, NodeStatus, StoreAction};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::agent::{FromNode, ManagerPeer, ToNode};

/// Changes that come together are sent together.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// What a node may tell of itself: it is kept in the swarm's tables.
const DESCRIPTION_BYTES_MAX: usize = 256 << 10;
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// A node that takes nothing for so long is not there.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// It hung up.
    #[error("the node hung up")]
    Gone,
    /// It takes nothing.
    #[error("the node takes no messages")]
    Stuck,
    /// It did not say who it is.
    #[error("the node did not say hello")]
    Silent,
    /// It is no member.
    #[error("the node is not a member of this swarm")]
    Stranger,
    /// A newer session, the node's removal or the end of this manager.
    #[error("this manager hung up")]
    HungUp,
    /// Its description is no description.
    #[error("the node describes itself in more than {DESCRIPTION_BYTES_MAX} bytes")]
    TooMuch,
    /// Its row cannot be written.
    #[error("the node's row cannot be written: {0}")]
    Store(String),
}

struct Session {
    d: Dispatcher,
    node: NodeId,
    ip: IpAddr,
    to: mpsc::Sender<ToNode>,
    sent: Sent,
    directory: Option<Picture>,
    managers: Vec<ManagerPeer>,
    row: Option<(NodeSpec, NodeRole)>,
    /// The roots for which the node was asked to get a new certificate.
    asked_to_trust: Option<String>,
    /// Set when the row says something else than "ready" and must be written again.
    hello: Option<(NodeDescription, Option<IpAddr>)>,
}

/// Runs until the session ends.
pub async fn run(
    d: Dispatcher,
    node: NodeId,
    ip: IpAddr,
    mut from: mpsc::Receiver<FromNode>,
    to: mpsc::Sender<ToNode>,
    hang_up: CancellationToken,
) -> End {
    let stop = d.shared.stop.clone();
    let mut s = Session {
        d,
        node,
        ip,
        to,
        sent: Sent::default(),
        directory: None,
        managers: Vec::new(),
        row: None,
        asked_to_trust: None,
        hello: None,
    };
    tokio::select! {
        end = s.talk(&mut from) => end,
        () = hang_up.cancelled() => End::HungUp,
        () = stop.cancelled() => End::HungUp,
    }
}

impl Session {
    async fn talk(&mut self, from: &mut mpsc::Receiver<FromNode>) -> End {
        match self.steps(from).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn steps(&mut self, from: &mut mpsc::Receiver<FromNode>) -> Result<std::convert::Infallible, End> {
        let mut revision = self.d.shared.store.watch_revision();
        let mut barrier = self.d.barrier();
        let mut masked = self.d.shared.masked.subscribe();
        self.managers = self.d.managers();
        self.say(ToNode::Welcome { managers: self.managers.clone(), heartbeat: self.d.heartbeat() }).await?;
        let first = tokio::time::timeout(HELLO_TIMEOUT, from.recv()).await.map_err(|_| End::Silent)?;
        let first = first.ok_or(End::Gone)?;
        if !matches!(first, FromNode::Hello { .. }) {
            return Err(End::Silent);
        }
        self.hear(first).await?;
        revision.borrow_and_update();
        self.tell_changes().await?;
        let reached = *barrier.borrow_and_update();
        if reached > 0 {
            self.say(ToNode::AllApplied(reached)).await?;
        }
        loop {
            tokio::select! {
                message = from.recv() => self.hear(message.ok_or(End::Gone)?).await?,
                changed = revision.changed() => {
                    changed.map_err(|_| End::HungUp)?;
                    tokio::time::sleep(DEBOUNCE).await;
                    revision.borrow_and_update();
                    self.tell_changes().await?;
                }
                changed = masked.changed() => {
                    changed.map_err(|_| End::HungUp)?;
                    masked.borrow_and_update();
                    self.tell_changes().await?;
                }
                moved = barrier.changed() => {
                    moved.map_err(|_| End::HungUp)?;
                    let reached = *barrier.borrow_and_update();
                    self.say(ToNode::AllApplied(reached)).await?;
                }
            }
        }
    }

    async fn say(&self, message: ToNode) -> Result<(), End> {
        match self.to.send_timeout(message, SEND_TIMEOUT).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(End::Stuck),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(End::Gone),
        }
    }

    async fn hear(&mut self, message: FromNode) -> Result<(), End> {
        self.d.heard(&self.node);
        match message {
            FromNode::Hello { description, data_path_addr, directory: _ } => {
                if !wire::codec::to_vec(&description).is_ok_and(|d| d.len() <= DESCRIPTION_BYTES_MAX) {
                    return Err(End::TooMuch);
                }
                self.hello = Some((description, data_path_addr));
                // If it has not got what it was asked to get, it is asked again.
                self.asked_to_trust = None;
                self.write_row().await?;
            }
            FromNode::Status(statuses) => {
                let report = status::Report { node: self.node.clone(), statuses };
                self.d.shared.statuses.send(report).await.map_err(|_| End::HungUp)?;
            }
            FromNode::Heartbeat { applied, digest, repaired } => {
                self.d.told(&self.node, |r| {
                    *r = NodeReport { applied: applied.max(r.applied), digest, repaired: r.repaired + repaired };
                });
                // One who leads no longer has nothing to promise; the node's lease is then another leader's matter.
                if self.d.shared.store.is_leader() {
                    self.say(ToNode::Heard).await?;
                }
            }
            FromNode::Applied(revision) => self.d.told(&self.node, |r| r.applied = revision.max(r.applied)),
            FromNode::TunnelRefused { id, why } => self.d.tunnel_refused(&self.node, id, why),
        }
        Ok(())
    }

    /// Stores what the node said of itself and that it is there.
    async fn write_row(&mut self) -> Result<(), End> {
        let Some((description, data_path_addr)) = self.hello.clone() else { return Ok(()) };
        let present = Present { heard: Instant::now(), report: NodeReport::default() };
        self.d.shared.present.lock().entry(self.node.clone()).or_insert(present);
        let (ip, id, now) = (self.ip, &self.node, self.d.shared.store.now());
        let written = self.d.shared.store.update(|tables| {
            let old = tables.node(id).ok_or(End::Stranger)?;
            let mut node: Node = (**old).clone();
            node.description = Some(description);
            // What the node says now, else what was said when it joined, else where it calls from.
            node.data_path_addr = data_path_addr.or(node.data_path_addr).or(Some(ip));
            if node.status.state != NodeState::Ready || node.status.addr.is_empty() {
                node.status =
                    NodeStatus { state: NodeState::Ready, message: String::new(), addr: ip.to_string(), since: now };
            }
            node.status.addr = ip.to_string();
            let actions = if node == **old { vec![] } else { vec![StoreAction::Update(node.into())] };
            Ok((actions, ()))
        });
        match written.await {
            Ok(()) => Ok(()),
            Err(cluster::store::UpdateError::Declined(end)) => Err(end),
            Err(e) => Err(End::Store(e.to_string())),
        }
    }

    /// Says everything that the node does not know yet: what it is, the network, its work, in this order, because work
    /// needs its networks.
    async fn tell_changes(&mut self) -> Result<(), End> {
        let tables = self.d.shared.store.tables();
        let Some(row) = tables.node(&self.node).cloned() else {
            drop(tables);
            let why = "the node was removed from the swarm".to_owned();
            self.say(ToNode::Disconnect { why, removed: true }).await?;
            return Err(End::Stranger);
        };
        if row.status.state != NodeState::Ready {
            // It was silent for a while, was marked down, and is back on the same session.
            drop(tables);
            self.write_row().await?;
            return Box::pin(self.tell_changes()).await;
        }
        let now = (row.spec.clone(), row.role);
        if self.row.as_ref() != Some(&now) {
            self.say(ToNode::Node { spec: now.0.clone(), role: now.1 }).await?;
            self.row = Some(now);
        }
        if let Some(c) = tables.cluster()
            && let Some(told) = row.description.as_ref().filter(|d| !d.trust_root.is_empty())
        {
            let wanted = c.trusted();
            if control::trusts_rightly(c, told) {
                self.asked_to_trust = None;
            } else if self.asked_to_trust.as_ref() != Some(&wanted) {
                self.say(ToNode::Renew).await?;
                self.asked_to_trust = Some(wanted);
            }
        }
        let managers = self.d.managers();
        if managers != self.managers {
            self.say(ToNode::Managers(managers.clone())).await?;
            self.managers = managers;
        }
        let masked = self.d.shared.masked.borrow().clone();
        let picture = Picture::of(&mut self.d.shared.directory.lock(), &tables, &self.node, &masked);
        let assignments = self.sent.next(&tables, &self.node);
        drop(tables);
        match &self.directory {
            None => self.say(ToNode::Directory(picture.whole())).await?,
            Some(old) if old.revision() < picture.revision() || old.differs_in_peers(&picture) => {
                let delta = old.delta(&picture, &mut self.d.shared.directory.lock());
                self.say(ToNode::DirectoryDelta(delta)).await?;
            }
            Some(_) => {}
        }
        self.directory = Some(picture);
        if let Some(work) = assignments {
            self.say(ToNode::Assignments(work)).await?;
        }
        Ok(())
    }
}
