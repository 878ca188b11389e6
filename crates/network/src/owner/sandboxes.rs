//! Sandboxes: made, restored, named, removed.
use super::Owner;
use crate::bridge;
use crate::dns::files::RESOLVED_CONF;
use crate::dns::{DnsWishes, HostsFile, ResolvConf, Scope, hostname_file};
use crate::endpoint::EndpointInfo;
use crate::error::{NetworkError, chain};
use crate::local::{BRIDGE, GWBRIDGE, HOST, NONE};
use crate::overlay::ingress::{self, loose_reverse_path};
use crate::sandbox::{NameFiles, Sandbox, SandboxKind, SandboxSpec};
use kernel::netlink::{Netlink, Route};
use kernel::netns::NetNs;
use kernel::nft::{Base, Chain, ChainKind, Family, Hook, Match, Nft, Rule, Table, Verdict};
use kernel::sysctl;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use wire::Refusal;

/// Docker's defaults inside of a container's own namespace.
const DEFAULTS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

impl Owner {
    pub(super) fn sandbox(&self, container: &str) -> Result<&Sandbox, NetworkError> {
        let none = || Refusal::not_found(format!("container {container} has no network sandbox")).into();
        self.saved.sandboxes.get(container).ok_or_else(none)
    }

    pub(crate) fn create_sandbox(&mut self, spec: SandboxSpec) -> Result<Option<PathBuf>, NetworkError> {
        let id = spec.container_id.clone();
        let path = self.netns_path(&id);
        let own = self.is_own(spec.kind);
        let alive = !own || NetNs::open(&path).is_ok();
        match self.saved.sandboxes.get_mut(&id) {
            Some(known) if alive && known.spec.kind == spec.kind => known.spec = spec,
            known => {
                if known.is_some() {
                    self.remove_sandbox(&id)?;
                }
                if own {
                    NetNs::remove(&path)?;
                    let ns = NetNs::create_at(&path)?;
                    if let Err(e) = settle(&ns, &spec, &path) {
                        let _ = NetNs::remove(&path);
                        return Err(e);
                    }
                }
                self.saved.sandboxes.insert(id, Sandbox { spec, endpoints: Vec::new() });
            }
        }
        self.save()?;
        Ok(own.then_some(path))
    }

    pub(crate) fn remove_sandbox(&mut self, container: &str) -> Result<(), NetworkError> {
        let Some(sandbox) = self.saved.sandboxes.remove(container) else { return Ok(()) };
        let mut failed = Vec::new();
        self.dns.detach(container);
        for e in &sandbox.endpoints {
            failed.extend(self.tear_down(container, e));
        }
        if self.is_own(sandbox.spec.kind) {
            failed.extend(NetNs::remove(&self.netns_path(container)).err().map(NetworkError::from));
        }
        failed.extend(self.reapply().err());
        failed.extend(self.apply_firewall().err());
        self.save()?;
        all_or_first(failed)
    }

    pub(crate) fn reap(&mut self, known: &BTreeSet<String>) -> Result<(), NetworkError> {
        let strays: Vec<String> = self.saved.sandboxes.keys().filter(|id| !known.contains(*id)).cloned().collect();
        let mut failed = Vec::new();
        for id in strays {
            tracing::info!(container = id, "removing the sandbox of a container that is gone");
            failed.extend(self.remove_sandbox(&id).err());
        }
        all_or_first(failed)
    }

    pub(crate) fn rename(&mut self, container: &str, name: &str) -> Result<(), NetworkError> {
        let Some(s) = self.saved.sandboxes.get_mut(container) else { return Ok(()) };
        let old = std::mem::replace(&mut s.spec.container_name, name.to_owned());
        for e in &mut s.endpoints {
            e.names.iter_mut().filter(|n| **n == old).for_each(|n| *n = name.to_owned());
        }
        self.save()
    }

    /// After a restart: what is still there is taken over without touching its traffic, the rest is forgotten.
    pub(super) fn restore_sandboxes(&mut self) -> Result<(), NetworkError> {
        let known: Vec<String> = self.saved.sandboxes.keys().cloned().collect();
        for id in known {
            let kind = self.saved.sandboxes[&id].spec.kind;
            if self.is_own(kind) && self.open_netns(&id).is_err() {
                tracing::info!(container = id, "its network namespace is gone");
                self.saved.sandboxes.remove(&id);
                continue;
            }
            for e in self.saved.sandboxes[&id].endpoints.clone() {
                self.republish(&id, &e);
            }
            if let Err(e) = self.serve_names(&id) {
                tracing::error!(container = id, error = chain(&e), "no name service after the restart");
            }
        }
        self.replug_all()?;
        Ok(())
    }

    /// Removes the namespaces that no sandbox has: a daemon that was killed had made them and not yet said so, or had begun
    /// to remove them.
    pub(super) fn remove_stray_namespaces(&self) -> Result<(), NetworkError> {
        let own = self.saved.sandboxes.iter().filter(|(_, s)| self.is_own(s.spec.kind));
        let own: BTreeSet<PathBuf> = own.map(|(id, _)| self.netns_path(id)).collect();
        let Ok(found) = std::fs::read_dir(self.netns_dir()) else { return Ok(()) };
        let mut failed = Vec::new();
        for path in found.flatten().map(|f| f.path()) {
            if !own.contains(&path) && !path.ends_with(ingress::NAME) {
                tracing::info!(path = %path.display(), "removing a network namespace that no container has");
                failed.extend(NetNs::remove(&path).err().map(NetworkError::from));
            }
        }
        all_or_first(failed)
    }

    fn republish(&mut self, container: &str, e: &EndpointInfo) {
        if e.ports.is_empty() {
            return;
        }
        let reserved = self.ports.reserve_again(&e.ports);
        let to: Vec<IpAddr> = e.addresses.iter().map(|(a, _)| *a).collect();
        self.ports.publish(container, reserved, &to, &self.relay);
    }

    /// Puts host sides that belong on a bridge back there. How many had come off.
    pub(super) fn replug_all(&mut self) -> Result<u64, NetworkError> {
        let links = self.netlink.links()?;
        let mut plugged = 0;
        for s in self.saved.sandboxes.values() {
            for e in s.endpoints.iter().filter(|e| e.vni == 0 && !e.interface.is_empty()) {
                let Some(n) = self.saved.networks.get(&e.network_id) else { continue };
                let name = e.host_interface();
                let Some(port) = links.iter().find(|l| l.name == name) else { continue };
                let bridge = links.iter().find(|l| l.name == n.interface).map(|l| l.index);
                if port.master.is_none() || port.master != bridge || !port.up {
                    bridge::plug(&self.netlink, port.index, n)?;
                    plugged += 1;
                }
            }
        }
        Ok(plugged)
    }

    /// Makes the default routes of a sandbox go where its attachments say.
    pub(super) fn route(&self, container: &str) -> Result<(), NetworkError> {
        let s = self.sandbox(container)?;
        if s.spec.kind != SandboxKind::Own {
            return Ok(());
        }
        let wanted: Vec<(String, IpAddr)> =
            [true, false].into_iter().filter_map(|v4| way_out(&s.endpoints, v4)).collect();
        let path = self.netns_path(container);
        let ns = self.open_netns(container)?;
        ns.run(|| -> Result<(), NetworkError> {
            let inside = Netlink::open()?;
            let mut routes = Vec::new();
            for (interface, gateway) in &wanted {
                routes.push(Route::default_via(*gateway, inside.link(interface)?.index));
            }
            for old in inside.routes()?.iter().filter(|r| r.is_default()) {
                let stays = routes.iter().any(|r| r.gateway == old.gateway && r.index == old.index);
                if !stays && old.gateway.is_some() {
                    inside.del_route(old)?;
                }
            }
            for r in &routes {
                inside.add_route(r)?;
            }
            Ok(())
        })
        .map_err(|source| NetworkError::Enter { path, source })?
    }

    /// Gives a sandbox the embedded name service if one of its networks has names, or takes it away.
    pub(super) fn serve_names(&mut self, container: &str) -> Result<(), NetworkError> {
        let s = self.sandbox(container)?;
        let networks = named_networks(&s.endpoints);
        if networks.is_empty() || s.spec.kind != SandboxKind::Own {
            self.dns.detach(container);
            return Ok(());
        }
        let wishes = wishes(&s.spec);
        let scope = Scope {
            networks,
            upstreams: self.resolv_conf().upstreams(&wishes),
            ndots_set: crate::dns::files::sets_ndots(&wishes.options),
            internal_only: s.endpoints.iter().all(|e| e.internal),
            stack: s.spec.stack.clone(),
            links: private_aliases(&s.endpoints),
        };
        if self.dns.scope(container).is_some() {
            return Ok(self.dns.set_scope(container, scope)?);
        }
        let ns = self.open_netns(container)?;
        match &mut self.swarm {
            Some(swarm) => swarm.road.attach_dns_redirect(&ns)?,
            // Without the packet road a rule inside of the sandbox does it.
            None => Nft::open_in(&ns)?.replace(&redirect_table())?,
        }
        Ok(self.dns.attach(container, &ns, scope)?)
    }

    fn resolv_conf(&self) -> ResolvConf {
        ResolvConf::parse(&std::fs::read_to_string(&self.config.host_resolv_conf).unwrap_or_default())
    }

    pub(crate) fn name_files(&mut self, container: &str) -> Result<NameFiles, NetworkError> {
        let s = self.sandbox(container)?;
        let wishes = wishes(&s.spec);
        let conf = self.resolv_conf();
        let hostname = hostname_file(&s.spec.hostname);
        let resolv_conf = match s.spec.kind {
            SandboxKind::Host => conf.for_host_network(&wishes),
            _ if !named_networks(&s.endpoints).is_empty() => conf.for_embedded(&wishes),
            _ if conf.is_only_loopback() => {
                // What the machine's own stub asks is what a container can ask as well.
                let behind = std::fs::read_to_string(RESOLVED_CONF).map(|t| ResolvConf::parse(&t));
                behind.unwrap_or(conf).for_default_bridge(&wishes)
            }
            _ => conf.for_default_bridge(&wishes),
        };
        let hosts = if s.spec.kind == SandboxKind::Host {
            let mut text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
            for (name, addr) in &s.spec.extra_hosts {
                text.push_str(&format!("{addr}\t{name}\n"));
            }
            text
        } else {
            // Docker names the container by its addresses on all networks but the way out.
            let own = s.endpoints.iter().filter(|e| e.network_name != GWBRIDGE);
            HostsFile {
                hostname: s.spec.hostname.clone(),
                domainname: s.spec.domainname.clone(),
                addresses: own.flat_map(|e| e.addresses.iter().map(|(a, _)| *a)).collect(),
                extra: s.spec.extra_hosts.clone(),
                ipv6: true,
            }
            .render()
        };
        Ok(NameFiles { resolv_conf, hosts, hostname })
    }
}

/// Settings of a fresh namespace, before it has any interface.
fn settle(ns: &NetNs, spec: &SandboxSpec, path: &std::path::Path) -> Result<(), NetworkError> {
    let entered = |source| NetworkError::Enter { path: path.to_owned(), source };
    ns.run(|| -> Result<(), NetworkError> {
        loose_reverse_path()?;
        for (name, value) in DEFAULTS {
            // Kernels without one of them are fine.
            let _ = sysctl::write(name, value);
        }
        for (name, value) in spec.sysctls.iter().filter(|(n, _)| n.starts_with("net.") && !is_of_interface(n)) {
            sysctl::write(name, value).map_err(|e| Refusal::invalid(chain(&e)))?;
        }
        Ok(())
    })
    .map_err(entered)?
}

/// Settings that the user asked for on an interface that has just come.
pub(super) fn settle_interface(ns: &NetNs, spec: &SandboxSpec, interface: &str) -> Result<(), NetworkError> {
    let part = format!(".{interface}.");
    let entered = |source| NetworkError::Enter { path: interface.into(), source };
    ns.run(|| -> Result<(), NetworkError> {
        for (name, value) in spec.sysctls.iter().filter(|(n, _)| n.contains(&part)) {
            sysctl::write(name, value).map_err(|e| Refusal::invalid(chain(&e)))?;
        }
        Ok(())
    })
    .map_err(entered)?
}

fn is_of_interface(name: &str) -> bool {
    name.split('.').any(|part| part.strip_prefix("eth").is_some_and(|n| n.parse::<u32>().is_ok()))
}

fn wishes(spec: &SandboxSpec) -> DnsWishes {
    DnsWishes { nameservers: spec.dns.clone(), search: spec.dns_search.clone(), options: spec.dns_options.clone() }
}

/// Networks whose names a container may ask for: overlays first, then bridges that a user made.
fn named_networks(endpoints: &[EndpointInfo]) -> Vec<Arc<str>> {
    let named = |e: &&EndpointInfo| !matches!(e.network_name.as_str(), BRIDGE | GWBRIDGE | HOST | NONE);
    let (overlays, bridges): (Vec<_>, Vec<_>) = endpoints.iter().filter(named).partition(|e| e.vni != 0);
    overlays.into_iter().chain(bridges).map(|e| e.network_id.as_str().into()).collect()
}

/// What the container alone calls others, with the networks on which they are looked up.
fn private_aliases(endpoints: &[EndpointInfo]) -> BTreeMap<String, Vec<(Arc<str>, String)>> {
    let mut all: BTreeMap<String, Vec<(Arc<str>, String)>> = BTreeMap::new();
    for e in endpoints {
        let network: Arc<str> = e.network_id.as_str().into();
        for (alias, to) in &e.links {
            all.entry(alias.to_lowercase()).or_default().push((network.clone(), to.to_lowercase()));
        }
    }
    all
}

/// Interface and gateway of the default route: highest priority first, bridges before the overlays' way out, then by
/// time of attachment.
fn way_out(endpoints: &[EndpointInfo], v4: bool) -> Option<(String, IpAddr)> {
    let gateway = |e: &EndpointInfo| e.gateways.iter().copied().find(|g| g.is_ipv4() == v4).filter(|_| !e.internal);
    endpoints
        .iter()
        .enumerate()
        .filter_map(|(i, e)| Some((i, e, gateway(e)?)))
        .min_by_key(|(i, e, _)| (-e.gateway_priority, e.network_name == GWBRIDGE, *i))
        .map(|(_, e, g)| (e.interface.clone(), g))
}

fn redirect_table() -> Table {
    let resolver = IpAddr::V4(crate::dns::RESOLVER);
    let asks = |protocol| {
        let matches = [Match::Destination(resolver, 32), Match::Protocol(protocol), Match::DestinationPort(53)];
        Rule::new(matches, Verdict::Dnat(resolver, datapath::DNS_PORT))
    };
    let base = Base { kind: ChainKind::Nat, hook: Hook::Output, priority: -100 };
    let chain = Chain { name: "names".into(), base: Some(base), rules: vec![asks(17), asks(6)] };
    Table { family: Family::Ipv4, name: "shoal_names".into(), maps: Vec::new(), chains: vec![chain] }
}

/// Everything was tried; the first failure is told, the others are logged.
pub(super) fn all_or_first(failed: Vec<NetworkError>) -> Result<(), NetworkError> {
    let mut failed = failed.into_iter();
    let first = failed.next();
    for e in failed {
        tracing::error!(error = chain(&e), "left behind");
    }
    first.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, gateway: Option<&str>, priority: i32, vni: u32) -> EndpointInfo {
        EndpointInfo {
            network_id: format!("id-{name}"),
            network_name: name.into(),
            endpoint_id: String::new(),
            interface: format!("eth-{name}"),
            mac: None,
            addresses: vec![],
            gateways: gateway.into_iter().map(|g| g.parse().unwrap()).collect(),
            ports: vec![],
            mtu: 1500,
            names: vec![],
            task: None,
            vni,
            internal: false,
            ingress: false,
            gateway_priority: priority,
            engine: String::new(),
            links: vec![],
        }
    }

    #[test]
    fn the_default_route_goes_by_priority_then_bridges_then_the_way_out() {
        let gw = endpoint(GWBRIDGE, Some("172.18.0.1"), 0, 0);
        let overlay = endpoint("over", None, 0, 4097);
        let a = endpoint("a", Some("172.19.0.1"), 0, 0);
        let b = endpoint("b", Some("172.20.0.1"), 5, 0);
        let out =
            |es: &[&EndpointInfo]| way_out(&es.iter().map(|e| (*e).clone()).collect::<Vec<_>>(), true).map(|(i, _)| i);
        assert_eq!(out(&[&overlay, &gw]).as_deref(), Some("eth-docker_gwbridge"));
        assert_eq!(out(&[&overlay, &gw, &a]).as_deref(), Some("eth-a"));
        assert_eq!(out(&[&a, &b]).as_deref(), Some("eth-b"));
        assert_eq!(out(&[&overlay]), None);
        let internal = EndpointInfo { internal: true, ..a };
        assert_eq!(out(&[&internal, &gw]).as_deref(), Some("eth-docker_gwbridge"));
    }

    #[test]
    fn overlays_are_asked_for_names_before_bridges() {
        let all = [endpoint("br", None, 0, 0), endpoint(GWBRIDGE, None, 0, 0), endpoint("over", None, 0, 9)];
        let ids: Vec<String> = named_networks(&all).iter().map(|s| s.to_string()).collect();
        assert_eq!(ids, ["id-over", "id-br"]);
        assert!(named_networks(&[endpoint(BRIDGE, None, 0, 0)]).is_empty());
    }
}
