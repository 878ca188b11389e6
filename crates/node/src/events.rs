//! What happened on this machine: a bounded history and a live stream.
use model::Timestamp;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::broadcast;
use wire::engine::Map;
use wire::engine::events::Event;

/// So many past events are kept for `--since` (dockerd keeps 256).
const HISTORY_MAX: usize = 1024;
/// A listener that falls further behind misses events.
const LIVE_MAX: usize = 1024;

/// The event bus. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    told: AtomicU64,
    history: Mutex<VecDeque<Event>>,
    live: broadcast::Sender<Event>,
    now: fn() -> Timestamp,
}

impl Events {
    /// An empty one.
    pub fn new(now: fn() -> Timestamp) -> Self {
        Self {
            inner: Arc::new(Inner {
                told: AtomicU64::new(0),
                history: Mutex::default(),
                live: broadcast::Sender::new(LIVE_MAX),
                now,
            }),
        }
    }

    /// How many were told.
    pub fn told(&self) -> u64 {
        self.inner.told.load(Ordering::Relaxed)
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        self.inner.live.receiver_count()
    }

    /// Tells an event of this node.
    pub fn tell(&self, typ: &str, action: &str, id: &str, attributes: Map) {
        self.tell_scoped(typ, action, id, attributes, "local");
    }

    /// Tells an event of the node (`local`) or of the swarm (`swarm`).
    pub fn tell_scoped(&self, typ: &str, action: &str, id: &str, attributes: Map, scope: &str) {
        let event = Event::new(typ, action, id, attributes, scope, (self.inner.now)());
        self.inner.told.fetch_add(1, Ordering::Relaxed);
        let mut history = self.inner.history.lock();
        if history.len() == HISTORY_MAX {
            history.pop_front();
        }
        history.push_back(event.clone());
        // Sent under the lock, so that `since` sees each event exactly once.
        let _ = self.inner.live.send(event);
    }

    /// What happened since then (nothing for `None`), and what happens from now, without a gap.
    pub fn since(&self, since: Option<Timestamp>) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let history = self.inner.history.lock();
        let past = match since {
            Some(t) => history.iter().filter(|e| e.time_nano >= t.0).cloned().collect(),
            None => Vec::new(),
        };
        (past, self.inner.live.subscribe())
    }
}
