//! The tables as they will be once the plan is applied: each stage reads what the stages before it decided.
//!
//! An address, port or vni that this draft sets free is not given again within the same draft, so that the order of its
//! actions does not matter.
use crate::Random;
use crate::orchestrate::slot::SlotKey;
use model::{
    DesiredState, Id, Network, NetworkId, Node, NodeId, ObjectRef, Service, ServiceId, StoreAction, Tables, Task,
    TaskId, TaskState, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) struct Draft<'a> {
    pub tables: &'a Tables,
    pub now: Timestamp,
    /// So many actions are enough.
    pub limit: usize,
    random: &'a mut dyn Random,
    tasks: BTreeMap<TaskId, Option<Arc<Task>>>,
    services: BTreeMap<ServiceId, Arc<Service>>,
    nodes: BTreeMap<NodeId, Arc<Node>>,
    networks: BTreeMap<NetworkId, Arc<Network>>,
    /// Tasks made here, by service and slot.
    made: BTreeMap<(ServiceId, SlotKey), Vec<TaskId>>,
    /// Addresses given here.
    taken: BTreeSet<(NetworkId, IpAddr)>,
}

impl<'a> Draft<'a> {
    pub fn new(tables: &'a Tables, now: Timestamp, random: &'a mut dyn Random) -> Self {
        Self {
            tables,
            now,
            limit: crate::ACTIONS_MAX,
            random,
            tasks: BTreeMap::new(),
            services: BTreeMap::new(),
            nodes: BTreeMap::new(),
            networks: BTreeMap::new(),
            made: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Number of actions so far.
    pub fn len(&self) -> usize {
        self.tasks.len() + self.services.len() + self.nodes.len() + self.networks.len()
    }

    /// Whether further decisions must wait for the next plan.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    pub fn fresh_task_id(&mut self) -> TaskId {
        TaskId::from_random(self.random.id_bytes())
    }

    pub fn task(&self, id: &TaskId) -> Option<&Arc<Task>> {
        match self.tasks.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.tables.task(id),
        }
    }

    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id).or_else(|| self.tables.service(id))
    }

    pub fn node(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(id).or_else(|| self.tables.node(id))
    }

    pub fn network(&self, id: &NetworkId) -> Option<&Arc<Network>> {
        self.networks.get(id).or_else(|| self.tables.network(id))
    }

    /// The routing mesh's network, if it is allocated.
    pub fn ingress(&self) -> Option<Arc<Network>> {
        let id = self.tables.ingress()?.id.clone();
        self.network(&id).cloned()
    }

    pub fn tasks_of_service(&self, id: &ServiceId) -> Vec<Arc<Task>> {
        let stored = self
            .tables
            .tasks_of_service(id)
            .filter_map(|t| if self.tasks.is_empty() { Some(t) } else { self.task(&t.id) });
        let made = self.made.range((id.clone(), SlotKey::Number(0))..).take_while(|((s, _), _)| s == id);
        let made = made.flat_map(|(_, tasks)| tasks).filter_map(|t| self.task(t));
        stored.chain(made).cloned().collect()
    }

    /// The tasks that this draft makes in a slot.
    pub fn made(&self, service: &ServiceId, key: &SlotKey) -> impl Iterator<Item = &TaskId> {
        let made = if self.made.is_empty() { None } else { self.made.get(&(service.clone(), key.clone())) };
        made.into_iter().flatten()
    }

    /// The tasks that this draft changes or makes.
    pub fn touched_tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values().flatten()
    }

    /// Whether this draft changes or makes the task.
    pub fn touches(&self, id: &TaskId) -> bool {
        self.tasks.contains_key(id)
    }

    pub fn put_task(&mut self, task: Task) {
        self.put_task_shared(Arc::new(task));
    }

    pub fn put_task_shared(&mut self, task: Arc<Task>) {
        match self.tables.task(&task.id) {
            Some(stored) if **stored == *task => drop(self.tasks.remove(&task.id)),
            Some(_) => drop(self.tasks.insert(task.id.clone(), Some(task))),
            None => {
                if let Some(service) = &task.service
                    && !self.tasks.contains_key(&task.id)
                {
                    let key = match &task.node {
                        Some(node) if task.slot == 0 => SlotKey::Node(node.clone()),
                        _ => SlotKey::Number(task.slot),
                    };
                    self.made.entry((service.clone(), key)).or_default().push(task.id.clone());
                }
                self.tasks.insert(task.id.clone(), Some(task));
            }
        }
    }

    pub fn remove_task(&mut self, id: &TaskId) {
        if self.tables.task(id).is_some() {
            self.tasks.insert(id.clone(), None);
        } else {
            self.tasks.remove(id);
        }
    }

    /// Wishes a task away. What the agent owns is drained from this very transaction on.
    pub fn stop(&mut self, task: &Task, desired: DesiredState) {
        if task.desired >= desired {
            return;
        }
        let mut next = task.clone();
        next.desired = desired;
        if next.draining_since.is_none() && next.status.state >= TaskState::Assigned && !next.status.state.is_terminal()
        {
            next.draining_since = Some(self.tables.revision() + 1);
        }
        self.put_task(next);
    }

    pub fn put_service(&mut self, service: Service) {
        match self.tables.service(&service.id) {
            Some(stored) if **stored == service => drop(self.services.remove(&service.id)),
            _ => drop(self.services.insert(service.id.clone(), Arc::new(service))),
        }
    }

    pub fn put_node(&mut self, node: Node) {
        match self.tables.node(&node.id) {
            Some(stored) if **stored == node => drop(self.nodes.remove(&node.id)),
            _ => drop(self.nodes.insert(node.id.clone(), Arc::new(node))),
        }
    }

    pub fn put_network(&mut self, network: Network) {
        match self.tables.network(&network.id) {
            Some(stored) if **stored == network => drop(self.networks.remove(&network.id)),
            _ => drop(self.networks.insert(network.id.clone(), Arc::new(network))),
        }
    }

    /// The networks that this draft changes.
    pub fn touched_networks(&self) -> impl Iterator<Item = &Arc<Network>> {
        self.networks.values()
    }

    /// The services that this draft changes.
    pub fn touched_services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn is_taken(&self, network: &NetworkId, addr: IpAddr) -> bool {
        self.tables.address_holder(network, addr).is_some() || self.taken.contains(&(network.clone(), addr))
    }

    pub fn take_address(&mut self, network: &NetworkId, addr: IpAddr) {
        self.taken.insert((network.clone(), addr));
    }

    /// One transaction.
    pub fn into_actions(self) -> Vec<StoreAction> {
        let mut actions = Vec::with_capacity(self.len());
        actions.extend(self.networks.into_values().map(|o| StoreAction::Update(own(o).into())));
        actions.extend(self.services.into_values().map(|o| StoreAction::Update(own(o).into())));
        actions.extend(self.nodes.into_values().map(|o| StoreAction::Update(own(o).into())));
        for (id, task) in self.tasks {
            actions.push(match task {
                None => StoreAction::Remove(ObjectRef::Task(id)),
                Some(task) if self.tables.task(&id).is_some() => StoreAction::Update(own(task).into()),
                Some(task) => StoreAction::Create(own(task).into()),
            });
        }
        actions
    }
}

fn own<T: Clone>(shared: Arc<T>) -> T {
    Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone())
}
