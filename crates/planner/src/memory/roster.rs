//! Which tasks each slot of a service has, kept up as tasks change, so that a plan looks at the slots in which something
//! happened and not at all of them.
use crate::orchestrate::slot::SlotKey;
use model::{Task, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// The slots of one service.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    slots: BTreeMap<SlotKey, BTreeSet<TaskId>>,
    /// Tasks per version of the spec that they were made from.
    versions: BTreeMap<u64, usize>,
    /// Slots that need no new task: one lives there, or the slot has come to its end. As of the last look at each.
    pub held: BTreeSet<SlotKey>,
}

impl Roster {
    pub fn add(&mut self, key: SlotKey, task: &Task) {
        if self.slots.entry(key).or_default().insert(task.id.clone()) {
            *self.versions.entry(task.spec_version).or_default() += 1;
        }
    }

    pub fn remove(&mut self, key: &SlotKey, task: &Task) {
        let Some(tasks) = self.slots.get_mut(key) else { return };
        if !tasks.remove(&task.id) {
            return;
        }
        if tasks.is_empty() {
            self.slots.remove(key);
        }
        if let Some(n) = self.versions.get_mut(&task.spec_version) {
            *n -= 1;
            if *n == 0 {
                self.versions.remove(&task.spec_version);
            }
        }
    }

    /// The tasks of a slot, as stored.
    pub fn tasks(&self, key: &SlotKey) -> impl Iterator<Item = &TaskId> {
        self.slots.get(key).into_iter().flatten()
    }

    /// Every slot that has a task or counted as held.
    pub fn keys(&self) -> BTreeSet<SlotKey> {
        self.slots.keys().chain(&self.held).cloned().collect()
    }

    /// Whether every task was made from this version of the spec.
    pub fn is_made_from(&self, version: u64) -> bool {
        self.versions.keys().all(|v| *v == version)
    }
}

/// What of a service is to be looked at. Whatever it is, the service as a whole (how many slots it has, its update) is
/// looked at too.
#[derive(Debug)]
pub(crate) enum Dirt {
    /// These slots.
    Slots(BTreeSet<SlotKey>),
    /// All of them.
    All,
}

impl Default for Dirt {
    fn default() -> Self {
        Self::Slots(BTreeSet::new())
    }
}

impl Dirt {
    pub fn add(&mut self, key: SlotKey) {
        if let Self::Slots(keys) = self {
            keys.insert(key);
        }
    }
}
