//! `node ls`.
use crate::Ctx;
use crate::commands::task::capital;
use crate::commands::{Done, FilterArg};
use crate::render::list::{Show, Table, print, row};
use crate::spec::pairs;
use clap::Args;
use serde_json::Value;
use wire::engine::node::Node;
use wire::engine::swarm::Swarm;
use wire::engine::system::Info;

const NODES: Table = Table {
    headers: &[
        ("ID", "ID"),
        ("Self", ""),
        ("Hostname", "HOSTNAME"),
        ("Status", "STATUS"),
        ("Availability", "AVAILABILITY"),
        ("ManagerStatus", "MANAGER STATUS"),
        ("EngineVersion", "ENGINE VERSION"),
        ("TLSStatus", "TLS STATUS"),
    ],
    default: "{{.ID}} {{if .Self}}*{{else}} {{end}}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}",
    quiet: "{{.ID}}",
};

/// List nodes in the swarm.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    show: Show,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let call = ctx.client.get("/nodes").filters(&pairs::filters(&self.filter.filter)?);
        let mut nodes: Vec<Node> = call.read().await?;
        nodes.sort_by(|a, b| a.description.hostname.cmp(&b.description.hostname));
        let (mut me, mut issuer) = (String::new(), None);
        if !nodes.is_empty() && !self.show.quiet {
            me = ctx.client.get("/info").read::<Info>().await?.swarm.node_id;
            if self
                .show
                .format
                .as_deref()
                .is_some_and(|f| f.contains("TLSStatus") || f == "json" || f.contains("json ."))
            {
                issuer = ctx.client.get("/swarm").read::<Swarm>().await.ok().map(|s| s.tls_info.cert_issuer_subject);
            }
        }
        let rows: Vec<Value> = nodes
            .iter()
            .map(|n| {
                let manager = match &n.manager_status {
                    Some(m) if m.leader => "Leader".into(),
                    Some(m) => capital(&m.reachability),
                    None => String::new(),
                };
                let tls = match &issuer {
                    Some(issuer) if *issuer == n.description.tls_info.cert_issuer_subject => "Ready",
                    Some(_) => "Needs Rotation",
                    None => "Unknown",
                };
                row! {
                    "ID": n.id.clone(),
                    "Self": n.id == me,
                    "Hostname": n.description.hostname.clone(),
                    "Status": capital(&n.status.state),
                    "Availability": capital(&n.spec.availability),
                    "ManagerStatus": manager,
                    "EngineVersion": n.description.engine.engine_version.clone(),
                    "TLSStatus": tls,
                }
            })
            .collect();
        print(&NODES, &self.show, &rows)
    }
}
