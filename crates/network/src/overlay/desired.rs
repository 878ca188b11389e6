//! What the packet road shall be, by the directory and by what is on this node. Pure.
//!
//! | endpoint is | reachable by its address | gets new connections | keeps live ones |
//! |---|---|---|---|
//! | starting | yes | no | – |
//! | ready | yes | yes | yes |
//! | draining | yes | no | yes |
//! | on a dead node | no | no | no (reset at the next packet) |
use datapath::{Backend, BackendState, Desired, Endpoint, MeshPort, Policy, Service};
use model::directory::{NetworkView, ServiceView};
use model::{BalancePolicy, Directory, EndpointState, NetworkId, NodeId, Protocol, ServiceId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// What is on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalState {
    /// This node; `None` outside of a swarm.
    pub node: Option<NodeId>,
    /// Host interfaces and inner hardware addresses of the attachments, by network and address.
    pub attached: BTreeMap<(NetworkId, IpAddr), (u32, [u8; 6])>,
    /// Addresses that published ports are served on.
    pub addresses: BTreeSet<IpAddr>,
    /// MTU of overlay interfaces.
    pub mtu: u32,
    /// Whether this node can carry encrypted networks.
    pub seals: bool,
}

/// The packet road by the directory.
pub fn desired(directory: &Directory, local: &LocalState) -> Desired {
    let mut d = Desired {
        local_addresses: local.addresses.clone(),
        mtu: local.mtu,
        peers: directory
            .peers
            .iter()
            .filter(|(id, _)| Some(*id) != local.node.as_ref())
            .filter_map(|(_, p)| underlay(p.addr))
            .collect(),
        ..Desired::default()
    };
    for (id, view) in &directory.networks {
        let scope = Scope { directory, local, id, view };
        if view.attrs.encrypted {
            d.sealed.insert(view.attrs.vni);
        }
        scope.endpoints(&mut d);
        scope.services(&mut d);
        if view.attrs.ingress {
            d.ingress_vni = Some(view.attrs.vni);
            scope.mesh(&mut d);
        }
    }
    d
}

fn underlay(addr: IpAddr) -> Option<Ipv4Addr> {
    match addr {
        IpAddr::V4(a) => Some(a),
        IpAddr::V6(_) => None,
    }
}

struct Scope<'a> {
    directory: &'a Directory,
    local: &'a LocalState,
    id: &'a NetworkId,
    view: &'a NetworkView,
}

impl Scope<'_> {
    fn is_self(&self, node: &NodeId) -> bool {
        self.local.node.as_ref() == Some(node)
    }

    fn remote(&self, node: &NodeId) -> Option<Endpoint> {
        let peer = self.directory.peers.get(node).filter(|p| p.alive)?;
        let node = underlay(peer.addr)?;
        if !self.view.attrs.encrypted {
            return Some(Endpoint::Remote { node });
        }
        // Never silently in clear: without a key on both sides, the other node is not there.
        (self.local.seals && peer.encryption_key.is_some()).then_some(Endpoint::Sealed { node })
    }

    fn endpoints(&self, d: &mut Desired) {
        let vni = self.view.attrs.vni;
        for s in &self.view.attrs.subnets {
            d.endpoints.insert((vni, s.gateway), Endpoint::Gateway);
        }
        for (node, addr) in &self.view.node_addrs {
            let at = if self.is_self(node) { Some(Endpoint::Gateway) } else { self.remote(node) };
            d.endpoints.extend(at.map(|e| ((vni, *addr), e)));
        }
        for e in self.view.endpoints.values().filter(|e| !self.is_self(&e.node)) {
            let at = self.remote(&e.node);
            d.endpoints.extend(e.addresses.iter().filter_map(|a| Some(((vni, *a), at?))));
        }
        // What is attached here is here, whatever the directory knows by now.
        for ((network, addr), (ifindex, mac)) in &self.local.attached {
            if network == self.id {
                d.endpoints.insert((vni, *addr), Endpoint::Local { ifindex: *ifindex, mac: *mac });
            }
        }
    }

    /// Backends of a service with an address of this family that a packet can get to.
    fn backends(&self, service: &ServiceId, like: IpAddr) -> Vec<Backend> {
        let of_service = self.view.endpoints.values().filter(|e| e.service.as_ref() == Some(service));
        let reachable = |node: &NodeId| self.is_self(node) || self.remote(node).is_some();
        of_service
            .filter(|e| reachable(&e.node))
            .filter_map(|e| {
                let state = match e.state {
                    EndpointState::Starting => return None,
                    EndpointState::Ready => BackendState::Ready,
                    EndpointState::Draining => BackendState::Draining,
                };
                let addr = *e.addresses.iter().find(|a| a.is_ipv4() == like.is_ipv4())?;
                Some(Backend { addr, state })
            })
            .collect()
    }

    fn services(&self, d: &mut Desired) {
        for (id, service) in &self.view.services {
            for vip in &service.vips {
                let backends = self.backends(id, *vip);
                let (policy, prefer_local) = (policy(service), service.balance.prefer_local);
                let s = Service { policy, prefer_local, backends };
                d.services.insert((self.view.attrs.vni, *vip), s);
            }
        }
    }

    fn mesh(&self, d: &mut Desired) {
        let carried = |p: Protocol| matches!(p, Protocol::Tcp | Protocol::Udp);
        for (id, service) in &self.view.services {
            let like = address_family(service);
            // A port at one address only is served by its socket: the programs take a port at every address.
            for port in service.ports.iter().filter(|p| carried(p.protocol) && p.host_ip.is_none()) {
                let mesh = MeshPort {
                    target_port: port.target,
                    policy: policy(service),
                    prefer_local: service.balance.prefer_local,
                    backends: self.backends(id, like),
                };
                d.mesh.insert((port.protocol, port.published), mesh);
            }
        }
    }
}

fn policy(service: &ServiceView) -> Policy {
    match service.balance.policy {
        BalancePolicy::RoundRobin => Policy::RoundRobin,
        BalancePolicy::LeastConnections => Policy::LeastConnections,
        BalancePolicy::Source => Policy::Source,
        BalancePolicy::Random => Policy::Random,
    }
}

/// The family in which a service's tasks are reached by the mesh: that of its first virtual address.
fn address_family(service: &ServiceView) -> IpAddr {
    service.vips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

#[cfg(test)]
mod tests;
