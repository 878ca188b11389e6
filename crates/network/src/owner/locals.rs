//! The networks of the machine: made, removed, found.
use super::{Owner, fresh_id};
use crate::error::NetworkError;
use crate::handle::DefaultBridge;
use crate::ipam;
use crate::local::{BRIDGE, FOREIGN, GWBRIDGE, HOST, LocalNetwork, LocalNetworkSpec, NONE, Pool, find};
use crate::macvlan;
use model::{IpamConfig, Subnet, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Refusal;

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// The default bridge's interface, unless another engine of this namespace has it.
const DOCKER0: &str = "docker0";
/// What the default bridge is unless flags say otherwise.
const BRIDGE_OPTIONS: [(&str, &str); 4] = [
    ("com.docker.network.bridge.enable_icc", "true"),
    ("com.docker.network.bridge.enable_ip_masquerade", "true"),
    ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
    ("com.docker.network.driver.mtu", "1500"),
];
/// Longest interface name.
const INTERFACE_NAME_MAX: usize = 15;

impl Owner {
    /// Makes `bridge`, `host` and `none` known.
    pub(super) fn ensure_predefined(&mut self) -> Result<(), NetworkError> {
        for (name, driver) in [(HOST, "host"), (NONE, "null")] {
            if self.by_name(name).is_none() {
                let spec = LocalNetworkSpec { name: name.into(), driver: driver.into(), ..Default::default() };
                let n = LocalNetwork {
                    id: fresh_id(),
                    created: now(),
                    spec,
                    pools: Vec::new(),
                    interface: String::new(),
                    endpoints: BTreeMap::new(),
                };
                self.saved.networks.insert(n.id.clone(), n);
            }
        }
        self.forget_bridge_if_it_shall_be_another()?;
        if self.by_name(BRIDGE).is_none() && self.config.bridge != DefaultBridge::None {
            let n = self.plan_bridge()?;
            self.saved.networks.insert(n.id.clone(), n);
        }
        Ok(())
    }

    /// The default bridge is made anew for other flags, as long as nobody is on it.
    fn forget_bridge_if_it_shall_be_another(&mut self) -> Result<(), NetworkError> {
        let Some(n) = self.by_name(BRIDGE).cloned() else { return Ok(()) };
        let fits = match &self.config.bridge {
            DefaultBridge::Own => {
                !n.is_foreign() && n.spec.ipv6 == self.config.bridge_ipv6 && n.pools.iter().all(|p| self.is_wished(p))
            }
            DefaultBridge::Foreign(name) => n.interface == *name,
            DefaultBridge::None => false,
        };
        let is_set = |(key, value): (&String, &String)| n.spec.options.get(key) == Some(value);
        let usual = BRIDGE_OPTIONS.iter().all(|(key, value)| {
            self.config.bridge_options.contains_key(*key) || n.spec.options.get(*key).is_some_and(|v| v == value)
        });
        let fits = fits && usual && self.config.bridge_options.iter().all(is_set);
        let used = self.saved.sandboxes.values().flat_map(|s| &s.endpoints).any(|e| e.network_id == n.id);
        if fits || used {
            if !fits {
                tracing::warn!("containers are on the network \"bridge\": it stays as it is until they are gone");
            }
            return Ok(());
        }
        if !n.is_foreign() {
            self.netlink.del_link(&n.interface)?;
        }
        self.saved.networks.remove(&n.id);
        Ok(())
    }

    /// Whether a subnet of the default bridge is what the flags say of its family.
    fn is_wished(&self, pool: &Pool) -> bool {
        let family = |c: &&IpamConfig| c.subnet.is_some_and(|s| s.base.is_ipv4() == pool.subnet.base.is_ipv4());
        match self.config.bridge_subnets.iter().find(family) {
            Some(c) => {
                c.subnet == Some(pool.subnet)
                    && c.range == pool.range
                    && c.gateway.unwrap_or_else(|| ipam::first_address(&pool.subnet)) == pool.gateway
            }
            None => pool.range.is_none(),
        }
    }

    fn plan_bridge(&self) -> Result<LocalNetwork, NetworkError> {
        let (interface, ipam) = match &self.config.bridge {
            DefaultBridge::Foreign(name) => (name.clone(), self.addresses_of_foreign(name)?),
            _ => (self.mark.choose(&self.netlink, DOCKER0)?, self.config.bridge_subnets.clone()),
        };
        let mut options: BTreeMap<String, String> =
            BRIDGE_OPTIONS.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        options.insert("com.docker.network.bridge.default_bridge".to_owned(), "true".to_owned());
        options.insert(BRIDGE_NAME.to_owned(), interface);
        options.extend(self.config.bridge_options.clone());
        if self.config.bridge != DefaultBridge::Own {
            options.insert(FOREIGN.to_owned(), "true".to_owned());
        }
        let (name, driver, ipv6) = (BRIDGE.into(), BRIDGE.into(), self.config.bridge_ipv6);
        let spec = LocalNetworkSpec { name, driver, options, ipam, ipv6, ..Default::default() };
        self.plan_network(spec)
    }

    /// What `-b NAME` brings along: the bridge's own addresses are the gateways.
    fn addresses_of_foreign(&self, name: &str) -> Result<Vec<IpamConfig>, NetworkError> {
        let missing = || {
            let text = format!(
                "error creating default \"bridge\" network: bridge device with non default name {name} must be created manually"
            );
            NetworkError::from(Refusal::invalid(text))
        };
        let link = self.netlink.link_by_name(name)?.filter(|l| l.kind.as_deref() == Some("bridge"));
        let index = link.ok_or_else(missing)?.index;
        let own = self.netlink.addresses()?.into_iter().filter(|a| a.index == index && a.addr.is_ipv4());
        let all: Vec<IpamConfig> = own
            .map(|a| IpamConfig {
                subnet: Some(Subnet::containing(a.addr, a.prefix)),
                gateway: Some(a.addr),
                ..IpamConfig::default()
            })
            .collect();
        if all.is_empty() {
            let text = format!("bridge {name} has no IPv4 address: give it one before the engine starts");
            return Err(Refusal::invalid(text).into());
        }
        Ok(all)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&LocalNetwork> {
        self.saved.networks.values().find(|n| n.spec.name == name)
    }

    pub(super) fn find_local(&self, key: &str) -> Result<LocalNetwork, NetworkError> {
        if let Some(n) = self.saved.networks.get(key).or_else(|| self.by_name(key)) {
            return Ok(n.clone());
        }
        let all: Vec<Arc<LocalNetwork>> = self.saved.networks.values().cloned().map(Arc::new).collect();
        Ok(find(&all, key)?.as_ref().clone())
    }

    pub(crate) fn create_local(&mut self, spec: LocalNetworkSpec) -> Result<Arc<LocalNetwork>, NetworkError> {
        if matches!(spec.name.as_str(), BRIDGE | HOST | NONE) {
            let text = format!("operation is not permitted on predefined {} network ", spec.name);
            return Err(Refusal::forbidden(text).into());
        }
        if self.by_name(&spec.name).is_some() {
            return Err(Refusal::conflict(format!("network with name {} already exists", spec.name)).into());
        }
        check_driver(&spec.driver)?;
        let driver = if spec.driver == macvlan::DRIVER { macvlan::DRIVER } else { BRIDGE };
        let spec = LocalNetworkSpec { driver: driver.into(), ..spec };
        let n = self.plan_network(spec)?;
        // Known before it is made: a crash in between leaves nothing that nobody owns.
        self.saved.networks.insert(n.id.clone(), n.clone());
        self.save()?;
        let made = self.ensure_link(&n).and_then(|()| self.apply_firewall());
        if let Err(e) = made {
            self.saved.networks.remove(&n.id);
            if n.makes_link() {
                let _ = self.netlink.del_link(&n.interface);
            }
            let _ = self.apply_firewall();
            let _ = self.save();
            return Err(e);
        }
        tracing::info!(network = n.spec.name, id = n.id, interface = n.interface, "network made");
        Ok(Arc::new(n))
    }

    /// The network with everything chosen, not made yet.
    fn plan_network(&self, mut spec: LocalNetworkSpec) -> Result<LocalNetwork, NetworkError> {
        let id = fresh_id();
        let interface = match spec.options.get(BRIDGE_NAME) {
            _ if spec.driver == macvlan::DRIVER => macvlan::own_parent(&self.netlink, &id, &spec.options)?,
            Some(name) => self.check_interface(name)?,
            None => format!("br-{}", &id[..12]),
        };
        let pools = self.plan_pools(&id, &spec)?;
        spec.ipam = pools
            .iter()
            .map(|p| IpamConfig {
                subnet: Some(p.subnet),
                range: p.range,
                gateway: Some(p.gateway),
                reserved: p.reserved.clone(),
            })
            .collect();
        Ok(LocalNetwork { id, created: now(), spec, pools, interface, endpoints: BTreeMap::new() })
    }

    fn check_interface(&self, name: &str) -> Result<String, NetworkError> {
        let valid = |c: char| !c.is_whitespace() && c != '/' && c != ':' && !c.is_control();
        if name.is_empty() || name.len() > INTERFACE_NAME_MAX || !name.chars().all(valid) {
            return Err(Refusal::invalid(format!("invalid bridge name \"{name}\": not a valid interface name")).into());
        }
        if let Some(other) = self.saved.networks.values().find(|n| n.interface == name) {
            let text = format!("bridge \"{name}\" is in use by network {}", other.spec.name);
            return Err(Refusal::conflict(text).into());
        }
        let taken = self.netlink.link_by_name(name)?.filter(|l| l.kind.as_deref() != Some("bridge"));
        if taken.is_some() {
            return Err(Refusal::conflict(format!("interface \"{name}\" exists and is no bridge")).into());
        }
        Ok(name.to_owned())
    }

    fn plan_pools(&self, id: &str, spec: &LocalNetworkSpec) -> Result<Vec<Pool>, NetworkError> {
        let ours: Vec<Subnet> = self.saved.networks.values().flat_map(|n| &n.pools).map(|p| p.subnet).collect();
        let mut pools: Vec<Pool> = Vec::new();
        let pool = |subnet: Subnet, c: &IpamConfig| Pool {
            subnet,
            range: c.range,
            gateway: c.gateway.unwrap_or_else(|| ipam::first_address(&subnet)),
            reserved: c.reserved.clone(),
        };
        for c in &spec.ipam {
            let Some(subnet) = c.subnet else { continue };
            if ours.iter().chain(pools.iter().map(|p| &p.subnet)).any(|s| s.overlaps(&subnet)) {
                return Err(Refusal::forbidden("Pool overlaps with other one on this address space").into());
            }
            if subnet.base.is_ipv4() && subnet.prefix > 30 {
                return Err(Refusal::invalid(format!(
                    "invalid network config:\ninvalid subnet {subnet}: it is too small"
                ))
                .into());
            }
            pools.push(pool(subnet, c));
        }
        if !pools.iter().any(|p| p.subnet.base.is_ipv4()) {
            let block = self.choose_block(&ours)?;
            let wish = spec.ipam.iter().find(|c| c.subnet.is_none()).cloned().unwrap_or_default();
            pools.insert(0, pool(block, &wish));
        }
        if spec.ipv6 && !pools.iter().any(|p| p.subnet.base.is_ipv6()) {
            pools.push(pool(ipam::local_ipv6_block(id), &IpamConfig::default()));
        }
        Ok(pools)
    }

    fn choose_block(&self, ours: &[Subnet]) -> Result<Subnet, NetworkError> {
        let mut taken = ours.to_vec();
        for r in self.netlink.routes()?.into_iter().filter(|r| !r.is_default()) {
            taken.push(Subnet::containing(r.dst.0, r.dst.1));
        }
        let overlays = self.directory.networks.values().flat_map(|n| &n.attrs.subnets).map(|s| s.subnet);
        taken.extend(overlays);
        let defaults = ipam::default_pools();
        let pools = if self.config.pools.is_empty() { &defaults } else { &self.config.pools };
        let none = || {
            Refusal::not_found("could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network").into()
        };
        ipam::choose_block(pools, &taken).ok_or_else(none)
    }

    pub(crate) fn remove_local(&mut self, key: &str) -> Result<(), NetworkError> {
        let n = self.find_local(key)?;
        if n.is_predefined() {
            let text = format!("{} is a pre-defined network and cannot be removed", n.spec.name);
            return Err(Refusal::forbidden(text).into());
        }
        let active: Vec<String> = self
            .saved
            .sandboxes
            .values()
            .flat_map(|s| s.endpoints.iter().map(move |e| (s, e)))
            .filter(|(_, e)| e.network_id == n.id)
            .map(|(s, e)| format!("name:\"{}\" id:\"{}\"", s.spec.container_name, &e.endpoint_id[..12]))
            .collect();
        if !active.is_empty() {
            let text = format!(
                "error while removing network: network {} has active endpoints ({})",
                n.spec.name,
                active.join(", ")
            );
            return Err(Refusal::forbidden(text).into());
        }
        if n.makes_link() {
            self.netlink.del_link(&n.interface)?;
        }
        self.saved.networks.remove(&n.id);
        self.save()?;
        self.apply_firewall()?;
        tracing::info!(network = n.spec.name, id = n.id, "network removed");
        Ok(())
    }

    pub(crate) fn ensure_gwbridge(&mut self) -> Result<Arc<LocalNetwork>, NetworkError> {
        if let Some(n) = self.by_name(GWBRIDGE) {
            return Ok(Arc::new(n.clone()));
        }
        let option = |k: &str, v: &str| (format!("com.docker.network.bridge.{k}"), v.to_owned());
        let interface = self.mark.choose(&self.netlink, GWBRIDGE)?;
        let options =
            [option("enable_icc", "false"), option("enable_ip_masquerade", "true"), option("name", &interface)];
        self.create_local(LocalNetworkSpec {
            name: GWBRIDGE.into(),
            driver: BRIDGE.into(),
            options: options.into(),
            ..Default::default()
        })
    }
}

fn check_driver(driver: &str) -> Result<(), Refusal> {
    match driver {
        "" | "bridge" | "macvlan" => Ok(()),
        "host" | "null" => Err(Refusal::forbidden(format!("only one instance of \"{driver}\" network is allowed"))),
        "ipvlan" => Err(Refusal::unimplemented("the network driver ipvlan is not supported: macvlan is its neighbour")),
        other => {
            Err(Refusal::not_found(format!("could not find plugin {other} in v1 plugin registry: plugin not found")))
        }
    }
}

/// The owner is not pure: it may look at the clock.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
