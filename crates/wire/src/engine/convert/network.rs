//! Networks of the swarm.
use super::{unsupported, version};
use crate::Refusal;
use crate::engine::service::LogDriver;
use crate::engine::shape::Map;
use crate::engine::{network as en, task as et};
use model::Subnet;
use std::net::IpAddr;

/// The option in which Docker shows a network's VXLAN identifiers.
pub const VXLAN_IDS: &str = "com.docker.network.driver.overlay.vxlanid_list";

/// Parses what makes a swarm network.
///
/// # Errors
/// 400 or 501, naming the option.
pub fn network_spec_in(n: &en::NetworkCreate) -> Result<model::NetworkSpec, Refusal> {
    if n.config_only || n.config_from.as_ref().is_some_and(|c| !c.network.is_empty()) {
        return Err(unsupported("a network with ConfigOnly or ConfigFrom"));
    }
    let driver = if n.driver.is_empty() { "overlay" } else { n.driver.as_str() };
    if driver != "overlay" {
        return Err(unsupported(&format!("a swarm network of driver {driver:?}")));
    }
    let ipam = n.ipam.clone().unwrap_or_default();
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(unsupported(&format!("the IPAM driver {:?}", ipam.driver)));
    }
    let mut errors = Vec::new();
    let configs = ipam.config.iter().map(|c| ipam_in(c, &mut errors)).collect();
    if !errors.is_empty() {
        return Err(Refusal::invalid(format!("invalid network config:\n{}", errors.join("\n"))));
    }
    Ok(model::NetworkSpec {
        name: n.name.clone(),
        labels: n.labels.clone(),
        driver: driver.to_owned(),
        options: n.options.clone(),
        ipv4: n.enable_ipv4.unwrap_or(true),
        ipv6: n.enable_ipv6.unwrap_or(false),
        internal: n.internal,
        attachable: n.attachable,
        ingress: n.ingress,
        ipam: configs,
        ipam_options: ipam.options.unwrap_or_default(),
    })
}

fn ipam_in(c: &en::IpamConfig, errors: &mut Vec<String>) -> model::IpamConfig {
    let mut subnet = |text: &str| -> Option<Subnet> {
        if text.is_empty() {
            return None;
        }
        text.parse().map_err(|e: model::SubnetError| errors.push(e.to_string())).ok()
    };
    let (block, range) = (subnet(&c.subnet), subnet(&c.ip_range));
    let mut address = |text: &str, what: &str| -> Option<IpAddr> {
        if text.is_empty() {
            return None;
        }
        let plain = text.split('/').next().unwrap_or(text);
        plain.parse().map_err(|_| errors.push(format!("invalid {what} {text}: invalid address"))).ok()
    };
    let gateway = address(&c.gateway, "gateway");
    let mut reserved = std::collections::BTreeMap::new();
    for (name, text) in &c.aux_address {
        if let Some(a) = address(text, &format!("auxiliary address {name:?}")) {
            reserved.insert(name.clone(), a);
        }
    }
    if let Some(block) = block {
        if let Some(r) = range
            && !(block.contains(r.base) && r.prefix >= block.prefix)
        {
            errors.push(format!("invalid ip-range {r}: it is not contained in subnet {block}"));
        }
        for (what, a) in
            gateway.iter().map(|g| ("gateway", g)).chain(reserved.values().map(|a| ("auxiliary address", a)))
        {
            if !block.contains(*a) {
                errors.push(format!("invalid {what} {a}: it is not contained in subnet {block}"));
            }
        }
    }
    model::IpamConfig { subnet: block, range, gateway, reserved }
}

fn ipam_out(n: &model::Network) -> en::Ipam {
    let wish = |subnet: &Subnet| n.spec.ipam.iter().find(|w| w.subnet.is_none_or(|s| s == *subnet));
    let config: Vec<en::IpamConfig> = if n.subnets.is_empty() {
        n.spec
            .ipam
            .iter()
            .map(|c| en::IpamConfig {
                subnet: c.subnet.map(|s| s.to_string()).unwrap_or_default(),
                ip_range: c.range.map(|s| s.to_string()).unwrap_or_default(),
                gateway: c.gateway.map(|s| s.to_string()).unwrap_or_default(),
                aux_address: c.reserved.iter().map(|(k, v)| (k.clone(), v.to_string())).collect(),
            })
            .collect()
    } else {
        n.subnets
            .iter()
            .map(|s| en::IpamConfig {
                subnet: s.subnet.to_string(),
                ip_range: s.range.map(|s| s.to_string()).unwrap_or_default(),
                gateway: s.gateway.to_string(),
                aux_address: wish(&s.subnet)
                    .map(|w| w.reserved.iter().map(|(k, v)| (k.clone(), v.to_string())).collect())
                    .unwrap_or_default(),
            })
            .collect()
    };
    let options = (!n.spec.ipam_options.is_empty()).then(|| n.spec.ipam_options.clone());
    en::Ipam { driver: "default".into(), options, config }
}

fn options_out(n: &model::Network) -> Map {
    let mut options = n.spec.options.clone();
    if n.vni != 0 {
        options.insert(VXLAN_IDS.into(), n.vni.to_string());
    }
    options
}

/// Shows a swarm network, without the containers, peers and services on it.
pub fn network_out(n: &model::Network) -> en::Network {
    en::Network {
        name: n.spec.name.clone(),
        id: n.id.to_string(),
        created: n.meta.created_at.into(),
        scope: "swarm".into(),
        driver: n.spec.driver.clone(),
        enable_ipv4: n.spec.ipv4,
        enable_ipv6: n.spec.ipv6,
        ipam: ipam_out(n),
        internal: n.spec.internal,
        attachable: n.spec.attachable,
        ingress: n.spec.ingress,
        options: options_out(n),
        labels: n.spec.labels.clone(),
        ..Default::default()
    }
}

/// Shows a swarm network inside a task.
pub fn swarm_network_out(n: &model::Network) -> et::TaskNetwork {
    let ipam = et::IpamOptions::from_ipam(&ipam_out(n));
    et::TaskNetwork {
        id: n.id.to_string(),
        version: version(&n.meta),
        created_at: n.meta.created_at.into(),
        updated_at: n.meta.updated_at.into(),
        spec: et::SwarmNetworkSpec {
            name: n.spec.name.clone(),
            labels: n.spec.labels.clone(),
            driver_configuration: Some(LogDriver { name: n.spec.driver.clone(), options: n.spec.options.clone() }),
            ipv6_enabled: n.spec.ipv6,
            internal: n.spec.internal,
            attachable: n.spec.attachable,
            ingress: n.spec.ingress,
            ipam_options: Some(ipam.clone()),
            scope: "swarm".into(),
        },
        driver_state: et::SwarmDriver { name: n.spec.driver.clone(), options: options_out(n) },
        ipam_options: Some(ipam),
    }
}
