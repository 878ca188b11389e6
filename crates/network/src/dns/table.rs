//! All names that the containers of this node may ask for, as pure data.
//!
//! Built whole from the directory and the local networks, published whole, never changed: a lookup takes no lock.
use model::{Directory, EndpointState, NetworkView, NodeId, ResolutionMode, Subnet};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Seconds that a virtual address may be remembered: it does not change while the service lives.
pub const VIRTUAL_TTL: u32 = 5;
/// Seconds that a task's address may be remembered.
pub const TASK_TTL: u32 = 2;

/// The names of every network on this node.
#[derive(Debug, Default)]
pub struct NameTable {
    revision: u64,
    networks: HashMap<Box<str>, NetworkNames>,
}

/// The names of one local network (a bridge).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNames {
    /// Network id.
    pub id: String,
    /// Network name.
    pub name: String,
    /// Blocks, so that unknown addresses in them are not asked for outside.
    pub subnets: Vec<Subnet>,
    /// Containers.
    pub endpoints: Vec<LocalEndpoint>,
}

/// A container on a local network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// Container name first (it is the one that an address is translated back to), then short id, hostname, aliases.
    pub names: Vec<String>,
    /// Addresses on this network.
    pub addresses: Vec<IpAddr>,
}

/// What one name stands for on one network. Usually one claim; several if stacks share an alias.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Record {
    claims: Vec<Claim>,
}

#[derive(Debug, PartialEq, Eq)]
struct Claim {
    stack: Option<Arc<str>>,
    service: bool,
    addresses: Vec<IpAddr>,
    ttl: u32,
}

#[derive(Debug, Default)]
struct NetworkNames {
    name: Box<str>,
    subnets: Vec<Subnet>,
    records: HashMap<Box<str>, Record>,
    reverse: HashMap<IpAddr, Vec<Box<str>>>,
}

/// What is known of an address.
#[derive(Debug, PartialEq, Eq)]
pub enum Reverse<'t> {
    /// Its names.
    Names(&'t [Box<str>]),
    /// It lies in a network of the asker, and nobody has it.
    Nobody,
    /// It is none of ours.
    Foreign,
}

impl Record {
    /// The addresses for an asker of `stack`: those of its own stack's service, else all.
    pub fn addresses<'r>(&'r self, stack: Option<&'r str>) -> impl Iterator<Item = (IpAddr, u32)> + 'r {
        let own = stack.is_some() && self.claims.len() > 1 && self.claims.iter().any(|c| c.stack.as_deref() == stack);
        self.claims
            .iter()
            .filter(move |c| !own || c.stack.as_deref() == stack)
            .flat_map(|c| c.addresses.iter().map(|a| (*a, c.ttl)))
    }

    fn claim(&mut self, claim: Claim) {
        // A task whose hostname is its own service's name must not turn the virtual address into a list.
        if !claim.service && self.claims.iter().any(|c| c.service) {
            return;
        }
        match self.claims.iter_mut().find(|c| c.stack == claim.stack && c.service == claim.service) {
            Some(same) => {
                same.ttl = same.ttl.min(claim.ttl);
                same.addresses.extend(claim.addresses);
                same.addresses.sort_unstable();
                same.addresses.dedup();
            }
            None => self.claims.push(claim),
        }
    }
}

impl NameTable {
    /// The names by `directory` (endpoints on the nodes of `dead` left out, as on those that the directory itself
    /// calls dead) and by the local networks.
    pub fn build(directory: &Directory, dead: &BTreeSet<NodeId>, locals: &[LocalNames]) -> Self {
        let mut networks = HashMap::new();
        for (id, view) in directory.networks.iter().filter(|(_, n)| !n.attrs.ingress) {
            let alive = |node: &NodeId| directory.is_alive(node) && !dead.contains(node);
            networks.insert(id.as_str().into(), NetworkNames::of_overlay(view, &alive));
        }
        for local in locals {
            networks.insert(local.id.as_str().into(), NetworkNames::of_local(local));
        }
        Self { revision: directory.revision, networks }
    }

    /// The directory's revision that this shows.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Looks `name` (lower case, no last dot) up in `networks`, in their order: the whole name in each of them first,
    /// then `a.b` in the network `c`, then `a` in the network `b.c`.
    pub fn find(&self, networks: &[Arc<str>], name: &str) -> Option<&Record> {
        let scope = || networks.iter().filter_map(|id| self.networks.get(&**id));
        if let Some(record) = scope().find_map(|n| n.records.get(name)) {
            return Some(record);
        }
        let mut end = name.len();
        while let Some(dot) = name[..end].rfind('.') {
            let (host, network) = (&name[..dot], &name[dot + 1..]);
            if let Some(record) = scope().filter(|n| *n.name == *network).find_map(|n| n.records.get(host)) {
                return Some(record);
            }
            end = dot;
        }
        None
    }

    /// The names of an address in `networks`.
    pub fn reverse(&self, networks: &[Arc<str>], addr: IpAddr) -> Reverse<'_> {
        let mut ours = false;
        for n in networks.iter().filter_map(|id| self.networks.get(&**id)) {
            if let Some(names) = n.reverse.get(&addr) {
                return Reverse::Names(names);
            }
            ours |= n.subnets.iter().any(|s| s.contains(addr));
        }
        if ours { Reverse::Nobody } else { Reverse::Foreign }
    }
}

impl NetworkNames {
    fn of_overlay(view: &NetworkView, alive: &dyn Fn(&NodeId) -> bool) -> Self {
        let subnets = view.attrs.subnets.iter().map(|s| s.subnet).collect();
        let mut names = Self::named(&view.attrs.name, subnets);
        for (id, service) in &view.services {
            let stack: Option<Arc<str>> = service.stack.as_deref().map(Into::into);
            let mut ready: Vec<IpAddr> = view
                .endpoints
                .values()
                .filter(|e| e.service.as_ref() == Some(id) && e.state == EndpointState::Ready && alive(&e.node))
                .flat_map(|e| e.addresses.iter().copied())
                .collect();
            ready.sort_unstable();
            let (addresses, ttl) = match service.resolution {
                ResolutionMode::Vip => (service.vips.clone(), VIRTUAL_TTL),
                ResolutionMode::DnsRr => (ready.clone(), TASK_TTL),
            };
            for name in std::iter::once(&service.name).chain(&service.aliases) {
                let claim = |addresses: &[IpAddr], ttl| Claim {
                    stack: stack.clone(),
                    service: true,
                    addresses: addresses.to_vec(),
                    ttl,
                };
                names.record(name, claim(&addresses, ttl));
                names.record(&format!("tasks.{name}"), claim(&ready, TASK_TTL));
            }
            names.point_back(&service.vips, &service.name);
        }
        for endpoint in view.endpoints.values() {
            let here = if alive(&endpoint.node) { &endpoint.addresses[..] } else { &[] };
            names.endpoint(&endpoint.names, here);
        }
        names
    }

    fn of_local(local: &LocalNames) -> Self {
        let mut names = Self::named(&local.name, local.subnets.clone());
        for endpoint in &local.endpoints {
            names.endpoint(&endpoint.names, &endpoint.addresses);
        }
        names
    }

    fn named(name: &str, subnets: Vec<Subnet>) -> Self {
        Self { name: name.to_lowercase().into(), subnets, ..Self::default() }
    }

    fn endpoint(&mut self, names: &[String], addresses: &[IpAddr]) {
        for name in names.iter().filter(|n| !n.is_empty()) {
            let claim = Claim { stack: None, service: false, addresses: addresses.to_vec(), ttl: TASK_TTL };
            self.record(name, claim);
        }
        if let Some(first) = names.first() {
            self.point_back(addresses, first);
        }
    }

    fn record(&mut self, name: &str, claim: Claim) {
        self.records.entry(name.trim_end_matches('.').to_lowercase().into()).or_default().claim(claim);
    }

    fn point_back(&mut self, addresses: &[IpAddr], name: &str) {
        let full: Box<str> = format!("{name}.{}", self.name).into();
        for addr in addresses {
            let names = self.reverse.entry(*addr).or_default();
            if !names.contains(&full) {
                names.push(full.clone());
            }
        }
    }
}
