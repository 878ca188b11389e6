//! Reading the flow table.
use crate::error::DatapathError;
use crate::layout::*;
use crate::maps::Maps;
use model::Protocol;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const UDP_LIVE: Duration = Duration::from_secs(10);
const UDP_IDLE: Duration = Duration::from_secs(180);
const TCP_LIVE: Duration = Duration::from_secs(3600);
const CLOSED_IDLE: Duration = Duration::from_secs(60);
const TCP: u8 = 6;

/// Where a flow was seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A container of this network, here or (direct connections only) elsewhere.
    Network(u32),
    /// A published port of this node.
    Outside,
    /// A published port of another node.
    Entry(Ipv4Addr),
}

/// One flow, as its client sees it and as its backend sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowInfo {
    /// Where it comes from.
    pub origin: Origin,
    /// Protocol.
    pub protocol: Protocol,
    /// The client.
    pub client: (IpAddr, u16),
    /// What the client called.
    pub called: (IpAddr, u16),
    /// Who answers.
    pub backend: (IpAddr, u16),
    /// The network of the backend.
    pub vni: u32,
    /// Closed or reset.
    pub finished: bool,
    /// Time since its last packet (seconds' resolution).
    pub idle: Duration,
}

fn now_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec to be written to; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn idle(flow: &Flow, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(flow.seen_ns))
}

/// Forward entries only; replies are their shadows.
pub fn list(maps: &Maps) -> Result<Vec<FlowInfo>, DatapathError> {
    let now = now_ns();
    let info = |(key, flow): (FlowKey, Flow)| FlowInfo {
        origin: match key.side {
            0 => Origin::Network(key.scope),
            1 => Origin::Outside,
            _ => Origin::Entry(Ipv4Addr::from(key.scope.to_ne_bytes())),
        },
        protocol: if key.proto == TCP { Protocol::Tcp } else { Protocol::Udp },
        client: (key.src.into(), u16::from_be_bytes(key.sport)),
        called: (key.dst.into(), u16::from_be_bytes(key.dport)),
        backend: (flow.to.dst.into(), u16::from_be_bytes(flow.to.dport)),
        vni: flow.vni,
        finished: flow.is_finished(),
        idle: idle(&flow, now),
    };
    Ok(maps.flows.entries()?.into_iter().filter(|(_, f)| f.flags & FLOW_REPLY == 0).map(info).collect())
}

/// Whether a flow still needs its backend.
pub fn is_live(f: &FlowInfo) -> bool {
    match f.protocol {
        Protocol::Tcp => !f.finished && f.idle < TCP_LIVE,
        _ => f.idle < UDP_LIVE,
    }
}

/// Removes what has ended, and sets the backends' counts right (entries that the table itself evicted were never taken
/// off). How many entries went.
pub fn sweep(maps: &mut Maps) -> Result<u64, DatapathError> {
    let now = now_ns();
    let mut live: HashMap<(u32, u32), i32> = HashMap::new();
    let mut removed = 0;
    for (key, flow) in maps.flows.entries()? {
        let idle = idle(&flow, now);
        let ended = if key.proto == TCP { flow.is_finished() && idle > CLOSED_IDLE } else { idle > UDP_IDLE };
        if ended {
            maps.flows.remove(&key)?;
            removed += 1;
        } else if flow.slot != NO_SLOT && !flow.is_finished() {
            *live.entry((flow.slot, flow.generation)).or_default() += 1;
        }
    }
    for (_, row) in maps.backends.entries()? {
        let slot = maps.slot(row.slot)?;
        let counted = live.get(&(row.slot, row.generation)).copied().unwrap_or(0);
        if slot.generation == row.generation && slot.live != counted {
            maps.set_slot(row.slot, Slot { live: counted, ..slot })?;
        }
    }
    Ok(removed)
}
