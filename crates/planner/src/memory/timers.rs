//! Moments at which time alone makes something worth a look.
use model::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// One moment per key; the earliest is found at once.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    of: BTreeMap<K, Timestamp>,
    order: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Wakes `key` at `at`, or earlier if that was asked before.
    pub fn set(&mut self, key: K, at: Timestamp) {
        if self.of.get(&key).is_some_and(|before| *before <= at) {
            return;
        }
        self.clear(&key);
        self.order.insert((at, key.clone()));
        self.of.insert(key, at);
    }

    pub fn clear(&mut self, key: &K) {
        if let Some(at) = self.of.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// Takes what is due.
    pub fn due(&mut self, now: Timestamp) -> Vec<K> {
        let mut due = Vec::new();
        while let Some((at, _)) = self.order.first()
            && *at <= now
            && let Some((_, key)) = self.order.pop_first()
        {
            self.of.remove(&key);
            due.push(key);
        }
        due
    }

    /// Forgets every key for which `gone` holds.
    pub fn forget(&mut self, from: &K, gone: impl Fn(&K) -> bool) {
        let keys: Vec<K> = self.of.range(from.clone()..).map(|(k, _)| k.clone()).take_while(|k| gone(k)).collect();
        keys.iter().for_each(|k| self.clear(k));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// The earliest moment.
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }
}
