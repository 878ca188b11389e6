//! What a node carries.
use model::{GenericResource, NetworkId, NetworkTarget, NodeId, Protocol, PublishMode, ServiceId, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sums over the tasks of a node, kept up by adding and removing tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeLoad {
    /// Tasks that shall run.
    pub active: u64,
    services: BTreeMap<ServiceId, u64>,
    /// What unfinished tasks have set aside.
    pub nano_cpus: i64,
    pub memory_bytes: i64,
    pub generic: BTreeMap<String, i64>,
    /// Named resources that unfinished tasks have.
    named: BTreeMap<(String, String), u32>,
    /// Host-mode ports of unfinished tasks.
    pub ports: BTreeMap<(u16, Protocol), u32>,
    /// Overlays of unfinished tasks.
    networks: BTreeMap<NetworkId, u32>,
}

/// Nothing.
static NONE: NodeLoad = NodeLoad {
    active: 0,
    services: BTreeMap::new(),
    nano_cpus: 0,
    memory_bytes: 0,
    generic: BTreeMap::new(),
    named: BTreeMap::new(),
    ports: BTreeMap::new(),
    networks: BTreeMap::new(),
};

impl NodeLoad {
    pub fn add(&mut self, task: &Task) {
        self.change(task, 1);
    }

    pub fn remove(&mut self, task: &Task) {
        self.change(task, -1);
    }

    /// Tasks of a service that shall run here.
    pub fn of_service(&self, service: Option<&ServiceId>) -> u64 {
        service.and_then(|s| self.services.get(s)).copied().unwrap_or_default()
    }

    /// What a task gets of its node's user-named resources: as many of a kind as it has reserved, by name where the
    /// node's have names.
    pub fn claim(&self, reserved: &[GenericResource], node: &[GenericResource]) -> Vec<GenericResource> {
        let mut claimed = Vec::new();
        for (kind, amount) in amounts(reserved) {
            let names = node.iter().filter_map(|r| match r {
                GenericResource::Named { kind: k, value } if *k == kind => Some(value),
                _ => None,
            });
            let free: Vec<&String> =
                names.filter(|value| !self.named.contains_key(&(kind.clone(), (*value).clone()))).collect();
            if free.is_empty() {
                claimed.push(GenericResource::Discrete { kind, value: amount });
                continue;
            }
            let some = free.into_iter().take(usize::try_from(amount).unwrap_or_default());
            claimed.extend(some.map(|value| GenericResource::Named { kind: kind.clone(), value: value.clone() }));
        }
        claimed
    }

    /// The overlays that the unfinished tasks here are on.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        self.networks.keys()
    }

    fn change(&mut self, task: &Task, sign: i64) {
        if task.status.state.is_terminal() {
            return;
        }
        if task.desired.wants_to_run() {
            self.active = self.active.saturating_add_signed(sign);
            if let Some(service) = &task.service {
                let n = self.services.entry(service.clone()).or_default();
                *n = n.saturating_add_signed(sign);
                if *n == 0 {
                    self.services.remove(service);
                }
            }
        }
        let reserved = &task.spec.resources.reservations;
        self.nano_cpus += sign * reserved.nano_cpus;
        self.memory_bytes += sign * reserved.memory_bytes;
        for (kind, amount) in amounts(&reserved.generic) {
            *self.generic.entry(kind).or_default() += sign * amount;
        }
        for resource in &task.generic {
            let GenericResource::Named { kind, value } = resource else { continue };
            let key = (kind.clone(), value.clone());
            let n = self.named.entry(key.clone()).or_default();
            *n = n.saturating_add_signed(sign as i32);
            if *n == 0 {
                self.named.remove(&key);
            }
        }
        for port in task.endpoint.ports.iter().filter(|p| p.publish_mode == PublishMode::Host && p.published_port != 0)
        {
            let key = (port.published_port, port.protocol);
            let n = self.ports.entry(key).or_default();
            *n = n.saturating_add_signed(sign as i32);
            if *n == 0 {
                self.ports.remove(&key);
            }
        }
        for at in &task.networks {
            let NetworkTarget::Swarm(id) = &at.network else { continue };
            let n = self.networks.entry(id.clone()).or_default();
            *n = n.saturating_add_signed(sign as i32);
            if *n == 0 {
                self.networks.remove(id);
            }
        }
    }
}

/// What all nodes carry, with an order of the nodes by it. A plan tries its placements here and takes them back at its
/// end: whether they become true is for the tables to say.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    of: BTreeMap<NodeId, NodeLoad>,
    /// The nodes that there are, least loaded first.
    order: BTreeSet<(u64, NodeId)>,
    tried: Vec<(Arc<Task>, bool)>,
}

impl Loads {
    /// The node is there.
    pub fn know(&mut self, node: &NodeId) {
        let active = self.get(node).active;
        self.order.insert((active, node.clone()));
    }

    /// The node is gone.
    pub fn forget(&mut self, node: &NodeId) {
        let active = self.get(node).active;
        self.order.remove(&(active, node.clone()));
    }

    pub fn get(&self, node: &NodeId) -> &NodeLoad {
        self.of.get(node).unwrap_or(&NONE)
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.order.len()
    }

    /// The nodes that there are, least loaded first.
    pub fn by_tasks(&self) -> impl Iterator<Item = &NodeId> {
        self.order.iter().map(|(_, node)| node)
    }

    pub fn add(&mut self, task: &Task) {
        self.change(task, |load| load.add(task));
    }

    pub fn remove(&mut self, task: &Task) {
        self.change(task, |load| load.remove(task));
    }

    pub fn try_add(&mut self, task: &Arc<Task>) {
        self.add(task);
        self.tried.push((task.clone(), true));
    }

    pub fn try_remove(&mut self, task: &Arc<Task>) {
        self.remove(task);
        self.tried.push((task.clone(), false));
    }

    /// Takes back what was tried.
    pub fn revert(&mut self) {
        while let Some((task, added)) = self.tried.pop() {
            if added { self.remove(&task) } else { self.add(&task) }
        }
    }

    fn change(&mut self, task: &Task, f: impl FnOnce(&mut NodeLoad)) {
        let Some(node) = &task.node else { return };
        if task.status.state.is_terminal() {
            return;
        }
        let load = self.of.entry(node.clone()).or_default();
        let before = load.active;
        f(load);
        let after = load.active;
        if *load == NONE {
            self.of.remove(node);
        }
        if before != after && self.order.remove(&(before, node.clone())) {
            self.order.insert((after, node.clone()));
        }
    }
}

/// How much of each kind; a named resource is one.
pub(crate) fn amounts(generic: &[GenericResource]) -> BTreeMap<String, i64> {
    let mut amounts = BTreeMap::new();
    for resource in generic {
        let (kind, amount) = match resource {
            GenericResource::Discrete { kind, value } => (kind, *value),
            GenericResource::Named { kind, .. } => (kind, 1),
        };
        *amounts.entry(kind.clone()).or_default() += amount;
    }
    amounts
}
