//! A container on a network: what is asked for, and what it got.
use model::directory::NetworkAttrs;
use model::{NetworkId, Protocol, TaskId};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a sandbox is to be attached.
#[derive(Clone, Debug)]
pub enum Attach {
    /// To a network of this machine (`bridge` or a user-defined one; nothing is done for `none`).
    Local(LocalAttach),
    /// To a network of the swarm. Also gives the sandbox its way out over docker_gwbridge, unless the network is
    /// internal.
    Overlay(OverlayAttach),
    /// To docker_gwbridge, or, if it is there already, adds ports to that attachment: host-mode ports of tasks.
    Gwbridge {
        /// Ports.
        publish: Vec<PortBinding>,
    },
}

/// A wish for an attachment to a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalAttach {
    /// Id or name of the network.
    pub network: String,
    /// Names that other containers of the network find it by (container name first). Not used on `bridge`.
    pub names: Vec<String>,
    /// `--ip`.
    pub ipv4: Option<Ipv4Addr>,
    /// `--ip6`.
    pub ipv6: Option<Ipv6Addr>,
    /// `--mac-address`.
    pub mac: Option<[u8; 6]>,
    /// Ports to publish.
    pub publish: Vec<PortBinding>,
    /// `--gw-priority`: the attachment with the highest gives the default route.
    pub gateway_priority: i32,
    /// Private aliases: what this container alone calls another one of the network, and that one's name.
    pub links: Vec<(String, String)>,
}

/// An attachment to an overlay; addresses are the managers' choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayAttach {
    /// Which.
    pub network: NetworkId,
    /// Whose addresses they are.
    pub task: TaskId,
    /// Addresses with the subnet's prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Attributes of the network.
    pub attrs: NetworkAttrs,
    /// Names (only kept for inspection; the directory is what names are served from).
    pub names: Vec<String>,
    /// See [`LocalAttach::links`].
    pub links: Vec<(String, String)>,
}

/// A port to publish on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// Protocol.
    pub protocol: Protocol,
    /// In the container.
    pub container_port: u16,
    /// The machine's address; `None`: every one.
    pub host_ip: Option<IpAddr>,
    /// The machine's port; 0: any free one.
    pub host_port: u16,
    /// With a `host_port`: the last port of a range of which the first free one is taken; 0: no range.
    pub host_port_end: u16,
}

/// A port as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BoundPort {
    /// Protocol.
    pub protocol: Protocol,
    /// In the container.
    pub container_port: u16,
    /// `0.0.0.0` and `::` stand for every address of the machine.
    pub host_ip: IpAddr,
    /// Chosen port of the machine.
    pub host_port: u16,
}

/// An attachment as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointInfo {
    /// Id of the network (64 digits, or the 25 of a swarm network).
    pub network_id: String,
    /// Name of the network.
    pub network_name: String,
    /// 64 digits.
    pub endpoint_id: String,
    /// Interface in the sandbox; empty without one (`host`, `none`).
    pub interface: String,
    /// Hardware address in the sandbox.
    pub mac: Option<[u8; 6]>,
    /// Addresses with prefix lengths, IPv4 first.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The bridge's addresses on this network (an overlay has none).
    pub gateways: Vec<IpAddr>,
    /// Published ports, as bound.
    pub ports: Vec<BoundPort>,
    /// MTU of the interface.
    pub mtu: u32,
    /// Names on this network.
    pub names: Vec<String>,
    /// The task, on an overlay.
    pub task: Option<TaskId>,
    /// VXLAN network identifier, on an overlay; else 0.
    pub vni: u32,
    /// Whether the network has no way out.
    pub internal: bool,
    /// Whether it is the routing mesh's.
    pub ingress: bool,
    /// See [`LocalAttach::gateway_priority`].
    pub gateway_priority: i32,
    /// Tells this engine's interfaces from those of another in the same namespace: part of their names.
    #[serde(default)]
    pub engine: String,
    /// See [`LocalAttach::links`].
    #[serde(default)]
    pub links: Vec<(String, String)>,
}

impl EndpointInfo {
    /// Name of the interface's other side, in the machine's namespace.
    pub fn host_interface(&self) -> String {
        let kind = if self.vni == 0 { "vb" } else { "ve" };
        format!("{kind}{}{}", self.engine, self.endpoint_id.get(..8).unwrap_or(&self.endpoint_id))
    }
    /// The first IPv4 address.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|(a, _)| match a {
            IpAddr::V4(a) => Some(*a),
            IpAddr::V6(_) => None,
        })
    }
    /// The first IPv6 address.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|(a, _)| match a {
            IpAddr::V6(a) => Some(*a),
            IpAddr::V4(_) => None,
        })
    }
    /// `02:42:ac:11:00:02`, or nothing.
    pub fn mac_text(&self) -> String {
        self.mac.map(mac_text).unwrap_or_default()
    }
}

/// `02:42:ac:11:00:02`.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}
