//! The maps' keys and values as `bpf/types.h` lays them out.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as the programs see it: 128 bits, IPv4 mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Addr(pub [u8; 16]);

impl From<IpAddr> for Addr {
    fn from(a: IpAddr) -> Self {
        match a {
            IpAddr::V4(a) => Self(a.to_ipv6_mapped().octets()),
            IpAddr::V6(a) => Self(a.octets()),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(a: Addr) -> Self {
        Ipv6Addr::from(a.0).to_canonical()
    }
}

/// An IPv4 address in the byte order of the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Node(pub [u8; 4]);

impl From<Ipv4Addr> for Node {
    fn from(a: Ipv4Addr) -> Self {
        Self(a.octets())
    }
}

/// An address within one network.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    pub addr: Addr,
    pub vni: u32,
}

pub const ENDPOINT_LOCAL: u8 = 0;
pub const ENDPOINT_REMOTE: u8 = 1;
pub const ENDPOINT_GATEWAY: u8 = 2;
pub const ENDPOINT_SEALED: u8 = 3;

/// Where an address is.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Endpoint {
    pub ifindex: u32,
    pub node: Node,
    pub mac: [u8; 6],
    pub kind: u8,
    pub sealed: u8,
}

/// A container's interface.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Port {
    pub addr4: Addr,
    pub addr6: Addr,
    pub vni: u32,
    pub pad: u32,
}

/// A balanced address or published port.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Service {
    pub set: u32,
    pub ready: u32,
    pub nearby: u32,
    pub policy: u32,
    pub cursor: u32,
    pub vni: u32,
    pub target_port: [u8; 2],
    pub total: u16,
}

/// A published port.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MeshKey {
    pub port: [u8; 2],
    pub proto: u8,
    pub pad: u8,
}

/// One row of a backend set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BackendKey {
    pub set: u32,
    pub index: u32,
}

/// Who answers.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Backend {
    pub addr: Addr,
    pub slot: u32,
    pub generation: u32,
}

/// Life of a backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Slot {
    pub generation: u32,
    pub live: i32,
}

pub const NO_SLOT: u32 = u32::MAX;

/// What a packet of a flow looks like before the road.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct FlowKey {
    pub src: Addr,
    pub dst: Addr,
    pub scope: u32,
    pub sport: [u8; 2],
    pub dport: [u8; 2],
    pub proto: u8,
    pub side: u8,
    pub pad: u16,
}

/// What it looks like after it.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tuple {
    pub src: Addr,
    pub dst: Addr,
    pub sport: [u8; 2],
    pub dport: [u8; 2],
}

pub const FLOW_FIN: u8 = 1;
pub const FLOW_RST: u8 = 2;
pub const FLOW_PEER_FIN: u8 = 4;
pub const FLOW_PEER_RST: u8 = 8;
pub const FLOW_REPLY: u8 = 16;

/// An entry of the flow table.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flow {
    pub to: Tuple,
    pub via: u32,
    pub vni: u32,
    pub slot: u32,
    pub generation: u32,
    pub road: u8,
    pub flags: u8,
    pub origin_side: u8,
    pub pad: u8,
    pub origin_scope: u32,
    pub fin_end: [u8; 4],
    pub seen_ns: u64,
}

impl Flow {
    /// Closed by both sides, or reset by one.
    pub fn is_finished(&self) -> bool {
        self.flags & (FLOW_RST | FLOW_PEER_RST) != 0
            || self.flags & (FLOW_FIN | FLOW_PEER_FIN) == FLOW_FIN | FLOW_PEER_FIN
    }
}

/// The programs' settings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    pub tunnel_ifindex: u32,
    pub ingress_vni: u32,
    pub mtu: u32,
    pub events_per_second: u32,
}

/// What the ring buffer carries.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub at_ns: u64,
    pub key: FlowKey,
    pub to: Tuple,
    pub reason: u32,
    pub ifindex: u32,
}

macro_rules! pod {
    ($($t:ty),*) => { $(
        // SAFETY: `repr(C)`, made of integers and byte arrays, and without hidden padding (`sizes_are_those_of_c`).
        unsafe impl aya::Pod for $t {}
    )* };
}
pod!(Addr, Node, Place, Endpoint, Port, Service, MeshKey, BackendKey, Backend, Slot, FlowKey, Flow, Settings);

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn sizes_are_those_of_c() {
        assert_eq!(size_of::<Addr>(), 16);
        assert_eq!(size_of::<Place>(), 20);
        assert_eq!(size_of::<Endpoint>(), 16);
        assert_eq!(size_of::<Port>(), 40);
        assert_eq!(size_of::<Service>(), 28);
        assert_eq!(size_of::<MeshKey>(), 4);
        assert_eq!(size_of::<BackendKey>(), 8);
        assert_eq!(size_of::<Backend>(), 24);
        assert_eq!(size_of::<Slot>(), 8);
        assert_eq!(size_of::<FlowKey>(), 44);
        assert_eq!(size_of::<Tuple>(), 36);
        assert_eq!(size_of::<Flow>(), 72);
        assert_eq!(offset_of!(Flow, via), 36);
        assert_eq!(offset_of!(Flow, road), 52);
        assert_eq!(offset_of!(Flow, origin_scope), 56);
        assert_eq!(offset_of!(Flow, seen_ns), 64);
        assert_eq!(size_of::<Settings>(), 16);
        assert_eq!(size_of::<Event>(), 96);
        assert_eq!(offset_of!(Event, to), 52);
    }

    #[test]
    fn addresses_come_back() {
        for a in ["10.0.0.1", "fd00::1"] {
            let a: IpAddr = a.parse().unwrap();
            assert_eq!(IpAddr::from(Addr::from(a)), a);
        }
        assert_eq!(Addr::from(IpAddr::from([1, 2, 3, 4])).0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4]);
    }
}
