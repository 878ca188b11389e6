//! What the planner remembers between plans. All of it can be lost: it is rebuilt from the tables, and what cannot be
//! (when a task that has ended began to run, recent failures of a node) only makes decisions a little less careful.
//!
//! ```text
//!  tables.changed_since(seen) ──► observe ──► loads of nodes, waiting tasks, rosters of services,
//!                                             dirty slots/nodes/networks, notes
//! ```
//! A plan then looks at what is dirty and not at everything, so its cost follows the change, not the size of the swarm.
mod observe;
pub(crate) mod quarantine;
pub(crate) mod roster;
mod timers;

use crate::draft::Draft;
use crate::orchestrate::slot::{Slot, SlotKey};
use crate::schedule::load::Loads;
use model::{
    Moment, NetworkId, Node, NodeId, Object, ObjectRef, Service, ServiceId, StoreAction, Task, TaskId, Timestamp,
};
use quarantine::Quarantine;
use roster::{Dirt, Roster};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use timers::Timers;

/// How long a failure of a service on a node counts against the node.
const FAILURE_WINDOW: Duration = Duration::from_secs(300);
/// So many failures within the window make a node the last choice.
const FAILURES_MAX: usize = 5;

/// Soft state of the planner; `default()` on a new leader.
#[derive(Debug, Default)]
pub struct PlannerMemory {
    /// The revision last looked at; `None`: nothing yet.
    seen: Option<u64>,
    tasks: BTreeMap<TaskId, Arc<Task>>,
    nodes: BTreeMap<NodeId, Arc<Node>>,
    /// When the tables were last looked at.
    present: Moment,
    /// When this leader first saw nodes that are away as such: another leader's clock may differ by minutes.
    away: BTreeMap<NodeId, Moment>,
    /// When leased tasks of removed nodes were first seen.
    orphaned: BTreeMap<TaskId, Duration>,
    /// Services of which any number of tasks may follow the nodes.
    per_node_services: BTreeSet<ServiceId>,
    rosters: BTreeMap<ServiceId, Roster>,
    /// What each node carries.
    pub(crate) loads: Loads,
    /// Tasks that wait for addresses.
    pub(crate) new_tasks: BTreeSet<TaskId>,
    /// Tasks that wait for a node.
    pub(crate) pending_tasks: BTreeSet<TaskId>,
    /// What of which service to look at.
    dirty_services: BTreeMap<ServiceId, Dirt>,
    /// Nodes whose own addresses are to be looked at.
    pub(crate) dirty_nodes: BTreeSet<NodeId>,
    /// Networks to look at.
    pub(crate) dirty_networks: BTreeSet<NetworkId>,
    /// Tasks without a service to look at.
    pub(crate) dirty_loose: BTreeSet<TaskId>,
    /// When time alone makes a service as a whole, or one of its slots, dirty.
    timers: Timers<(ServiceId, Option<SlotKey>)>,
    loose_timers: Timers<TaskId>,
    /// Grows whenever addresses, ports or room on a node may have become free.
    pub(crate) supply: u64,
    /// The supply at which a waiting task was last refused.
    pub(crate) refused: BTreeMap<TaskId, u64>,
    /// Why services could not have their ports or virtual addresses.
    pub(crate) service_troubles: BTreeMap<ServiceId, String>,
    /// The index of the address last given, per network and subnet.
    pub(crate) cursors: BTreeMap<(NetworkId, usize), u128>,
    /// When tasks that were seen alive began to run, if they did.
    lives: BTreeMap<TaskId, Option<Timestamp>>,
    failures: BTreeMap<ServiceId, BTreeMap<NodeId, VecDeque<Timestamp>>>,
    pub(crate) quarantine: Quarantine,
}

impl PlannerMemory {
    /// How many things it remembers: bounded by what is in the tables, whatever has come and gone.
    pub fn entries(&self) -> usize {
        let notes: usize = self.failures.values().map(|nodes| 1 + nodes.len()).sum();
        let rosters: usize = self.rosters.values().map(|r| 1 + r.keys().len()).sum();
        self.tasks.len()
            + self.nodes.len()
            + self.away.len()
            + self.orphaned.len()
            + self.per_node_services.len()
            + rosters
            + self.new_tasks.len()
            + self.pending_tasks.len()
            + self.dirty_services.len()
            + self.dirty_nodes.len()
            + self.dirty_networks.len()
            + self.dirty_loose.len()
            + self.timers.len()
            + self.loose_timers.len()
            + self.refused.len()
            + self.service_troubles.len()
            + self.cursors.len()
            + self.lives.len()
            + notes
    }

    /// The slot that a stored task is in.
    fn slot_key(&self, service: &ServiceId, task: &Task) -> SlotKey {
        match &task.node {
            Some(node) if self.per_node_services.contains(service) => SlotKey::Node(node.clone()),
            _ => SlotKey::Number(task.slot),
        }
    }

    /// What the last plan touches is looked at again, whether or not the plan will have been applied.
    pub(crate) fn remember_plan(&mut self, actions: &[StoreAction]) {
        for action in actions {
            match action {
                StoreAction::Remove(ObjectRef::Task(id)) => {
                    if let Some(task) = self.tasks.get(id).cloned() {
                        self.mark_task(&task);
                    }
                }
                StoreAction::Remove(_) => {}
                StoreAction::Create(o) | StoreAction::Update(o) => match o {
                    Object::Task(t) => self.mark_task(t),
                    Object::Service(s) => self.mark_service(&s.id),
                    Object::Node(n) => drop(self.dirty_nodes.insert(n.id.clone())),
                    Object::Network(n) => drop(self.dirty_networks.insert(n.id.clone())),
                    _ => {}
                },
            }
        }
    }

    /// The slot of a task is to be looked at.
    fn mark_task(&mut self, task: &Task) {
        match &task.service {
            Some(service) => {
                let key = self.slot_key(service, task);
                self.mark_slot(service, key);
            }
            None => drop(self.dirty_loose.insert(task.id.clone())),
        }
    }

    fn mark_slot(&mut self, service: &ServiceId, key: SlotKey) {
        self.dirty_services.entry(service.clone()).or_default().add(key);
    }

    /// All of a service is to be looked at.
    pub(crate) fn mark_service(&mut self, service: &ServiceId) {
        self.dirty_services.insert(service.clone(), Dirt::All);
    }

    /// These slots (and the service as a whole) are to be looked at.
    pub(crate) fn mark_slots(&mut self, service: &ServiceId, keys: BTreeSet<SlotKey>) {
        let dirt = self.dirty_services.entry(service.clone()).or_default();
        keys.into_iter().for_each(|key| dirt.add(key));
    }

    /// The next service to look at, with the slots to look at. What is asked for from now on is for the next plan.
    pub(crate) fn take_dirty_service(&mut self) -> Option<(ServiceId, BTreeSet<SlotKey>)> {
        let (id, dirt) = self.dirty_services.pop_first()?;
        self.timers.clear(&(id.clone(), None));
        let keys = match dirt {
            Dirt::Slots(keys) => keys,
            Dirt::All => self.rosters.get(&id).map(Roster::keys).unwrap_or_default(),
        };
        Some((id, keys))
    }

    /// The roster of a service, as stored.
    pub(crate) fn roster(&mut self, service: &ServiceId) -> &mut Roster {
        self.rosters.entry(service.clone()).or_default()
    }

    /// A slot as the draft has it.
    pub(crate) fn slot(&self, draft: &Draft<'_>, service: &Service, key: &SlotKey) -> Slot {
        let stored = self.rosters.get(&service.id).into_iter().flat_map(|r| r.tasks(key));
        let mut slot = Slot::default();
        for task in stored.chain(draft.made(&service.id, key)).filter_map(|id| draft.task(id)) {
            slot.place(service, task);
        }
        slot.sort();
        slot
    }

    /// Looks at `service` again at `at`, or earlier if that was asked before.
    pub(crate) fn wake_service(&mut self, service: &ServiceId, at: Timestamp) {
        self.timers.set((service.clone(), None), at);
    }

    /// The same for one slot.
    pub(crate) fn wake_slot(&mut self, service: &ServiceId, key: &SlotKey, at: Timestamp) {
        self.timers.set((service.clone(), Some(key.clone())), at);
    }

    /// The slot has been looked at: only what is asked for from now on wakes it.
    pub(crate) fn clear_slot_timer(&mut self, service: &ServiceId, key: &SlotKey) {
        self.timers.clear(&(service.clone(), Some(key.clone())));
    }

    pub(crate) fn wake_task(&mut self, task: &Task, at: Timestamp) {
        match &task.service {
            Some(service) => {
                let key = self.slot_key(service, task);
                self.timers.set((service.clone(), Some(key)), at);
            }
            None => self.loose_timers.set(task.id.clone(), at),
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        [self.timers.next(), self.loose_timers.next(), self.quarantine.next()].into_iter().flatten().min()
    }

    /// Whether the task was refused and nothing has become free since.
    pub(crate) fn is_refused(&self, task: &TaskId) -> bool {
        self.refused.get(task) == Some(&self.supply)
    }

    /// Leaves the task in peace until something becomes free.
    pub(crate) fn refuse(&mut self, task: &TaskId) {
        self.refused.insert(task.clone(), self.supply);
    }

    /// For how long this planner has seen the node away, whatever was done to the clock meanwhile.
    pub(crate) fn away_for(&self, node: &NodeId) -> Duration {
        self.away.get(node).map_or(Duration::ZERO, |since| self.present.steady.saturating_sub(since.steady))
    }

    /// How far the time has leapt since this planner saw the node away.
    pub(crate) fn leap_while_away(&self, node: &NodeId) -> Duration {
        self.away.get(node).map_or(Duration::ZERO, |since| self.present.leap_since(*since))
    }

    /// For how long this planner has seen the leased task without its node.
    pub(crate) fn orphaned_for(&self, task: &TaskId) -> Duration {
        self.orphaned.get(task).map_or(Duration::ZERO, |since| self.present.steady.saturating_sub(*since))
    }

    /// When the task began to run. Outer `None`: it was never seen alive; inner `None`: it never ran.
    pub(crate) fn life(&self, task: &TaskId) -> Option<Option<Timestamp>> {
        self.lives.get(task).copied()
    }

    /// The nodes where the service has failed so often that others come first.
    pub(crate) fn suspects(&self, service: &ServiceId, now: Timestamp) -> BTreeSet<NodeId> {
        let often = |notes: &VecDeque<Timestamp>| {
            notes.iter().filter(|at| now.since(**at) < FAILURE_WINDOW).count() >= FAILURES_MAX
        };
        let nodes = self.failures.get(service).into_iter().flatten();
        nodes.filter(|(_, notes)| often(notes)).map(|(node, _)| node.clone()).collect()
    }
}
