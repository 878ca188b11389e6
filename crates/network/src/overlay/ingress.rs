//! `ingress-sbox`: this node's own seat on the ingress network, and the published ports that are held for it.
//!
//! Clients elsewhere never get here: the eBPF program on the uplink takes their packets. What is left are clients on the
//! node itself (127.0.0.1, ::1, its own address), whose connections are carried on from inside the seat. A port that is
//! published at one address only is not given to that program at all: this socket alone serves it, to everybody.
use crate::bridge::{self, Pair};
use crate::error::NetworkError;
use crate::relay::{Door, Relay, Served};
use datapath::{Datapath, Port};
use kernel::netlink::{Mark, Netlink};
use kernel::netns::NetNs;
use kernel::{socket, sysctl};
use model::directory::NetworkView;
use model::{NetworkId, NodeId, Protocol};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Name of the namespace's file.
pub const NAME: &str = "ingress_sbox";
/// Host side of its interface, unless another engine of this namespace has it.
const INTERFACE: &str = "ve-ingress";

/// The seat.
#[derive(Debug)]
pub struct Ingress {
    /// Which network it is on.
    pub network: NetworkId,
    /// The node's address there.
    pub addr: IpAddr,
    vni: u32,
    /// Host side of its interface.
    pub ifindex: u32,
    /// Hardware address inside.
    pub mac: [u8; 6],
    path: PathBuf,
    interface: String,
    relay: Relay,
    ports: BTreeMap<(Protocol, u16), MeshDoor>,
}

/// A published port, held for both families, or as much of it as could be had.
#[derive(Debug)]
struct MeshDoor {
    target: SocketAddr,
    /// Only at this address.
    host_ip: Option<IpAddr>,
    held: Vec<(IpAddr, Served)>,
    /// Told once, tried again.
    missing: bool,
    told: bool,
    /// The address is another node's: tried again, in case it comes here.
    elsewhere: bool,
}

impl Ingress {
    /// Makes the seat, or takes over the one that is there.
    // Each is another thing of the owner's, who is borrowed apart.
    #[allow(clippy::too_many_arguments)]
    pub fn open(
        netlink: &Netlink,
        road: &mut Datapath,
        exec_dir: &Path,
        mark: &Mark,
        network: &NetworkId,
        view: &NetworkView,
        node: &NodeId,
        mtu: u32,
    ) -> Result<Option<Self>, NetworkError> {
        let Some(addr) = view.node_addrs.get(node).copied() else { return Ok(None) };
        let Some(subnet) = view.attrs.subnets.iter().find(|s| s.subnet.contains(addr)) else { return Ok(None) };
        let path = exec_dir.join("netns").join(NAME);
        let entered = |source| NetworkError::Enter { path: path.clone(), source };
        let interface = mark.choose(netlink, INTERFACE)?;
        let found = NetNs::open(&path).ok().filter(|ns| seated(ns, addr));
        let ns = match found {
            Some(ns) if netlink.link_by_name(&interface)?.is_some() => ns,
            _ => {
                remove(netlink, &interface, &path)?;
                NetNs::create_at(&path)?
            }
        };
        let mac = bridge::stable_mac(&format!("ingress {addr}"));
        let ifindex = match netlink.link_by_name(&interface)? {
            Some(link) => link.index,
            None => {
                ns.run(loose_reverse_path).map_err(entered)??;
                let addresses = [(addr, subnet.subnet.prefix)];
                let pair = Pair { host: &interface, inside: "eth0", mac, mtu, addresses: &addresses };
                bridge::join(netlink, &ns, &pair)?
            }
        };
        mark.put(netlink, &netlink.link(&interface)?)?;
        road.attach_port(&Port { ifindex, vni: view.attrs.vni, addresses: vec![addr] })?;
        netlink.set_up(ifindex)?;
        let relay = Relay::start("ingress-sbox", Some(&ns))
            .map_err(|source| NetworkError::Start { what: "thread of the routing mesh", source })?;
        let (network, vni) = (network.clone(), view.attrs.vni);
        Ok(Some(Self { network, addr, vni, ifindex, mac, path, interface, relay, ports: BTreeMap::new() }))
    }

    /// Whether this is still the seat that the directory speaks of.
    pub fn fits(&self, id: &NetworkId, view: &NetworkView, node: &NodeId) -> bool {
        self.network == *id && self.vni == view.attrs.vni && view.node_addrs.get(node) == Some(&self.addr)
    }

    /// Holds exactly the published ports of the directory. How many could not be had.
    pub fn hold(&mut self, view: &NetworkView) -> usize {
        let mut wanted = BTreeMap::new();
        for s in view.services.values() {
            let Some(vip) = s.vips.first() else { continue };
            for p in s.ports.iter().filter(|p| p.protocol != Protocol::Sctp) {
                wanted.insert((p.protocol, p.published), (SocketAddr::new(*vip, p.target), p.host_ip));
            }
        }
        // Doors close before others open: a port may have changed hands.
        self.ports.retain(|key, door| wanted.get(key) == Some(&(door.target, door.host_ip)));
        for ((protocol, port), (target, host_ip)) in wanted {
            let fresh = || MeshDoor { target, host_ip, held: Vec::new(), missing: true, told: false, elsewhere: false };
            let mut door = self.ports.remove(&(protocol, port)).unwrap_or_else(fresh);
            if door.missing || door.elsewhere {
                self.open_door(protocol, port, &mut door);
            }
            self.ports.insert((protocol, port), door);
        }
        self.ports.values().filter(|d| d.missing).count()
    }

    /// Holds the port at each of its addresses where it is not held yet.
    fn open_door(&self, protocol: Protocol, port: u16, door: &mut MeshDoor) {
        (door.missing, door.elsewhere) = (false, false);
        let addresses = match door.host_ip {
            Some(one) => vec![one],
            None => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        };
        for addr in addresses {
            if door.held.iter().any(|(a, _)| *a == addr) {
                continue;
            }
            let at = SocketAddr::new(addr, port);
            let held = match protocol {
                Protocol::Udp => socket::bind_udp(at).map(Door::Udp),
                _ => socket::listen_tcp(at).map(Door::Tcp),
            };
            match held {
                Ok(d) => door.held.push((addr, self.relay.serve(d, door.target))),
                Err(e) if door.host_ip.is_some() && no_such_family(&e) => door.elsewhere = true,
                Err(e) if addr.is_ipv6() && no_such_family(&e) => {}
                Err(error) => {
                    door.missing = true;
                    if !door.told {
                        tracing::error!(
                            port, protocol = protocol.as_str(), address = %addr, %error,
                            "a published port is taken by another process of this node: clients elsewhere are served, \
                             those on this node reach that process"
                        );
                    }
                }
            }
        }
        door.told = door.missing;
    }

    /// Removes the seat.
    pub fn close(self, netlink: &Netlink, road: &mut Datapath) -> Result<(), NetworkError> {
        let Self { ports, relay, path, interface, ifindex, .. } = self;
        drop((ports, relay));
        let detached = road.detach_port(ifindex);
        remove(netlink, &interface, &path)?;
        Ok(detached?)
    }
}

fn no_such_family(e: &io::Error) -> bool {
    // EAFNOSUPPORT, EADDRNOTAVAIL: a machine without IPv6, or without this address.
    matches!(e.raw_os_error(), Some(97 | 99))
}

/// Removes the seat of an earlier run.
fn remove(netlink: &Netlink, interface: &str, path: &Path) -> Result<(), NetworkError> {
    netlink.del_link(interface)?;
    Ok(NetNs::remove(path)?)
}

/// Removes what an earlier run left.
pub fn remove_leftovers(netlink: &Netlink, exec_dir: &Path, mark: &Mark) -> Result<(), NetworkError> {
    remove(netlink, &mark.choose(netlink, INTERFACE)?, &exec_dir.join("netns").join(NAME))
}

fn seated(ns: &NetNs, addr: IpAddr) -> bool {
    ns.run(|| Netlink::open().and_then(|n| n.addresses()).is_ok_and(|all| all.iter().any(|a| a.addr == addr)))
        .unwrap_or(false)
}

/// Packets of the mesh come in by another interface than the way back to their sender.
pub fn loose_reverse_path() -> Result<(), NetworkError> {
    for scope in ["all", "default"] {
        sysctl::write(&format!("net.ipv4.conf.{scope}.rp_filter"), "0")?;
    }
    Ok(())
}
