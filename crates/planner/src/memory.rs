//! What the planner remembers between plans. All of it can be lost: it is rebuilt from the tables, and what cannot be
//! (when a task that has ended began to run, recent failures of a node) only makes decisions a little less careful.
//!
//! ```text
//!  tables.changed_since(seen) ──► observe ──► loads of nodes, waiting tasks, dirty services/nodes/networks, notes
//! ```
//! A plan then looks at what is dirty and not at everything, so its cost follows the change, not the size of the swarm.
use crate::schedule::load::NodeLoad;
use model::{
    NetworkId, Node, NodeId, ObjectRef, Service, ServiceId, StoreAction, Tables, Task, TaskId, TaskState, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

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
    /// Services of which any number of tasks may follow the nodes.
    per_node_services: BTreeSet<ServiceId>,
    /// What each node carries.
    pub(crate) loads: BTreeMap<NodeId, NodeLoad>,
    /// Tasks that wait for addresses.
    pub(crate) new_tasks: BTreeSet<TaskId>,
    /// Tasks that wait for a node.
    pub(crate) pending_tasks: BTreeSet<TaskId>,
    /// Services to look at.
    pub(crate) dirty_services: BTreeSet<ServiceId>,
    /// Nodes whose own addresses are to be looked at.
    pub(crate) dirty_nodes: BTreeSet<NodeId>,
    /// Networks to look at.
    pub(crate) dirty_networks: BTreeSet<NetworkId>,
    /// Tasks without a service to look at.
    pub(crate) dirty_loose: BTreeSet<TaskId>,
    /// When time alone makes a service (or a loose task's node) dirty.
    timers: BTreeMap<ServiceId, Timestamp>,
    loose_timers: BTreeMap<TaskId, Timestamp>,
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
}

impl PlannerMemory {
    /// Takes in what has changed in the tables since the last time.
    pub(crate) fn observe(&mut self, tables: &Tables, now: Timestamp) {
        match self.seen.and_then(|seen| tables.changed_since(seen)) {
            Some(changed) => {
                for r in changed.collect::<BTreeSet<_>>() {
                    self.observe_one(tables, r);
                }
            }
            None => self.observe_all(tables),
        }
        self.seen = Some(tables.revision());
        let due: Vec<_> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(s, _)| s.clone()).collect();
        for service in due {
            self.timers.remove(&service);
            self.dirty_services.insert(service);
        }
        let due: Vec<_> = self.loose_timers.iter().filter(|(_, at)| **at <= now).map(|(t, _)| t.clone()).collect();
        for task in due {
            self.loose_timers.remove(&task);
            self.dirty_loose.insert(task);
        }
    }

    fn observe_all(&mut self, tables: &Tables) {
        let gone: Vec<_> = self.tasks.keys().filter(|t| tables.task(t).is_none()).cloned().collect();
        for id in gone {
            self.observe_task(&id, None);
        }
        let gone: Vec<_> = self.nodes.keys().filter(|n| tables.node(n).is_none()).cloned().collect();
        for id in gone {
            self.observe_node(tables, &id, None);
        }
        self.supply += 1;
        for service in tables.services() {
            self.observe_service(&service.id, Some(service));
        }
        for network in tables.networks() {
            self.dirty_networks.insert(network.id.clone());
        }
        for task in tables.tasks() {
            self.observe_task(&task.id, Some(task));
        }
        for node in tables.nodes() {
            self.observe_node(tables, &node.id, Some(node));
        }
    }

    fn observe_one(&mut self, tables: &Tables, r: &ObjectRef) {
        match r {
            ObjectRef::Task(id) => self.observe_task(id, tables.task(id)),
            ObjectRef::Service(id) => {
                self.supply += 1;
                self.observe_service(id, tables.service(id));
            }
            ObjectRef::Node(id) => self.observe_node(tables, id, tables.node(id)),
            ObjectRef::Network(id) => {
                self.supply += 1;
                self.dirty_networks.insert(id.clone());
                if tables.network(id).is_none() {
                    self.cursors.retain(|(n, _), _| n != id);
                }
            }
            // The pools and the history limit are here.
            ObjectRef::Cluster(_) => self.dirty_services.extend(tables.services().map(|s| s.id.clone())),
            ObjectRef::Secret(_) | ObjectRef::Config(_) => {}
        }
    }

    fn observe_service(&mut self, id: &ServiceId, service: Option<&Arc<Service>>) {
        self.dirty_services.insert(id.clone());
        match service.map(|s| &s.spec.mode) {
            Some(model::ServiceMode::Global | model::ServiceMode::GlobalJob) => {
                self.per_node_services.insert(id.clone());
            }
            _ => {
                self.per_node_services.remove(id);
            }
        }
        if service.is_none() {
            self.timers.remove(id);
            self.failures.remove(id);
        }
    }

    fn observe_task(&mut self, id: &TaskId, task: Option<&Arc<Task>>) {
        let old = self.tasks.get(id).cloned();
        if let (Some(old), Some(new)) = (&old, task)
            && Arc::ptr_eq(old, new)
        {
            return;
        }
        if let Some(old) = &old
            && let Some(node) = &old.node
            && let Some(load) = self.loads.get_mut(node)
        {
            load.remove(old);
        }
        let ended = |t: &Task| t.status.state.is_terminal();
        let was_alive = old.as_ref().is_some_and(|t| !ended(t));
        if was_alive && task.is_none_or(|t| ended(t) || t.desired > old.as_ref().map(|o| o.desired).unwrap_or_default())
        {
            self.supply += 1;
        }
        for t in old.iter().chain(task) {
            match &t.service {
                Some(service) => drop(self.dirty_services.insert(service.clone())),
                None => drop(self.dirty_loose.insert(id.clone())),
            }
            self.dirty_nodes.extend(t.node.clone());
        }
        let Some(task) = task else {
            self.tasks.remove(id);
            self.new_tasks.remove(id);
            self.pending_tasks.remove(id);
            self.refused.remove(id);
            self.lives.remove(id);
            self.loose_timers.remove(id);
            return;
        };
        if let Some(node) = &task.node {
            self.loads.entry(node.clone()).or_default().add(task);
        }
        set(&mut self.new_tasks, id, task.status.state == TaskState::New);
        set(&mut self.pending_tasks, id, task.status.state == TaskState::Pending);
        if !ended(task) {
            let life = self.lives.entry(id.clone()).or_default();
            if life.is_none() && task.status.state == TaskState::Running {
                *life = Some(task.status.timestamp);
            }
        }
        if let (Some(node), Some(service)) = (&task.node, &task.service)
            && was_alive
            && matches!(task.status.state, TaskState::Failed | TaskState::Rejected)
        {
            let notes = self.failures.entry(service.clone()).or_default().entry(node.clone()).or_default();
            notes.push_back(task.status.timestamp);
            if notes.len() > FAILURES_MAX {
                notes.pop_front();
            }
        }
        self.tasks.insert(id.clone(), task.clone());
    }

    fn observe_node(&mut self, tables: &Tables, id: &NodeId, node: Option<&Arc<Node>>) {
        let old = match node {
            Some(node) => self.nodes.insert(id.clone(), node.clone()),
            None => self.nodes.remove(id),
        };
        if node.is_none() {
            self.failures.values_mut().for_each(|nodes| drop(nodes.remove(id)));
        }
        let same = match (&old, node) {
            (Some(old), Some(new)) => {
                old.spec == new.spec
                    && old.role == new.role
                    && old.status.state == new.status.state
                    && old.description == new.description
            }
            _ => false,
        };
        self.dirty_nodes.insert(id.clone());
        if same {
            return;
        }
        self.supply += 1;
        self.dirty_services.extend(self.per_node_services.iter().cloned());
        for task in tables.tasks_on_node(id) {
            match &task.service {
                Some(service) => drop(self.dirty_services.insert(service.clone())),
                None => drop(self.dirty_loose.insert(task.id.clone())),
            }
        }
    }

    /// What the last plan touches is looked at again, whether or not the plan will have been applied.
    pub(crate) fn remember_plan(&mut self, actions: &[StoreAction]) {
        for action in actions {
            let (StoreAction::Create(o) | StoreAction::Update(o)) = action else {
                if let StoreAction::Remove(ObjectRef::Task(id)) = action {
                    match self.tasks.get(id).map(|t| &t.service) {
                        Some(Some(service)) => drop(self.dirty_services.insert(service.clone())),
                        _ => drop(self.dirty_loose.insert(id.clone())),
                    }
                }
                continue;
            };
            match o {
                model::Object::Task(t) => match &t.service {
                    Some(service) => drop(self.dirty_services.insert(service.clone())),
                    None => drop(self.dirty_loose.insert(t.id.clone())),
                },
                model::Object::Service(s) => drop(self.dirty_services.insert(s.id.clone())),
                model::Object::Node(n) => drop(self.dirty_nodes.insert(n.id.clone())),
                model::Object::Network(n) => drop(self.dirty_networks.insert(n.id.clone())),
                _ => {}
            }
        }
    }

    /// Looks at `service` again at `at`, or earlier if that was asked before.
    pub(crate) fn wake_service(&mut self, service: &ServiceId, at: Timestamp) {
        let timer = self.timers.entry(service.clone()).or_insert(at);
        *timer = (*timer).min(at);
    }

    /// The service has been looked at: only what is asked for from now on wakes it.
    pub(crate) fn clear_timer(&mut self, service: &ServiceId) {
        self.timers.remove(service);
    }

    pub(crate) fn wake_loose(&mut self, task: &TaskId, at: Timestamp) {
        self.loose_timers.insert(task.clone(), at);
    }

    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        self.timers.values().chain(self.loose_timers.values()).min().copied()
    }

    /// Whether the task was refused and nothing has become free since.
    pub(crate) fn is_refused(&self, task: &TaskId) -> bool {
        self.refused.get(task) == Some(&self.supply)
    }

    /// Leaves the task in peace until something becomes free.
    pub(crate) fn refuse(&mut self, task: &TaskId) {
        self.refused.insert(task.clone(), self.supply);
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

fn set(waiting: &mut BTreeSet<TaskId>, id: &TaskId, waits: bool) {
    if waits {
        waiting.insert(id.clone());
    } else {
        waiting.remove(id);
    }
}
