//! `network ls`.
use crate::Ctx;
use crate::commands::{Done, FilterArg};
use crate::render::human::{date_exact, short_id};
use crate::render::list::{Show, Table, labels, print, row};
use crate::spec::pairs;
use clap::Args;
use serde_json::Value;
use wire::engine::network::Network;

const NETWORKS: Table = Table {
    headers: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
};

/// List networks.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: FilterArg,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    show: Show,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let call = ctx.client.get("/networks").filters(&pairs::filters(&self.filter.filter)?);
        let mut networks: Vec<Network> = call.read().await?;
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        let rows: Vec<Value> = networks
            .iter()
            .map(|n| {
                row! {
                    "ID": if self.no_trunc { &n.id } else { short_id(&n.id) },
                    "Name": n.name.clone(),
                    "Driver": n.driver.clone(),
                    "Scope": n.scope.clone(),
                    "IPv4": n.enable_ipv4.to_string(),
                    "IPv6": n.enable_ipv6.to_string(),
                    "Internal": n.internal.to_string(),
                    "Labels": labels(&n.labels),
                    "CreatedAt": date_exact(n.created.0),
                }
            })
            .collect();
        print(&NETWORKS, &self.show, &rows)
    }
}
