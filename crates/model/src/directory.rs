//! The network directory: what one node must know of the networks that it takes part in.
//!
//! It is derived from [`Tables`] on a manager, sent as one snapshot and then as deltas, and applied whole by the node.
//! It is a statement of what shall be, never of what a node has seen; liveness ([`PeerView::alive`]) only masks.
use crate::balance::Balance;
use crate::endpoint::{Protocol, PublishMode, ResolutionMode};
use crate::object::*;
use crate::spec::{Labels, NetworkTarget};
use crate::store_action::ObjectRef;
use crate::tables::Tables;
use crate::{DesiredState, NetworkId, NodeId, ServiceId, TaskId, TaskState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Everything at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The store's revision that this shows.
    pub revision: u64,
    /// UDP port of the tunnels.
    pub data_path_port: u16,
    /// The nodes that carry any of these networks, this node included.
    pub peers: BTreeMap<NodeId, PeerView>,
    /// The networks.
    pub networks: BTreeMap<NetworkId, NetworkView>,
}

/// A node, as the data path needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Hostname, for people.
    pub hostname: String,
    /// Underlay address of its tunnel endpoint.
    pub addr: IpAddr,
    /// `false` masks its endpoints out of balancing and names.
    pub alive: bool,
    /// Public key of its end of encrypted tunnels; without one, nothing of an encrypted network goes there.
    #[serde(default)]
    pub encryption_key: Option<[u8; 32]>,
}

/// A network, with what is on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Attributes.
    pub attrs: NetworkAttrs,
    /// Load-balancer address of each node that takes part.
    pub node_addrs: BTreeMap<NodeId, IpAddr>,
    /// Services.
    pub services: BTreeMap<ServiceId, ServiceView>,
    /// Tasks and attached containers.
    pub endpoints: BTreeMap<TaskId, EndpointView>,
}

/// Attributes of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttrs {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// VXLAN network identifier.
    pub vni: u32,
    /// Subnets and gateways.
    pub subnets: Vec<NetworkSubnet>,
    /// Asked-for MTU of the containers' interfaces; `None`: measured.
    pub mtu: Option<u32>,
    /// Must never travel in clear.
    pub encrypted: bool,
    /// No way out.
    pub internal: bool,
    /// The routing mesh.
    pub ingress: bool,
}

/// A service on one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// `data_web`.
    pub name: String,
    /// Further names on this network (`web`).
    pub aliases: Vec<String>,
    /// Virtual addresses on this network; empty with `dnsrr`.
    pub vips: Vec<IpAddr>,
    /// How the name resolves.
    pub resolution: ResolutionMode,
    /// Mesh ports; only on the ingress network.
    pub ports: Vec<MeshPort>,
    /// The stack that it belongs to (`com.docker.stack.namespace`): when two stacks give the same alias on a shared
    /// network, each one's own tasks get their own service.
    #[serde(default)]
    pub stack: Option<String>,
    /// How connections to the virtual addresses and the mesh ports are spread.
    #[serde(default)]
    pub balance: Balance,
}

/// A port of the routing mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MeshPort {
    /// Protocol.
    pub protocol: Protocol,
    /// Outside.
    pub published: u16,
    /// Inside.
    pub target: u16,
    /// Only at this address; `None`: at all addresses of a node.
    #[serde(default)]
    pub host_ip: Option<IpAddr>,
}

/// A task or attached container on one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Its service, if it is a task.
    pub service: Option<ServiceId>,
    /// Its names: `web.1.<id>`, short container id, hostname, own aliases.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Where it is.
    pub node: NodeId,
    /// Whether it takes connections.
    pub state: EndpointState,
}

/// Whether an endpoint takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EndpointState {
    /// Not yet: reachable by its address and own name only.
    Starting,
    /// New connections may go there.
    Ready,
    /// No new ones; live ones stay.
    Draining,
}

/// What changed between two revisions. `None` in a map means "gone".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryDelta {
    /// The revision it builds on.
    pub from: u64,
    /// The revision it leads to.
    pub to: u64,
    /// UDP port of the tunnels.
    pub data_path_port: u16,
    /// Nodes.
    pub peers: BTreeMap<NodeId, Option<PeerView>>,
    /// Networks.
    pub networks: BTreeMap<NetworkId, Option<NetworkDelta>>,
}

/// What changed on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDelta {
    /// Attributes, if the network is new or they changed.
    pub attrs: Option<NetworkAttrs>,
    /// Load-balancer addresses.
    pub node_addrs: BTreeMap<NodeId, Option<IpAddr>>,
    /// Services.
    pub services: BTreeMap<ServiceId, Option<ServiceView>>,
    /// Endpoints.
    pub endpoints: BTreeMap<TaskId, Option<EndpointView>>,
}

/// Why a delta cannot be applied; the node must ask for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It builds on another revision.
    #[error("the delta builds on revision {from}, but revision {have} is what is here")]
    WrongBase {
        /// Of the delta.
        from: u64,
        /// Of the directory.
        have: u64,
    },
    /// It changes a network that is not here.
    #[error("the delta changes a network that is not in the directory")]
    UnknownNetwork,
}

impl Directory {
    /// What `node` must know, by the truth in `tables`. `alive` tells which nodes answer.
    pub fn for_node(tables: &Tables, node: &NodeId, alive: &dyn Fn(&NodeId) -> bool) -> Self {
        let mut d = Self {
            revision: tables.revision(),
            data_path_port: tables.cluster().map_or(4789, |c| c.data_path_port),
            ..Self::default()
        };
        for id in networks_of(tables, node) {
            let Some(network) = tables.network(&id) else { continue };
            d.networks.insert(id, NetworkView::of(tables, network));
        }
        let carriers: BTreeSet<&NodeId> = d
            .networks
            .values()
            .flat_map(|n| n.node_addrs.keys().chain(n.endpoints.values().map(|e| &e.node)))
            .chain([node])
            .collect();
        d.peers = carriers
            .into_iter()
            .filter_map(|id| {
                let n = tables.node(id)?;
                let hostname = n.description.as_ref().map(|d| d.hostname.clone()).unwrap_or_default();
                let alive = id == node || alive(id);
                let encryption_key = n.description.as_ref().and_then(|d| d.encryption_key);
                Some((id.clone(), PeerView { hostname, addr: n.data_path_addr?, alive, encryption_key }))
            })
            .collect();
        d
    }

    /// Equal directories have equal digests, on whatever machine: a manager compares its own with a node's.
    pub fn digest(&self) -> u64 {
        struct Fnv(u64);
        impl std::fmt::Write for Fnv {
            fn write_str(&mut self, s: &str) -> std::fmt::Result {
                self.0 = s.bytes().fold(self.0, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
                Ok(())
            }
        }
        let mut sum = Fnv(0xcbf2_9ce4_8422_2325);
        // The maps are ordered, so equal values print alike.
        let _ = std::fmt::Write::write_fmt(&mut sum, format_args!("{self:?}"));
        sum.0
    }

    /// The way from `self` to `next`.
    pub fn delta(&self, next: &Self) -> DirectoryDelta {
        let networks =
            NetworkDelta::of_all(&self.networks, &next.networks, |_, old, new| NetworkDelta::between(old, new));
        DirectoryDelta {
            from: self.revision,
            to: next.revision,
            data_path_port: next.data_path_port,
            peers: difference(&self.peers, &next.peers),
            networks,
        }
    }

    /// Takes a delta; on an error nothing has changed.
    ///
    /// # Errors
    /// See [`DeltaError`].
    pub fn apply(&mut self, delta: DirectoryDelta) -> Result<(), DeltaError> {
        if delta.from != self.revision {
            return Err(DeltaError::WrongBase { from: delta.from, have: self.revision });
        }
        let known = |(id, d): (&NetworkId, &Option<NetworkDelta>)| match d {
            Some(d) => d.attrs.is_some() || self.networks.contains_key(id),
            None => true,
        };
        if !delta.networks.iter().all(known) {
            return Err(DeltaError::UnknownNetwork);
        }
        for (id, change) in delta.networks {
            let Some(change) = change else {
                self.networks.remove(&id);
                continue;
            };
            if let Some(attrs) = change.attrs {
                match self.networks.get_mut(&id) {
                    Some(n) => n.attrs = attrs,
                    None => {
                        let fresh = NetworkView {
                            attrs,
                            node_addrs: BTreeMap::new(),
                            services: BTreeMap::new(),
                            endpoints: BTreeMap::new(),
                        };
                        self.networks.insert(id.clone(), fresh);
                    }
                }
            }
            if let Some(n) = self.networks.get_mut(&id) {
                patch(&mut n.node_addrs, change.node_addrs);
                patch(&mut n.services, change.services);
                patch(&mut n.endpoints, change.endpoints);
            }
        }
        patch(&mut self.peers, delta.peers);
        self.data_path_port = delta.data_path_port;
        self.revision = delta.to;
        Ok(())
    }

    /// Whether an endpoint's node answers.
    pub fn is_alive(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|p| p.alive)
    }
}

/// The networks that a node takes part in: those of its unfinished tasks, and the routing mesh.
pub fn networks_of(tables: &Tables, node: &NodeId) -> BTreeSet<NetworkId> {
    let of_tasks = tables.tasks_on_node(node).filter(|t| !t.status.state.is_terminal()).flat_map(|t| &t.networks);
    let swarm = of_tasks.filter_map(|n| match &n.network {
        NetworkTarget::Swarm(id) => Some(id.clone()),
        NetworkTarget::Predefined(_) => None,
    });
    swarm.chain(tables.ingress().map(|n| n.id.clone())).collect()
}

impl NetworkDelta {
    /// Of all networks, however each is kept: `way` gives one's change (nothing: the default), `None` is one that is gone.
    pub fn of_all<V>(
        old: &BTreeMap<NetworkId, V>,
        new: &BTreeMap<NetworkId, V>,
        mut way: impl FnMut(&NetworkId, Option<&V>, &V) -> Self,
    ) -> BTreeMap<NetworkId, Option<Self>> {
        let gone = old.keys().filter(|id| !new.contains_key(*id)).map(|id| (id.clone(), None));
        let changed = new.iter().map(|(id, v)| (id.clone(), way(id, old.get(id), v)));
        gone.chain(changed.filter(|(_, d)| *d != Self::default()).map(|(id, d)| (id, Some(d)))).collect()
    }

    /// The way from `old` (`None`: from nothing) to `new`.
    pub fn between(old: Option<&NetworkView>, new: &NetworkView) -> Self {
        match old {
            Some(old) => Self {
                attrs: (old.attrs != new.attrs).then(|| new.attrs.clone()),
                node_addrs: difference(&old.node_addrs, &new.node_addrs),
                services: difference(&old.services, &new.services),
                endpoints: difference(&old.endpoints, &new.endpoints),
            },
            None => Self {
                attrs: Some(new.attrs.clone()),
                node_addrs: difference(&BTreeMap::new(), &new.node_addrs),
                services: difference(&BTreeMap::new(), &new.services),
                endpoints: difference(&BTreeMap::new(), &new.endpoints),
            },
        }
    }
}

impl NetworkView {
    /// Makes what one object shows here be what the tables say; `false` when it was so already. For nodes, services and
    /// tasks: a changed network is looked at as a whole.
    pub fn refresh(view: &mut std::sync::Arc<Self>, tables: &Tables, network: &Network, object: &ObjectRef) -> bool {
        fn put<K: Ord + Clone, V: PartialEq>(
            view: &mut std::sync::Arc<NetworkView>,
            map: impl Fn(&NetworkView) -> &BTreeMap<K, V>,
            map_mut: impl Fn(&mut NetworkView) -> &mut BTreeMap<K, V>,
            id: &K,
            now: Option<V>,
        ) -> bool {
            if map(view).get(id) == now.as_ref() {
                return false;
            }
            let map = map_mut(std::sync::Arc::make_mut(view));
            match now {
                Some(v) => drop(map.insert(id.clone(), v)),
                None => drop(map.remove(id)),
            }
            true
        }
        match object {
            ObjectRef::Node(id) => {
                let at = tables.node(id).and_then(|n| n.attachments.iter().find(|a| a.network == network.id));
                put(view, |v| &v.node_addrs, |v| &mut v.node_addrs, id, at.map(|a| a.addr))
            }
            ObjectRef::Service(id) => {
                let now = tables.service(id).and_then(|s| ServiceView::of(s, network));
                put(view, |v| &v.services, |v| &mut v.services, id, now)
            }
            ObjectRef::Task(id) => {
                let now = tables.task(id).and_then(|t| EndpointView::of(t, &network.id));
                put(view, |v| &v.endpoints, |v| &mut v.endpoints, id, now)
            }
            _ => false,
        }
    }

    /// The view of one network by the truth.
    pub fn of(tables: &Tables, network: &Network) -> Self {
        let mut view = Self {
            attrs: NetworkAttrs {
                name: network.spec.name.clone(),
                labels: network.spec.labels.clone(),
                vni: network.vni,
                subnets: network.subnets.clone(),
                mtu: network.spec.options.get("com.docker.network.driver.mtu").and_then(|m| m.parse().ok()),
                encrypted: network.spec.options.get("encrypted").is_some_and(|v| v != "false"),
                internal: network.spec.internal,
                ingress: network.spec.ingress,
            },
            node_addrs: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        };
        for node in tables.nodes() {
            for a in node.attachments.iter().filter(|a| a.network == network.id) {
                view.node_addrs.insert(node.id.clone(), a.addr);
            }
        }
        for service in tables.services() {
            if let Some(s) = ServiceView::of(service, network) {
                view.services.insert(service.id.clone(), s);
            }
        }
        for task in tables.tasks() {
            if let Some(e) = EndpointView::of(task, &network.id) {
                view.endpoints.insert(task.id.clone(), e);
            }
        }
        view
    }
}

impl ServiceView {
    fn of(service: &Service, network: &Network) -> Option<Self> {
        let target = NetworkTarget::Swarm(network.id.clone());
        let attached = service.spec.task.networks.iter().find(|n| n.target == target);
        let mesh = network.spec.ingress;
        let ports: Vec<MeshPort> = service
            .ports
            .iter()
            .filter(|p| mesh && p.publish_mode == PublishMode::Ingress)
            .map(|p| MeshPort {
                protocol: p.protocol,
                published: p.published_port,
                target: p.target_port,
                host_ip: p.host_ip,
            })
            .collect();
        if attached.is_none() && ports.is_empty() {
            return None;
        }
        Some(Self {
            name: service.spec.name.clone(),
            aliases: attached.map(|a| a.aliases.clone()).unwrap_or_default(),
            vips: service.vips.iter().filter(|v| v.network == network.id).map(|v| v.addr).collect(),
            resolution: service.spec.endpoint.as_ref().map(|e| e.mode).unwrap_or_default(),
            ports,
            stack: service.spec.labels.get("com.docker.stack.namespace").cloned(),
            // Checked where the spec was accepted.
            balance: Balance::from_labels(&service.spec.labels).unwrap_or_default(),
        })
    }
}

impl EndpointView {
    fn of(task: &Task, network: &NetworkId) -> Option<Self> {
        let state = endpoint_state(task)?;
        let here = task.networks.iter().find(|n| matches!(&n.network, NetworkTarget::Swarm(id) if id == network))?;
        if here.addresses.is_empty() {
            return None;
        }
        let mut names = Vec::new();
        if let Some(a) = &task.spec.attachment {
            names.extend(a.names.iter().cloned());
        } else {
            names.push(task.container_name());
            names.extend(task.status.container.as_ref().map(|c| c.id.chars().take(12).collect()));
            let hostname = task.spec.container.as_ref().map(|c| c.hostname.as_str()).unwrap_or_default();
            if !hostname.is_empty() && !hostname.contains("{{") {
                names.push(hostname.to_owned());
            }
        }
        Some(Self {
            service: task.service.clone(),
            names,
            addresses: here.addresses.iter().map(|(a, _)| *a).collect(),
            node: task.node.clone()?,
            state,
        })
    }
}

/// Whether and how a task takes connections; `None` before it has a place and after it has ended.
pub fn endpoint_state(task: &Task) -> Option<EndpointState> {
    let s = task.status.state;
    if s < TaskState::Assigned || s.is_terminal() {
        return None;
    }
    Some(if task.draining_since.is_some() || task.desired >= DesiredState::Shutdown {
        EndpointState::Draining
    } else if s == TaskState::Running && (task.status.ready || task.spec.attachment.is_some()) {
        EndpointState::Ready
    } else {
        EndpointState::Starting
    })
}

/// The difference between two maps, `None` for what is gone.
pub fn difference<K: Ord + Clone, V: PartialEq + Clone>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> BTreeMap<K, Option<V>> {
    let gone = old.keys().filter(|k| !new.contains_key(*k)).map(|k| (k.clone(), None));
    let changed = new.iter().filter(|(k, v)| old.get(*k) != Some(*v)).map(|(k, v)| (k.clone(), Some(v.clone())));
    gone.chain(changed).collect()
}

fn patch<K: Ord, V>(map: &mut BTreeMap<K, V>, delta: BTreeMap<K, Option<V>>) {
    for (k, v) in delta {
        match v {
            Some(v) => drop(map.insert(k, v)),
            None => drop(map.remove(&k)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;

    fn peer(addr: [u8; 4]) -> PeerView {
        PeerView { hostname: "h".into(), addr: addr.into(), alive: true, encryption_key: None }
    }

    #[test]
    fn a_delta_leads_from_one_directory_to_the_next_and_nowhere_else() {
        let id = |n: u8| NodeId::from_random([n; 17]);
        let old = Directory {
            revision: 4,
            peers: [(id(1), peer([10, 9, 0, 1])), (id(2), peer([10, 9, 0, 2]))].into(),
            ..Default::default()
        };
        let new = Directory {
            revision: 7,
            peers: [(id(2), peer([10, 9, 0, 9])), (id(3), peer([10, 9, 0, 3]))].into(),
            ..Default::default()
        };
        let delta = old.delta(&new);
        let mut at = old.clone();
        at.apply(delta.clone()).unwrap();
        assert_eq!(at, new);
        assert_eq!(at.apply(delta), Err(DeltaError::WrongBase { from: 4, have: 7 }));
        assert_eq!(at, new);
    }
}
