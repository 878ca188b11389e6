//! The truth, for those who read, change and watch it.
//!
//! Readers take a shared picture of the tables; a change is one transaction that is applied whole on every manager or
//! refused whole. One writer at a time sees the latest tables, proposes, and waits until the transaction is committed.
use crate::raft::{self, Raft, Reply, Transaction};
use model::tables::Change;
use model::{Moment, StoreAction, StoreError, SwarmTime, Tables, Timestamp};
use openraft::error::{ClientWriteError, RaftError};
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, broadcast, watch};

/// How many transactions a slow watcher may lag before it must read the tables anew.
const WATCH_BACKLOG: usize = 4096;

/// The time on the wall, for those who have no clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// A clock that nobody sets.
pub(crate) type SteadyClock = Box<dyn Fn() -> Duration + Send + Sync>;

/// One applied transaction.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The revision that it led to.
    pub revision: u64,
    /// What changed, in order.
    pub changes: Arc<[Change]>,
}

/// Who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Whether this manager leads and has applied everything that was committed before.
    pub here: bool,
    /// The leader, as far as known.
    pub leader: Option<raft::Member>,
    /// The term of the election.
    pub term: u64,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// The caller's own reason; nothing was proposed.
    #[error("{0}")]
    Declined(E),
    /// The tables refused it.
    #[error(transparent)]
    Refused(#[from] StoreError),
    /// Another manager leads, or none.
    #[error(
        "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online."
    )]
    NotLeader(Option<raft::Member>),
    /// Raft has ended by itself.
    #[error("this manager has stopped: {0}")]
    Stopped(String),
}

/// What the state machine and the handles share.
pub(crate) struct Shared {
    tables: RwLock<Arc<Tables>>,
    commits: broadcast::Sender<Committed>,
    revision: watch::Sender<u64>,
    time: parking_lot::Mutex<SwarmTime>,
    clock: Clock,
    steady: SteadyClock,
}

impl Shared {
    pub(crate) fn new(clock: Clock, steady: SteadyClock) -> Arc<Self> {
        Arc::new(Self {
            time: parking_lot::Mutex::default(),
            clock,
            steady,
            tables: RwLock::default(),
            commits: broadcast::Sender::new(WATCH_BACKLOG),
            revision: watch::Sender::new(0),
        })
    }

    pub(crate) fn tables(&self) -> Arc<Tables> {
        self.tables.read().clone()
    }

    /// Applies one transaction. The tables are copied only if a reader still holds their picture.
    pub(crate) fn apply(&self, t: Transaction) -> Result<u64, StoreError> {
        self.time.lock().seen(t.now, (self.steady)());
        let (revision, changes) = {
            let mut tables = self.tables.write();
            let tables = Arc::make_mut(&mut tables);
            let changes = tables.apply(t.actions, t.now)?;
            (tables.revision(), changes)
        };
        let _ = self.commits.send(Committed { revision, changes: changes.into() });
        self.revision.send_replace(revision);
        Ok(revision)
    }

    /// Takes the tables of a snapshot. Watchers learn the difference.
    pub(crate) fn replace(&self, tables: Tables) {
        if let Some(newest) = tables.newest() {
            self.time.lock().seen(newest, (self.steady)());
        }
        let new = Arc::new(tables);
        let old = std::mem::replace(&mut *self.tables.write(), new.clone());
        let revision = new.revision();
        let changes = raft::difference(&old, &new);
        let _ = self.commits.send(Committed { revision, changes: changes.into() });
        self.revision.send_replace(revision);
    }
}

/// A handle on the replicated tables.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    raft: Raft,
    writer: Arc<Mutex<()>>,
}

impl Store {
    pub(crate) fn new(shared: Arc<Shared>, raft: Raft) -> Self {
        Self { shared, raft, writer: Arc::default() }
    }

    /// The tables as they are now. Keep it short: while somebody holds a picture, a change has to copy it.
    pub fn tables(&self) -> Arc<Tables> {
        self.shared.tables()
    }

    /// The revision of the tables here.
    pub fn revision(&self) -> u64 {
        *self.shared.revision.borrow()
    }

    /// The revision as it grows.
    pub fn watch_revision(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    /// Every transaction from now on. One who lags gets `Lagged` and must read the tables anew.
    pub fn watch(&self) -> broadcast::Receiver<Committed> {
        self.shared.commits.subscribe()
    }

    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.raft.leadership()
    }

    /// Whether this manager leads now.
    pub fn is_leader(&self) -> bool {
        self.raft.leadership().borrow().here
    }

    /// The swarm's time: it goes on from what other leaders have stamped, whatever this machine's clock says.
    pub fn now(&self) -> Timestamp {
        self.moment().now
    }

    /// The swarm's time together with a clock that nobody sets.
    pub fn moment(&self) -> Moment {
        let steady = (self.shared.steady)();
        Moment { now: self.shared.time.lock().now((self.shared.clock)(), steady), steady }
    }

    /// Raft itself: membership and its remote calls.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Changes the tables: `f` sees the latest and says what to do, and the call returns when that is durable on a
    /// majority and applied here. No actions: nothing is written.
    ///
    /// # Errors
    /// See [`UpdateError`]; whatever it is, nothing has been applied, except that after [`UpdateError::NotLeader`] or
    /// [`UpdateError::Stopped`] a new leader may still commit what was already proposed.
    pub async fn update<T, E>(
        &self,
        f: impl FnOnce(&Tables) -> Result<(Vec<StoreAction>, T), E>,
    ) -> Result<T, UpdateError<E>> {
        let _one_at_a_time = self.writer.lock().await;
        let leadership = self.raft.leadership().borrow().clone();
        if !leadership.here {
            return Err(self.leads_not(leadership.leader));
        }
        let (actions, value) = {
            let tables = self.tables();
            f(&tables).map_err(UpdateError::Declined)?
        };
        if actions.is_empty() {
            return Ok(value);
        }
        let transaction = Transaction { actions, now: self.now() };
        let mut leads = self.raft.leadership();
        let written = tokio::select! {
            written = self.raft.inner().client_write(transaction) => written,
            // Cut off from the majority: whether it is ever committed is for the next leader to say.
            _ = leads.wait_for(|l| !l.here) => return Err(self.leads_not(None)),
        };
        match written {
            Ok(done) => match done.data {
                Reply::Applied(_) | Reply::Nothing => Ok(value),
                Reply::Refused(e) => Err(UpdateError::Refused(e)),
            },
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                Err(UpdateError::NotLeader(to.leader_node))
            }
            Err(e) => Err(UpdateError::Stopped(e.to_string())),
        }
    }

    /// Why nothing can be written here while this manager does not lead.
    pub fn leads_not<E>(&self, leader: Option<raft::Member>) -> UpdateError<E> {
        self.raft.fault().map_or(UpdateError::NotLeader(leader), UpdateError::Stopped)
    }

    /// Ends raft and closes its file. The tables can still be read.
    pub async fn shutdown(&self) {
        self.raft.shutdown().await;
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store at {}", self.revision())
    }
}
