//! Attachments of sandboxes to networks: made live, taken away live.
use super::sandboxes::settle_interface;
use super::{Owner, fresh_id};
use crate::bridge::{self, Pair};
use crate::endpoint::{Attach, BoundPort, EndpointInfo, LocalAttach, OverlayAttach, PortBinding};
use crate::error::NetworkError;
use crate::ipam;
use crate::local::{BRIDGE, GWBRIDGE, HOST, LocalNetwork, NONE};
use crate::macvlan;
use crate::ports::{PortError, Reserved};
use crate::sandbox::SandboxKind;
use datapath::Port;
use std::collections::BTreeSet;
use std::net::IpAddr;
use wire::Refusal;

impl Owner {
    pub(crate) fn connect(&mut self, container: &str, attach: Attach) -> Result<EndpointInfo, NetworkError> {
        let kind = self.sandbox(container)?.spec.kind;
        match attach {
            Attach::Local(wish) => {
                let n = self.find_local(&wish.network)?;
                check_mode(kind, &n.spec.name)?;
                if n.is_macvlan() {
                    return self.connect_macvlan(container, &n, &wish);
                }
                if !n.is_bridge() {
                    return self.connect_without_interface(container, &n);
                }
                self.connect_bridge(container, &n, &wish)
            }
            Attach::Overlay(wish) => self.connect_overlay(container, &wish),
            Attach::Gwbridge { publish } => self.connect_gwbridge(container, &publish),
        }
    }

    /// `host` and `none`: known, and that is all.
    fn connect_without_interface(&mut self, container: &str, n: &LocalNetwork) -> Result<EndpointInfo, NetworkError> {
        self.check_not_connected(container, &n.id, &n.spec.name)?;
        let info = EndpointInfo { names: Vec::new(), ..self.blank(n) };
        self.keep(container, info.clone())?;
        Ok(info)
    }

    fn check_not_connected(&self, container: &str, id: &str, name: &str) -> Result<(), NetworkError> {
        let s = self.sandbox(container)?;
        if s.endpoints.iter().any(|e| e.network_id == id) {
            let text = format!("endpoint with name {} already exists in network {name}", s.spec.container_name);
            return Err(Refusal::forbidden(text).into());
        }
        Ok(())
    }

    fn keep(&mut self, container: &str, info: EndpointInfo) -> Result<(), NetworkError> {
        if let Some(s) = self.saved.sandboxes.get_mut(container) {
            s.endpoints.push(info);
        }
        self.save()
    }

    /// The first `ethN` that the sandbox does not have.
    fn free_interface(&self, container: &str) -> Result<String, NetworkError> {
        let taken: BTreeSet<&str> = self.sandbox(container)?.endpoints.iter().map(|e| e.interface.as_str()).collect();
        let free = (0..).map(|n| format!("eth{n}")).find(|name| !taken.contains(name.as_str()));
        Ok(free.unwrap_or_default())
    }

    fn names_of(&self, container: &str, own: &[String]) -> Result<Vec<String>, NetworkError> {
        let spec = &self.sandbox(container)?.spec;
        let short = container.get(..12).unwrap_or(container).to_owned();
        let all = std::iter::once(spec.container_name.clone()).chain(own.iter().cloned());
        let mut names: Vec<String> = Vec::new();
        for name in all.chain([short, spec.hostname.clone()]) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn choose_addresses(&self, n: &LocalNetwork, wish: &LocalAttach) -> Result<Vec<(IpAddr, u8)>, NetworkError> {
        let taken: BTreeSet<IpAddr> = self
            .saved
            .sandboxes
            .values()
            .flat_map(|s| &s.endpoints)
            .filter(|e| e.network_id == n.id)
            .flat_map(|e| e.addresses.iter().map(|(a, _)| *a))
            .collect();
        let wishes: Vec<IpAddr> = wish.ipv4.map(IpAddr::V4).into_iter().chain(wish.ipv6.map(IpAddr::V6)).collect();
        if !wishes.is_empty() && n.spec.name == BRIDGE {
            let text =
                "invalid endpoint settings:\nuser specified IP address is supported on user defined networks only";
            return Err(Refusal::invalid(text).into());
        }
        let mut addresses = Vec::new();
        for addr in &wishes {
            let Some(pool) = n.pools.iter().find(|p| ipam::is_usable(&p.subnet, *addr)) else {
                let text = format!("invalid endpoint settings:\nno configured subnet contains IP address {addr}");
                return Err(Refusal::invalid(text).into());
            };
            if taken.contains(addr) || pool.gateway == *addr {
                return Err(Refusal::forbidden("Address already in use").into());
            }
            addresses.push((*addr, pool.subnet.prefix));
        }
        for pool in &n.pools {
            if addresses.iter().any(|(a, _)| a.is_ipv4() == pool.subnet.base.is_ipv4()) {
                continue;
            }
            if let Some(addr) = ipam::choose_address(pool, &taken) {
                addresses.push((addr, pool.subnet.prefix));
            }
        }
        let families: BTreeSet<bool> = n.pools.iter().map(|p| p.subnet.base.is_ipv4()).collect();
        for v4 in families {
            if !addresses.iter().any(|(a, _)| a.is_ipv4() == v4) {
                let family = if v4 { "IPv4" } else { "IPv6" };
                let text = format!(
                    "no available {family} addresses on this network's address pools: {} ({})",
                    n.spec.name, n.id
                );
                return Err(Refusal::unavailable(text).into());
            }
        }
        addresses.sort_by_key(|(a, _)| a.is_ipv6());
        Ok(addresses)
    }

    fn connect_bridge(
        &mut self,
        container: &str,
        n: &LocalNetwork,
        wish: &LocalAttach,
    ) -> Result<EndpointInfo, NetworkError> {
        self.check_not_connected(container, &n.id, &n.spec.name)?;
        // Somebody may have taken it away since it was last looked at.
        if self.netlink.link_by_name(&n.interface)?.is_none() {
            self.ensure_link(n)?;
        }
        let addresses = self.choose_addresses(n, wish)?;
        let endpoint_id = fresh_id();
        let mac = wish.mac.unwrap_or_else(|| {
            addresses
                .first()
                .map_or_else(|| bridge::stable_mac(&endpoint_id), |(a, _)| bridge::mac_of(*a, &endpoint_id))
        });
        let mut info = EndpointInfo {
            interface: self.free_interface(container)?,
            mac: Some(mac),
            gateways: gateways_of(n, &addresses),
            mtu: n.mtu(),
            names: self.names_of(container, &wish.names)?,
            gateway_priority: wish.gateway_priority,
            links: wish.links.clone(),
            addresses,
            endpoint_id,
            ..self.blank(n)
        };
        let reserved = self.reserve(container, &info.endpoint_id, &wish.publish, n)?;
        info.ports = reserved.ports();
        let ns = self.open_netns(container)?;
        let host = info.host_interface();
        let pair = Pair { host: &host, inside: &info.interface, mac, mtu: info.mtu, addresses: &info.addresses };
        let port = bridge::join(&self.netlink, &ns, &pair)?;
        // From here on a failure is undone by the same steps that take an attachment away.
        let container_spec = self.sandbox(container)?.spec.clone();
        let plugged =
            bridge::plug(&self.netlink, port, n).and_then(|()| settle_interface(&ns, &container_spec, &info.interface));
        self.publish(container, &info, reserved);
        let done = plugged
            .and_then(|()| self.keep(container, info.clone()))
            .and_then(|()| if n.spec.name == GWBRIDGE { Ok(()) } else { self.settle_way_out(container) })
            .and_then(|()| self.route(container))
            .and_then(|()| self.guard_exits(container))
            .and_then(|()| self.apply_firewall())
            .and_then(|()| self.serve_names(container));
        self.or_undo(container, info, done)
    }

    fn connect_macvlan(
        &mut self,
        container: &str,
        n: &LocalNetwork,
        wish: &LocalAttach,
    ) -> Result<EndpointInfo, NetworkError> {
        self.check_not_connected(container, &n.id, &n.spec.name)?;
        if !wish.publish.is_empty() {
            let text = format!(
                "ports cannot be published on the macvlan network {}: its containers are reached at their own addresses",
                n.spec.name
            );
            return Err(Refusal::invalid(text).into());
        }
        let addresses = self.choose_addresses(n, wish)?;
        let mut info = self.blank(n);
        let mac = wish.mac.unwrap_or_else(|| bridge::stable_mac(&info.endpoint_id));
        info.interface = self.free_interface(container)?;
        info.mac = Some(mac);
        info.gateways = gateways_of(n, &addresses);
        info.names = self.names_of(container, &wish.names)?;
        info.gateway_priority = wish.gateway_priority;
        info.addresses = addresses;
        let ns = self.open_netns(container)?;
        info.mtu = macvlan::join(&self.netlink, &ns, n, &info.interface, mac, &info.addresses)?;
        let spec = self.sandbox(container)?.spec.clone();
        let done = settle_interface(&ns, &spec, &info.interface)
            .and_then(|()| self.keep(container, info.clone()))
            .and_then(|()| self.settle_way_out(container))
            .and_then(|()| self.route(container))
            .and_then(|()| self.serve_names(container));
        self.or_undo(container, info, done)
    }

    /// Answers of the routing mesh may leave by any of a container's interfaces: all of them are watched.
    pub(super) fn guard_exits(&mut self, container: &str) -> Result<(), NetworkError> {
        let endpoints = self.sandbox(container)?.endpoints.clone();
        let mesh: Vec<IpAddr> =
            endpoints.iter().filter(|e| e.ingress).flat_map(|e| e.addresses.iter().map(|(a, _)| *a)).collect();
        let Some(swarm) = self.swarm.as_mut().filter(|_| !mesh.is_empty()) else { return Ok(()) };
        for e in endpoints.iter().filter(|e| e.vni == 0 && !e.interface.is_empty()) {
            if let Some(link) = self.netlink.link_by_name(&e.host_interface())? {
                swarm.road.attach_exit(link.index, &mesh)?;
            }
        }
        Ok(())
    }

    fn or_undo(
        &mut self,
        container: &str,
        info: EndpointInfo,
        done: Result<(), NetworkError>,
    ) -> Result<EndpointInfo, NetworkError> {
        match done {
            Ok(()) => {
                tracing::info!(container, network = info.network_name, interface = info.interface, "attached");
                Ok(info)
            }
            Err(e) => {
                // The first failure is the one to tell.
                let _ = self.take_away(container, &info);
                Err(e)
            }
        }
    }

    fn reserve(
        &self,
        container: &str,
        endpoint: &str,
        publish: &[PortBinding],
        n: &LocalNetwork,
    ) -> Result<Reserved, NetworkError> {
        let name = &self.sandbox(container)?.spec.container_name;
        let refusal = |e: PortError| {
            let text = format!("driver failed programming external connectivity on endpoint {name} ({endpoint}): {e}");
            Refusal::internal(text).into()
        };
        self.ports.reserve(publish, n.default_binding()).map_err(refusal)
    }

    fn publish(&mut self, container: &str, info: &EndpointInfo, reserved: Reserved) {
        let to: Vec<IpAddr> = info.addresses.iter().map(|(a, _)| *a).collect();
        self.ports.publish(container, reserved, &to, &self.relay);
    }

    fn connect_gwbridge(&mut self, container: &str, publish: &[PortBinding]) -> Result<EndpointInfo, NetworkError> {
        let n = self.ensure_gwbridge()?;
        let wish = LocalAttach { publish: publish.to_vec(), ..LocalAttach::default() };
        let there = self.sandbox(container)?.endpoints.iter().find(|e| e.network_id == n.id).cloned();
        let Some(mut info) = there else { return self.connect_bridge(container, &n, &wish) };
        let reserved = self.reserve(container, &info.endpoint_id, publish, &n)?;
        let more: Vec<BoundPort> = reserved.ports();
        info.ports.extend(more);
        self.publish(container, &info, reserved);
        if let Some(s) = self.saved.sandboxes.get_mut(container)
            && let Some(e) = s.endpoints.iter_mut().find(|e| e.network_id == n.id)
        {
            *e = info.clone();
        }
        self.save()?;
        self.apply_firewall()?;
        Ok(info)
    }

    fn connect_overlay(&mut self, container: &str, wish: &OverlayAttach) -> Result<EndpointInfo, NetworkError> {
        self.check_not_connected(container, wish.network.as_str(), &wish.attrs.name)?;
        if wish.attrs.encrypted && self.identity.is_none() {
            let text = "encrypted overlay networks need /dev/net/tun, which this node does not have";
            return Err(Refusal::unimplemented(text).into());
        }
        if self.sandbox(container)?.spec.kind != SandboxKind::Own {
            let text = "container sharing network namespace with another container or host cannot be connected to any other network";
            return Err(Refusal::conflict(text).into());
        }
        let mtu = self.overlay_mtu(&wish.attrs)?;
        let endpoint_id = fresh_id();
        let mac = bridge::stable_mac(&endpoint_id);
        let info = EndpointInfo {
            network_id: wish.network.to_string(),
            network_name: wish.attrs.name.clone(),
            interface: self.free_interface(container)?,
            mac: Some(mac),
            addresses: wish.addresses.clone(),
            gateways: Vec::new(),
            ports: Vec::new(),
            mtu,
            names: self.names_of(container, &wish.names)?,
            task: Some(wish.task.clone()),
            vni: wish.attrs.vni,
            internal: wish.attrs.internal,
            ingress: wish.attrs.ingress,
            gateway_priority: 0,
            engine: self.mark.tag().to_owned(),
            links: wish.links.clone(),
            endpoint_id,
        };
        let ns = self.open_netns(container)?;
        let host = info.host_interface();
        let pair = Pair { host: &host, inside: &info.interface, mac, mtu, addresses: &info.addresses };
        let ifindex = bridge::join(&self.netlink, &ns, &pair)?;
        let spec = self.sandbox(container)?.spec.clone();
        let plugged = self
            .attach_port(&info, ifindex)
            .and_then(|()| settle_interface(&ns, &spec, &info.interface))
            .and_then(|()| Ok(self.netlink.set_up(ifindex)?));
        let done = plugged
            .and_then(|()| self.keep(container, info.clone()))
            .and_then(|()| self.reapply())
            .and_then(|()| self.settle_way_out(container))
            .and_then(|()| self.guard_exits(container))
            .and_then(|()| self.serve_names(container));
        self.or_undo(container, info, done)
    }

    pub(super) fn attach_port(&mut self, info: &EndpointInfo, ifindex: u32) -> Result<(), NetworkError> {
        let addresses = info.addresses.iter().map(|(a, _)| *a).collect();
        let port = Port { ifindex, vni: info.vni, addresses };
        Ok(self.swarm_mut()?.road.attach_port(&port)?)
    }

    /// The leg on docker_gwbridge: for containers of overlays with a way out that have none of their own by a bridge.
    /// One that carries published ports stays.
    fn settle_way_out(&mut self, container: &str) -> Result<(), NetworkError> {
        let all = &self.sandbox(container)?.endpoints;
        let leg = all.iter().find(|e| e.network_name == GWBRIDGE).cloned();
        let own =
            all.iter().any(|e| e.vni == 0 && e.network_name != GWBRIDGE && e.gateways.iter().any(IpAddr::is_ipv4));
        let needed = !own && all.iter().any(|e| e.vni != 0 && !e.internal);
        match leg {
            None if needed => self.connect_gwbridge(container, &[]).map(|_| ()),
            Some(leg) if !needed && leg.ports.is_empty() => self.take_away(container, &leg),
            _ => Ok(()),
        }
    }

    pub(crate) fn disconnect(&mut self, container: &str, network: &str) -> Result<(), NetworkError> {
        let s = self.sandbox(container)?;
        let by_id = s.endpoints.iter().find(|e| e.network_id == network);
        let found = by_id.or_else(|| s.endpoints.iter().find(|e| e.network_name == network)).cloned();
        let Some(info) = found else {
            let text = format!("container {container} is not connected to the network {network}");
            return Err(Refusal::internal(text).into());
        };
        self.take_away(container, &info)?;
        tracing::info!(container, network = info.network_name, "detached");
        self.settle_way_out(container)
    }

    /// Takes an attachment away, as far as it is there; tells the first failure.
    fn take_away(&mut self, container: &str, info: &EndpointInfo) -> Result<(), NetworkError> {
        let mut failed = self.tear_down(container, info);
        if let Some(s) = self.saved.sandboxes.get_mut(container) {
            s.endpoints.retain(|e| e.endpoint_id != info.endpoint_id || e.network_id != info.network_id);
        }
        failed.extend(self.save().err());
        if info.vni != 0 {
            failed.extend(self.reapply().err());
        }
        failed.extend(self.apply_firewall().err());
        failed.extend(self.route(container).err());
        failed.extend(self.serve_names(container).err());
        super::sandboxes::all_or_first(failed)
    }

    /// The kernel's part of an attachment's end.
    pub(super) fn tear_down(&mut self, container: &str, info: &EndpointInfo) -> Vec<NetworkError> {
        let mut failed: Vec<NetworkError> = Vec::new();
        let to: Vec<IpAddr> = info.addresses.iter().map(|(a, _)| *a).collect();
        self.ports.release(container, &to);
        if info.interface.is_empty() {
            return failed;
        }
        if self.saved.networks.get(&info.network_id).is_some_and(LocalNetwork::is_macvlan) {
            // Gone already where the whole namespace is.
            if let Ok(ns) = self.open_netns(container) {
                failed.extend(macvlan::leave(&ns, &info.interface).err());
            }
            return failed;
        }
        let host = info.host_interface();
        match self.netlink.link_by_name(&host) {
            Ok(Some(link)) => {
                if let Some(swarm) = &mut self.swarm {
                    let road = &mut swarm.road;
                    let cut = if info.vni == 0 { road.detach_exit(link.index) } else { road.detach_port(link.index) };
                    failed.extend(cut.err().map(NetworkError::from));
                }
            }
            Ok(None) => {}
            Err(e) => failed.push(e.into()),
        }
        failed.extend(self.netlink.del_link(&host).err().map(NetworkError::from));
        failed
    }

    /// An attachment to a network of this machine without anything of its own yet.
    fn blank(&self, n: &LocalNetwork) -> EndpointInfo {
        EndpointInfo {
            network_id: n.id.clone(),
            network_name: n.spec.name.clone(),
            endpoint_id: fresh_id(),
            interface: String::new(),
            mac: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            ports: Vec::new(),
            mtu: 0,
            names: Vec::new(),
            task: None,
            vni: 0,
            internal: n.spec.internal,
            ingress: false,
            gateway_priority: 0,
            links: Vec::new(),
            engine: self.mark.tag().to_owned(),
        }
    }
}

/// The gateways of the subnets that the addresses are of.
fn gateways_of(n: &LocalNetwork, addresses: &[(IpAddr, u8)]) -> Vec<IpAddr> {
    let of = |addr: &IpAddr| n.pools.iter().find(|p| p.subnet.contains(*addr)).map(|p| p.gateway);
    addresses.iter().filter_map(|(addr, _)| of(addr)).filter(|_| !n.spec.internal).collect()
}

/// `host` and `none` go with nothing else.
fn check_mode(kind: SandboxKind, network: &str) -> Result<(), Refusal> {
    let text = match (kind, network) {
        (SandboxKind::Host, HOST) | (SandboxKind::None, NONE) => return Ok(()),
        (SandboxKind::Host, _) | (_, HOST) => {
            "container cannot be disconnected from host network or connected to host network"
        }
        (SandboxKind::None, _) | (_, NONE) => {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        }
        (SandboxKind::Own, _) => return Ok(()),
    };
    Err(Refusal::invalid(text))
}
