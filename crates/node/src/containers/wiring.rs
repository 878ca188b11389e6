//! A container's networks: which attachments it wants, making them at its start, changing them while it runs.
use super::record::Record;
use super::{Container, Containers};
use model::{NetworkAttrs, NetworkId, TaskId};
use network::{Attach, BoundPort, EndpointInfo, LocalAttach, OverlayAttach, PortBinding, SandboxKind, SandboxSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use wire::Refusal;
use wire::engine::container::{ContainerConfig, HostConfig};
use wire::engine::network::{EndpointSettings, PortBinding as EnginePort, PortMap};

/// A place on an overlay, given by a manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayWish {
    /// Which network.
    pub network: NetworkId,
    /// Whose addresses they are.
    pub task: TaskId,
    /// Addresses with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Attributes of the network.
    pub attrs: NetworkAttrs,
    /// Names, for inspection.
    pub names: Vec<String>,
}

const OVERLAYS: &str = "overlays.json";

pub(super) fn keep_overlays(dir: &Path, overlays: &[OverlayWish]) -> std::io::Result<()> {
    if overlays.is_empty() {
        return Ok(());
    }
    std::fs::write(dir.join(OVERLAYS), serde_json::to_vec(overlays).map_err(std::io::Error::other)?)
}

fn kept_overlays(dir: &Path) -> Vec<OverlayWish> {
    std::fs::read(dir.join(OVERLAYS)).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default()
}

impl Containers {
    /// Refuses what cannot be wished for. Whether a network is there is asked at the start, as Docker does: clients take
    /// a 404 of a create for a missing image.
    pub(super) fn check_networks(
        &self,
        wished: &BTreeMap<String, EndpointSettings>,
        mode: &str,
    ) -> Result<(), Refusal> {
        if mode.starts_with("container:") {
            return Ok(());
        }
        for (name, wish) in wished {
            let fixed =
                wish.ipam_config.as_ref().is_some_and(|i| !i.ipv4_address.is_empty() || !i.ipv6_address.is_empty());
            if fixed && matches!(name.as_str(), "bridge" | "host" | "none") {
                return Err(Refusal::invalid(
                    "invalid config for network bridge: user specified IP address is supported on user defined networks only",
                ));
            }
        }
        Ok(())
    }

    /// Makes the sandbox and all attachments. Gives the namespace to join (`None`: the machine's).
    pub(super) async fn wire(&self, c: &Container) -> Result<Option<PathBuf>, Refusal> {
        let record = c.record.read().clone();
        let networks = &self.inner.base.networks;
        if let Some(other) = record.host_config.network_mode.strip_prefix("container:") {
            let other = self.find(other)?;
            let (pid, hostname, domainname) = {
                let r = other.record.read();
                if !r.state.status.is_up() {
                    return Err(Refusal::conflict(format!(
                        "cannot join network of a non running container: {}",
                        other.id
                    )));
                }
                (r.state.pid, r.config.hostname.clone(), r.config.domainname.clone())
            };
            let mut mine = c.record.write();
            (mine.config.hostname, mine.config.domainname) = (hostname, domainname);
            drop(mine);
            return Ok(Some(PathBuf::from(format!("/proc/{pid}/ns/net"))));
        }
        let sandbox = networks.create_sandbox(self.sandbox_spec(&record)?).await?;
        let dir = Record::dir(&self.inner.base.dir, &record.id);
        let mut publish = wished_ports(&record.config, &record.host_config)?;
        for overlay in kept_overlays(&dir) {
            self.join_overlay(&record, overlay, Vec::new()).await?;
        }
        let main = self.network_name(&record.host_config.network_mode);
        for (name, wish) in &record.networks {
            let local = networks.local(name);
            match local {
                Ok(n) if n.is_bridge() || n.is_macvlan() => {
                    let ports = if *name == main || record.networks.len() == 1 {
                        std::mem::take(&mut publish)
                    } else {
                        Vec::new()
                    };
                    networks.connect(&record.id, Attach::Local(local_attach(&record, &n.id, wish, ports)?)).await?;
                }
                Ok(_) => {}
                Err(unknown) => {
                    let names = names_on(&record, wish);
                    let attacher = self.inner.attacher.read().clone();
                    let Some(attacher) = attacher else {
                        if kept_overlays(&dir).iter().any(|o| o.attrs.name == *name) {
                            continue;
                        }
                        return Err(unknown);
                    };
                    if kept_overlays(&dir).iter().any(|o| o.attrs.name == *name || o.network.as_str() == name) {
                        continue;
                    }
                    match attacher.attach(name, &record.id, names, fixed_addresses(wish)).await? {
                        Some(overlay) => self.join_overlay(&record, overlay, super::links::aliases(wish)?).await?,
                        None => return Err(unknown),
                    }
                }
            }
        }
        if !publish.is_empty() && record.host_config.network_mode != "host" && record.host_config.network_mode != "none"
        {
            networks.connect(&record.id, Attach::Gwbridge { publish }).await?;
        }
        self.note_endpoints(c);
        self.write_names(&record.id).await?;
        self.tell_holders(c).await;
        Ok(sandbox)
    }

    async fn join_overlay(&self, record: &Record, o: OverlayWish, links: Vec<(String, String)>) -> Result<(), Refusal> {
        let OverlayWish { network, task, addresses, attrs, names } = o;
        let attach = OverlayAttach { network, task, addresses, attrs, names, links };
        self.inner.base.networks.connect(&record.id, Attach::Overlay(attach)).await.map(drop)
    }

    /// Takes away the sandbox with all attachments.
    pub(super) async fn unwire(&self, c: &Container) {
        let (id, attached) = {
            let r = c.record.read();
            let swarm = |e: &&EndpointSettings| e.network_id.len() == 25;
            (r.id.clone(), r.networks.values().filter(swarm).map(|e| e.network_id.clone()).collect::<Vec<_>>())
        };
        if let Err(e) = self.inner.base.networks.remove_sandbox(&id).await {
            tracing::warn!(container = %id, error = %e, "the sandbox of a container cannot be removed whole");
        }
        let attacher = self.inner.attacher.read().clone();
        let plain = c.record.read().task.is_none();
        if let (Some(attacher), true) = (attacher, plain) {
            for network in attached {
                attacher.detach(&network, &id).await;
            }
        }
        let mut r = c.record.write();
        r.bound_ports.clear();
        for e in r.networks.values_mut() {
            *e = EndpointSettings {
                ipam_config: e.ipam_config.take(),
                aliases: e.aliases.take(),
                links: e.links.take(),
                driver_opts: e.driver_opts.take(),
                gw_priority: e.gw_priority,
                network_id: std::mem::take(&mut e.network_id),
                ..EndpointSettings::default()
            };
        }
    }

    pub(super) fn sandbox_spec(&self, r: &Record) -> Result<SandboxSpec, Refusal> {
        let kind = match r.host_config.network_mode.as_str() {
            "host" => SandboxKind::Host,
            "none" => SandboxKind::None,
            _ if r.networks.contains_key("host") => SandboxKind::Host,
            _ => SandboxKind::Own,
        };
        let defaults = &self.inner.base.defaults.dns;
        let either = |own: &Option<Vec<String>>, default: &[String]| match own.as_deref() {
            None | Some([]) => default.to_vec(),
            Some(own) => own.to_vec(),
        };
        let mut extra_hosts = Vec::new();
        for host in r.host_config.extra_hosts.iter().flatten() {
            let (name, addr) = host
                .split_once([':', '='])
                .ok_or_else(|| Refusal::invalid(format!("bad format for add-host: \"{host}\"")))?;
            if addr == "host-gateway" {
                let gateway = match self.inner.base.defaults.host_gateway {
                    Some(addr) => Some(addr),
                    None => self.inner.base.networks.local("bridge")?.pools.first().map(|p| p.gateway),
                };
                extra_hosts.extend(gateway.map(|addr| (name.to_owned(), addr)));
                continue;
            }
            let addr = addr
                .trim_matches(['[', ']'])
                .parse()
                .map_err(|_| Refusal::invalid(format!("invalid IP address in add-host: \"{addr}\"")))?;
            extra_hosts.push((name.to_owned(), addr));
        }
        extra_hosts.extend(self.linked_hosts(r));
        let dns = either(&r.host_config.dns, &defaults.nameservers);
        let dns = dns
            .iter()
            .map(|a| a.parse().map_err(|_| Refusal::invalid(format!("invalid DNS server address: {a}"))))
            .collect::<Result<_, _>>()?;
        Ok(SandboxSpec {
            container_id: r.id.clone(),
            container_name: r.name.clone(),
            hostname: r.config.hostname.clone(),
            domainname: r.config.domainname.clone(),
            kind,
            dns,
            dns_search: either(&r.host_config.dns_search, &defaults.search),
            dns_options: either(&r.host_config.dns_options, &defaults.options),
            extra_hosts,
            sysctls: r
                .host_config
                .sysctls
                .iter()
                .filter(|(k, _)| k.starts_with("net."))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            stack: r.config.labels.get("com.docker.stack.namespace").cloned(),
        })
    }

    /// Copies what the networks know into the record.
    pub(super) fn note_endpoints(&self, c: &Container) {
        let infos = self.inner.base.networks.endpoints(&c.id);
        let mut r = c.record.write();
        let mut bound = PortMap::new();
        // Where nothing can be published, nothing is exposed.
        let networks = &self.inner.base.networks;
        let leads_out = |i: &EndpointInfo| !i.internal && networks.local(&i.network_id).is_ok_and(|n| n.is_bridge());
        if infos.iter().any(leads_out) {
            for port in r.config.exposed_ports.keys() {
                bound.insert(normal_port(port), None);
            }
        }
        let task = r.task.is_some();
        for info in &infos {
            for p in &info.ports {
                let key = format!("{}/{}", p.container_port, p.protocol);
                bound.entry(key).or_default().get_or_insert_default().push(engine_port(p));
            }
            if info.network_name == network::GWBRIDGE {
                continue;
            }
            let key = match r.networks.contains_key(&info.network_id) {
                true => info.network_id.clone(),
                false => info.network_name.clone(),
            };
            // A task starts from mode "default" and is shown on its overlays only.
            fill(r.networks.entry(key).or_default(), info);
        }
        if task && infos.iter().any(|i| i.network_id.len() == 25) {
            r.networks.retain(|_, e| !e.endpoint_id.is_empty());
        }
        for name in ["host", "none"] {
            if let (Some(e), Ok(n)) = (r.networks.get_mut(name), self.inner.base.networks.local(name)) {
                e.network_id = n.id.clone();
            }
        }
        r.bound_ports = bound;
    }

    /// Writes `hosts`, `resolv.conf` and `hostname`.
    pub(super) async fn write_names(&self, id: &str) -> Result<(), Refusal> {
        let files = self.inner.base.networks.name_files(id).await?;
        let dir = Record::dir(&self.inner.base.dir, id);
        for (name, text) in [("hosts", files.hosts), ("resolv.conf", files.resolv_conf), ("hostname", files.hostname)] {
            // In place: a running container has the file itself mounted.
            std::fs::write(dir.join(name), text)
                .map_err(|e| Refusal::internal(format!("cannot write {}/{name}: {e}", dir.display())))?;
        }
        Ok(())
    }

    /// Puts a container on one more network, live if it runs.
    ///
    /// # Errors
    /// Docker's.
    pub async fn connect(&self, id: &str, network: &str, wish: EndpointSettings) -> Result<(), Refusal> {
        let c = self.find(id)?;
        let _gate = c.gate.lock().await;
        let record = c.record.read().clone();
        if matches!(record.host_config.network_mode.as_str(), "host" | "none") || record.networks.contains_key("host") {
            return Err(Refusal::forbidden(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        let networks = &self.inner.base.networks;
        let local = networks.local(network);
        let mut name = self.network_name(network);
        if name == "host" {
            return Err(Refusal::forbidden(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if name == "none" {
            return Err(Refusal::forbidden(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            ));
        }
        // Of a container that does not run, the wish is changed.
        if record.networks.get(&name).is_some_and(|e| !e.endpoint_id.is_empty()) {
            if local.is_err() {
                return Err(Refusal::conflict(format!("{} is already attached to network {name}", record.name)));
            }
            return Err(Refusal::forbidden(format!(
                "endpoint with name {} already exists in network {name}",
                record.name
            )));
        }
        if !record.state.status.is_up() {
            local.map(drop).or_else(|e| if self.inner.attacher.read().is_some() { Ok(()) } else { Err(e) })?;
            c.record.write().networks.insert(name.clone(), wish);
            self.save(&c);
            return Ok(());
        }
        match local {
            Ok(n) => {
                networks.connect(&c.id, Attach::Local(local_attach(&record, &n.id, &wish, Vec::new())?)).await?;
            }
            Err(unknown) => {
                let attacher = self.inner.attacher.read().clone().ok_or_else(|| unknown.clone())?;
                let place = attacher.attach(network, &c.id, names_on(&record, &wish), fixed_addresses(&wish)).await?;
                let place = place.ok_or(unknown)?;
                name.clone_from(&place.attrs.name);
                self.join_overlay(&record, place, super::links::aliases(&wish)?).await?;
            }
        }
        c.record.write().networks.insert(name.clone(), wish);
        self.note_endpoints(&c);
        self.write_names(&c.id).await?;
        self.save(&c);
        self.tell_network("connect", &name, &c);
        Ok(())
    }

    /// Takes a container off a network, live if it runs.
    ///
    /// # Errors
    /// Docker's.
    pub async fn disconnect(&self, id: &str, network: &str, force: bool) -> Result<(), Refusal> {
        let c = match self.find(id) {
            Err(_) if force => return Ok(()),
            found => found?,
        };
        let _gate = c.gate.lock().await;
        let record = c.record.read().clone();
        let found = record
            .networks
            .iter()
            .find(|(name, e)| *name == network || (!network.is_empty() && e.network_id == network));
        let found = match found {
            Some((name, e)) => Some((name.clone(), e.clone())),
            None => {
                let name = self.network_name(network);
                record.networks.get(&name).map(|e| (name, e.clone()))
            }
        };
        let Some((name, settings)) = found else {
            let network = self.network_name(network);
            return Err(Refusal::internal(format!("container {} is not connected to network {network}", c.id)));
        };
        if name == "host" {
            return Err(Refusal::forbidden(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if record.state.status.is_up() && !settings.endpoint_id.is_empty() {
            self.inner.base.networks.disconnect(&c.id, &settings.network_id).await?;
            let attacher = self.inner.attacher.read().clone();
            if let (Some(attacher), 25) = (attacher, settings.network_id.len()) {
                attacher.detach(&settings.network_id, &c.id).await;
            }
        }
        c.record.write().networks.remove(&name);
        if record.state.status.is_up() {
            self.note_endpoints(&c);
            self.write_names(&c.id).await?;
        }
        self.save(&c);
        self.tell_network("disconnect", &name, &c);
        Ok(())
    }

    /// What a network is called that may be given by its id, and may be the swarm's.
    pub(super) fn network_name(&self, network: &str) -> String {
        let attacher = || self.inner.attacher.read().clone();
        match self.inner.base.networks.local(network) {
            Ok(n) => n.spec.name.clone(),
            Err(_) => attacher().and_then(|a| a.name_of(network)).unwrap_or_else(|| network.to_owned()),
        }
    }

    pub(super) fn tell_network(&self, action: &str, name: &str, c: &Container) {
        let (id, typ) = match self.inner.base.networks.local(name) {
            Ok(n) => (n.id.clone(), n.spec.driver.clone()),
            Err(_) => {
                let r = c.record.read();
                (r.networks.get(name).map(|e| e.network_id.clone()).unwrap_or_default(), "overlay".to_owned())
            }
        };
        let attributes = [("container", c.id.clone()), ("name", name.to_owned()), ("type", typ)];
        let attributes = attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        self.inner.base.events.tell("network", action, &id, attributes);
    }
}

/// Names by which others on a network find a container.
fn names_on(r: &Record, wish: &EndpointSettings) -> Vec<String> {
    let mut names = vec![r.name.clone()];
    for alias in wish.aliases.iter().flatten().map(String::as_str).chain([r.short_id(), r.config.hostname.as_str()]) {
        if !alias.is_empty() && !names.iter().any(|n| n == alias) {
            names.push(alias.to_owned());
        }
    }
    names
}

fn fixed_addresses(wish: &EndpointSettings) -> Vec<IpAddr> {
    let Some(ipam) = &wish.ipam_config else { return Vec::new() };
    [&ipam.ipv4_address, &ipam.ipv6_address].into_iter().filter_map(|a| a.parse().ok()).collect()
}

fn local_attach(
    r: &Record,
    network: &str,
    wish: &EndpointSettings,
    publish: Vec<PortBinding>,
) -> Result<LocalAttach, Refusal> {
    let ipam = wish.ipam_config.clone().unwrap_or_default();
    let parse = |text: &str| -> Result<Option<IpAddr>, Refusal> {
        match text {
            "" => Ok(None),
            t => t
                .parse()
                .map(Some)
                .map_err(|_| Refusal::invalid(format!("invalid endpoint settings:\ninvalid IP address: {t}"))),
        }
    };
    let v4 = match parse(&ipam.ipv4_address)? {
        Some(IpAddr::V4(a)) => Some(a),
        Some(IpAddr::V6(a)) => {
            return Err(Refusal::invalid(format!("invalid endpoint settings:\ninvalid IPv4 address: {a}")));
        }
        None => None,
    };
    let v6 = match parse(&ipam.ipv6_address)? {
        Some(IpAddr::V6(a)) => Some(a),
        Some(IpAddr::V4(a)) => {
            return Err(Refusal::invalid(format!("invalid endpoint settings:\ninvalid IPv6 address: {a}")));
        }
        None => None,
    };
    let mac = if wish.mac_address.is_empty() { &r.config.mac_address } else { &wish.mac_address };
    Ok(LocalAttach {
        network: network.to_owned(),
        names: names_on(r, wish),
        ipv4: v4,
        ipv6: v6,
        mac: parse_mac(mac)?,
        publish,
        gateway_priority: wish.gw_priority as i32,
        links: super::links::aliases(wish)?,
    })
}

fn parse_mac(text: &str) -> Result<Option<[u8; 6]>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let parts: Option<Vec<u8>> = text.split([':', '-']).map(|p| u8::from_str_radix(p, 16).ok()).collect();
    match parts.and_then(|p| <[u8; 6]>::try_from(p).ok()) {
        Some(mac) => Ok(Some(mac)),
        None => Err(Refusal::invalid(format!("invalid MAC address: {text}"))),
    }
}

/// `80` and `80/tcp` are one.
fn normal_port(port: &str) -> String {
    if port.contains('/') { port.to_lowercase() } else { format!("{port}/tcp") }
}

/// `PortBindings` and, with `PublishAllPorts`, the exposed ports.
///
/// # Errors
/// 400 for what is no port.
pub(super) fn wished_ports(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<PortBinding>, Refusal> {
    let mut all = Vec::new();
    let parse_key = |key: &str| -> Result<(u16, model::Protocol), Refusal> {
        let normal = normal_port(key);
        let (port, protocol) = normal.split_once('/').unwrap_or((&normal, "tcp"));
        let port = port.parse().map_err(|_| Refusal::invalid(format!("invalid port specification: \"{key}\"")))?;
        Ok((port, protocol.parse().map_err(Refusal::invalid)?))
    };
    for (key, bindings) in &host.port_bindings {
        let (container_port, protocol) = parse_key(key)?;
        let none = vec![EnginePort::default()];
        let bindings = match bindings {
            Some(b) if !b.is_empty() => b,
            _ => &none,
        };
        for b in bindings {
            let invalid = || Refusal::invalid(format!("invalid port specification: \"{}\"", b.host_port));
            let (first, last) = b.host_port.split_once('-').unwrap_or((&b.host_port, ""));
            let number = |t: &str| if t.is_empty() { Ok(0) } else { t.parse::<u16>().map_err(|_| invalid()) };
            let host_ip = match b.host_ip.as_str() {
                "" | "0.0.0.0" => None,
                ip => Some(
                    ip.trim_matches(['[', ']'])
                        .parse()
                        .map_err(|_| Refusal::invalid(format!("invalid IP address: {ip}")))?,
                ),
            };
            all.push(PortBinding {
                protocol,
                container_port,
                host_ip,
                host_port: number(first)?,
                host_port_end: number(last)?,
            });
        }
    }
    if host.publish_all_ports {
        for key in config.exposed_ports.keys() {
            let (container_port, protocol) = parse_key(key)?;
            if !all.iter().any(|p| p.container_port == container_port && p.protocol == protocol) {
                all.push(PortBinding { protocol, container_port, host_ip: None, host_port: 0, host_port_end: 0 });
            }
        }
    }
    Ok(all)
}

fn engine_port(p: &BoundPort) -> EnginePort {
    EnginePort { host_ip: p.host_ip.to_string(), host_port: p.host_port.to_string() }
}

fn fill(e: &mut EndpointSettings, info: &EndpointInfo) {
    e.network_id = info.network_id.clone();
    e.endpoint_id = info.endpoint_id.clone();
    e.mac_address = info.mac_text();
    e.dns_names = Some(info.names.clone());
    for (addr, prefix) in &info.addresses {
        match addr {
            IpAddr::V4(a) => (e.ip_address, e.ip_prefix_len) = (a.to_string(), i64::from(*prefix)),
            IpAddr::V6(a) => (e.global_ipv6_address, e.global_ipv6_prefix_len) = (a.to_string(), i64::from(*prefix)),
        }
    }
    for gateway in &info.gateways {
        match gateway {
            IpAddr::V4(a) => e.gateway = a.to_string(),
            IpAddr::V6(a) => e.ipv6_gateway = a.to_string(),
        }
    }
    if info.network_id.len() == 25 && e.ipam_config.is_none() {
        let ipv4_address = info.ipv4().map(|a| a.to_string()).unwrap_or_default();
        e.ipam_config = Some(wire::engine::network::EndpointIpam { ipv4_address, ..Default::default() });
    }
}
