//! A service's networks, and the networks that the stack brings along for them.
use super::{labelled, name_of};
use crate::read::At;
use crate::{ComposeError, NetworkUse, Stack, StackObject, Surroundings};
use model::{IpamConfig, NetworkSpec, Subnet};
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

type Read<T> = Result<T, ComposeError>;

/// Where a service without networks goes.
const DEFAULT: &str = "default";
/// Node-local networks that know no names.
const PREDEFINED: [&str; 3] = ["host", "bridge", "none"];

pub(super) fn uses(
    service: &str,
    at: &At<'_>,
    declared: &BTreeMap<String, At<'_>>,
    around: &Surroundings<'_>,
    stack: &mut Stack,
) -> Read<Vec<NetworkUse>> {
    let null = Value::Null;
    let mut wished: Vec<(String, At<'_>)> = match at.get("networks") {
        None => Vec::new(),
        Some(list) if list.value.is_sequence() => list
            .items()?
            .into_iter()
            .map(|item| Ok((item.text()?, At { path: item.path, value: &null })))
            .collect::<Read<_>>()?,
        Some(map) => map.entries()?,
    };
    if let Some(mode) = at.get("network_mode") {
        match mode.text()?.as_str() {
            "default" => {}
            _ if at.get("networks").is_some() => {
                return mode
                    .wrong("network_mode and networks cannot be combined: one of them says where the service is");
            }
            name if PREDEFINED.contains(&name) => {
                stack.networks.insert(name.to_owned(), StackObject::External);
                return Ok(vec![NetworkUse { network: name.to_owned(), ..NetworkUse::default() }]);
            }
            other => {
                return mode.wrong(format!(
                    "network_mode {other:?} cannot be honoured by a swarm, and another network would expose the \
                     service: none, host, bridge or networks is expected"
                ));
            }
        }
    }
    if wished.is_empty() {
        wished.push((DEFAULT.to_owned(), At { path: format!("{}.networks", at.path), value: &null }));
    }
    let mut all = Vec::new();
    for (key, wish) in wished {
        let (name, object) = match declared.get(&key) {
            Some(declaration) => network(&key, declaration, around)?,
            None if key == DEFAULT => network(&key, &At { path: "networks.default".into(), value: &null }, around)?,
            None => return wish.wrong(format!("undefined network \"{key}\"")),
        };
        let mut aliases = match wish.get("aliases") {
            Some(list) => list.text_list()?,
            None => Vec::new(),
        };
        if !PREDEFINED.contains(&name.as_str()) && !aliases.iter().any(|a| a == service) {
            aliases.push(service.to_owned());
        }
        let mut addresses = Vec::new();
        for key in ["ipv4_address", "ipv6_address"] {
            if let Some(address) = wish.get(key) {
                addresses.push(parsed::<IpAddr>(&address)?);
            }
        }
        all.push(NetworkUse {
            network: name.clone(),
            aliases,
            driver_opts: wish.get("driver_opts").map(|o| o.text_map()).transpose()?.unwrap_or_default(),
            addresses,
        });
        stack.networks.insert(name, object);
    }
    // As Docker does, so that an unchanged file gives an unchanged spec.
    all.sort_by(|a, b| a.network.cmp(&b.network));
    Ok(all)
}

fn network(key: &str, at: &At<'_>, around: &Surroundings<'_>) -> Read<(String, StackObject<NetworkSpec>)> {
    let (name, external) = name_of(key, at, "network", around)?;
    if external {
        return Ok((name, StackObject::External));
    }
    let flag =
        |key: &str, default: bool| -> Read<bool> { Ok(at.get(key).map(|v| v.flag()).transpose()?.unwrap_or(default)) };
    let mut spec = NetworkSpec {
        name: name.clone(),
        labels: labelled(around, at.get("labels").map(|l| l.labels()).transpose()?.unwrap_or_default()),
        driver: at.get("driver").map(|d| d.text()).transpose()?.filter(|d| !d.is_empty()).unwrap_or("overlay".into()),
        options: at.get("driver_opts").map(|o| o.text_map()).transpose()?.unwrap_or_default(),
        ipv4: flag("enable_ipv4", true)?,
        ipv6: flag("enable_ipv6", false)?,
        internal: flag("internal", false)?,
        attachable: flag("attachable", false)?,
        ..NetworkSpec::default()
    };
    if let Some(ipam) = at.get("ipam") {
        spec.ipam_options = ipam.get("options").map(|o| o.text_map()).transpose()?.unwrap_or_default();
        for config in ipam.get("config").map(|c| c.items()).transpose()?.unwrap_or_default() {
            let mut reserved = BTreeMap::new();
            for (name, address) in config.get("aux_addresses").map(|a| a.entries()).transpose()?.unwrap_or_default() {
                reserved.insert(name, parsed::<IpAddr>(&address)?);
            }
            spec.ipam.push(IpamConfig {
                subnet: config.get("subnet").map(|s| parsed::<Subnet>(&s)).transpose()?,
                range: config.get("ip_range").map(|s| parsed::<Subnet>(&s)).transpose()?,
                gateway: config.get("gateway").map(|s| parsed::<IpAddr>(&s)).transpose()?,
                reserved,
            });
        }
    }
    Ok((name, StackObject::Own(spec)))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(at: &At<'_>) -> Read<T> {
    at.text()?.parse().or_else(|e| at.wrong(format!("{e}")))
}
