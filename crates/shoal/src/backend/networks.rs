//! Networks of this node and of the swarm, as one list.
use super::Backend;
use crate::daemon::membership;
use ::network::{IpamText, LocalNetwork, LocalNetworkSpec};
use api::backend::*;
use async_trait::async_trait;
use model::{Directory, EndpointState, NetworkAttrs, NetworkId, NetworkView, ResolutionMode};
use std::collections::BTreeMap;
use std::net::IpAddr;
use wire::Refusal;
use wire::engine::network::*;
use wire::engine::{Time, convert};

#[async_trait]
impl Networks for Backend {
    async fn list(&self) -> Answer<Vec<ListedNetwork>> {
        let mut all: Vec<ListedNetwork> = self.0.networks.locals().iter().map(|n| local(n)).collect();
        match self.0.membership.manager() {
            Ok(manager) => {
                let tables = manager.control().tables();
                for n in tables.networks() {
                    let used = tables.services().any(|s| {
                        s.spec.task.networks.iter().any(|t| t.target == model::NetworkTarget::Swarm(n.id.clone()))
                    });
                    let in_use = used || !self.0.networks.endpoints_on(n.id.as_str()).is_empty();
                    all.push(ListedNetwork { network: convert::network_out(n), predefined: false, in_use });
                }
            }
            Err(_) => {
                let directory = self.0.networks.directory();
                for (id, view) in &directory.networks {
                    let in_use = !self.0.networks.endpoints_on(id.as_str()).is_empty();
                    all.push(ListedNetwork { network: from_directory(id, &view.attrs), predefined: false, in_use });
                }
            }
        }
        Ok(all)
    }

    async fn inspect(&self, id: &str, verbose: bool) -> Answer<Network> {
        if let Ok(n) = self.0.networks.local(id) {
            let mut shown = local(&n).network;
            for (container, e) in self.0.networks.endpoints_on(&n.id) {
                shown.containers.insert(container.clone(), self.resource(&container, &e));
            }
            return Ok(shown);
        }
        let id: NetworkId = id.parse().map_err(|_| Refusal::not_found(format!("network {id} not found")))?;
        let directory = self.0.networks.directory();
        let (mut shown, view) = match self.0.membership.manager() {
            Ok(manager) => {
                let tables = manager.control().tables();
                let n = tables.network(&id).ok_or_else(|| Refusal::not_found(format!("network {id} not found")))?;
                (convert::network_out(n), NetworkView::of(&tables, n))
            }
            Err(_) => {
                let view = directory.networks.get(&id).cloned();
                let view = view.ok_or_else(|| Refusal::not_found(format!("network {id} not found")))?;
                (from_directory(&id, &view.attrs), view)
            }
        };
        for (container, e) in self.0.networks.endpoints_on(id.as_str()) {
            shown.containers.insert(container.clone(), self.resource(&container, &e));
        }
        // The load balancer's end and the peers are shown where the network is carried, as Docker does.
        if let Some(here) = directory.networks.get(&id) {
            self.add_carriers(&id, here, &directory, &mut shown);
        }
        if verbose {
            shown.services = services(&view, &directory);
        }
        Ok(shown)
    }

    async fn create_local(&self, body: NetworkCreate) -> Answer<NetworkCreated> {
        if body.config_only || body.config_from.as_ref().is_some_and(|c| !c.network.is_empty()) {
            return Err(Refusal::unimplemented("configuration-only networks are not supported by this engine"));
        }
        if body.ingress {
            return Err(Refusal::invalid("Ingress network is only supported in swarm mode"));
        }
        if body.enable_ipv4 == Some(false) {
            return Err(Refusal::unimplemented("networks without IPv4 are not supported by this engine"));
        }
        let ipam = body.ipam.clone().unwrap_or_default();
        if !matches!(ipam.driver.as_str(), "" | "default") {
            return Err(Refusal::invalid(format!("ipam driver \"{}\" not found", ipam.driver)));
        }
        let texts: Vec<IpamText<'_>> = ipam
            .config
            .iter()
            .map(|c| IpamText {
                subnet: &c.subnet,
                range: &c.ip_range,
                gateway: &c.gateway,
                reserved: c.aux_address.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            })
            .collect();
        let driver = if body.driver.is_empty() { ::network::BRIDGE } else { body.driver.as_str() };
        let mut options = self.0.settings.network_options.get(driver).cloned().unwrap_or_default();
        options.extend(body.options);
        let spec = LocalNetworkSpec {
            name: body.name,
            driver: body.driver,
            labels: body.labels,
            options,
            internal: body.internal,
            attachable: body.attachable,
            ipv6: body.enable_ipv6.unwrap_or(false),
            ipam: ::network::parse_ipam(&texts)?,
            ipam_options: ipam.options.unwrap_or_default(),
        };
        let made = self.0.networks.create_local(spec).await?;
        self.tell_network("create", &made.id, &made.spec.name, &made.spec.driver);
        Ok(NetworkCreated { id: made.id.clone(), warning: String::new() })
    }

    async fn create_swarm(&self, spec: model::NetworkSpec) -> Answer<NetworkId> {
        if self.0.networks.local(&spec.name).is_ok_and(|n| n.spec.name == spec.name) {
            return Err(Refusal::conflict(format!("network with name {} already exists", spec.name)));
        }
        self.0.membership.manager()?.control().create_network(spec).await
    }

    async fn remove(&self, id: &str) -> Answer<()> {
        if let Ok(n) = self.0.networks.local(id) {
            // A stopped container's wish for the network does not hold it, as in Docker.
            self.0.networks.remove_local(&n.id).await?;
            self.tell_network("destroy", &n.id, &n.spec.name, &n.spec.driver);
            return Ok(());
        }
        let manager = self.0.membership.manager()?;
        if !manager.store().is_leader() {
            return membership::ask_leader(&manager, http::Method::DELETE, &format!("/networks/{id}")).await;
        }
        manager.control().remove_network(id).await
    }

    async fn connect(&self, id: &str, container: &str, wish: EndpointSettings) -> Answer<()> {
        self.0.containers.connect(container, id, wish).await
    }
    async fn disconnect(&self, id: &str, container: &str, force: bool) -> Answer<()> {
        self.0.containers.disconnect(container, id, force).await
    }

    async fn prune(&self, query: PruneQuery) -> Answer<NetworksPruned> {
        let mut gone = Vec::new();
        for n in Networks::list(self).await? {
            let name = n.network.name.clone();
            let fixed = n.predefined || n.network.ingress || name == ::network::GWBRIDGE;
            if fixed || n.in_use || !query.takes(&n.network.labels, n.network.created.0) {
                continue;
            }
            if Networks::remove(self, &n.network.id).await.is_ok() {
                gone.push(name);
            }
        }
        self.0.events.tell("network", "prune", "", [("reclaimed".to_owned(), "0".to_owned())].into());
        Ok(NetworksPruned { networks_deleted: Some(gone).filter(|g| !g.is_empty()) })
    }
}

impl Backend {
    fn tell_network(&self, action: &str, id: &str, name: &str, driver: &str) {
        let attributes = [("name".to_owned(), name.to_owned()), ("type".to_owned(), driver.to_owned())].into();
        self.0.events.tell("network", action, id, attributes);
    }

    fn resource(&self, container: &str, e: &::network::EndpointInfo) -> EndpointResource {
        let with_prefix = |want_v4: bool| {
            let found = e.addresses.iter().find(|(a, _)| a.is_ipv4() == want_v4);
            found.map(|(a, p)| format!("{a}/{p}")).unwrap_or_default()
        };
        EndpointResource {
            name: self.0.containers.name_of(container).unwrap_or_else(|| e.names.first().cloned().unwrap_or_default()),
            endpoint_id: e.endpoint_id.clone(),
            mac_address: e.mac_text(),
            ipv4_address: with_prefix(true),
            ipv6_address: with_prefix(false),
        }
    }

    fn add_carriers(&self, id: &NetworkId, view: &NetworkView, directory: &Directory, shown: &mut Network) {
        let prefix = view.attrs.subnets.first().map_or(24, |s| s.subnet.prefix);
        let own = self.0.membership.node_id();
        if let Some(addr) = own.as_ref().and_then(|n| view.node_addrs.get(n)) {
            let (key, name) = if view.attrs.ingress {
                ("ingress-sbox".to_owned(), "ingress-endpoint".to_owned())
            } else {
                (format!("lb-{}", view.attrs.name), format!("{}-endpoint", view.attrs.name))
            };
            shown.containers.insert(
                key,
                EndpointResource {
                    name,
                    endpoint_id: lb_endpoint_id(id, addr),
                    ipv4_address: format!("{addr}/{prefix}"),
                    ..EndpointResource::default()
                },
            );
        }
        let carriers = view.node_addrs.keys().chain(view.endpoints.values().map(|e| &e.node));
        let mut peers: BTreeMap<&model::NodeId, IpAddr> = BTreeMap::new();
        for node in carriers {
            if let Some(p) = directory.peers.get(node) {
                peers.insert(node, p.addr);
            }
        }
        shown.peers = peers
            .into_iter()
            .map(|(node, ip)| PeerInfo { name: node.as_str().chars().take(12).collect(), ip: ip.to_string() })
            .collect();
    }
}

/// A stable id for the load balancer's end, which has no container.
fn lb_endpoint_id(network: &NetworkId, addr: &IpAddr) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    (0u8..4)
        .map(|n| {
            let mut h = DefaultHasher::new();
            (network.as_str(), addr, n).hash(&mut h);
            format!("{:016x}", h.finish())
        })
        .collect()
}

fn local(n: &LocalNetwork) -> ListedNetwork {
    let config = n
        .pools
        .iter()
        .map(|p| IpamConfig {
            subnet: p.subnet.to_string(),
            ip_range: p.range.map(|r| r.to_string()).unwrap_or_default(),
            gateway: p.gateway.to_string(),
            aux_address: p.reserved.iter().map(|(k, v)| (k.clone(), v.to_string())).collect(),
        })
        .collect();
    let options = Some(n.spec.ipam_options.clone()).filter(|o| !o.is_empty());
    ListedNetwork {
        network: Network {
            name: n.spec.name.clone(),
            id: n.id.clone(),
            created: Time(n.created),
            scope: "local".into(),
            driver: n.spec.driver.clone(),
            enable_ipv4: true,
            enable_ipv6: n.spec.ipv6,
            ipam: Ipam { driver: "default".into(), options, config },
            internal: n.spec.internal,
            attachable: n.spec.attachable,
            options: n.spec.options.clone(),
            labels: n.spec.labels.clone(),
            ..Network::default()
        },
        predefined: n.is_predefined(),
        in_use: !n.endpoints.is_empty(),
    }
}

/// What a worker knows of a swarm network.
fn from_directory(id: &NetworkId, a: &NetworkAttrs) -> Network {
    let config = a
        .subnets
        .iter()
        .map(|s| IpamConfig { subnet: s.subnet.to_string(), gateway: s.gateway.to_string(), ..IpamConfig::default() })
        .collect();
    Network {
        name: a.name.clone(),
        id: id.to_string(),
        scope: "swarm".into(),
        driver: "overlay".into(),
        enable_ipv4: true,
        ipam: Ipam { driver: "default".into(), options: None, config },
        internal: a.internal,
        ingress: a.ingress,
        options: [("com.docker.network.driver.overlay.vxlanid_list".to_owned(), a.vni.to_string())].into(),
        labels: a.labels.clone(),
        ..Network::default()
    }
}

fn services(view: &NetworkView, directory: &Directory) -> BTreeMap<String, ServiceInfo> {
    let one = |(id, s): (&model::ServiceId, &model::ServiceView)| {
        let tasks =
            view.endpoints.iter().filter(|(_, e)| e.service.as_ref() == Some(id) && e.state != EndpointState::Starting);
        let tasks = tasks.map(|(task, e)| NetworkTask {
            name: e.names.first().cloned().unwrap_or_default(),
            endpoint_id: task.to_string(),
            endpoint_ip: e.addresses.first().map(|a| a.to_string()).unwrap_or_default(),
            info: directory
                .peers
                .get(&e.node)
                .map(|p| ("Host IP".to_owned(), p.addr.to_string()))
                .into_iter()
                .collect(),
        });
        let vip = match s.resolution {
            ResolutionMode::Vip => s.vips.first().map(|v| v.to_string()).unwrap_or_default(),
            ResolutionMode::DnsRr => "<nil>".into(),
        };
        let ports = s.ports.iter().map(|p| format!("Target: {}, Publish: {}", p.target, p.published)).collect();
        (s.name.clone(), ServiceInfo { vip, ports, local_lb_index: 0, tasks: tasks.collect() })
    };
    view.services.iter().map(one).collect()
}
