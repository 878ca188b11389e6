//! Making the maps equal to what is desired.
//!
//! What goes in goes in first, what goes out goes out last, and a service's backends change in one step: a new set is
//! written under a number of its own, then the service's entry is replaced, and the old set is let go on the *next*
//! call, when no program can still hold the old entry.
use crate::desired::{Backend as WantedBackend, BackendState, Desired, Endpoint as WantedEndpoint, Policy};
use crate::error::DatapathError;
use crate::layout::*;
use crate::maps::Maps;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a program that has seen an old set may still be running; far more than it takes.
const GRACE: Duration = Duration::from_millis(50);

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Vip(Place),
    Mesh(MeshKey),
}

/// A service as it stands in the kernel.
#[derive(Clone, Debug)]
struct Standing {
    head: Service,
    rows: Vec<Backend>,
}

/// What the kernel holds, as far as this process wrote or read it.
pub struct Ledger {
    endpoints: BTreeMap<Place, Endpoint>,
    services: BTreeMap<Owner, Standing>,
    own_addresses: BTreeSet<Addr>,
    peers: BTreeSet<Node>,
    settings: Settings,
    free_slots: Vec<u32>,
    next_set: u32,
    retired: Vec<(Instant, u32, u32)>,
}

/// A service as it shall stand: its head without set and cursor, and its backends in order.
struct Wanted {
    head: Service,
    addrs: Vec<Addr>,
}

fn desired_service(
    vni: u32,
    target_port: u16,
    policy: Policy,
    prefer_local: bool,
    backends: &[WantedBackend],
    desired: &Desired,
    name: IpAddr,
) -> Result<Wanted, DatapathError> {
    if backends.len() > usize::from(u16::MAX) {
        return Err(DatapathError::SetTooLarge { addr: name, count: backends.len() });
    }
    let near = |b: &WantedBackend| {
        matches!(desired.endpoints.get(&(vni, b.addr)), Some(WantedEndpoint::Local { .. })) && prefer_local
    };
    let mut ready: Vec<_> = backends.iter().filter(|b| b.state == BackendState::Ready).collect();
    ready.sort_by_key(|b| (!near(b), b.addr));
    ready.dedup_by_key(|b| b.addr);
    let mut draining: Vec<_> = backends.iter().filter(|b| b.state == BackendState::Draining).collect();
    draining.sort_by_key(|b| b.addr);
    draining.dedup_by_key(|b| b.addr);
    draining.retain(|b| !ready.iter().any(|r| r.addr == b.addr));
    let head = Service {
        ready: ready.len() as u32,
        nearby: ready.iter().filter(|b| near(b)).count() as u32,
        policy: policy.number(),
        vni,
        target_port: target_port.to_be_bytes(),
        total: (ready.len() + draining.len()) as u16,
        set: 0,
        cursor: 0,
    };
    let addrs = ready.into_iter().chain(draining).map(|b| Addr::from(b.addr)).collect();
    Ok(Wanted { head, addrs })
}

fn equal_heads(a: &Service, b: &Service) -> bool {
    Service { set: 0, cursor: 0, ..*a } == Service { set: 0, cursor: 0, ..*b }
}

impl Ledger {
    /// Reads the kernel's state. Rows and slots that no service owns are let go.
    pub fn read(maps: &mut Maps) -> Result<Self, DatapathError> {
        let mut rows: BTreeMap<BackendKey, Backend> = maps.backends.entries()?.into_iter().collect();
        let mut services = BTreeMap::new();
        let heads: Vec<(Owner, Service)> = (maps.services.entries()?.into_iter().map(|(k, s)| (Owner::Vip(k), s)))
            .chain(maps.mesh.entries()?.into_iter().map(|(k, s)| (Owner::Mesh(k), s)))
            .collect();
        let slot_count = maps.slots.len();
        let mut used = vec![false; slot_count as usize];
        let mut next_set = rows.keys().map(|k| k.set).max().unwrap_or(0);
        for (owner, head) in heads {
            next_set = next_set.max(head.set);
            let mut own = Vec::new();
            for index in 0..u32::from(head.total) {
                let Some(row) = rows.remove(&BackendKey { set: head.set, index }) else { continue };
                if row.slot < slot_count && maps.slot(row.slot)?.generation == row.generation {
                    used[row.slot as usize] = true;
                    own.push(row);
                }
            }
            services.insert(owner, Standing { head, rows: own });
        }
        for orphan in rows.keys() {
            maps.backends.remove(orphan)?;
        }
        let free_slots = (0..slot_count).rev().filter(|i| !used[*i as usize]).collect();
        Ok(Self {
            endpoints: maps.endpoints.entries()?.into_iter().collect(),
            services,
            own_addresses: maps.own_addresses.entries()?.into_iter().map(|(a, _)| a).collect(),
            peers: maps.peers.entries()?.into_iter().map(|(a, _)| a).collect(),
            settings: maps.settings()?,
            free_slots,
            next_set: next_set.wrapping_add(1),
            retired: Vec::new(),
        })
    }

    /// Writes what differs; the number of differences.
    pub fn apply(&mut self, maps: &mut Maps, desired: &Desired) -> Result<u64, DatapathError> {
        let mut changes = 0;
        let endpoints: BTreeMap<Place, Endpoint> = desired
            .endpoints
            .iter()
            .map(|((vni, addr), e)| (place(*vni, *addr), endpoint(*e, desired.sealed.contains(vni))))
            .collect();
        let wanted = wanted_services(desired)?;
        let own: BTreeSet<Addr> = desired.local_addresses.iter().map(|a| Addr::from(*a)).collect();
        let peers: BTreeSet<Node> = desired.peers.iter().map(|a| Node::from(*a)).collect();

        let settings = Settings { ingress_vni: desired.ingress_vni.unwrap_or(0), mtu: desired.mtu, ..self.settings };
        if settings != self.settings {
            maps.set_settings(settings)?;
            self.settings = settings;
            changes += 1;
        }
        for peer in &peers {
            if self.peers.insert(*peer) {
                maps.peers.set(peer, &1)?;
                changes += 1;
            }
        }
        for (at, e) in &endpoints {
            if self.endpoints.get(at) != Some(e) {
                maps.endpoints.set(at, e)?;
                self.endpoints.insert(*at, *e);
                changes += 1;
            }
        }
        self.free_retired(maps)?;
        for (owner, service) in &wanted {
            changes += u64::from(self.put_service(maps, *owner, service)?);
        }
        for addr in &own {
            if self.own_addresses.insert(*addr) {
                maps.own_addresses.set(addr, &1)?;
                changes += 1;
            }
        }

        for owner in self.services.keys().filter(|o| !wanted.contains_key(o)).copied().collect::<Vec<_>>() {
            self.drop_service(maps, owner)?;
            changes += 1;
        }
        for at in self.endpoints.keys().filter(|k| !endpoints.contains_key(k)).copied().collect::<Vec<_>>() {
            maps.endpoints.remove(&at)?;
            self.endpoints.remove(&at);
            changes += 1;
        }
        for addr in self.own_addresses.difference(&own).copied().collect::<Vec<_>>() {
            maps.own_addresses.remove(&addr)?;
            self.own_addresses.remove(&addr);
            changes += 1;
        }
        for peer in self.peers.difference(&peers).copied().collect::<Vec<_>>() {
            maps.peers.remove(&peer)?;
            self.peers.remove(&peer);
            changes += 1;
        }
        Ok(changes)
    }

    pub fn set_settings(&mut self, maps: &mut Maps, settings: Settings) -> Result<(), DatapathError> {
        maps.set_settings(settings)?;
        self.settings = settings;
        Ok(())
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    fn put_service(&mut self, maps: &mut Maps, owner: Owner, wanted: &Wanted) -> Result<bool, DatapathError> {
        let old = self.services.get(&owner).cloned();
        if let Some(old) = &old
            && equal_heads(&old.head, &wanted.head)
            && old.rows.iter().map(|r| r.addr).eq(wanted.addrs.iter().copied())
        {
            return Ok(false);
        }
        let set = self.next_set;
        self.next_set = self.next_set.wrapping_add(1);
        let old_rows = old.as_ref().map(|o| o.rows.as_slice()).unwrap_or_default();
        let known: BTreeMap<Addr, Backend> = old_rows.iter().map(|r| (r.addr, *r)).collect();
        let mut rows = Vec::with_capacity(wanted.addrs.len());
        for (index, addr) in wanted.addrs.iter().enumerate() {
            let row = match known.get(addr) {
                Some(row) => *row,
                None => self.new_backend(maps, *addr)?,
            };
            maps.backends.set(&BackendKey { set, index: index as u32 }, &row)?;
            rows.push(row);
        }
        let cursor = old.as_ref().map_or(0, |o| o.head.cursor);
        let head = Service { set, cursor, ..wanted.head };
        match owner {
            Owner::Vip(at) => maps.services.set(&at, &head)?,
            Owner::Mesh(at) => maps.mesh.set(&at, &head)?,
        }
        let kept: BTreeSet<u32> = rows.iter().map(|r| r.slot).collect();
        if let Some(old) = &old {
            self.retired.push((Instant::now(), old.head.set, u32::from(old.head.total)));
            for row in old.rows.iter().filter(|r| !kept.contains(&r.slot)) {
                self.end_backend(maps, row)?;
            }
        }
        self.services.insert(owner, Standing { head, rows });
        Ok(true)
    }

    fn drop_service(&mut self, maps: &mut Maps, owner: Owner) -> Result<(), DatapathError> {
        match owner {
            Owner::Vip(at) => maps.services.remove(&at)?,
            Owner::Mesh(at) => maps.mesh.remove(&at)?,
        }
        if let Some(old) = self.services.remove(&owner) {
            self.retired.push((Instant::now(), old.head.set, u32::from(old.head.total)));
            for row in &old.rows {
                self.end_backend(maps, row)?;
            }
        }
        Ok(())
    }

    fn new_backend(&mut self, maps: &mut Maps, addr: Addr) -> Result<Backend, DatapathError> {
        let slot = self.free_slots.pop().ok_or(DatapathError::TooManyBackends(maps.slots.len() as usize))?;
        let generation = maps.slot(slot)?.generation.wrapping_add(1);
        maps.set_slot(slot, Slot { generation, live: 0 })?;
        Ok(Backend { addr, slot, generation })
    }

    /// From here on its flows are refused or balanced anew.
    fn end_backend(&mut self, maps: &mut Maps, row: &Backend) -> Result<(), DatapathError> {
        maps.set_slot(row.slot, Slot { generation: row.generation.wrapping_add(1), live: 0 })?;
        // To the far end of the queue: the longer a number is unused the better.
        self.free_slots.insert(0, row.slot);
        Ok(())
    }

    fn free_retired(&mut self, maps: &mut Maps) -> Result<(), DatapathError> {
        let (old, young): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.retired).into_iter().partition(|(at, ..)| at.elapsed() >= GRACE);
        self.retired = young;
        for (_, set, total) in old {
            for index in 0..total {
                maps.backends.remove(&BackendKey { set, index })?;
            }
        }
        Ok(())
    }

    /// How long the youngest retired set is still to be left alone.
    pub fn grace_left(&self) -> Option<Duration> {
        self.retired.iter().map(|(at, ..)| GRACE.saturating_sub(at.elapsed())).max()
    }

    /// Continues after a fresh look at the kernel: set numbers are not used again at once.
    pub fn carry_over(&mut self, before: &Self) {
        self.next_set = self.next_set.max(before.next_set);
    }
}

fn wanted_services(desired: &Desired) -> Result<BTreeMap<Owner, Wanted>, DatapathError> {
    let mut wanted = BTreeMap::new();
    for ((vni, addr), s) in &desired.services {
        let w = desired_service(*vni, 0, s.policy, s.prefer_local, &s.backends, desired, *addr)?;
        wanted.insert(Owner::Vip(place(*vni, *addr)), w);
    }
    for ((protocol, port), m) in &desired.mesh {
        let vni = desired.ingress_vni.unwrap_or(0);
        let name = IpAddr::from([0, 0, 0, 0]);
        let w = desired_service(vni, m.target_port, m.policy, m.prefer_local, &m.backends, desired, name)?;
        let key = MeshKey { port: port.to_be_bytes(), proto: protocol.number(), pad: 0 };
        wanted.insert(Owner::Mesh(key), w);
    }
    Ok(wanted)
}

fn place(vni: u32, addr: IpAddr) -> Place {
    Place { addr: addr.into(), vni }
}

fn endpoint(e: WantedEndpoint, sealed: bool) -> Endpoint {
    match e {
        WantedEndpoint::Local { ifindex, mac } => {
            Endpoint { ifindex, mac, kind: ENDPOINT_LOCAL, sealed: u8::from(sealed), ..Endpoint::default() }
        }
        WantedEndpoint::Remote { node } => Endpoint { node: node.into(), kind: ENDPOINT_REMOTE, ..Endpoint::default() },
        WantedEndpoint::Sealed { node } => Endpoint { node: node.into(), kind: ENDPOINT_SEALED, ..Endpoint::default() },
        WantedEndpoint::Gateway => Endpoint { kind: ENDPOINT_GATEWAY, ..Endpoint::default() },
    }
}
