//! `network create`.
use crate::Ctx;
use crate::commands::Done;
use crate::spec::pairs;
use crate::terminal::{say_line, tell};
use clap::Args;
use std::net::IpAddr;
use wire::engine::network::{ConfigReference, Ipam, IpamConfig, NetworkCreate, NetworkCreated};

/// Create a network.
#[derive(Args)]
pub(crate) struct Create {
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long)]
    aux_address: Vec<String>,
    /// The network from which to copy the configuration
    #[arg(long)]
    config_from: Option<String>,
    /// Create a configuration only network
    #[arg(long)]
    config_only: bool,
    /// Driver to manage the Network
    #[arg(short, long, default_value = "bridge")]
    driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long)]
    gateway: Vec<String>,
    /// Create swarm routing-mesh network
    #[arg(long)]
    ingress: bool,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long)]
    ip_range: Vec<String>,
    /// IP Address Management Driver
    #[arg(long, default_value = "default")]
    ipam_driver: String,
    /// Set IPAM driver specific options
    #[arg(long)]
    ipam_opt: Vec<String>,
    /// Enable or disable IPv4 address assignment
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv4: Option<bool>,
    /// Enable or disable IPv6 address assignment
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv6: Option<bool>,
    /// Set metadata on a network
    #[arg(long)]
    label: Vec<String>,
    /// Set driver specific options
    #[arg(short, long)]
    opt: Vec<String>,
    /// Control the network's scope
    #[arg(long)]
    scope: Option<String>,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long)]
    subnet: Vec<String>,
    name: String,
}

impl Create {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let made: NetworkCreated = ctx.client.post("/networks/create").json(&self.body()?)?.read().await?;
        if !made.warning.is_empty() {
            tell(&format!("WARNING: {}", made.warning));
        }
        say_line(&made.id);
        Ok(())
    }

    fn body(&self) -> anyhow::Result<NetworkCreate> {
        let mut config: Vec<IpamConfig> = Vec::new();
        for subnet in self.subnet.iter().flat_map(|s| s.split(',')) {
            prefix(subnet).ok_or_else(|| anyhow::anyhow!("invalid subnet: invalid CIDR address: {subnet}"))?;
            anyhow::ensure!(
                !config.iter().any(|c| within(&c.subnet, subnet) || within(subnet, &c.subnet)),
                "multiple overlapping subnet configuration is not supported"
            );
            config.push(IpamConfig { subnet: subnet.to_owned(), ..IpamConfig::default() });
        }
        type Field = fn(&mut IpamConfig) -> &mut String;
        let lists: [(&Vec<String>, Field, &str); 2] =
            [(&self.ip_range, |c| &mut c.ip_range, "ip-range"), (&self.gateway, |c| &mut c.gateway, "gateway")];
        for (values, field, what) in lists {
            for value in values.iter().flat_map(|s| s.split(',')) {
                let Some(entry) = config.iter_mut().find(|c| within(&c.subnet, value)) else {
                    anyhow::bail!("no matching subnet for {what} {value}");
                };
                let slot = field(entry);
                anyhow::ensure!(
                    slot.is_empty(),
                    "cannot configure multiple {what}s ({value}, {slot}) on the same subnet"
                );
                value.clone_into(slot);
            }
        }
        for (name, value) in pairs::map(&self.aux_address) {
            let Some(entry) = config.iter_mut().find(|c| within(&c.subnet, &value)) else {
                anyhow::bail!("no matching subnet for aux-address {value}");
            };
            entry.aux_address.insert(name, value);
        }
        let options = pairs::map(&self.ipam_opt);
        Ok(NetworkCreate {
            name: self.name.clone(),
            driver: self.driver.clone(),
            scope: self.scope.clone().unwrap_or_default(),
            enable_ipv4: self.ipv4,
            enable_ipv6: self.ipv6,
            ipam: Some(Ipam { driver: self.ipam_driver.clone(), options: Some(options), config }),
            internal: self.internal,
            attachable: self.attachable,
            ingress: self.ingress,
            config_only: self.config_only,
            config_from: self.config_from.clone().map(|network| ConfigReference { network }),
            options: pairs::map(&self.opt),
            labels: pairs::map(&self.label),
            ..NetworkCreate::default()
        })
    }
}

fn prefix(cidr: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = cidr.split_once('/')?;
    let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

/// Whether an address or the beginning of a block lies in a subnet.
fn within(subnet: &str, address: &str) -> bool {
    let Some((base, length)) = prefix(subnet) else { return false };
    let Ok(address) = address.split('/').next().unwrap_or_default().parse::<IpAddr>() else { return false };
    let bits = |a: IpAddr| match a {
        IpAddr::V4(a) => u128::from(u32::from(a)) << 96,
        IpAddr::V6(a) => u128::from(a),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    base.is_ipv4() == address.is_ipv4() && bits(base) & mask == bits(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn body(line: &str) -> anyhow::Result<serde_json::Value> {
        let command = crate::tune(Create::augment_args(Command::new("create").no_binary_name(true)));
        let create = Create::from_arg_matches(&command.try_get_matches_from(line.split(' '))?)?;
        Ok(serde_json::to_value(create.body()?)?)
    }

    #[test]
    fn flags_become_the_request() {
        let table = [
            ("n", "/Driver", r#""bridge""#),
            ("-d overlay --attachable n", "/Attachable", "true"),
            (
                "--subnet 10.1.0.0/24 --gateway 10.1.0.9 n",
                "/IPAM/Config",
                r#"[{"Gateway":"10.1.0.9","Subnet":"10.1.0.0/24"}]"#,
            ),
            (
                "--subnet 10.1.0.0/24 --subnet fd00::/64 --ip-range fd00::/80 --ipv6 n",
                "/IPAM/Config/1/IPRange",
                r#""fd00::/80""#,
            ),
            ("--ipv6 n", "/EnableIPv6", "true"),
            ("--ipv4=false n", "/EnableIPv4", "false"),
            ("-o encrypted --label a=b n", "/Options", r#"{"encrypted":""}"#),
        ];
        for (line, pointer, wanted) in table {
            assert_eq!(body(line).unwrap().pointer(pointer).unwrap().to_string(), wanted, "{line}");
        }
        for line in ["--subnet x n", "--gateway 10.0.0.1 n", "--subnet 10.0.0.0/8 --subnet 10.1.0.0/24 n"] {
            assert!(body(line).is_err(), "{line}");
        }
    }
}
