//! What a node carries.
use model::{GenericResource, Protocol, PublishMode, ServiceId, Task};
use std::collections::BTreeMap;

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
    /// Host-mode ports of unfinished tasks.
    pub ports: BTreeMap<(u16, Protocol), u32>,
}

/// Nothing.
pub(crate) static NONE: NodeLoad = NodeLoad {
    active: 0,
    services: BTreeMap::new(),
    nano_cpus: 0,
    memory_bytes: 0,
    generic: BTreeMap::new(),
    ports: BTreeMap::new(),
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
        for port in task.endpoint.ports.iter().filter(|p| p.publish_mode == PublishMode::Host && p.published_port != 0)
        {
            let key = (port.published_port, port.protocol);
            let n = self.ports.entry(key).or_default();
            *n = n.saturating_add_signed(sign as i32);
            if *n == 0 {
                self.ports.remove(&key);
            }
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
