//! `network connect` and `network disconnect`.
use crate::Ctx;
use crate::commands::Done;
use crate::spec::network::Attachment;
use crate::spec::pairs;
use clap::Args;
use wire::engine::network::{NetworkConnect, NetworkDisconnect};

/// Connect a container to a network.
#[derive(Args)]
pub(crate) struct Connect {
    /// Add network-scoped alias for the container
    #[arg(long)]
    alias: Vec<String>,
    /// Driver options for the network
    #[arg(long)]
    driver_opt: Vec<String>,
    /// Highest gw-priority provides the default gateway
    #[arg(long, default_value_t = 0)]
    gw_priority: i64,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long)]
    ip: Option<String>,
    /// IPv6 address (e.g., "2001:db8::33")
    #[arg(long)]
    ip6: Option<String>,
    /// Add link to another container
    #[arg(long)]
    link: Vec<String>,
    /// Add a link-local address for the container
    #[arg(long)]
    link_local_ip: Vec<String>,
    network: String,
    container: String,
}

impl Connect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let wish = Attachment {
            aliases: self.alias,
            driver_opts: pairs::map(&self.driver_opt),
            ip: self.ip.unwrap_or_default(),
            ip6: self.ip6.unwrap_or_default(),
            link_local: self.link_local_ip,
            gateway_priority: self.gw_priority,
            ..Attachment::default()
        };
        let mut endpoint = wish.endpoint();
        endpoint.links = (!self.link.is_empty()).then_some(self.link);
        let body = NetworkConnect { container: self.container, endpoint_config: Some(endpoint) };
        ctx.client.post(format!("/networks/{}/connect", self.network)).json(&body)?.done().await
    }
}

/// Disconnect a container from a network.
#[derive(Args)]
pub(crate) struct Disconnect {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    force: bool,
    network: String,
    container: String,
}

impl Disconnect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let body = NetworkDisconnect { container: self.container, force: self.force };
        ctx.client.post(format!("/networks/{}/disconnect", self.network)).json(&body)?.done().await
    }
}
