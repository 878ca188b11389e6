//! `container ls`.
use crate::Ctx;
use crate::commands::{Done, FilterArg};
use crate::render::human::{ago, date, ellipsis, short_id, size};
use crate::render::list::{Show, Table, labels, print, row};
use crate::spec::pairs;
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use wire::engine::container::{ContainerSummary, Port};

const CONTAINERS: Table = Table {
    headers: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("State", "STATE"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
    ],
    default: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "{{.ID}}",
};

/// The same with sizes.
const WITH_SIZE: Table = Table {
    default: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    ..CONTAINERS
};

/// List containers.
#[derive(Args)]
pub(crate) struct List {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArg,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long)]
    last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    #[command(flatten)]
    show: Show,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let limit = if self.latest { 1 } else { self.last.unwrap_or(0) };
        let with_size = self.size || self.show.format.as_deref().is_some_and(|f| f.contains(".Size"));
        let mut call = ctx.client.get("/containers/json").flag("all", self.all).flag("size", with_size);
        if limit > 0 {
            call = call.query("limit", limit);
        }
        let found: Vec<ContainerSummary> = call.filters(&pairs::filters(&self.filter.filter)?).read().await?;
        let rows: Vec<Value> = found.iter().map(|c| shown(c, !self.no_trunc)).collect();
        print(if self.size { &WITH_SIZE } else { &CONTAINERS }, &self.show, &rows)
    }
}

fn shown(c: &ContainerSummary, trunc: bool) -> Value {
    let id = if trunc { short_id(&c.id) } else { &c.id };
    let names = c.names.iter().map(|n| n.trim_start_matches('/')).filter(|n| !trunc || !n.contains('/'));
    let image = match c.image.as_str() {
        "" => "<no image>".into(),
        image if trunc && image.starts_with("sha256:") => short_id(image).to_owned(),
        image if trunc => image.split("@sha256:").next().unwrap_or(image).to_owned(),
        image => image.to_owned(),
    };
    let command = if trunc { ellipsis(&c.command, 20) } else { c.command.clone() };
    let mounts: Vec<String> = c
        .mounts
        .iter()
        .map(|m| if m.name.is_empty() { &m.source } else { &m.name })
        .map(|m| if trunc { ellipsis(m, 15) } else { m.clone() })
        .collect();
    let created = model::Timestamp(c.created.saturating_mul(1_000_000_000));
    let total = if c.size_root_fs > 0 { format!(" (virtual {})", size(c.size_root_fs)) } else { String::new() };
    row! {
        "ID": id,
        "Image": image,
        "Command": format!("{command:?}"),
        "CreatedAt": date(created),
        "RunningFor": ago(created),
        "Status": c.status.clone(),
        "State": c.state.clone(),
        "Ports": ports(&c.ports),
        "Names": names.collect::<Vec<_>>().join(","),
        "Size": format!("{}{total}", size(c.size_rw)),
        "Labels": labels(&c.labels),
        "Mounts": mounts.join(","),
        "LocalVolumes": c.mounts.iter().filter(|m| m.driver == "local").count().to_string(),
        "Networks": c.network_settings.networks.keys().cloned().collect::<Vec<_>>().join(","),
        "Platform": Value::Null,
    }
}

/// `0.0.0.0:80-81->80-81/tcp, 443/tcp`: neighbours are joined where both sides have the same number.
pub(crate) fn ports(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort_by_key(|p| (p.private_port, p.ip.clone(), p.public_port, p.typ.clone()));
    let mut groups: BTreeMap<(String, String), (u16, u16)> = BTreeMap::new();
    let (mut joined, mut mapped) = (Vec::new(), Vec::new());
    let host = |ip: &str| if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let group = |(ip, typ): &(String, String), (from, to): (u16, u16)| {
        let range = if from == to { from.to_string() } else { format!("{from}-{to}") };
        if ip.is_empty() { format!("{range}/{typ}") } else { format!("{}:{range}->{range}/{typ}", host(ip)) }
    };
    for p in sorted {
        if !p.ip.is_empty() && p.public_port != p.private_port {
            mapped.push(format!("{}:{}->{}/{}", host(&p.ip), p.public_port, p.private_port, p.typ));
            continue;
        }
        let key = (p.ip.clone(), p.typ.clone());
        match groups.get_mut(&key) {
            Some((_, to)) if p.private_port == *to + 1 => *to = p.private_port,
            Some((_, to)) if p.private_port == *to => {}
            Some(range) => {
                joined.push(group(&key, *range));
                *range = (p.private_port, p.private_port);
            }
            None => {
                groups.insert(key, (p.private_port, p.private_port));
            }
        }
    }
    joined.extend(groups.iter().map(|(key, range)| group(key, *range)));
    joined.extend(mapped);
    joined.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_joined() {
        let p =
            |ip: &str, private_port, public_port| Port { ip: ip.into(), private_port, public_port, typ: "tcp".into() };
        assert_eq!(ports(&[p("", 80, 0)]), "80/tcp");
        assert_eq!(ports(&[p("127.0.0.1", 8080, 4100)]), "127.0.0.1:4100->8080/tcp");
        assert_eq!(
            ports(&[p("0.0.0.0", 81, 81), p("0.0.0.0", 80, 80), p("", 9, 0)]),
            "9/tcp, 0.0.0.0:80-81->80-81/tcp"
        );
        assert_eq!(ports(&[p("::", 1, 2)]), "[::]:2->1/tcp");
    }
}
