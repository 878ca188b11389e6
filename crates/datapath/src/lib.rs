//! The packet road: one eBPF data plane for overlays, virtual addresses and the routing mesh.
//!
//! ```text
//!      container A            container B                     container C (on another node)
//!      ┌────────┐             ┌────────┐                      ┌────────┐
//!      │  eth0  │             │  eth0  │◄─ redirect_peer ─┐   │  eth0  │
//!      └───┬────┘             └───┬────┘                  │   └───▲────┘
//!          │ veth                 │ veth                  │       │ redirect_peer
//!   ═══════▼══════ from_container ▼═══════════════════════╧══   ══╧════════════ from_overlay
//!     ARP, ND answered │ follow flow │ VIP → backend │ endpoint     known peer? │ follow flow │ local endpoint
//!          │                                                        ▲
//!          └── set_tunnel_key(vni, node) ──► shoal.vxlan ──(UDP)──► shoal.vxlan
//!                                                                   ▲
//!   uplink ══ from_outside: published port → backend anywhere ══════╛ (vni 1: "answer through me")
//!     ▲
//!     └─ redirect_neigh ◄══ from_exit (host side of docker_gwbridge's veth) or from_container: answers of the mesh,
//!                           recognised by flow; back to the entry node through the tunnel, or out here
//! ```
//!
//! Nothing of this needs a bridge, a route, iptables or conntrack. A frame's Ethernet addresses mean nothing on the
//! road: a container sees one neighbour address for everybody ([the programs'](TUNNEL_DEVICE) own), and the road writes
//! the real one on delivery.
//!
//! | map | key → value | written by |
//! |---|---|---|
//! | `ports` | ifindex → vni, own addresses (of exits: vni 0, the ingress addresses) | [`Datapath::attach_port`], `attach_exit` |
//! | `endpoints` | (vni, address) → local interface and MAC, or node, or gateway | [`Datapath::apply`] |
//! | `services` | (vni, address) → backend set, policy | `apply` |
//! | `mesh` | (protocol, published port) → backend set, policy, target port | `apply` |
//! | `backends` | (set, index) → address, slot; ready ones first, draining ones after | `apply` |
//! | `slots` | slot → generation, live flows | `apply`; programs count |
//! | `own_addresses`, `peers` | address → 1 | `apply` |
//! | `flows` (LRU) | (side, scope, protocol, tuple) → tuple afterwards, and where to | programs |
//! | `fragments` (LRU) | (addresses, id) → ports | programs |
//! | `counters`, `events` | per reason; ring buffer, off unless [`Config::events_per_second`] | programs |
//!
//! Rules that keep it right:
//! * A set of backends is never changed: a new one is written, then the service's entry is replaced, whole. A packet
//!   sees the old set or the new one.
//! * Removing a backend raises its slot's generation; every flow compares. TCP then gets a reset at its next packet,
//!   UDP is balanced anew. Draining leaves the slot alone.
//! * A flow's entry holds the whole tuple that the packet shall have. Two entries may not claim the same answer: the
//!   second gets another client *port* (never another address).
//! * Idle TCP flows never time out; they leave when the table (sized by [`Config::flow_entries`]) needs room, the least
//!   recently used first. Closed ones go after a minute, UDP after three ([`Datapath::verify`] sweeps).
//! * Everything is pinned: maps, and links (kernel ≥ 6.6; before that, filters that live with their device). A new
//!   process finds them and replaces the programs without a gap.
//!
//! What a caller must know: all of it works in the network namespace of the calling thread; a container on the ingress
//! network must not filter by reverse path strictly (`rp_filter` 0 or 2) and needs some route to the world's clients,
//! on whatever interface, whose host side has [`Datapath::attach_port`] or [`Datapath::attach_exit`].
#![allow(unsafe_code)]

mod attach;
mod counters;
mod desired;
mod device;
mod error;
mod flows;
mod layout;
mod maps;
mod reconcile;
mod road;

pub use counters::{Counters, FlowEvent};
pub use desired::{Backend, BackendState, Desired, Endpoint, MeshPort, Policy, SEALED_BLOCK, Service, sealed_address};
pub use device::{TUNNEL_DEVICE, is_tunnel};
pub use error::DatapathError;
pub use flows::{FlowInfo, Origin};
pub use road::{Applied, Config, DNS_PORT, Datapath, Port};
