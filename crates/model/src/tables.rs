//! The truth as plain data: tables, their unique keys and secondary indexes, and how a transaction changes them.
//!
//! An allocation is a row here, not a counter: (network, address), (network, vni) and (published port, protocol) are
//! unique keys, derived from the objects themselves, so that a duplicate is refused and a leak cannot exist.
use crate::object::*;
use crate::store_action::{Object, ObjectKind, ObjectRef, StoreAction, StoreError};
use crate::{
    ConfigId, NetworkId, NetworkTarget, NodeId, Protocol, PublishMode, SecretId, ServiceId, TaskId, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// How many transactions [`Tables::changed_since`] can look back on.
const RECENT_TRANSACTIONS_MAX: usize = 1024;

/// All objects. Values are shared, so that a reader may keep one.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    revision: u64,
    cluster: Option<Arc<Cluster>>,
    nodes: BTreeMap<NodeId, Arc<Node>>,
    services: BTreeMap<ServiceId, Arc<Service>>,
    tasks: BTreeMap<TaskId, Arc<Task>>,
    networks: BTreeMap<NetworkId, Arc<Network>>,
    secrets: BTreeMap<SecretId, Arc<Secret>>,
    configs: BTreeMap<ConfigId, Arc<Config>>,
    names: BTreeMap<(ObjectKind, String), ObjectRef>,
    addresses: BTreeMap<(NetworkId, IpAddr), ObjectRef>,
    vnis: BTreeMap<u32, NetworkId>,
    ports: BTreeMap<(u16, Protocol), ServiceId>,
    tasks_of_service: TaskIndex<ServiceId>,
    tasks_on_node: TaskIndex<NodeId>,
    /// What the last transactions touched, oldest first: soft, not in the image.
    recent: VecDeque<Arc<[ObjectRef]>>,
}

/// Tasks by what they belong to.
type TaskIndex<K> = BTreeMap<K, BTreeMap<TaskId, Arc<Task>>>;

/// The tables without their indexes, for a snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TablesImage {
    /// Revision of the image.
    pub revision: u64,
    /// Every object.
    pub objects: Vec<Object>,
}

/// What a transaction did, for watchers.
#[derive(Clone, Debug)]
pub struct Change {
    /// What was there before.
    pub old: Option<Object>,
    /// What is there now.
    pub new: Option<Object>,
}

impl Change {
    /// What changed.
    pub fn reference(&self) -> Option<ObjectRef> {
        self.new.as_ref().or(self.old.as_ref()).map(Object::reference)
    }
}

impl Tables {
    /// Grows by one with each applied transaction.
    pub fn revision(&self) -> u64 {
        self.revision
    }
    /// The swarm's own row. `None` before `swarm init` has been applied.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }
    /// One node.
    pub fn node(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(id)
    }
    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }
    /// One service.
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id)
    }
    /// All services.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }
    /// One task.
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(id)
    }
    /// All tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }
    /// The tasks of one service, ended ones included.
    pub fn tasks_of_service(&self, id: &ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks_of_service.get(id).into_iter().flat_map(BTreeMap::values)
    }
    /// The tasks on one node, ended ones included.
    pub fn tasks_on_node(&self, id: &NodeId) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks_on_node.get(id).into_iter().flat_map(BTreeMap::values)
    }
    /// One network.
    pub fn network(&self, id: &NetworkId) -> Option<&Arc<Network>> {
        self.networks.get(id)
    }
    /// All networks.
    pub fn networks(&self) -> impl Iterator<Item = &Arc<Network>> {
        self.networks.values()
    }
    /// The routing mesh's network.
    pub fn ingress(&self) -> Option<&Arc<Network>> {
        self.networks.values().find(|n| n.spec.ingress)
    }
    /// One secret.
    pub fn secret(&self, id: &SecretId) -> Option<&Arc<Secret>> {
        self.secrets.get(id)
    }
    /// All secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        self.secrets.values()
    }
    /// One config.
    pub fn config(&self, id: &ConfigId) -> Option<&Arc<Config>> {
        self.configs.get(id)
    }
    /// All configs.
    pub fn configs(&self) -> impl Iterator<Item = &Arc<Config>> {
        self.configs.values()
    }
    /// Who has this name (case-insensitive).
    pub fn by_name(&self, kind: ObjectKind, name: &str) -> Option<&ObjectRef> {
        self.names.get(&(kind, name.to_lowercase()))
    }
    /// Who holds an address: a task, a service (its virtual IP), a node or the network itself (its gateway).
    pub fn address_holder(&self, network: &NetworkId, addr: IpAddr) -> Option<&ObjectRef> {
        self.addresses.get(&(network.clone(), addr))
    }
    /// The held addresses of a network, in order.
    pub fn addresses_of(&self, network: &NetworkId) -> impl Iterator<Item = (IpAddr, &ObjectRef)> {
        let network = network.clone();
        let from = (network.clone(), IpAddr::from([0, 0, 0, 0]));
        self.addresses.range(from..).take_while(move |((n, _), _)| *n == network).map(|((_, a), r)| (*a, r))
    }
    /// Who has this VXLAN identifier.
    pub fn vni_holder(&self, vni: u32) -> Option<&NetworkId> {
        self.vnis.get(&vni)
    }
    /// Which service publishes this port in the routing mesh.
    pub fn port_holder(&self, port: u16, protocol: Protocol) -> Option<&ServiceId> {
        self.ports.get(&(port, protocol))
    }

    /// What the transactions after `revision` touched, in order and with repetitions. `None`: that lies too far back, so
    /// the asker must look at everything.
    pub fn changed_since(&self, revision: u64) -> Option<impl Iterator<Item = &ObjectRef>> {
        let behind = usize::try_from(self.revision.checked_sub(revision)?).ok()?;
        let skip = self.recent.len().checked_sub(behind)?;
        Some(self.recent.iter().skip(skip).flat_map(|refs| refs.iter()))
    }

    /// Any object.
    pub fn get(&self, r: &ObjectRef) -> Option<Object> {
        match r {
            ObjectRef::Cluster(id) => self.cluster.as_deref().filter(|c| c.id == *id).cloned().map(Object::Cluster),
            ObjectRef::Node(id) => self.nodes.get(id).map(|o| Object::Node((**o).clone())),
            ObjectRef::Service(id) => self.services.get(id).map(|o| Object::Service((**o).clone())),
            ObjectRef::Task(id) => self.tasks.get(id).map(|o| Object::Task((**o).clone())),
            ObjectRef::Network(id) => self.networks.get(id).map(|o| Object::Network((**o).clone())),
            ObjectRef::Secret(id) => self.secrets.get(id).map(|o| Object::Secret((**o).clone())),
            ObjectRef::Config(id) => self.configs.get(id).map(|o| Object::Config((**o).clone())),
        }
    }

    /// When the last change was made, as far as what is still here tells.
    pub fn newest(&self) -> Option<Timestamp> {
        let metas = self.cluster.iter().map(|o| &o.meta).chain(self.nodes.values().map(|o| &o.meta));
        let metas = metas.chain(self.networks.values().map(|o| &o.meta)).chain(self.services.values().map(|o| &o.meta));
        let metas = metas.chain(self.tasks.values().map(|o| &o.meta)).chain(self.secrets.values().map(|o| &o.meta));
        metas.chain(self.configs.values().map(|o| &o.meta)).map(|m| m.updated_at).max()
    }

    /// Everything, for a snapshot.
    pub fn image(&self) -> TablesImage {
        let mut objects = Vec::new();
        objects.extend(self.cluster.iter().map(|o| Object::Cluster((**o).clone())));
        objects.extend(self.nodes.values().map(|o| Object::Node((**o).clone())));
        objects.extend(self.networks.values().map(|o| Object::Network((**o).clone())));
        objects.extend(self.services.values().map(|o| Object::Service((**o).clone())));
        objects.extend(self.tasks.values().map(|o| Object::Task((**o).clone())));
        objects.extend(self.secrets.values().map(|o| Object::Secret((**o).clone())));
        objects.extend(self.configs.values().map(|o| Object::Config((**o).clone())));
        TablesImage { revision: self.revision, objects }
    }

    /// The tables of an image; indexes are rebuilt.
    ///
    /// # Errors
    /// The first unique key that two objects of the image share.
    pub fn from_image(image: TablesImage) -> Result<Self, StoreError> {
        let mut t = Self::default();
        for object in image.objects {
            t.insert(object)?;
        }
        t.revision = image.revision;
        Ok(t)
    }

    /// Applies a transaction whole, or refuses it and changes nothing. Gives what changed, in order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn apply(&mut self, actions: Vec<StoreAction>, now: Timestamp) -> Result<Vec<Change>, StoreError> {
        let revision = self.revision + 1;
        let mut done: Vec<Change> = Vec::with_capacity(actions.len());
        for action in actions {
            match self.apply_one(action, revision, now) {
                Ok(change) => done.push(change),
                Err(e) => {
                    for change in done.into_iter().rev() {
                        if let Some(new) = &change.new {
                            self.take(&new.reference());
                        }
                        if let Some(old) = change.old {
                            // It was there a moment ago, so its keys are free again.
                            let _ = self.insert(old);
                        }
                    }
                    return Err(e);
                }
            }
        }
        self.revision = revision;
        if self.recent.len() == RECENT_TRANSACTIONS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(done.iter().filter_map(Change::reference).collect());
        Ok(done)
    }

    fn apply_one(&mut self, action: StoreAction, revision: u64, now: Timestamp) -> Result<Change, StoreError> {
        match action {
            StoreAction::Create(mut object) => {
                let r = object.reference();
                if self.get(&r).is_some() {
                    return Err(StoreError::Exists(r));
                }
                *object.meta_mut() = Meta { version: revision, created_at: now, updated_at: now };
                if let Object::Service(s) = &mut object
                    && s.spec_version == 0
                {
                    s.spec_version = revision;
                }
                self.insert(object.clone())?;
                Ok(Change { old: None, new: Some(object) })
            }
            StoreAction::Update(mut object) => {
                let r = object.reference();
                let old = self.get(&r).ok_or_else(|| StoreError::NotFound(r.clone()))?;
                if object.meta().version != old.meta().version {
                    return Err(StoreError::OutOfSequence(r));
                }
                // What a node is seen to be (its liveness, its description) is no change of what was wished: an update
                // that was based on the wish must not be refused because the node has said hello in between.
                let version = match (&object, &old) {
                    (Object::Node(new), Object::Node(before)) if new.spec == before.spec => before.meta.version,
                    _ => revision,
                };
                *object.meta_mut() = Meta { version, created_at: old.meta().created_at, updated_at: now };
                if let (Object::Service(new), Object::Service(before)) = (&mut object, &old)
                    && new.spec != before.spec
                {
                    new.spec_version = revision;
                }
                self.take(&r);
                if let Err(e) = self.insert(object.clone()) {
                    let _ = self.insert(old);
                    return Err(e);
                }
                Ok(Change { old: Some(old), new: Some(object) })
            }
            StoreAction::Remove(r) => {
                let old = self.take(&r).ok_or(StoreError::NotFound(r))?;
                Ok(Change { old: Some(old), new: None })
            }
        }
    }

    fn insert(&mut self, object: Object) -> Result<(), StoreError> {
        let r = object.reference();
        let keys = Keys::of(&object);
        if let Some(name) = &keys.name
            && self.names.contains_key(name)
        {
            return Err(StoreError::NameConflict { kind: name.0, name: keys.shown_name });
        }
        for key in &keys.addresses {
            if let Some(holder) = self.addresses.get(key) {
                return Err(StoreError::AddressTaken {
                    network: key.0.clone(),
                    addr: key.1,
                    holder: format!("{} {}", holder.kind().as_str(), holder.id()),
                });
            }
        }
        if let Some((vni, _)) = &keys.vni
            && let Some(holder) = self.vnis.get(vni)
        {
            return Err(StoreError::VniTaken { vni: *vni, holder: holder.clone() });
        }
        for key in &keys.ports {
            if let Some(holder) = self.ports.get(key) {
                return Err(StoreError::PortTaken { port: key.0, protocol: key.1.to_string(), holder: holder.clone() });
            }
        }
        if let Some(name) = keys.name {
            self.names.insert(name, r.clone());
        }
        self.addresses.extend(keys.addresses.into_iter().map(|k| (k, r.clone())));
        self.vnis.extend(keys.vni);
        match object {
            Object::Cluster(o) => self.cluster = Some(Arc::new(o)),
            Object::Node(o) => drop(self.nodes.insert(o.id.clone(), Arc::new(o))),
            Object::Service(o) => {
                self.ports.extend(keys.ports.into_iter().map(|k| (k, o.id.clone())));
                self.services.insert(o.id.clone(), Arc::new(o));
            }
            Object::Task(o) => {
                let o = Arc::new(o);
                if let Some(s) = &o.service {
                    self.tasks_of_service.entry(s.clone()).or_default().insert(o.id.clone(), o.clone());
                }
                if let Some(n) = &o.node {
                    self.tasks_on_node.entry(n.clone()).or_default().insert(o.id.clone(), o.clone());
                }
                self.tasks.insert(o.id.clone(), o);
            }
            Object::Network(o) => drop(self.networks.insert(o.id.clone(), Arc::new(o))),
            Object::Secret(o) => drop(self.secrets.insert(o.id.clone(), Arc::new(o))),
            Object::Config(o) => drop(self.configs.insert(o.id.clone(), Arc::new(o))),
        }
        Ok(())
    }

    fn take(&mut self, r: &ObjectRef) -> Option<Object> {
        let object = self.get(r)?;
        let keys = Keys::of(&object);
        if let Some(name) = &keys.name {
            self.names.remove(name);
        }
        for key in &keys.addresses {
            self.addresses.remove(key);
        }
        if let Some((vni, _)) = &keys.vni {
            self.vnis.remove(vni);
        }
        for key in &keys.ports {
            self.ports.remove(key);
        }
        match r {
            ObjectRef::Cluster(_) => self.cluster = None,
            ObjectRef::Node(id) => drop(self.nodes.remove(id)),
            ObjectRef::Service(id) => drop(self.services.remove(id)),
            ObjectRef::Task(id) => {
                if let Some(task) = self.tasks.remove(id) {
                    forget(&mut self.tasks_of_service, task.service.as_ref(), id);
                    forget(&mut self.tasks_on_node, task.node.as_ref(), id);
                }
            }
            ObjectRef::Network(id) => drop(self.networks.remove(id)),
            ObjectRef::Secret(id) => drop(self.secrets.remove(id)),
            ObjectRef::Config(id) => drop(self.configs.remove(id)),
        }
        Some(object)
    }
}

fn forget<K: Ord>(index: &mut TaskIndex<K>, key: Option<&K>, id: &TaskId) {
    if let Some(key) = key
        && let Some(set) = index.get_mut(key)
    {
        set.remove(id);
        if set.is_empty() {
            index.remove(key);
        }
    }
}

/// The unique keys that an object holds.
#[derive(Default)]
struct Keys {
    name: Option<(ObjectKind, String)>,
    shown_name: String,
    addresses: Vec<(NetworkId, IpAddr)>,
    vni: Option<(u32, NetworkId)>,
    ports: Vec<(u16, Protocol)>,
}

impl Keys {
    fn of(object: &Object) -> Self {
        let mut k = Self::default();
        let named = |name: &str| Some((object.kind(), name.to_lowercase()));
        match object {
            Object::Cluster(_) => {}
            Object::Node(n) => k.addresses = n.attachments.iter().map(|a| (a.network.clone(), a.addr)).collect(),
            Object::Service(s) => {
                k.name = named(&s.spec.name);
                k.shown_name = s.spec.name.clone();
                k.addresses = s.vips.iter().map(|v| (v.network.clone(), v.addr)).collect();
                k.ports = s
                    .ports
                    .iter()
                    .filter(|p| p.publish_mode == PublishMode::Ingress && p.published_port != 0)
                    .map(|p| (p.published_port, p.protocol))
                    .collect();
            }
            // An ended task holds no address.
            Object::Task(t) if t.status.state.is_terminal() => {}
            Object::Task(t) => {
                for n in &t.networks {
                    if let NetworkTarget::Swarm(id) = &n.network {
                        k.addresses.extend(n.addresses.iter().map(|(a, _)| (id.clone(), *a)));
                    }
                }
            }
            Object::Network(n) => {
                k.name = named(&n.spec.name);
                k.shown_name = n.spec.name.clone();
                k.addresses = n.subnets.iter().map(|s| (n.id.clone(), s.gateway)).collect();
                k.vni = (n.vni != 0).then(|| (n.vni, n.id.clone()));
            }
            Object::Secret(s) => {
                k.name = named(&s.spec.name);
                k.shown_name = s.spec.name.clone();
            }
            Object::Config(c) => {
                k.name = named(&c.spec.name);
                k.shown_name = c.spec.name.clone();
            }
        }
        k
    }
}

#[cfg(test)]
mod tests;
