//! This machine as a node of a swarm: the packet road, its uplinks, the seat on the ingress network.
use super::{Owner, is_attachment_name};
use crate::error::{NetworkError, chain};
use crate::overlay::desired::{LocalState, desired};
use crate::overlay::ingress::{self, Ingress};
use crate::overlay::seal::{self, Seal};
use crate::store::Membership;
use datapath::{Config as RoadConfig, Datapath, DatapathError};
use kernel::netlink::{Link, Mark};
use model::directory::NetworkAttrs;
use model::{Directory, NetworkId, NodeId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use wire::Refusal;

/// What a packet of an overlay wears on an IPv4 underlay: outer Ethernet 14, IP 20, UDP 8, VXLAN 8.
const OVERHEAD: u32 = 50;
/// MTU of an underlay that is not found.
const UNDERLAY_MTU: u32 = 1500;

pub(super) struct Swarm {
    pub(super) membership: Membership,
    pub(super) road: Datapath,
    ingress: Option<Ingress>,
    seal: Option<Seal>,
    /// Interfaces on which published ports are served.
    uplinks: BTreeSet<u32>,
    addresses: BTreeSet<IpAddr>,
    mtu: u32,
    /// Why the tunnels have a port that no other node knows: their own is another engine's.
    pub(super) apart: Option<String>,
    /// Published ports that another process holds.
    pub(super) ports_taken: usize,
}

impl Owner {
    pub(super) fn swarm_mut(&mut self) -> Result<&mut Swarm, NetworkError> {
        self.swarm.as_mut().ok_or_else(|| Refusal::unavailable("This node is not part of a swarm").into())
    }

    pub(crate) fn enter_swarm(&mut self, node: NodeId, addr: IpAddr, port: u16) -> Result<(), NetworkError> {
        if addr.is_ipv6() {
            return Err(Refusal::unimplemented("a data path over IPv6 is not supported").into());
        }
        let membership = Membership { node, addr, port };
        if self.swarm.as_ref().is_some_and(|s| s.membership == membership) {
            return Ok(());
        }
        if self.saved.swarm.as_ref().is_some_and(|old| old.node != membership.node) {
            self.leave_swarm()?;
        }
        self.open_road(membership.clone())?;
        self.saved.swarm = Some(membership);
        self.ensure_gwbridge()?;
        self.save()?;
        self.reapply()
    }

    fn open_road(&mut self, membership: Membership) -> Result<(), NetworkError> {
        // The device is bound to its port: another port is another device.
        if let Some(old) = self.swarm.take()
            && old.membership.port != membership.port
        {
            self.close_road(old)?;
        }
        let (road, apart) = match self.open_tunnels(membership.port) {
            Err(taken @ DatapathError::PortTaken { .. }) => {
                let why = chain(&taken);
                tracing::error!(why, "overlays of this node reach no other node until the port is free");
                (self.open_tunnels(free_port()?)?, Some(why))
            }
            opened => (opened?, None),
        };
        self.swarm = Some(Swarm {
            membership,
            road,
            ingress: None,
            seal: None,
            uplinks: BTreeSet::new(),
            addresses: BTreeSet::new(),
            mtu: UNDERLAY_MTU - OVERHEAD,
            apart,
            ports_taken: 0,
        });
        if !self.directory.networks.values().any(|n| n.attrs.ingress) {
            ingress::remove_leftovers(&self.netlink, &self.config.exec_dir, &self.mark)?;
        }
        self.follow_uplinks()?;
        self.attach_all()
    }

    fn open_tunnels(&self, port: u16) -> Result<Datapath, DatapathError> {
        Datapath::open(RoadConfig {
            tunnel_port: port,
            ..RoadConfig::new(self.config.pin_dir.clone(), self.mark.clone())
        })
    }

    /// Takes the tunnels' own port, once the other engine has left it.
    fn rejoin_tunnels(&mut self) -> Result<(), NetworkError> {
        let Some(port) = self.swarm.as_ref().filter(|s| s.apart.is_some()).map(|s| s.membership.port) else {
            return Ok(());
        };
        match self.open_tunnels(port) {
            Err(DatapathError::PortTaken { .. }) => Ok(()),
            opened => {
                let swarm = self.swarm_mut()?;
                (swarm.road, swarm.apart) = (opened?, None);
                tracing::info!(port, "the port of the tunnels is free: overlays reach other nodes again");
                Ok(())
            }
        }
    }

    /// After a restart. Traffic has gone on meanwhile; a failure leaves it so and is tried again by `enter_swarm`.
    pub(super) fn restore_swarm(&mut self) {
        let Some(membership) = self.saved.swarm.clone() else { return };
        self.directory = Arc::new(self.store.load_directory());
        let restored = self.open_road(membership).and_then(|()| self.reapply());
        if let Err(e) = restored {
            tracing::error!(error = chain(&e), "the overlay data path cannot be taken over");
        }
    }

    /// Programs on every attachment that is here: some may have been made while there was no swarm.
    fn attach_all(&mut self) -> Result<(), NetworkError> {
        let links: BTreeMap<String, u32> = self.netlink.links()?.into_iter().map(|l| (l.name, l.index)).collect();
        let all: Vec<_> = self.saved.sandboxes.values().flat_map(|s| s.endpoints.clone()).collect();
        for e in all.iter().filter(|e| e.vni != 0) {
            if let Some(index) = links.get(&e.host_interface()) {
                self.attach_port(e, *index)?;
            }
        }
        let containers: Vec<String> = self.saved.sandboxes.keys().cloned().collect();
        containers.iter().try_for_each(|c| self.guard_exits(c))
    }

    /// Interfaces by which the world comes in: those with addresses that we have not made.
    fn follow_uplinks(&mut self) -> Result<(), NetworkError> {
        let bridges: BTreeSet<&str> = self.saved.networks.values().map(|n| n.interface.as_str()).collect();
        let ours = |l: &Link| {
            l.loopback || Mark::is_marked(l) || bridges.contains(l.name.as_str()) || is_attachment_name(&l.name)
        };
        let links: Vec<Link> = self.netlink.links()?.into_iter().filter(|l| !ours(l)).collect();
        let addresses: Vec<_> =
            self.netlink.addresses()?.into_iter().filter(|a| links.iter().any(|l| l.index == a.index)).collect();
        let swarm = self.swarm_mut()?;
        let with_address: BTreeSet<u32> = addresses.iter().map(|a| a.index).collect();
        let underlay = addresses.iter().find(|a| a.addr == swarm.membership.addr);
        let mtu = underlay.and_then(|a| links.iter().find(|l| l.index == a.index)).map(|l| l.mtu);
        swarm.mtu = mtu.unwrap_or(UNDERLAY_MTU).saturating_sub(OVERHEAD);
        swarm.addresses = addresses.iter().filter(|a| !is_link_local(a.addr)).map(|a| a.addr).collect();
        for index in &with_address - &swarm.uplinks {
            swarm.road.attach_uplink(index)?;
        }
        for index in &swarm.uplinks - &with_address {
            swarm.road.detach_uplink(index)?;
        }
        swarm.uplinks = with_address;
        Ok(())
    }

    pub(crate) fn apply_directory(&mut self, directory: Directory) -> Result<u64, NetworkError> {
        self.swarm_mut()?;
        let (old, new) = (self.directory.revision, directory.revision);
        if new < old {
            let text = format!("revision {new} of the network directory is older than {old}, which is applied");
            return Err(Refusal::conflict(text).into());
        }
        let before = std::mem::replace(&mut self.directory, Arc::new(directory));
        if let Err(e) = self.reapply() {
            // What is in the kernel now is no whole revision: the next one, or `verify`, makes it one.
            self.directory = before;
            return Err(e);
        }
        if let Err(e) = self.store.save_directory(&self.directory) {
            tracing::warn!(error = chain(&e), "after a restart, names will be unknown until a manager answers");
        }
        Ok(new)
    }

    fn local_state(&self, swarm: &Swarm, links: &BTreeMap<String, u32>) -> LocalState {
        let mut attached = BTreeMap::new();
        for e in self.saved.sandboxes.values().flat_map(|s| &s.endpoints).filter(|e| e.vni != 0) {
            let (Some(index), Some(mac)) = (links.get(&e.host_interface()), e.mac) else { continue };
            let Ok(network) = e.network_id.parse::<NetworkId>() else { continue };
            for (addr, _) in &e.addresses {
                attached.insert((network.clone(), *addr), (*index, mac));
            }
        }
        if let Some(seat) = &swarm.ingress {
            attached.insert((seat.network.clone(), seat.addr), (seat.ifindex, seat.mac));
        }
        LocalState {
            node: Some(swarm.membership.node.clone()),
            attached,
            addresses: swarm.addresses.clone(),
            mtu: swarm.mtu,
            seals: swarm.seal.is_some(),
        }
    }

    /// Makes the packet road, the seat and the names be what the directory and the attachments say.
    pub(super) fn reapply(&mut self) -> Result<(), NetworkError> {
        let Some(mut swarm) = self.swarm.take() else { return Ok(()) };
        let done = self.reapply_to(&mut swarm);
        self.swarm = Some(swarm);
        self.show();
        done
    }

    fn reapply_to(&mut self, swarm: &mut Swarm) -> Result<(), NetworkError> {
        self.seat(swarm)?;
        self.seal(swarm);
        let links = self.netlink.links()?.into_iter().map(|l| (l.name, l.index)).collect();
        let state = self.local_state(swarm, &links);
        swarm.road.apply(&desired(&self.directory, &state))?;
        // Ports are served only after the road knows where to.
        let ingress = self.directory.networks.values().find(|n| n.attrs.ingress);
        swarm.ports_taken = match (&mut swarm.ingress, ingress) {
            (Some(seat), Some(view)) => seat.hold(view),
            _ => 0,
        };
        Ok(())
    }

    /// Makes or removes the node's seat on the ingress network.
    fn seat(&self, swarm: &mut Swarm) -> Result<(), NetworkError> {
        let node = swarm.membership.node.clone();
        let found = self.directory.networks.iter().find(|(_, n)| n.attrs.ingress);
        if let Some(seat) = swarm.ingress.take() {
            match found {
                Some((id, view)) if seat.fits(id, view, &node) => swarm.ingress = Some(seat),
                _ => seat.close(&self.netlink, &mut swarm.road)?,
            }
        }
        if let (None, Some((id, view))) = (&swarm.ingress, found) {
            let mtu = view.attrs.mtu.unwrap_or(swarm.mtu);
            swarm.ingress =
                Ingress::open(&self.netlink, &mut swarm.road, &self.config.exec_dir, &self.mark, id, view, &node, mtu)?;
        }
        Ok(())
    }

    /// Opens the encrypted ways once there is a network that needs them, and tells them the peers' keys.
    fn seal(&self, swarm: &mut Swarm) {
        if !self.directory.networks.values().any(|n| n.attrs.encrypted) {
            return;
        }
        let IpAddr::V4(own) = swarm.membership.addr else { return };
        if swarm.seal.is_none()
            && let Some(identity) = &self.identity
        {
            let (port, mtu) = (swarm.membership.port, swarm.mtu + OVERHEAD);
            match Seal::open(&self.netlink, &self.mark, identity, own, port, mtu) {
                Ok(seal) => swarm.seal = Some(seal),
                Err(e) => tracing::error!(error = chain(&e), "encrypted networks do not reach other nodes"),
            }
        }
        let Some(seal) = &mut swarm.seal else { return };
        let peers = self.directory.peers.iter().filter(|(id, _)| **id != swarm.membership.node);
        let keyed = peers.filter_map(|(_, p)| match p.addr {
            IpAddr::V4(addr) => Some((addr, p.encryption_key?)),
            IpAddr::V6(_) => None,
        });
        seal.set_peers(keyed.collect());
    }

    pub(super) fn verify_swarm(&mut self) -> Result<u64, NetworkError> {
        if self.swarm.is_none() {
            // A data path that could not be taken over may be free by now.
            if self.saved.swarm.is_some() {
                self.restore_swarm();
            }
            return Ok(0);
        }
        self.rejoin_tunnels()?;
        self.follow_uplinks()?;
        self.reapply()?;
        Ok(self.swarm_mut()?.road.verify()?)
    }

    pub(crate) fn leave_swarm(&mut self) -> Result<(), NetworkError> {
        let mut failed = Vec::new();
        let attached: Vec<(String, String)> = self
            .saved
            .sandboxes
            .iter()
            .flat_map(|(c, s)| s.endpoints.iter().filter(|e| e.vni != 0).map(|e| (c.clone(), e.network_id.clone())))
            .collect();
        self.directory = Arc::default();
        for (container, network) in attached {
            failed.extend(self.disconnect(&container, &network).err());
        }
        match self.swarm.take() {
            Some(swarm) => failed.extend(self.close_road(swarm).err()),
            None => {
                failed
                    .extend(Datapath::remove_leftovers(&self.config.pin_dir, &self.mark).err().map(NetworkError::from));
                failed.extend(seal::remove_leftovers(&self.netlink, &self.mark).err());
                failed.extend(ingress::remove_leftovers(&self.netlink, &self.config.exec_dir, &self.mark).err());
            }
        }
        self.saved.swarm = None;
        self.store.forget_directory();
        failed.extend(self.save().err());
        super::sandboxes::all_or_first(failed)
    }

    pub(super) fn close_road(&self, swarm: Swarm) -> Result<(), NetworkError> {
        let Swarm { mut road, ingress, seal, .. } = swarm;
        let sealed = match seal {
            Some(seal) => seal.close(&self.netlink, &self.mark),
            None => seal::remove_leftovers(&self.netlink, &self.mark),
        };
        let seat = ingress.map_or(Ok(()), |i| i.close(&self.netlink, &mut road));
        road.close_and_remove()?;
        seat.and(sealed)
    }

    /// What the data path has counted.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let Some(swarm) = &self.swarm else { return Vec::new() };
        swarm.road.counters().map(|c| c.named()).unwrap_or_else(|e| {
            tracing::warn!(error = chain(&e), "the data path's counters cannot be read");
            Vec::new()
        })
    }

    pub(crate) fn live_connections(&mut self, task: &TaskId) -> usize {
        let Some(swarm) = &self.swarm else { return 0 };
        let endpoints =
            self.saved.sandboxes.values().flat_map(|s| &s.endpoints).filter(|e| e.task.as_ref() == Some(task));
        let all = endpoints.flat_map(|e| e.addresses.iter().map(|(a, _)| (e.vni, *a)));
        all.map(|(vni, addr)| match swarm.road.live_connections(vni, addr) {
            Ok(n) => n,
            Err(e) => {
                tracing::warn!(%addr, error = chain(&e), "live connections cannot be counted");
                0
            }
        })
        .sum()
    }

    pub(super) fn overlay_mtu(&self, attrs: &NetworkAttrs) -> Result<u32, NetworkError> {
        let swarm = self.swarm.as_ref().ok_or_else(|| Refusal::unavailable("This node is not part of a swarm"))?;
        let own = swarm.mtu.saturating_sub(if attrs.encrypted { seal::OVERHEAD } else { 0 });
        Ok(attrs.mtu.unwrap_or(own))
    }

    pub(crate) fn overlay_mtu_of(&mut self, network: &NetworkId) -> Result<u32, NetworkError> {
        let none = || Refusal::not_found(format!("network {network} not found"));
        let view = self.directory.networks.get(network).ok_or_else(none)?;
        self.overlay_mtu(&view.attrs)
    }
}

/// A UDP port that nobody has.
fn free_port() -> Result<u16, NetworkError> {
    let bound = std::net::UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)).and_then(|s| s.local_addr());
    bound.map(|a| a.port()).map_err(|source| NetworkError::Start { what: "tunnels at another port", source })
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}
