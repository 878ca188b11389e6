//! The one owner of the machine's networks. Runs on a thread of its own; everything here blocks.
//!
//! Every change is: check, touch the kernel (undone on a failure), save, show. Every object can be compared with the
//! kernel and made again from what is saved ([`Owner::verify`], [`Owner::open`]).
mod attachments;
mod locals;
mod sandboxes;
mod swarm;

use crate::bridge;
use crate::dns::{DnsServer, LocalEndpoint, LocalNames, NameTable};
use crate::error::{NetworkError, chain};
use crate::firewall;
use crate::handle::{Config, Shown, VerifyReport};
use crate::local::{BRIDGE, GWBRIDGE, LocalNetwork};
use crate::macvlan;
use crate::overlay::seal::Identity;
use crate::ports::Ports;
use crate::relay::Relay;
use crate::sandbox::SandboxKind;
use crate::store::{Saved, Store};
use arc_swap::ArcSwap;
use kernel::netlink::{Mark, Netlink};
use kernel::netns::NetNs;
use kernel::nft::{Nft, Table};
use model::{Directory, Subnet};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use swarm::Swarm;

pub(crate) struct Owner {
    config: Config,
    store: Store,
    saved: Saved,
    netlink: Netlink,
    nft: Nft,
    /// Our end of encrypted tunnels.
    identity: Option<Identity>,
    /// Whose interfaces are ours.
    mark: Mark,
    /// Name of our nftables tables: one daemon's is not another's.
    table: String,
    /// As last written.
    tables: Option<[Table; 2]>,
    ports: Ports,
    relay: Relay,
    dns: DnsServer,
    directory: Arc<Directory>,
    swarm: Option<Swarm>,
    /// The daemon is going down: nothing is repaired any more.
    resting: bool,
    shown: Arc<ArcSwap<Shown>>,
}

impl Owner {
    /// Takes over what an earlier run left, and makes what is missing.
    pub(crate) fn open(
        config: Config,
        identity: Option<Identity>,
        shown: Arc<ArcSwap<Shown>>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, NetworkError> {
        let store = Store::open(&config.data_dir)?;
        let saved = store.load()?;
        let relay = Relay::start("published-ports", None)
            .map_err(|source| NetworkError::Start { what: "thread of the published ports", source })?;
        let table = format!("shoal_{:08x}", bridge::fnv(config.exec_dir.as_os_str().as_encoded_bytes()) as u32);
        let mut owner = Self {
            netlink: Netlink::open()?,
            nft: Nft::open()?,
            dns: DnsServer::new(datapath::DNS_PORT, runtime),
            directory: Arc::default(),
            tables: None,
            ports: Ports::default(),
            swarm: None,
            resting: false,
            identity,
            mark: Mark::new(&config.data_dir),
            config,
            store,
            saved,
            relay,
            table,
            shown,
        };
        owner.ensure_predefined()?;
        owner.ensure_links();
        owner.restore_swarm();
        owner.restore_sandboxes()?;
        owner.remove_stray_namespaces()?;
        owner.remove_stray_links()?;
        owner.apply_firewall()?;
        // On a full disk what was saved last is still true but for what has been found gone, and will be again.
        if let Err(e) = owner.save() {
            tracing::warn!("the networks' state stays as it was saved last: {e}");
        }
        Ok(owner)
    }

    fn netns_path(&self, container: &str) -> PathBuf {
        self.netns_dir().join(container.get(..12).unwrap_or(container))
    }

    fn netns_dir(&self) -> PathBuf {
        self.config.exec_dir.join("netns")
    }

    fn open_netns(&self, container: &str) -> Result<NetNs, NetworkError> {
        let path = self.netns_path(container);
        NetNs::open(&path).map_err(|source| NetworkError::Enter { path, source })
    }

    /// Saves, and shows what is to be seen from outside: networks, attachments, names.
    fn save(&mut self) -> Result<(), NetworkError> {
        self.show();
        self.store.save(&self.saved)
    }

    fn show(&self) {
        let endpoints: BTreeMap<_, _> =
            self.saved.sandboxes.iter().map(|(id, s)| (id.clone(), s.endpoints.clone())).collect();
        let mut locals: Vec<Arc<LocalNetwork>> = Vec::new();
        for n in self.saved.networks.values() {
            let mut n = n.clone();
            for (container, attached) in &endpoints {
                let here = attached.iter().find(|e| e.network_id == n.id);
                n.endpoints.extend(here.map(|e| (container.clone(), e.clone())));
            }
            locals.push(Arc::new(n));
        }
        locals.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        self.dns.publish(Arc::new(self.names(&locals)));
        self.shown.store(Arc::new(Shown {
            locals,
            endpoints,
            directory: self.directory.clone(),
            tunnels_apart: self.swarm.as_ref().and_then(|s| s.apart.clone()),
        }));
    }

    fn names(&self, locals: &[Arc<LocalNetwork>]) -> NameTable {
        let named = locals
            .iter()
            .filter(|n| (n.is_bridge() || n.is_macvlan()) && !matches!(n.spec.name.as_str(), BRIDGE | GWBRIDGE));
        let locals: Vec<LocalNames> = named
            .map(|n| LocalNames {
                id: n.id.clone(),
                name: n.spec.name.clone(),
                subnets: n.pools.iter().map(|p| p.subnet).collect(),
                endpoints: n
                    .endpoints
                    .values()
                    .map(|e| LocalEndpoint {
                        names: e.names.clone(),
                        addresses: e.addresses.iter().map(|(a, _)| *a).collect(),
                    })
                    .collect(),
            })
            .collect();
        NameTable::build(&self.directory, &BTreeSet::new(), &locals)
    }

    fn desired_tables(&self) -> [Table; 2] {
        firewall::tables(&self.table, self.saved.networks.values(), &self.ports.forwards())
    }

    /// Writes our nftables tables if they shall be others than they are.
    fn apply_firewall(&mut self) -> Result<(), NetworkError> {
        let desired = self.desired_tables();
        for (i, table) in desired.iter().enumerate() {
            if self.tables.as_ref().is_none_or(|old| old[i] != *table) {
                self.nft.replace(table)?;
            }
        }
        self.tables = Some(desired);
        Ok(())
    }

    /// Compares the kernel with what it should be, and repairs it.
    pub(crate) fn verify(&mut self) -> Result<VerifyReport, NetworkError> {
        if self.resting {
            return Ok(VerifyReport::default());
        }
        let mut repaired = 0;
        repaired += self.ensure_links();
        repaired += self.replug_all()?;
        for table in self.desired_tables() {
            if !self.nft.is_intact(&table)? {
                self.nft.replace(&table)?;
                repaired += 1;
            }
        }
        repaired += self.verify_swarm()?;
        let digest = self.swarm.as_ref().map_or(0, |_| self.directory.digest());
        let ports_taken = self.swarm.as_ref().map_or(0, |s| s.ports_taken);
        Ok(VerifyReport { digest, revision: self.directory.revision, repaired, ports_taken })
    }

    /// Takes out of the kernel what nobody needs while no daemon runs: bridges without attachments, and the data path where
    /// no container is on an overlay and no service is known. The next start makes them anew.
    pub(crate) fn rest(&mut self) -> Result<(), NetworkError> {
        self.resting = true;
        let used: BTreeSet<String> =
            self.saved.sandboxes.values().flat_map(|s| &s.endpoints).map(|e| e.network_id.clone()).collect();
        let idle = self.directory.networks.values().all(|n| n.services.is_empty() && n.endpoints.is_empty());
        if idle && !self.saved.sandboxes.values().flat_map(|s| &s.endpoints).any(|e| e.vni != 0) {
            self.swarm.take().map_or(Ok(()), |swarm| self.close_road(swarm))?;
        }
        let links = self.netlink.links()?;
        for n in self.saved.networks.values().filter(|n| n.makes_link() && !used.contains(&n.id)) {
            let Some(link) = links.iter().find(|l| l.name == n.interface && self.mark.is_own(l)) else { continue };
            // Somebody may have put an interface of his own there.
            if !links.iter().any(|l| l.master == Some(link.index)) {
                self.netlink.del_link_index(link.index)?;
            }
        }
        Ok(())
    }

    /// Makes the link of every network be as saved. How many were not there. One that cannot be made is told, not fatal:
    /// the others must work.
    fn ensure_links(&mut self) -> u64 {
        let mut made = 0;
        for n in self.saved.networks.values().filter(|n| !n.interface.is_empty()) {
            let there = self.netlink.link_by_name(&n.interface).is_ok_and(|l| l.is_some_and(|l| l.up));
            let complete = there && (n.is_macvlan() || self.has_gateways(n));
            if complete && !n.is_foreign() {
                continue;
            }
            made += u64::from(!complete);
            if let Err(e) = self.ensure_link(n) {
                tracing::error!(network = n.spec.name, error = chain(&e), "the link of a network cannot be made");
            }
        }
        made
    }

    pub(super) fn ensure_link(&self, n: &LocalNetwork) -> Result<(), NetworkError> {
        match n.is_macvlan() {
            true => macvlan::ensure(&self.netlink, n, &self.mark),
            false => bridge::ensure(&self.netlink, n, &self.mark).map(drop),
        }
    }

    fn has_gateways(&self, n: &LocalNetwork) -> bool {
        let Ok(addresses) = self.netlink.addresses() else { return false };
        n.pools.iter().all(|p| addresses.iter().any(|a| a.addr == p.gateway))
    }

    /// Removes our kind of interfaces that no attachment owns: a crash came between making and saving.
    fn remove_stray_links(&mut self) -> Result<(), NetworkError> {
        let owned: BTreeSet<String> =
            self.saved.sandboxes.values().flat_map(|s| &s.endpoints).map(|e| e.host_interface()).collect();
        for link in self.netlink.links()? {
            let ours = is_attachment_name(&link.name) && link.name[2..].starts_with(self.mark.tag());
            if ours && link.kind.as_deref() == Some("veth") && !owned.contains(&link.name) {
                tracing::info!(interface = link.name, "removing an interface that nobody owns");
                self.netlink.del_link_index(link.index)?;
            }
        }
        Ok(())
    }

    /// Blocks that the machine routes.
    pub(crate) fn routed(&mut self) -> Result<Vec<Subnet>, NetworkError> {
        let mut all: BTreeSet<Subnet> = BTreeSet::new();
        for r in self.netlink.routes()?.into_iter().filter(|r| !r.is_default()) {
            let multicast = r.dst.0.is_multicast();
            let link_local = matches!(r.dst.0, std::net::IpAddr::V6(a) if a.is_unicast_link_local());
            if !multicast && !link_local {
                all.insert(Subnet::containing(r.dst.0, r.dst.1));
            }
        }
        Ok(all.into_iter().collect())
    }

    fn is_own(&self, kind: SandboxKind) -> bool {
        kind != SandboxKind::Host
    }
}

/// `vb` or `ve`, and twelve hexadecimal digits: four of the engine, eight of the attachment.
fn is_attachment_name(name: &str) -> bool {
    let digits = name.strip_prefix("vb").or_else(|| name.strip_prefix("ve"));
    digits.is_some_and(|d| d.len() == 12 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// 64 digits.
fn fresh_id() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
