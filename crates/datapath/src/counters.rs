//! What the programs count.
use crate::error::DatapathError;
use crate::maps::Maps;
use std::net::IpAddr;

macro_rules! counters {
    ($($name:ident = $index:literal, $text:literal;)*) => {
        /// Sums over all CPUs since the maps were made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $(#[doc = $text] pub $name: u64,)* }

        impl Counters {
            /// Names (for metrics) and values.
            pub fn named(&self) -> Vec<(&'static str, u64)> { vec![$((stringify!($name), self.$name)),*] }

            pub(crate) fn read(maps: &Maps) -> Result<Self, DatapathError> {
                let sum = |i: u32| -> Result<u64, DatapathError> {
                    let all = maps.counters.get(&i, 0);
                    Ok(all.map_err(|source| DatapathError::Map { name: "counters", source })?.iter().sum())
                };
                Ok(Self { $($name: sum($index)?,)* })
            }
        }

        pub(crate) fn reason(index: u32) -> &'static str {
            match index { $($index => stringify!($name),)* _ => "unknown" }
        }
    };
}

counters! {
    flows_opened = 0, "Flows to virtual addresses.";
    mesh_flows_opened = 1, "Flows through published ports, at the entry node and at the backend's node.";
    ports_moved = 2, "Flows whose client port was changed because another flow had the same answer.";
    backend_gone = 3, "Packets refused because their flow's backend was removed.";
    refused_no_backend = 4, "New flows refused because no backend was ready.";
    refused_no_flow = 5, "TCP packets of unknown connections to balanced addresses.";
    dropped_malformed = 6, "Packets that make no sense.";
    dropped_not_carried = 7, "Neither IP nor an ARP request.";
    dropped_unknown_destination = 8, "No such address in that network (broadcast and multicast among them).";
    dropped_spoofed_source = 9, "Not the container's own address.";
    dropped_unknown_peer = 10, "Tunnel packets from strangers.";
    dropped_no_port = 11, "From an interface that is not (or no longer) a port.";
    dropped_table_full = 12, "The flow table took no entry, or no client port was free.";
    dropped_protocol = 13, "Neither TCP, UDP nor echo, to a balanced address.";
    dropped_fragment = 14, "Fragments whose first one was not seen.";
    dropped_internal = 15, "Should not be.";
    errors_translated = 16, "ICMP errors about packets of flows, turned back to what the sender wrote.";
    dropped_in_clear = 17, "Packets of encrypted networks that came without encryption.";
}

/// Something that happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEvent {
    /// Nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// The name of the counter that was raised with it.
    pub reason: &'static str,
    /// Where the packet came in.
    pub ifindex: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// The network, where it was seen inside one.
    pub vni: Option<u32>,
    /// From.
    pub source: (IpAddr, u16),
    /// To.
    pub destination: (IpAddr, u16),
    /// For a new flow: its backend.
    pub backend: Option<(IpAddr, u16)>,
}
