//! Stores for the tests: a network that lives in memory and can be cut, and something to write.
#![allow(dead_code)]
use cluster::Store;
use cluster::raft::{self, Call, Member, RaftOptions, Transport, TransportError};
use cluster::store::UpdateError;
use model::{ConfigId, ConfigSpec, Id, StoreAction, Timestamp};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Managers that reach each other by name, unless they are cut off.
#[derive(Default)]
pub struct Wires {
    pub stores: Mutex<HashMap<String, Store>>,
    pub cut: Mutex<HashSet<String>>,
    /// So many calls of a hundred are lost, and as many answers.
    pub lost_percent: AtomicU64,
    /// What a link carries; 0: any amount at once.
    pub bytes_per_second: AtomicU64,
    calls: AtomicU64,
}

impl Wires {
    /// By a hash of the number of calls so far (SplitMix64).
    fn loses(&self) -> bool {
        let n = self.calls.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let z = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)) % 100 < self.lost_percent.load(Ordering::Relaxed)
    }
}

pub struct Wire {
    pub from: String,
    pub wires: Arc<Wires>,
}

#[async_trait::async_trait]
impl Transport for Wire {
    async fn call(&self, to: &Member, call: Call, body: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let gone = || TransportError::Unreachable(to.node.clone(), "cut".into());
        let cut = |who: &str| self.wires.cut.lock().unwrap().contains(who);
        if cut(&self.from) || cut(&to.node) || self.wires.loses() {
            return Err(gone());
        }
        if let Some(ms) = (1000 * body.len() as u64).checked_div(self.wires.bytes_per_second.load(Ordering::Relaxed)) {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        let store = self.wires.stores.lock().unwrap().get(&to.node).cloned().ok_or_else(gone)?;
        let answer = store.raft().serve(call, &body).await;
        // It was done, and nobody hears of it.
        if self.wires.loses() { Err(gone()) } else { answer }
    }
}

pub fn member(name: &str) -> Member {
    Member { node: name.into(), addr: "127.0.0.1:1".into() }
}

pub async fn open(dir: &Path, id: u64, name: &str, wires: &Arc<Wires>) -> Store {
    open_with(dir, id, name, wires, 10_000).await
}

pub async fn open_with(dir: &Path, id: u64, name: &str, wires: &Arc<Wires>, snapshot_entries: u64) -> Store {
    open_at(dir, id, name, wires, snapshot_entries, now).await
}

/// With a clock of its own.
pub async fn open_at(
    dir: &Path,
    id: u64,
    name: &str,
    wires: &Arc<Wires>,
    snapshot_entries: u64,
    clock: fn() -> Timestamp,
) -> Store {
    let options = RaftOptions {
        path: dir.join(format!("{name}.redb")),
        raft_id: id,
        transport: Arc::new(Wire { from: name.into(), wires: wires.clone() }),
        clock: Arc::new(clock),
        snapshot_entries,
        data_key: cluster::ca::DataKey::of([7; 32]),
    };
    let store = raft::open(options).await.unwrap();
    wires.stores.lock().unwrap().insert(name.into(), store.clone());
    store
}

pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as i64)
}

pub async fn leads(store: &Store, within: Duration) -> bool {
    let mut l = store.leadership();
    tokio::time::timeout(within, l.wait_for(|l| l.here)).await.is_ok_and(|l| l.is_ok())
}

pub fn config_id(n: u64) -> ConfigId {
    let mut bytes = [0; 17];
    bytes[1..9].copy_from_slice(&n.to_be_bytes());
    ConfigId::from_random(bytes)
}

/// Writes config `n`.
pub async fn write(store: &Store, n: u64) -> Result<(), UpdateError<Infallible>> {
    write_large(store, n, 300).await
}

/// Writes config `n` of so many bytes.
pub async fn write_large(store: &Store, n: u64, bytes: usize) -> Result<(), UpdateError<Infallible>> {
    let config = model::Config {
        id: config_id(n),
        meta: Default::default(),
        spec: ConfigSpec { name: format!("c{n}"), data: vec![7; bytes], ..Default::default() },
    };
    store.update(|_| Ok((vec![StoreAction::Create(config.into())], ()))).await
}

pub async fn eventually(what: &str, within: Duration, f: impl Fn() -> bool) {
    let end = Instant::now() + within;
    while !f() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
