//! Tasks as `ps` shows them: history under the newest, names of services and nodes.
use super::Done;
use crate::Ctx;
use crate::render::human::{ago, ellipsis};
use crate::render::list::{Show, Table, print, row};
use std::collections::BTreeMap;
use wire::engine::Filters;
use wire::engine::node::Node;
use wire::engine::service::{PortConfig, Service};
use wire::engine::task::Task;

const TASKS: Table = Table {
    headers: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Image", "IMAGE"),
        ("Node", "NODE"),
        ("DesiredState", "DESIRED STATE"),
        ("CurrentState", "CURRENT STATE"),
        ("Error", "ERROR"),
        ("Ports", "PORTS"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}",
    quiet: "{{.ID}}",
};

/// How tasks are shown.
#[derive(clap::Args)]
pub(crate) struct TaskShow {
    #[command(flatten)]
    pub(crate) show: Show,
    /// Do not truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Do not map IDs to names
    #[arg(long)]
    pub(crate) no_resolve: bool,
}

/// Fetches and prints tasks.
pub(crate) async fn list(ctx: &Ctx, filters: &Filters, how: &TaskShow) -> Done {
    let tasks: Vec<Task> = ctx.client.get("/tasks").filters(filters).read().await?;
    print_tasks(ctx, tasks, how).await
}

pub(crate) async fn print_tasks(ctx: &Ctx, mut tasks: Vec<Task>, how: &TaskShow) -> Done {
    let (mut services, mut nodes) = (BTreeMap::new(), BTreeMap::new());
    if !how.no_resolve && !how.show.quiet && !tasks.is_empty() {
        let all: Vec<Service> = ctx.client.get("/services").read().await?;
        services.extend(all.into_iter().map(|s| (s.id, s.spec.name)));
        let all: Vec<Node> = ctx.client.get("/nodes").read().await?;
        nodes.extend(all.into_iter().map(|n| {
            let name = if n.spec.name.is_empty() { n.description.hostname } else { n.spec.name };
            (n.id, name)
        }));
    }
    let name_of = |t: &Task| {
        let service = services.get(&t.service_id).unwrap_or(&t.service_id);
        if t.slot != 0 { format!("{service}.{}", t.slot) } else { format!("{service}.{}", t.node_id) }
    };
    let service_of = |t: &Task| services.get(&t.service_id).unwrap_or(&t.service_id).clone();
    tasks.sort_by(|a, b| {
        (service_of(a), a.slot, &a.node_id, b.created_at).cmp(&(service_of(b), b.slot, &b.node_id, a.created_at))
    });
    let indent = how.show.format.as_deref().is_none_or(|f| f.is_empty() || f.starts_with("table"));
    let mut last = String::new();
    let mut rows = Vec::new();
    for t in &tasks {
        let name = name_of(t);
        let shown = if indent && name == last { format!(" \\_ {name}") } else { name.clone() };
        let mut image = t.spec.container_spec.as_ref().map(|c| c.image.clone()).unwrap_or_default();
        let mut error = t.status.err.clone();
        let mut id = t.id.clone();
        if !how.no_trunc {
            image.truncate(image.find("@sha256:").unwrap_or(image.len()));
            error = ellipsis(&error, 30);
            id = crate::render::human::short_id(&id).to_owned();
        }
        if !error.is_empty() {
            error = format!("\"{error}\"");
        }
        rows.push(row! {
            "ID": id,
            "Name": shown,
            "Image": image,
            "Node": nodes.get(&t.node_id).unwrap_or(&t.node_id).clone(),
            "DesiredState": capital(&t.desired_state),
            "CurrentState": format!("{} {}", capital(&t.status.state), ago(t.status.timestamp.0).to_lowercase()),
            "Error": error,
            "Ports": t.status.port_status.ports.iter().map(host_port).collect::<Vec<_>>().join(","),
        });
        last = name;
    }
    print(&TASKS, &how.show, &rows)
}

fn host_port(p: &PortConfig) -> String {
    format!("*:{}->{}/{}", p.published_port, p.target_port, p.protocol)
}

/// `running` → `Running`.
pub(crate) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// `self` is this node.
pub(crate) async fn node_id(ctx: &Ctx, name: &str) -> anyhow::Result<String> {
    if name != "self" {
        return Ok(name.to_owned());
    }
    let info: wire::engine::system::Info = ctx.client.get("/info").read().await?;
    anyhow::ensure!(
        !info.swarm.node_id.is_empty(),
        "Error response from daemon: This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."
    );
    Ok(info.swarm.node_id)
}
