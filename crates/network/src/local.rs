//! The networks of one machine: what a user asks for, and what there is.
use crate::EndpointInfo;
use model::{IpamConfig, Labels, Subnet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use wire::Refusal;

/// Name of the default bridge network.
pub const BRIDGE: &str = "bridge";
/// Name of the network that is the machine's own.
pub const HOST: &str = "host";
/// Name of the network that is none.
pub const NONE: &str = "none";
/// Name of the bridge that gives overlay containers their way out.
pub const GWBRIDGE: &str = "docker_gwbridge";

/// Option of a network whose bridge is not ours to make or remove.
pub(crate) const FOREIGN: &str = "shoal.bridge.foreign";

/// A network that a user asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalNetworkSpec {
    /// Name.
    pub name: String,
    /// `bridge` (also when empty).
    pub driver: String,
    /// Labels.
    pub labels: Labels,
    /// Driver options (`com.docker.network.bridge.*`, `com.docker.network.driver.mtu`).
    pub options: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Means nothing here; kept for inspection.
    pub attachable: bool,
    /// IPv6 addresses too.
    pub ipv6: bool,
    /// Subnets; empty: one is chosen from the pools.
    pub ipam: Vec<IpamConfig>,
    /// Kept for inspection.
    pub ipam_options: BTreeMap<String, String>,
}

/// A network of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalNetwork {
    /// 64 digits.
    pub id: String,
    /// When it was made.
    pub created: model::Timestamp,
    /// As asked for, with the subnets and gateways that were chosen.
    pub spec: LocalNetworkSpec,
    /// The subnets.
    pub pools: Vec<Pool>,
    /// Name of the link that is made for it: its bridge, or a macvlan's own parent. Empty for those that have none.
    pub interface: String,
    /// Attachments by container id. Not saved here but with the sandboxes.
    #[serde(skip)]
    pub endpoints: BTreeMap<String, EndpointInfo>,
}

/// A subnet in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The block.
    pub subnet: Subnet,
    /// Addresses are given only from here.
    pub range: Option<Subnet>,
    /// The bridge's own address.
    pub gateway: IpAddr,
    /// Never given away.
    pub reserved: BTreeMap<String, IpAddr>,
}

impl LocalNetwork {
    /// Whether it is one of those that are always there.
    pub fn is_predefined(&self) -> bool {
        matches!(self.spec.name.as_str(), BRIDGE | HOST | NONE)
    }
    /// Whether there is a bridge behind it.
    pub fn is_bridge(&self) -> bool {
        self.spec.driver == BRIDGE
    }
    /// Whether the bridge is somebody else's, and stays when the network goes.
    pub fn is_foreign(&self) -> bool {
        self.spec.options.contains_key(FOREIGN)
    }
    /// Whether a link comes and goes with it.
    pub fn makes_link(&self) -> bool {
        !self.interface.is_empty() && !self.is_foreign()
    }
    /// Whether its containers are on a link of the machine.
    pub fn is_macvlan(&self) -> bool {
        self.spec.driver == crate::macvlan::DRIVER
    }
    /// Whether its containers hear each other (`com.docker.network.bridge.enable_icc`).
    pub fn icc(&self) -> bool {
        self.flag("com.docker.network.bridge.enable_icc", true)
    }
    /// Whether what leaves wears the machine's address (`com.docker.network.bridge.enable_ip_masquerade`).
    pub fn masquerades(&self) -> bool {
        !self.spec.internal && self.flag("com.docker.network.bridge.enable_ip_masquerade", true)
    }
    /// Where ports are published unless said otherwise (`com.docker.network.bridge.host_binding_ipv4`).
    pub fn default_binding(&self) -> Option<IpAddr> {
        let text = self.spec.options.get("com.docker.network.bridge.host_binding_ipv4")?;
        text.parse().ok().filter(|a: &IpAddr| !a.is_unspecified())
    }
    /// MTU of its interfaces.
    pub fn mtu(&self) -> u32 {
        self.spec.options.get("com.docker.network.driver.mtu").and_then(|m| m.parse().ok()).unwrap_or(1500)
    }
    fn flag(&self, option: &str, default: bool) -> bool {
        self.spec
            .options
            .get(option)
            .map_or(default, |v| matches!(v.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True"))
    }
}

/// Finds by id, name, or an unambiguous beginning of the id.
pub(crate) fn find<'a>(all: &'a [Arc<LocalNetwork>], key: &str) -> Result<&'a Arc<LocalNetwork>, Refusal> {
    if let Some(n) = all.iter().find(|n| n.id == key).or_else(|| all.iter().find(|n| n.spec.name == key)) {
        return Ok(n);
    }
    let mut matching = all.iter().filter(|n| !key.is_empty() && n.id.starts_with(key));
    match (matching.next(), matching.next()) {
        (Some(n), None) => Ok(n),
        (Some(_), Some(_)) => Err(Refusal::invalid(format!(
            "network {key} is ambiguous ({} matches found on ID prefix)",
            2 + matching.count()
        ))),
        (None, _) => Err(Refusal::not_found(format!("network {key} not found"))),
    }
}

/// One `IPAM.Config` entry, as texts from a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpamText<'a> {
    /// `10.0.0.0/24`.
    pub subnet: &'a str,
    /// `10.0.0.128/25`.
    pub range: &'a str,
    /// `10.0.0.1`.
    pub gateway: &'a str,
    /// Name → address.
    pub reserved: Vec<(&'a str, &'a str)>,
}

/// Reads `IPAM.Config`; all mistakes are told together, in Docker's words.
///
/// # Errors
/// 400 "invalid network config:…".
pub fn parse_ipam(entries: &[IpamText<'_>]) -> Result<Vec<IpamConfig>, Refusal> {
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    for e in entries {
        let subnet = parse_subnet("subnet", e.subnet, &mut wrong);
        let range = parse_subnet("ip-range", e.range, &mut wrong);
        let mut config = IpamConfig { subnet, range, ..IpamConfig::default() };
        if !e.gateway.is_empty() {
            config.gateway = parse_inside("gateway", e.gateway, subnet, &mut wrong);
        }
        for (name, text) in &e.reserved {
            let reserved = parse_inside("auxiliary address", text, subnet, &mut wrong);
            config.reserved.extend(reserved.map(|a| ((*name).to_owned(), a)));
        }
        if let (Some(s), Some(r)) = (subnet, range)
            && (!s.contains(r.base) || r.prefix < s.prefix)
        {
            wrong.push(format!("invalid ip-range {r}: parent subnet {s} doesn't contain ip-range"));
        }
        if subnet.is_none() && e.subnet.is_empty() && (config.gateway.is_some() || range.is_some()) {
            wrong.push("invalid network config: gateway and ip-range need a subnet".into());
        }
        all.push(config);
    }
    if wrong.is_empty() {
        Ok(all)
    } else {
        Err(Refusal::invalid(format!("invalid network config:\n{}", wrong.join("\n"))))
    }
}

fn parse_subnet(what: &str, text: &str, wrong: &mut Vec<String>) -> Option<Subnet> {
    if text.is_empty() {
        return None;
    }
    match text.parse() {
        Ok(s) => Some(s),
        Err(model::SubnetError::HostBits { given, canonical }) => {
            wrong.push(format!("invalid {what} {given}: it should be {canonical}"));
            None
        }
        Err(e @ model::SubnetError::Syntax(_)) => {
            wrong.push(format!("invalid {what} {text}: {e}"));
            None
        }
    }
}

fn parse_inside(what: &str, text: &str, subnet: Option<Subnet>, wrong: &mut Vec<String>) -> Option<IpAddr> {
    let Ok(addr) = text.parse::<IpAddr>() else {
        wrong.push(format!("invalid {what} {text}: invalid address"));
        return None;
    };
    match subnet {
        Some(s) if !s.contains(addr) => {
            wrong.push(format!("invalid {what} {text}: parent subnet {s} doesn't contain {what}"));
            None
        }
        _ => Some(addr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipam_mistakes_are_told_in_dockers_words() {
        let bad = parse_ipam(&[IpamText { subnet: "10.0.0.1/24", ..IpamText::default() }]).unwrap_err();
        assert_eq!(bad.kind.status(), 400);
        assert_eq!(bad.message, "invalid network config:\ninvalid subnet 10.0.0.1/24: it should be 10.0.0.0/24");
        let bad = parse_ipam(&[IpamText { subnet: "10.0.0.0/24", gateway: "10.0.1.1", ..IpamText::default() }]);
        assert!(bad.unwrap_err().message.contains("parent subnet 10.0.0.0/24 doesn't contain gateway"));
    }

    #[test]
    fn ipam_is_read() {
        let reserved = vec![("router", "10.0.0.2")];
        let text = IpamText { subnet: "10.0.0.0/24", range: "10.0.0.128/25", gateway: "10.0.0.254", reserved };
        let c = &parse_ipam(&[text]).unwrap()[0];
        assert_eq!(c.subnet.unwrap().to_string(), "10.0.0.0/24");
        assert_eq!(c.reserved["router"].to_string(), "10.0.0.2");
    }
}
