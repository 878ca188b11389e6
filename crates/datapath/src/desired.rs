//! What the road shall be: the words of the caller.
use model::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Everything, at once. Two equal values mean the same kernel state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Who has which address in which network (by vni).
    pub endpoints: BTreeMap<(u32, IpAddr), Endpoint>,
    /// Balanced addresses: any TCP or UDP port, which is kept.
    pub services: BTreeMap<(u32, IpAddr), Service>,
    /// The routing mesh, by published port. TCP and UDP only; others are refused.
    pub mesh: BTreeMap<(Protocol, u16), MeshPort>,
    /// Addresses of this node that published ports are served on.
    pub local_addresses: BTreeSet<IpAddr>,
    /// Underlay addresses from which tunnel packets are accepted.
    pub peers: BTreeSet<Ipv4Addr>,
    /// The ingress network's vni; `None` while there is none. All mesh ports are of this network.
    pub ingress_vni: Option<u32>,
    /// Networks (by vni) whose containers take nothing from other nodes that came in clear.
    pub sealed: BTreeSet<u32>,
    /// MTU of the overlays; 0 if unknown. TCP over the mesh is held to it (segment size clamped in SYNs), because
    /// neither the client nor the container's default route knows of the tunnel.
    pub mtu: u32,
}

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// In a container here.
    Local {
        /// Host side of its veth.
        ifindex: u32,
        /// Of the interface inside.
        mac: [u8; 6],
    },
    /// On another node.
    Remote {
        /// Its underlay address.
        node: Ipv4Addr,
    },
    /// On another node, reached only by the encrypted way: at [`sealed_address`] of its underlay address.
    Sealed {
        /// Its underlay address.
        node: Ipv4Addr,
    },
    /// A gateway's address: ARP and echo are answered, nothing is carried.
    Gateway,
}

/// A node's address behind the encryption.
pub fn sealed_address(node: Ipv4Addr) -> Ipv6Addr {
    let mut octets = SEALED_BLOCK.octets();
    octets[12..].copy_from_slice(&node.octets());
    octets.into()
}

/// The block of the nodes' addresses behind the encryption; 96 bits of it are fixed.
pub const SEALED_BLOCK: Ipv6Addr = Ipv6Addr::new(0xfd73, 0x6861, 0x6c00, 0, 0, 0, 0, 0);

/// A balanced address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// How a backend is chosen.
    pub policy: Policy,
    /// Backends on this node are taken while there is one.
    pub prefer_local: bool,
    /// Who answers, with the address in the same network.
    pub backends: Vec<Backend>,
}

/// A published port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshPort {
    /// Port inside the container.
    pub target_port: u16,
    /// How a backend is chosen.
    pub policy: Policy,
    /// Backends on this node are taken while there is one.
    pub prefer_local: bool,
    /// Who answers, with the address in the ingress network.
    pub backends: Vec<Backend>,
}

/// One of a service's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub addr: IpAddr,
    /// Whether it takes new flows.
    pub state: BackendState,
}

/// Whether a backend takes new flows. One that is left out of the list loses its live ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// Yes.
    Ready,
    /// No, but live ones stay.
    Draining,
}

/// How a backend is chosen for a new flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Any.
    #[default]
    Random,
    /// In turn.
    RoundRobin,
    /// Of two at random, the one with fewer live flows as this node sees them.
    LeastConnections,
    /// The same for one client address, while the set stays the same.
    Source,
}

impl Policy {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Random => 0,
            Self::RoundRobin => 1,
            Self::LeastConnections => 2,
            Self::Source => 3,
        }
    }
}
