//! `--network name` or `--network name=x,alias=y,driver-opt=k=v,ip=…`.
use super::pairs::fields;
use wire::engine::network::{EndpointIpam, EndpointSettings};
use wire::engine::service::NetworkAttachmentConfig;

/// A network and how to be on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attachment {
    pub(crate) target: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) driver_opts: wire::engine::Map,
    pub(crate) ip: String,
    pub(crate) ip6: String,
    pub(crate) link_local: Vec<String>,
    pub(crate) mac: String,
    pub(crate) gateway_priority: i64,
}

impl std::str::FromStr for Attachment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return Ok(Self { target: text.to_owned(), ..Self::default() });
        }
        let mut out = Self::default();
        for (key, value) in fields(text)? {
            let Some(value) = value else { return Err(format!("invalid field {key}")) };
            match key.as_str() {
                "name" => out.target = value,
                "alias" => out.aliases.push(value),
                "driver-opt" => {
                    let (k, v) = value.split_once('=').ok_or("invalid key value pair format in driver options")?;
                    out.driver_opts.insert(k.to_owned(), v.to_owned());
                }
                "ip" => out.ip = value,
                "ip6" => out.ip6 = value,
                "link-local-ip" => out.link_local.push(value),
                "mac-address" => out.mac = value,
                "gw-priority" => {
                    out.gateway_priority = value.parse().map_err(|_| format!("invalid gw-priority: {value}"))?
                }
                other => return Err(format!("invalid field key {other}")),
            }
        }
        if out.target.is_empty() {
            return Err("network name/id is not specified".into());
        }
        Ok(out)
    }
}

impl Attachment {
    /// For a container.
    pub(crate) fn endpoint(&self) -> EndpointSettings {
        let wished = !self.ip.is_empty() || !self.ip6.is_empty() || !self.link_local.is_empty();
        EndpointSettings {
            ipam_config: wished.then(|| EndpointIpam {
                ipv4_address: self.ip.clone(),
                ipv6_address: self.ip6.clone(),
                link_local_ips: self.link_local.clone(),
            }),
            aliases: (!self.aliases.is_empty()).then(|| self.aliases.clone()),
            driver_opts: (!self.driver_opts.is_empty()).then(|| self.driver_opts.clone()),
            mac_address: self.mac.clone(),
            gw_priority: self.gateway_priority,
            ..EndpointSettings::default()
        }
    }
    /// For a service.
    pub(crate) fn config(&self) -> NetworkAttachmentConfig {
        NetworkAttachmentConfig {
            target: self.target.clone(),
            aliases: self.aliases.clone(),
            driver_opts: self.driver_opts.clone(),
            addresses: Vec::new(),
        }
    }
}
