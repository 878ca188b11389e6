//! Takes in what has changed in the tables.
use super::{FAILURES_MAX, PlannerMemory};
use model::{
    Moment, Node, NodeId, NodeState, ObjectRef, Service, ServiceId, ServiceMode, Tables, Task, TaskId, TaskState,
};
use std::collections::BTreeSet;
use std::sync::Arc;

impl PlannerMemory {
    /// Takes in what has changed in the tables since the last time.
    pub(crate) fn observe(&mut self, tables: &Tables, moment: Moment) {
        let now = moment.now;
        self.present = moment;
        match self.seen.and_then(|seen| tables.changed_since(seen)) {
            Some(changed) => {
                for r in changed.collect::<BTreeSet<_>>() {
                    self.observe_one(tables, r);
                }
            }
            None => self.observe_all(tables),
        }
        self.seen = Some(tables.revision());
        for (service, slot) in self.timers.due(now) {
            self.mark_slots(&service, slot.into_iter().collect());
        }
        self.dirty_loose.extend(self.loose_timers.due(now));
        for record in self.quarantine.release(tables, now) {
            self.supply += 1;
            match record {
                ObjectRef::Service(id) => self.mark_service(&id),
                ObjectRef::Network(id) => drop(self.dirty_networks.insert(id)),
                ObjectRef::Node(id) => drop(self.dirty_nodes.insert(id)),
                ObjectRef::Task(id) => drop(self.dirty_loose.insert(id)),
                _ => {}
            }
        }
    }

    fn observe_all(&mut self, tables: &Tables) {
        let gone: Vec<_> = self.tasks.keys().filter(|t| tables.task(t).is_none()).cloned().collect();
        for id in gone {
            self.observe_task(tables, &id, None);
        }
        let gone: Vec<_> = self.nodes.keys().filter(|n| tables.node(n).is_none()).cloned().collect();
        for id in gone {
            self.observe_node(tables, &id, None);
        }
        let gone: Vec<_> = self.rosters.keys().filter(|s| tables.service(s).is_none()).cloned().collect();
        for id in gone {
            self.observe_service(&id, None);
        }
        self.supply += 1;
        for service in tables.services() {
            self.observe_service(&service.id, Some(service));
        }
        for network in tables.networks() {
            self.dirty_networks.insert(network.id.clone());
        }
        for task in tables.tasks() {
            self.observe_task(tables, &task.id, Some(task));
        }
        for node in tables.nodes() {
            self.observe_node(tables, &node.id, Some(node));
        }
    }

    fn observe_one(&mut self, tables: &Tables, r: &ObjectRef) {
        match r {
            ObjectRef::Task(id) => self.observe_task(tables, id, tables.task(id)),
            ObjectRef::Service(id) => {
                self.supply += 1;
                self.observe_service(id, tables.service(id));
            }
            ObjectRef::Node(id) => self.observe_node(tables, id, tables.node(id)),
            ObjectRef::Network(id) => {
                self.supply += 1;
                self.dirty_networks.insert(id.clone());
                if tables.network(id).is_some_and(|n| n.spec.ingress) {
                    self.dirty_nodes.extend(tables.nodes().map(|n| n.id.clone()));
                }
                if tables.network(id).is_none() {
                    self.cursors.retain(|(n, _), _| n != id);
                }
            }
            // The pools and the history limit are here.
            ObjectRef::Cluster(_) => tables.services().for_each(|s| self.mark_service(&s.id)),
            ObjectRef::Secret(_) | ObjectRef::Config(_) => {}
        }
    }

    fn observe_service(&mut self, id: &ServiceId, service: Option<&Arc<Service>>) {
        self.mark_service(id);
        match service.map(|s| &s.spec.mode) {
            Some(ServiceMode::Global | ServiceMode::GlobalJob) => {
                self.per_node_services.insert(id.clone());
            }
            _ => {
                self.per_node_services.remove(id);
            }
        }
        if service.is_none() {
            self.rosters.remove(id);
            self.timers.forget(&(id.clone(), None), |(s, _)| s == id);
            self.failures.remove(id);
        }
    }

    fn observe_task(&mut self, tables: &Tables, id: &TaskId, task: Option<&Arc<Task>>) {
        let old = self.tasks.get(id).cloned();
        if let (Some(old), Some(new)) = (&old, task)
            && Arc::ptr_eq(old, new)
        {
            return;
        }
        let ended = |t: &Task| t.status.state.is_terminal();
        let was_alive = old.as_ref().is_some_and(|t| !ended(t));
        if was_alive && task.is_none_or(|t| ended(t) || t.desired > old.as_ref().map(|o| o.desired).unwrap_or_default())
        {
            self.supply += 1;
        }
        if let Some(old) = &old {
            self.loads.remove(old);
            if let Some(service) = &old.service {
                let key = self.slot_key(service, old);
                if let Some(roster) = self.rosters.get_mut(service) {
                    roster.remove(&key, old);
                }
            }
        }
        for t in old.iter().chain(task) {
            self.mark_task(t);
            if !t.networks.is_empty() {
                self.dirty_nodes.extend(t.node.clone());
            }
        }
        let Some(task) = task else {
            self.tasks.remove(id);
            self.new_tasks.remove(id);
            self.pending_tasks.remove(id);
            self.refused.remove(id);
            self.lives.remove(id);
            self.orphaned.remove(id);
            self.loose_timers.clear(id);
            return;
        };
        self.loads.add(task);
        if let Some(service) = task.service.as_ref().filter(|s| tables.service(s).is_some()) {
            let key = self.slot_key(service, task);
            self.roster(service).add(key, task);
        }
        set(&mut self.new_tasks, id, task.status.state == TaskState::New);
        set(&mut self.pending_tasks, id, task.status.state == TaskState::Pending);
        if task.leased && task.status.state == TaskState::Orphaned {
            self.orphaned.entry(id.clone()).or_insert(self.present.steady);
        }
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
            Some(node) => {
                self.loads.know(id);
                self.nodes.insert(id.clone(), node.clone())
            }
            None => {
                self.loads.forget(id);
                self.nodes.remove(id)
            }
        };
        if node.is_some_and(|n| matches!(n.status.state, NodeState::Down | NodeState::Disconnected)) {
            self.away.entry(id.clone()).or_insert(self.present);
        } else {
            self.away.remove(id);
        }
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
        for service in self.per_node_services.clone() {
            self.mark_slots(&service, BTreeSet::new());
        }
        for task in tables.tasks_on_node(id) {
            self.mark_task(task);
        }
    }
}

fn set(waiting: &mut BTreeSet<TaskId>, id: &TaskId, waits: bool) {
    if waits {
        waiting.insert(id.clone());
    } else {
        waiting.remove(id);
    }
}
