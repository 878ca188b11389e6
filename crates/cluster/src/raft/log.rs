//! Log, vote and snapshots in one redb file. What is acknowledged has been synced.
use super::{OpenError, Types};
use crate::ca::{DataKey, LockError};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    Entry, ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend, RaftLogId, RaftLogReader, SnapshotMeta,
    StorageError, StorageIOError, Vote,
};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// The newest entries are kept in memory, because they are read again at once: for applying and for sending.
const TAIL_ENTRIES: usize = 512;
const TAIL_BYTES: usize = 4 << 20;
/// What is sent to another manager at once, unless a single entry is larger: openraft gives a call the time between two
/// heartbeats only.
const SENT_BYTES: usize = 256 << 10;
/// Pages of the file that are kept in memory.
const CACHE_BYTES: usize = 4 << 20;
/// A log that has grown by so much, and by twice the last snapshot, is due to be cut, however few its entries are.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// Why the file did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// redb.
    #[error("the raft file fails")]
    Redb(#[from] redb::Error),
    /// A value in it.
    #[error("a value in the raft file cannot be read or written")]
    Codec(#[from] wire::codec::CodecError),
    /// A value is sealed, and this is not its key.
    #[error(transparent)]
    Sealed(#[from] LockError),
    /// It has been closed.
    #[error("the raft file is closed")]
    Closed,
    /// The thread that did it panicked.
    #[error("the raft file's reader panicked: {0}")]
    Panic(String),
}

macro_rules! from_redb {
    ($($t:ty),*) => { $(impl From<$t> for FileError { fn from(e: $t) -> Self { Self::Redb(e.into()) } })* };
}
from_redb!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

type Wrong = StorageError<u64>;
type Meta = SnapshotMeta<u64, super::Member>;

/// The open file.
#[derive(Clone)]
pub struct Database {
    db: Arc<parking_lot::RwLock<Option<redb::Database>>>,
    key: DataKey,
    tail: Arc<parking_lot::Mutex<Tail>>,
    /// Bytes of log since the last snapshot, and of that.
    grown: Arc<AtomicU64>,
    snapshot_bytes: Arc<AtomicU64>,
}

/// The newest entries without a gap, each with its size in the file.
#[derive(Default)]
struct Tail {
    entries: BTreeMap<u64, (Entry<Types>, usize)>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, entry: Entry<Types>, bytes: usize) {
        self.bytes += bytes;
        if let Some((_, before)) = self.entries.insert(entry.log_id.index, (entry, bytes)) {
            self.bytes -= before;
        }
        while self.entries.len() > TAIL_ENTRIES || self.bytes > TAIL_BYTES && self.entries.len() > 1 {
            self.bytes -= self.entries.pop_first().map_or(0, |(_, (_, bytes))| bytes);
        }
    }

    fn retain(&mut self, stays: impl Fn(u64) -> bool) {
        self.entries.retain(|index, _| stays(*index));
        self.bytes = self.entries.values().map(|(_, bytes)| bytes).sum();
    }

    /// The wanted entries, if all of them are here; fewer when they are more than `limit` bytes, but one at least.
    fn get(&self, range: (Bound<u64>, Bound<u64>), limit: usize) -> Option<Vec<Entry<Types>>> {
        let first = *self.entries.first_key_value()?.0;
        let last = *self.entries.last_key_value()?.0;
        let from = match range.0 {
            Bound::Included(n) => n,
            Bound::Excluded(n) => n + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.1 {
            Bound::Included(n) => n + 1,
            Bound::Excluded(n) => n,
            Bound::Unbounded => last + 1,
        };
        // Only what is certainly complete here; the file answers for the rest.
        if !(first <= from && from < end && end <= last + 1) {
            return None;
        }
        let mut room = Room::of(limit);
        let fitting = self.entries.range(from..end).take_while(|(_, (_, bytes))| room.takes(*bytes));
        Some(fitting.map(|(_, (e, _))| e.clone()).collect())
    }
}

/// Takes so many bytes, and one thing however large it is.
struct Room {
    left: usize,
    taken: bool,
}

impl Room {
    fn of(limit: usize) -> Self {
        Self { left: limit, taken: false }
    }

    fn takes(&mut self, bytes: usize) -> bool {
        let fits = !self.taken || bytes <= self.left;
        self.left = self.left.saturating_sub(bytes);
        self.taken = true;
        fits
    }
}

impl Database {
    /// Opens or makes the file, and its tables. What it keeps of the swarm is sealed with the key.
    pub async fn open(path: PathBuf, key: DataKey) -> Result<Self, OpenError> {
        let at = path.clone();
        let opened = tokio::task::spawn_blocking(move || -> Result<redb::Database, redb::Error> {
            // The authority's key is in there. An empty file is a new database to redb.
            std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&at)?;
            let db = redb::Database::builder().set_cache_size(CACHE_BYTES).create(&at)?;
            let tx = db.begin_write()?;
            tx.open_table(LOG)?;
            tx.open_table(STATE)?;
            tx.commit()?;
            Ok(db)
        })
        .await;
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(e)) => return Err(OpenError::File { path, why: e.to_string() }),
            Err(e) => return Err(OpenError::File { path, why: panic_text(e) }),
        };
        Ok(Self {
            db: Arc::new(Some(db).into()),
            key,
            tail: Arc::default(),
            grown: Arc::default(),
            snapshot_bytes: Arc::default(),
        })
    }

    /// Closes the file once what is under way has ended, whoever else still holds a handle.
    pub async fn close(&self) {
        let db = self.db.clone();
        let _ = tokio::task::spawn_blocking(move || drop(db.write().take())).await;
    }

    /// One durable transaction, on a thread that may block.
    async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&redb::WriteTransaction) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let db = self.db.clone();
        let done = tokio::task::spawn_blocking(move || {
            let db = db.read();
            let tx = db.as_ref().ok_or(FileError::Closed)?.begin_write()?;
            let value = f(&tx)?;
            tx.commit()?;
            Ok(value)
        });
        done.await.map_err(|e| FileError::Panic(panic_text(e)))?
    }

    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&redb::ReadTransaction) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let db = self.db.clone();
        let done = tokio::task::spawn_blocking(move || {
            let db = db.read();
            f(&db.as_ref().ok_or(FileError::Closed)?.begin_read()?)
        });
        done.await.map_err(|e| FileError::Panic(panic_text(e)))?
    }

    async fn get<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, FileError> {
        self.read(move |tx| {
            let table = tx.open_table(STATE)?;
            let Some(bytes) = table.get(key)? else { return Ok(None) };
            Ok(Some(wire::codec::from_slice(bytes.value())?))
        })
        .await
    }

    async fn put<T: serde::Serialize>(&self, key: &'static str, value: &T) -> Result<(), FileError> {
        let bytes = wire::codec::to_vec(value)?;
        self.write(move |tx| {
            tx.open_table(STATE)?.insert(key, bytes.as_slice())?;
            Ok(())
        })
        .await
    }

    /// This manager's number: the stored one, or `fresh`, which is then stored.
    pub async fn own_id(&self, fresh: u64) -> Result<u64, FileError> {
        if let Some(id) = self.get("id").await? {
            return Ok(id);
        }
        self.put("id", &fresh).await?;
        Ok(fresh)
    }

    /// The vote that a file begins with.
    pub async fn save_first_vote(&self, vote: &Vote<u64>) -> Result<(), FileError> {
        self.put("vote", vote).await
    }

    /// Keeps a snapshot, in place of the one before.
    pub async fn save_snapshot(&self, meta: &Meta, data: Vec<u8>) -> Result<(), FileError> {
        let meta = wire::codec::to_vec(meta)?;
        let key = self.key.clone();
        self.snapshot_bytes.store(data.len() as u64, Ordering::Relaxed);
        self.write(move |tx| {
            let mut table = tx.open_table(STATE)?;
            table.insert("snapshot.meta", key.seal(b"snapshot.meta", &meta)?.as_slice())?;
            table.insert("snapshot.data", key.seal(b"snapshot.data", &data)?.as_slice())?;
            Ok(())
        })
        .await
    }

    /// Whether the log has become large since this was last asked.
    pub fn has_grown(&self) -> bool {
        let limit = LOG_BYTES_MAX.max(2 * self.snapshot_bytes.load(Ordering::Relaxed));
        let large = self.grown.load(Ordering::Relaxed) >= limit;
        if large {
            self.grown.store(0, Ordering::Relaxed);
        }
        large
    }

    /// The kept snapshot.
    pub async fn snapshot(&self) -> Result<Option<(Meta, Vec<u8>)>, FileError> {
        let key = self.key.clone();
        self.read(move |tx| {
            let table = tx.open_table(STATE)?;
            let (Some(meta), Some(data)) = (table.get("snapshot.meta")?, table.get("snapshot.data")?) else {
                return Ok(None);
            };
            let meta = key.open(b"snapshot.meta", meta.value())?;
            Ok(Some((wire::codec::from_slice(&meta)?, key.open(b"snapshot.data", data.value())?)))
        })
        .await
    }

    /// All entries from there on.
    pub async fn entries_from(&self, from: u64) -> Result<Vec<Entry<Types>>, FileError> {
        self.entries((Bound::Included(from), Bound::Unbounded), usize::MAX).await
    }

    /// As [`Tail::get`], from the file if need be.
    async fn entries(&self, range: (Bound<u64>, Bound<u64>), limit: usize) -> Result<Vec<Entry<Types>>, FileError> {
        if let Some(entries) = self.tail.lock().get(range, limit) {
            return Ok(entries);
        }
        let key = self.key.clone();
        self.read(move |tx| {
            let table = tx.open_table(LOG)?;
            let mut entries = Vec::new();
            let mut room = Room::of(limit);
            for row in table.range(range)? {
                let (index, bytes) = row?;
                if !room.takes(bytes.value().len()) {
                    break;
                }
                entries.push(opened(&key, index.value(), bytes.value())?);
            }
            Ok(entries)
        })
        .await
    }

    /// Empties the log; what it held up to `last` is in the snapshot.
    pub async fn forget_log(&self, last: LogId<u64>) -> Result<(), FileError> {
        let purged = wire::codec::to_vec(&last)?;
        self.write(move |tx| {
            tx.open_table(STATE)?.insert("purged", purged.as_slice())?;
            tx.open_table(LOG)?.retain(|_, _| false)?;
            Ok(())
        })
        .await
    }

    async fn last_entry(&self) -> Result<Option<LogId<u64>>, FileError> {
        let key = self.key.clone();
        self.read(move |tx| {
            let table = tx.open_table(LOG)?;
            let Some((index, bytes)) = table.last()? else { return Ok(None) };
            Ok(Some(opened(&key, index.value(), bytes.value())?.log_id))
        })
        .await
    }
}

/// Where an entry belongs: sealed at another place it does not open.
fn place(index: u64) -> [u8; 12] {
    let mut place = *b"log.00000000";
    place[4..].copy_from_slice(&index.to_be_bytes());
    place
}

fn opened(key: &DataKey, index: u64, sealed: &[u8]) -> Result<Entry<Types>, FileError> {
    Ok(wire::codec::from_slice(&key.open(&place(index), sealed)?)?)
}

fn panic_text(e: tokio::task::JoinError) -> String {
    match e.try_into_panic() {
        Ok(p) => match (p.downcast_ref::<&str>(), p.downcast_ref::<String>()) {
            (Some(s), _) => (*s).to_owned(),
            (_, Some(s)) => s.clone(),
            _ => "the file is damaged".into(),
        },
        Err(e) => e.to_string(),
    }
}

/// In openraft's words.
pub fn wrong(subject: ErrorSubject<u64>, verb: ErrorVerb, e: FileError) -> Wrong {
    StorageIOError::new(subject, verb, &e).into()
}

impl RaftLogReader<Types> for Database {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, Wrong> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.entries(range, usize::MAX).await.map_err(|e| wrong(ErrorSubject::Logs, ErrorVerb::Read, e))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry<Types>>, Wrong> {
        let entries = self.entries((Bound::Included(start), Bound::Excluded(end)), SENT_BYTES).await;
        entries.map_err(|e| wrong(ErrorSubject::Logs, ErrorVerb::Read, e))
    }
}

impl RaftLogStorage<Types> for Database {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, Wrong> {
        let err = |e| wrong(ErrorSubject::Logs, ErrorVerb::Read, e);
        let purged: Option<LogId<u64>> = self.get("purged").await.map_err(err)?;
        let last = self.last_entry().await.map_err(err)?;
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), Wrong> {
        self.put("vote", vote).await.map_err(|e| wrong(ErrorSubject::Vote, ErrorVerb::Write, e))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, Wrong> {
        self.get("vote").await.map_err(|e| wrong(ErrorSubject::Vote, ErrorVerb::Read, e))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), Wrong>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry<Types>> = entries.into_iter().collect();
        let encoded: Result<Vec<(u64, Vec<u8>)>, FileError> = entries
            .iter()
            .map(|e| {
                let index = e.get_log_id().index;
                Ok((index, self.key.seal(&place(index), &wire::codec::to_vec(e)?)?))
            })
            .collect();
        let mut sizes = Vec::new();
        let written = match encoded {
            Ok(rows) => {
                sizes.extend(rows.iter().map(|(_, bytes)| bytes.len()));
                self.grown.fetch_add(sizes.iter().sum::<usize>() as u64, Ordering::Relaxed);
                self.write(move |tx| {
                    let mut table = tx.open_table(LOG)?;
                    for (index, bytes) in rows {
                        table.insert(index, bytes.as_slice())?;
                    }
                    Ok(())
                })
                .await
            }
            Err(e) => Err(e),
        };
        match written {
            Ok(()) => {
                let mut tail = self.tail.lock();
                entries.into_iter().zip(sizes).for_each(|(e, bytes)| tail.push(e, bytes));
                drop(tail);
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(e) => {
                callback.log_io_completed(Err(std::io::Error::other(e.to_string())));
                Err(wrong(ErrorSubject::Logs, ErrorVerb::Write, e))
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), Wrong> {
        self.tail.lock().retain(|index| index < log_id.index);
        let cut = self.write(move |tx| {
            tx.open_table(LOG)?.retain_in(log_id.index.., |_, _| false)?;
            Ok(())
        });
        cut.await.map_err(|e| wrong(ErrorSubject::Log(log_id), ErrorVerb::Delete, e))
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), Wrong> {
        self.tail.lock().retain(|index| index > log_id.index);
        let bytes =
            wire::codec::to_vec(&log_id).map_err(|e| wrong(ErrorSubject::Log(log_id), ErrorVerb::Write, e.into()))?;
        let purge = self.write(move |tx| {
            tx.open_table(STATE)?.insert("purged", bytes.as_slice())?;
            tx.open_table(LOG)?.retain_in(..=log_id.index, |_, _| false)?;
            Ok(())
        });
        purge.await.map_err(|e| wrong(ErrorSubject::Log(log_id), ErrorVerb::Delete, e))
    }
}
