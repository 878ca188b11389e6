//! Consensus: openraft on redb, with an election timer of our own.
//!
//! openraft 0.9 draws its election time-out once per process, so two survivors can split their votes for ever; here
//! `elect` is off and [`election`] draws anew each time, after it has asked the others whether they miss the leader too.
pub mod election;
mod log;
mod machine;
mod network;

pub use network::{Call, Transport, TransportError};

use crate::ca::DataKey;
use crate::store::{Clock, Leadership, Shared, Store};
use model::tables::{Change, TablesImage};
use model::{Object, ObjectRef, StoreAction, StoreError, Tables, Timestamp};
use openraft::error::{ChangeMembershipError, ClientWriteError, Fatal, InitializeError, RaftError};
use openraft::{ChangeMembers, Config, RaftMetrics, ServerState, SnapshotPolicy};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What raft replicates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// What to do, whole or not at all.
    pub actions: Vec<StoreAction>,
    /// The leader's time.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Applied, leading to this revision.
    Applied(u64),
    /// Refused by the tables, on every manager alike.
    Refused(StoreError),
    /// It was an entry of raft's own.
    Nothing,
}

/// A manager among managers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its node id.
    pub node: String,
    /// `address:2377`.
    pub addr: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.node, self.addr)
    }
}

openraft::declare_raft_types!(
    /// The types of this raft.
    pub Types:
        D = Transaction,
        R = Reply,
        NodeId = u64,
        Node = Member,
        SnapshotData = std::io::Cursor<Vec<u8>>,
);

/// How raft is set up.
pub struct RaftOptions {
    /// The file of log, vote and snapshots.
    pub path: PathBuf,
    /// This manager's number. Used when the file is new; afterwards the file knows.
    pub raft_id: u64,
    /// Reaches the other managers.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Clock,
    /// Entries between snapshots, to begin with (see [`Raft::set_snapshot_entries`]).
    pub snapshot_entries: u64,
    /// What the file's content is sealed with.
    pub data_key: DataKey,
}

/// Why raft could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file.
    #[error("the raft log {path} cannot be opened: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// redb's words.
        why: String,
    },
    /// Its content.
    #[error("the raft log {path} cannot be read: {why}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// openraft would not start.
    #[error("raft cannot be started: {0}")]
    Start(String),
}

/// Why the membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Raft refused.
    #[error("the managers cannot be changed: {0}")]
    Refused(String),
    /// It took too long.
    #[error("the new manager did not catch up in time")]
    Timeout,
    /// Not enough managers answer.
    #[error("too few managers answer")]
    NoMajority,
    /// The new manager does not answer.
    #[error("could not connect to prospective new cluster member using its advertised address: {0} does not answer")]
    Unreachable(Member),
}

type Inner = openraft::Raft<Types>;

/// A leader that a majority has not answered for so long leads no more.
const QUORUM_LOST: Duration = Duration::from_millis(1200);

/// A manager that has not answered for so long is shown as unreachable.
const REACHED_WITHIN: Duration = Duration::from_secs(1);

/// The others agree to a change of the members within this, or it is tried again later.
const CHANGED_WITHIN: Duration = Duration::from_secs(10);
/// While another change is under way, this one is tried again after so long.
const CHANGE_AGAIN: Duration = Duration::from_millis(20);
/// A new manager has the whole log within this.
const LEARNT_WITHIN: Duration = Duration::from_secs(30);

/// A handle on a running raft.
#[derive(Clone)]
pub struct Raft {
    inner: Inner,
    id: u64,
    db: log::Database,
    transport: Arc<dyn Transport>,
    leadership: watch::Receiver<Leadership>,
    voters: watch::Receiver<BTreeMap<u64, Member>>,
    snapshot_entries: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// Opens the store: existing log and snapshot are read, a sole voter leads at once.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(options: RaftOptions) -> Result<Store, OpenError> {
    let RaftOptions { path, raft_id, transport, clock, snapshot_entries, data_key } = options;
    let began = Instant::now();
    let shared = Shared::new(clock, Box::new(move || began.elapsed()));
    let db = log::Database::open(path.clone(), data_key).await?;
    let content = |why: String| OpenError::Content { path: path.clone(), why };
    let id = db.own_id(raft_id).await.map_err(|e| content(e.to_string()))?;
    let machine = machine::Machine::load(db.clone(), shared.clone()).await.map_err(|e| content(e.to_string()))?;
    let config = Config {
        cluster_name: "shoal".into(),
        heartbeat_interval: election::HEARTBEAT.as_millis() as u64,
        election_timeout_min: election::LEASE.as_millis() as u64 - 50,
        election_timeout_max: election::LEASE.as_millis() as u64,
        install_snapshot_timeout: 10_000,
        // Ours can be changed while it runs.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: (snapshot_entries / 4).min(1000),
        purge_batch_size: 64,
        enable_elect: false,
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|e| OpenError::Start(e.to_string()))?);
    let network = network::Factory::new(transport.clone());
    let inner =
        Inner::new(id, config, network, db.clone(), machine).await.map_err(|e| OpenError::Start(e.to_string()))?;
    let stop = CancellationToken::new();
    let (tx, leadership) = watch::channel(Leadership::default());
    let (voters_tx, voters) = watch::channel(BTreeMap::new());
    let snapshot_entries = Arc::new(AtomicU64::new(snapshot_entries.max(1)));
    let raft = Raft { inner, id, db, transport, leadership, voters, snapshot_entries, stop };
    tokio::spawn(raft.clone().follow_snapshots());
    voters_tx.send_replace(raft.voters());
    tokio::spawn(raft.clone().follow_voters(voters_tx));
    tokio::spawn(raft.clone().follow_leadership(tx));
    tokio::spawn(election::drive(raft.clone()));
    Ok(Store::new(shared, raft))
}

impl Raft {
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// This manager's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who leads.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Makes a swarm of one manager. Fine when that has been done before.
    ///
    /// # Errors
    /// [`OpenError::Start`].
    pub async fn initialize(&self, me: Member) -> Result<(), OpenError> {
        match self.inner.initialize(BTreeMap::from([(self.id, me)])).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(e) => Err(OpenError::Start(e.to_string())),
        }
    }

    /// The managers that vote, and where they are.
    pub fn voters(&self) -> BTreeMap<u64, Member> {
        let metrics = self.inner.metrics();
        let voters: BTreeSet<u64> = metrics.borrow().membership_config.membership().voter_ids().collect();
        self.members().into_iter().filter(|(id, _)| voters.contains(id)).collect()
    }

    /// Those that vote, and those that only learn yet.
    pub fn members(&self) -> BTreeMap<u64, Member> {
        let metrics = self.inner.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().nodes().map(|(id, m)| (*id, m.clone())).collect()
    }

    /// The same as it changes.
    pub fn watch_voters(&self) -> watch::Receiver<BTreeMap<u64, Member>> {
        self.voters.clone()
    }

    /// Whether another manager answers, as this member.
    pub async fn reaches(&self, id: u64, member: &Member) -> bool {
        let asked = network::probe(&*self.transport, id, member);
        matches!(tokio::time::timeout(REACHED_WITHIN, asked).await, Ok(Ok(_)))
    }

    /// Takes a manager in: it learns everything, then votes. One that votes already is only given its new address.
    ///
    /// # Errors
    /// See [`MembershipError`]. A manager that was not taken in is not listed either.
    pub async fn add_voter(&self, id: u64, member: Member) -> Result<(), MembershipError> {
        let known = self.voters().remove(&id);
        if known.as_ref() == Some(&member) {
            return Ok(());
        }
        if known.is_some() {
            return self.change(ChangeMembers::SetNodes(BTreeMap::from([(id, member)])), true).await;
        }
        if !self.reaches(id, &member).await {
            return Err(MembershipError::Unreachable(member));
        }
        let taken_in = async {
            self.change(ChangeMembers::AddNodes(BTreeMap::from([(id, member.clone())])), true).await?;
            self.learnt(id).await?;
            self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await
        };
        let taken_in = taken_in.await;
        if taken_in.is_err()
            && let Err(e) = self.remove(id).await
        {
            tracing::warn!(id, "a manager that was not taken in is still listed: {e}");
        }
        taken_in
    }

    /// Lets a member go, whether it votes or only learns. Fine when there is no such member.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn remove(&self, id: u64) -> Result<(), MembershipError> {
        if self.voters().contains_key(&id) {
            self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false).await
        } else if self.members().contains_key(&id) {
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), true).await
        } else {
            Ok(())
        }
    }

    /// Waits until a member has the log as it is now.
    async fn learnt(&self, id: u64) -> Result<(), MembershipError> {
        let wanted = self.inner.metrics().borrow().last_log_index;
        let has = |m: &RaftMetrics<u64, Member>| {
            let matched = m.replication.as_ref().and_then(|r| *r.get(&id)?);
            matched.map(|l| l.index) >= wanted || m.state != ServerState::Leader
        };
        let waited = self.inner.wait(Some(LEARNT_WITHIN)).metrics(has, "a new manager learns").await;
        waited.map(drop).map_err(|_| MembershipError::Timeout)
    }

    /// One change of the members; others that are under way are waited for.
    async fn change(&self, change: ChangeMembers<u64, Member>, retain: bool) -> Result<(), MembershipError> {
        let changed = async {
            loop {
                match self.inner.change_membership(change.clone(), retain).await {
                    Ok(_) => return Ok(()),
                    Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                        ChangeMembershipError::InProgress(_),
                    ))) => tokio::time::sleep(CHANGE_AGAIN).await,
                    Err(e) => return Err(MembershipError::Refused(e.to_string())),
                }
            }
        };
        tokio::time::timeout(CHANGED_WITHIN, changed).await.unwrap_or(Err(MembershipError::NoMajority))
    }

    /// Answers a call of another manager (see [`Call`]).
    ///
    /// # Errors
    /// [`TransportError`] when the body is not that call, or raft has stopped.
    pub async fn serve(&self, call: Call, body: &[u8]) -> Result<Vec<u8>, TransportError> {
        network::serve(self, call, body).await
    }

    /// Writes a snapshot now and forgets the log before it.
    pub async fn snapshot(&self) {
        if let Err(e) = self.inner.trigger().snapshot().await {
            tracing::debug!("no snapshot: {e}");
        }
    }

    /// How many entries may follow the last snapshot before the next is taken.
    pub fn set_snapshot_entries(&self, entries: u64) {
        self.snapshot_entries.store(entries.max(1), Ordering::Relaxed);
    }

    /// How many entries the log holds.
    pub fn log_entries(&self) -> u64 {
        let metrics = self.inner.metrics();
        let m = metrics.borrow();
        m.last_log_index.unwrap_or(0).saturating_sub(m.purged.map_or(0, |p| p.index))
    }

    /// Takes a snapshot when enough has been applied since the last: many entries, or large ones. After large ones the
    /// whole log before the snapshot goes; else some of it is kept for those who are a little behind.
    async fn follow_snapshots(self) {
        let mut metrics = self.inner.metrics();
        let mut asked = 0;
        let mut cut_at = None;
        while let Some(Ok(())) = self.stop.run_until_cancelled(metrics.changed()).await {
            let (applied, taken) = {
                let m = metrics.borrow_and_update();
                (m.last_applied.map_or(0, |l| l.index), m.snapshot.map_or(0, |l| l.index))
            };
            if let Some(at) = cut_at.filter(|at| taken >= *at) {
                cut_at = None;
                if let Err(e) = self.inner.trigger().purge_log(at).await {
                    tracing::debug!("the log is not cut: {e}");
                }
            }
            let grown = self.db.has_grown();
            if grown {
                cut_at = Some(applied);
            }
            let due = taken.max(asked) + self.snapshot_entries.load(Ordering::Relaxed);
            if applied >= due || grown {
                asked = applied;
                self.snapshot().await;
            }
        }
    }

    /// Why raft has ended by itself, if it has: its file cannot be written, or a fault.
    pub fn fault(&self) -> Option<String> {
        fault(&self.inner.metrics().borrow())
    }

    /// Resolves when raft has ended by itself, with why. Never after [`Self::shutdown`].
    pub async fn broken(&self) -> String {
        let mut metrics = self.inner.metrics();
        match metrics.wait_for(|m| m.running_state.is_err()).await.ok().and_then(|m| fault(&m)) {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Ends the tasks of raft and closes its file.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        if let Err(e) = self.inner.shutdown().await {
            tracing::warn!("raft did not end cleanly: {e}");
        }
        self.db.close().await;
    }

    /// Tells who votes.
    async fn follow_voters(self, tx: watch::Sender<BTreeMap<u64, Member>>) {
        let mut metrics = self.inner.metrics();
        while let Some(Ok(())) = self.stop.run_until_cancelled(metrics.changed()).await {
            metrics.borrow_and_update();
            let now = self.voters();
            tx.send_if_modified(|was| {
                let changed = *was != now;
                *was = now;
                changed
            });
        }
    }

    /// Tells who leads; "here" only once everything committed before has been applied.
    async fn follow_leadership(self, tx: watch::Sender<Leadership>) {
        let mut metrics = self.inner.metrics();
        loop {
            let (leads, term, leader) = {
                let m = metrics.borrow_and_update();
                let node = |id: u64| m.membership_config.membership().get_node(&id).cloned();
                // openraft's leader does not step down when it is cut off; ours stops deciding.
                let alone = m.membership_config.membership().voter_ids().count() == 1;
                let heard =
                    alone || m.millis_since_quorum_ack.is_none_or(|ms| u128::from(ms) < QUORUM_LOST.as_millis());
                (m.state == ServerState::Leader && heard, m.current_term, m.current_leader.and_then(node))
            };
            let was = tx.borrow().clone();
            let here = leads && (was.here && was.term == term || self.inner.ensure_linearizable().await.is_ok());
            let now = Leadership { here, leader, term };
            if now != was {
                tracing::info!(here, term, leader = %now.leader.as_ref().map_or("nobody", |m| m.node.as_str()), "leadership");
                tx.send_replace(now);
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = metrics.changed() => if changed.is_err() { break },
                // A leader that could not yet prove itself tries again.
                () = tokio::time::sleep(Duration::from_millis(50)), if leads && !here => {}
            }
        }
        tx.send_replace(Leadership::default());
    }
}

fn fault(metrics: &RaftMetrics<u64, Member>) -> Option<String> {
    metrics.running_state.as_ref().err().filter(|e| !matches!(e, Fatal::Stopped)).map(ToString::to_string)
}

/// What differs between two pictures of the tables, for watchers that could not see the transactions.
pub(crate) fn difference(old: &Tables, new: &Tables) -> Vec<Change> {
    let objects = |t: &Tables| -> BTreeMap<ObjectRef, Object> {
        t.image().objects.into_iter().map(|o| (o.reference(), o)).collect()
    };
    let mut before = objects(old);
    let mut changes = Vec::new();
    for (r, object) in objects(new) {
        let was = before.remove(&r);
        if was.as_ref() != Some(&object) {
            changes.push(Change { old: was, new: Some(object) });
        }
    }
    changes.extend(before.into_values().map(|o| Change { old: Some(o), new: None }));
    changes
}

/// Makes the raft of a file one of a single manager, who keeps everything that the file holds, committed or not: for
/// when the others are lost for good (`--force-new-cluster`). The store must not be open.
///
/// # Errors
/// See [`OpenError`].
pub async fn force_sole(path: &Path, data_key: DataKey, me: Member) -> Result<(), OpenError> {
    let db = log::Database::open(path.to_owned(), data_key).await?;
    let content = |e: log::FileError| OpenError::Content { path: path.to_owned(), why: e.to_string() };
    let id = db.own_id(0).await.map_err(content)?;
    let shared = Shared::new(Arc::new(Timestamp::default), Box::new(Duration::default));
    let machine = machine::Machine::load(db.clone(), shared.clone()).await.map_err(content)?;
    machine.make_sole(id, me).await.map_err(content)?;
    db.close().await;
    Ok(())
}

/// Makes the raft file of a sole manager out of a picture of the tables: for a swarm that is restored from a backup.
///
/// # Errors
/// See [`OpenError`].
pub async fn plant(path: &Path, data_key: DataKey, id: u64, me: Member, tables: TablesImage) -> Result<(), OpenError> {
    let db = log::Database::open(path.to_owned(), data_key).await?;
    let planted = machine::plant(&db, id, me, tables).await;
    db.close().await;
    planted.map_err(|e| OpenError::Content { path: path.to_owned(), why: e.to_string() })
}

/// Whether a store has been made in this directory.
pub fn exists(path: &Path) -> bool {
    path.exists()
}
