//! The state machine: the tables, and up to which entry they are right.
use super::log::{Database, FileError, wrong};
use super::{Member, Reply, Types};
use crate::store::Shared;
use model::Tables;
use model::tables::TablesImage;
use openraft::storage::RaftStateMachine;
use openraft::{
    CommittedLeaderId, Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, Membership, OptionalSend,
    RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError, StoredMembership, Vote,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;

type Wrong = StorageError<u64>;

/// The tables are in memory; after a start they come from the last snapshot, and raft applies the log after it again.
pub struct Machine {
    db: Database,
    shared: Arc<Shared>,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, Member>,
}

impl Machine {
    /// The machine as the last snapshot has it.
    pub async fn load(db: Database, shared: Arc<Shared>) -> Result<Self, FileError> {
        let mut m = Self { db, shared, applied: None, membership: StoredMembership::default() };
        if let Some((meta, data)) = m.db.snapshot().await? {
            m.shared.replace(decode(&data)?);
            m.applied = meta.last_log_id;
            m.membership = meta.last_membership;
        }
        Ok(m)
    }

    /// Applies the whole log and keeps the result as a snapshot whose only voter is `me`; the log is then empty.
    pub async fn make_sole(mut self, id: u64, me: Member) -> Result<(), FileError> {
        let from = self.applied.map_or(0, |l| l.index + 1);
        let entries = self.db.entries_from(from).await?;
        let _ = self.apply(entries).await;
        let Some(last) = self.applied else { return Ok(()) };
        let sole = Membership::new(vec![BTreeSet::from([id])], BTreeMap::from([(id, me)]));
        let meta = SnapshotMeta {
            last_log_id: Some(last),
            last_membership: StoredMembership::new(Some(last), sole),
            snapshot_id: format!("sole-{}", last.index),
        };
        let data = wire::codec::to_vec(&self.shared.tables().image())?;
        self.db.save_snapshot(&meta, data).await?;
        self.db.forget_log(last).await
    }
}

/// The file of a sole manager that begins with these tables.
pub async fn plant(db: &Database, id: u64, me: Member, tables: TablesImage) -> Result<(), FileError> {
    let id = db.own_id(id).await?;
    let first = LogId::new(CommittedLeaderId::new(1, id), 1);
    let sole = Membership::new(vec![BTreeSet::from([id])], BTreeMap::from([(id, me)]));
    let meta = SnapshotMeta {
        last_log_id: Some(first),
        last_membership: StoredMembership::new(Some(first), sole),
        snapshot_id: "restored".into(),
    };
    db.save_first_vote(&Vote::new(1, id)).await?;
    db.save_snapshot(&meta, wire::codec::to_vec(&tables)?).await?;
    db.forget_log(first).await
}

fn decode(data: &[u8]) -> Result<Tables, FileError> {
    let image: TablesImage = wire::codec::from_slice(data)?;
    Tables::from_image(image).map_err(|e| FileError::Panic(format!("two objects of the snapshot clash: {e}")))
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, StoredMembership<u64, Member>), Wrong> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, Wrong>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut replies = Vec::new();
        for entry in entries {
            self.applied = Some(entry.log_id);
            replies.push(match entry.payload {
                EntryPayload::Blank => Reply::Nothing,
                EntryPayload::Membership(m) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), m);
                    Reply::Nothing
                }
                EntryPayload::Normal(t) => match self.shared.apply(t) {
                    Ok(revision) => Reply::Applied(revision),
                    Err(e) => Reply::Refused(e),
                },
            });
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            db: self.db.clone(),
            tables: self.shared.tables(),
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
                snapshot_id: self.applied.map_or_else(|| "0".into(), |l| format!("{}-{}", l.leader_id, l.index)),
            },
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Wrong> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, Member>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), Wrong> {
        let err = |e| wrong(ErrorSubject::Snapshot(Some(meta.signature())), ErrorVerb::Write, e);
        let data = snapshot.into_inner();
        let tables = decode(&data).map_err(err)?;
        self.db.save_snapshot(meta, data).await.map_err(err)?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.shared.replace(tables);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Wrong> {
        let kept = self.db.snapshot().await.map_err(|e| wrong(ErrorSubject::Snapshot(None), ErrorVerb::Read, e))?;
        Ok(kept.map(|(meta, data)| Snapshot { meta, snapshot: Box::new(Cursor::new(data)) }))
    }
}

/// Writes one picture of the tables.
pub struct Builder {
    db: Database,
    tables: Arc<Tables>,
    meta: SnapshotMeta<u64, Member>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Wrong> {
        let err = |e| wrong(ErrorSubject::Snapshot(None), ErrorVerb::Write, e);
        let tables = std::mem::take(&mut self.tables);
        let encoded = tokio::task::spawn_blocking(move || wire::codec::to_vec(&tables.image())).await;
        let data = encoded.map_err(|e| err(FileError::Panic(e.to_string())))?.map_err(|e| err(FileError::Codec(e)))?;
        self.db.save_snapshot(&self.meta, data.clone()).await.map_err(err)?;
        tracing::info!(id = %self.meta.snapshot_id, bytes = data.len(), "snapshot written");
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(Cursor::new(data)) })
    }
}
