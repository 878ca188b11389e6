//! Slots: the places of a service that tasks fill one after the other.
use crate::draft::Draft;
use model::{DesiredState, NodeId, Service, Task, TaskState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which place: a number (from 1), or a node of a global service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SlotKey {
    Number(u64),
    Node(NodeId),
}

/// One place with all its tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// Those that shall run, oldest first. Two only during a start-first update.
    pub live: Vec<Arc<Task>>,
    /// Those that shall not (any more), oldest first.
    pub past: Vec<Arc<Task>>,
}

impl Slot {
    /// Puts a task where it belongs; one that is to be removed belongs nowhere.
    pub fn place(&mut self, service: &Service, task: &Arc<Task>) {
        if task.desired == DesiredState::Remove {
            return;
        }
        // A job's task that has done its work stays wished so: clients count these.
        let done = service.spec.mode.is_job() && task.status.state == TaskState::Complete;
        let side = if task.desired.wants_to_run() && !done { &mut self.live } else { &mut self.past };
        side.push(task.clone());
    }
    /// Oldest first.
    pub fn sort(&mut self) {
        self.live.sort_by_key(|t| age(t));
        self.past.sort_by_key(|t| age(t));
    }
    /// The task that was last in this place, besides `task`.
    pub fn predecessor(&self, task: &Task) -> Option<&Arc<Task>> {
        self.past.iter().rev().find(|t| t.id != task.id && t.meta.created_at <= task.meta.created_at)
    }
    /// Every task.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.past.iter().chain(&self.live)
    }
    /// Whether a live task of it runs.
    pub fn runs(&self) -> bool {
        self.live.iter().any(|t| t.status.state == TaskState::Running)
    }
}

/// The order in which tasks were made; of two from one moment, the one that has ended was first.
pub(crate) fn age(task: &Task) -> (model::Timestamp, bool) {
    (task.meta.created_at, !task.status.state.is_terminal())
}

/// The slots of a service. Tasks that are to be removed are in none.
pub(crate) fn slots(draft: &Draft<'_>, service: &Service) -> BTreeMap<SlotKey, Slot> {
    let per_node = matches!(service.spec.mode, model::ServiceMode::Global | model::ServiceMode::GlobalJob);
    let mut slots: BTreeMap<SlotKey, Slot> = BTreeMap::new();
    for task in draft.tasks_of_service(&service.id) {
        if task.desired == DesiredState::Remove {
            continue;
        }
        let key = match (&task.node, per_node) {
            (Some(node), true) => SlotKey::Node(node.clone()),
            (None, true) => continue,
            _ => SlotKey::Number(task.slot),
        };
        slots.entry(key).or_default().place(service, &task);
    }
    slots.values_mut().for_each(Slot::sort);
    slots
}
