//! `ping`: from inside the overlay where the tasks are, to the service's address and to each of its tasks; or to a node.
use crate::Ctx;
use crate::client::{Exit, is_status};
use crate::commands::Done;
use crate::render::list::{Show, Table, print, row};
use crate::terminal::tell;
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use wire::engine::Filters;
use wire::engine::diagnosis::EchoReport;
use wire::engine::network::Network;
use wire::engine::node::Node;
use wire::engine::service::Service;
use wire::engine::system::Info;
use wire::engine::task::Task;

const ECHOES: Table = Table {
    headers: &[
        ("Target", "TARGET"),
        ("Address", "ADDRESS"),
        ("Node", "NODE"),
        ("From", "FROM"),
        ("Answers", "ANSWERS"),
        ("Average", "AVERAGE"),
        ("Error", "ERROR"),
    ],
    default: "{{.Target}}\t{{.Address}}\t{{.Node}}\t{{.From}}\t{{.Answers}}\t{{.Average}}\t{{.Error}}",
    quiet: "{{.Address}}",
};

/// Ask whether a service, a task or a node answers, over the network that its clients use.
#[derive(Args)]
pub(crate) struct Ping {
    /// How many echo requests are sent to each address
    #[arg(short, long, default_value = "3")]
    count: u32,
    /// Format output using a Go template, or 'json'
    #[arg(long)]
    format: Option<String>,
    /// A service, a task or a node
    name: String,
}

/// An address to ask, and from where.
#[derive(Debug, PartialEq)]
struct Target {
    what: String,
    address: String,
    node: String,
    /// The task that asks; none: this node.
    from: Option<From>,
}

#[derive(Clone, Debug, PartialEq)]
struct From {
    container: String,
    name: String,
}

impl Ping {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let targets = self.targets(ctx).await?;
        let mut rows: Vec<Value> = Vec::new();
        let mut silent = 0;
        for target in &targets {
            let path = match &target.from {
                Some(from) => format!("/containers/{}/ping", from.container),
                None => "/system/ping".to_owned(),
            };
            let call = ctx.client.post(path).query("address", &target.address).query("count", self.count);
            let report: EchoReport = call.read().await?;
            silent += usize::from(report.times_nanos.is_empty());
            rows.push(row_of(target, &report));
        }
        print(&ECHOES, &Show { format: self.format, quiet: false }, &rows)?;
        if silent == 0 {
            return Ok(());
        }
        tell(&format!(
            "{silent} of {} addresses are silent: see `{1} explain {2}` and, on the nodes, `{1} doctor`",
            targets.len(),
            ctx.name,
            self.name
        ));
        Err(Exit(1).into())
    }

    async fn targets(&self, ctx: &Ctx) -> anyhow::Result<Vec<Target>> {
        let nodes: Vec<Node> = ctx.client.get("/nodes").read().await?;
        let name = &self.name;
        match ctx.client.get(format!("/services/{name}")).read::<Service>().await {
            Ok(service) => return on_overlays(ctx, &service, None, &nodes).await,
            Err(e) if !is_status(&e, 404) => return Err(e),
            Err(_) => {}
        }
        match ctx.client.get(format!("/tasks/{name}")).read::<Task>().await {
            Ok(task) => {
                let service: Service = ctx.client.get(format!("/services/{}", task.service_id)).read().await?;
                return on_overlays(ctx, &service, Some(&task), &nodes).await;
            }
            Err(e) if !is_status(&e, 404) => return Err(e),
            Err(_) => {}
        }
        let is_it = |n: &&Node| n.id == *name || n.description.hostname == *name || n.id.starts_with(name.as_str());
        let Some(node) = nodes.iter().find(is_it) else { anyhow::bail!("no service, task or node is called {name:?}") };
        let hostname = node.description.hostname.clone();
        Ok(vec![Target { what: hostname.clone(), address: node.status.addr.clone(), node: hostname, from: None }])
    }
}

/// The service's virtual addresses and its tasks (or one of them), asked by a task on the same network.
async fn on_overlays(ctx: &Ctx, service: &Service, only: Option<&Task>, nodes: &[Node]) -> anyhow::Result<Vec<Target>> {
    let mut running = Filters::default();
    running.add("desired-state", "running");
    let tasks: Vec<Task> = ctx.client.get("/tasks").filters(&running).read().await?;
    let names: BTreeMap<String, String> = {
        let services: Vec<Service> = ctx.client.get("/services").read().await?;
        services.into_iter().map(|s| (s.id, s.spec.name)).collect()
    };
    let networks: Vec<Network> = ctx.client.get("/networks").read().await?;
    let info: Info = ctx.client.get("/info").read().await?;
    let found =
        choose(&Sight { service, only, tasks: &tasks, names: &names, nodes, here: &info.swarm.node_id }, &networks);
    anyhow::ensure!(
        !found.is_empty(),
        "{} is on no overlay network with a running task: nothing can be asked; see `{} explain {0}`",
        service.spec.name,
        ctx.name
    );
    Ok(found)
}

/// What is known.
struct Sight<'s> {
    service: &'s Service,
    only: Option<&'s Task>,
    tasks: &'s [Task],
    names: &'s BTreeMap<String, String>,
    nodes: &'s [Node],
    here: &'s str,
}

impl Sight<'_> {
    fn name_of(&self, task: &Task) -> String {
        let service = self.names.get(&task.service_id).unwrap_or(&task.service_id);
        if task.slot == 0 { service.clone() } else { format!("{service}.{}", task.slot) }
    }

    fn hostname(&self, id: &str) -> String {
        self.nodes.iter().find(|n| n.id == id).map_or_else(|| id.to_owned(), |n| n.description.hostname.clone())
    }

    /// A running task on the network that can ask: on this node if there is one, and not the one that is asked.
    fn asker(&self, network: &str, but: &str) -> Option<From> {
        let can = |t: &&Task| t.status.state == "running" && address_on(t, network).is_some();
        let rank = |t: &&Task| (t.id != but, t.node_id == self.here);
        let task = self.tasks.iter().filter(can).max_by_key(rank)?;
        let container = task.status.container_status.as_ref()?.container_id.clone();
        Some(From { container, name: self.name_of(task) })
    }
}

fn address_on(task: &Task, network: &str) -> Option<String> {
    let attached = task.networks_attachments.iter().find(|a| a.network.id == network)?;
    Some(attached.addresses.first()?.split('/').next()?.to_owned())
}

fn choose(sight: &Sight<'_>, networks: &[Network]) -> Vec<Target> {
    let mut targets = Vec::new();
    for network in networks.iter().filter(|n| n.driver == "overlay" && !n.ingress) {
        if sight.only.is_none() {
            let vips = sight.service.endpoint.virtual_ips.iter().filter(|v| v.network_id == network.id);
            for vip in vips {
                let address = vip.addr.split('/').next().unwrap_or_default().to_owned();
                let what = format!("{} on {}", sight.service.spec.name, network.name);
                if let Some(from) = sight.asker(&network.id, "") {
                    targets.push(Target { what, address, node: String::new(), from: Some(from) });
                }
            }
        }
        let asked = |t: &&Task| {
            t.service_id == sight.service.id
                && t.status.state == "running"
                && sight.only.is_none_or(|only| only.id == t.id)
        };
        for task in sight.tasks.iter().filter(asked) {
            let (Some(address), Some(from)) = (address_on(task, &network.id), sight.asker(&network.id, &task.id))
            else {
                continue;
            };
            let (what, node) = (sight.name_of(task), sight.hostname(&task.node_id));
            targets.push(Target { what, address, node, from: Some(from) });
        }
    }
    targets
}

fn row_of(target: &Target, report: &EchoReport) -> Value {
    let times = &report.times_nanos;
    let average = times.iter().sum::<u64>().checked_div(times.len() as u64);
    row! {
        "Target": target.what.clone(),
        "Address": target.address.clone(),
        "Node": target.node.clone(),
        "From": target.from.as_ref().map_or("this node", |f| f.name.as_str()),
        "Answers": format!("{}/{}", times.len(), report.sent),
        "Average": average.map(|n| format!("{:.3} ms", n as f64 / 1e6)).unwrap_or_default(),
        "Error": report.error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wire::engine::lenient::from_value;

    #[test]
    fn tasks_are_asked_by_another_one_of_their_network() {
        let task = |n: u64, node: &str, state: &str| -> Task {
            from_value(json!({
                "ID": format!("task{n}"), "ServiceID": "s", "Slot": n, "NodeID": node,
                "Status": {"State": state, "ContainerStatus": {"ContainerID": format!("c{n}")}},
                "NetworksAttachments": [{"Network": {"ID": "net"}, "Addresses": [format!("10.0.1.{n}/24")]}]
            }))
            .unwrap()
        };
        let tasks = [task(5, "n1", "running"), task(6, "n2", "running"), task(7, "n2", "starting")];
        let service: Service = from_value(json!({"ID": "s", "Spec": {"Name": "web"},
            "Endpoint": {"VirtualIPs": [{"NetworkID": "net", "Addr": "10.0.1.2/24"}, {"NetworkID": "ing", "Addr": "10.0.0.2/24"}]}}))
        .unwrap();
        let nodes: Vec<Node> = vec![
            from_value(json!({"ID": "n1", "Description": {"Hostname": "one"}})).unwrap(),
            from_value(json!({"ID": "n2", "Description": {"Hostname": "two"}})).unwrap(),
        ];
        let networks: Vec<Network> = vec![
            from_value(json!({"Id": "net", "Name": "app_default", "Driver": "overlay"})).unwrap(),
            from_value(json!({"Id": "ing", "Name": "ingress", "Driver": "overlay", "Ingress": true})).unwrap(),
        ];
        let names = [("s".to_owned(), "web".to_owned())].into();
        let mut sight =
            Sight { service: &service, only: None, tasks: &tasks, names: &names, nodes: &nodes, here: "n1" };
        let shown = |s: &Sight<'_>| -> Vec<String> {
            choose(s, &networks)
                .into_iter()
                .map(|t| format!("{} {} {} {}", t.what, t.address, t.node, t.from.unwrap().container))
                .collect()
        };
        assert_eq!(
            shown(&sight),
            ["web on app_default 10.0.1.2  c5", "web.5 10.0.1.5 one c6", "web.6 10.0.1.6 two c5"]
        );
        sight.only = Some(&tasks[1]);
        assert_eq!(shown(&sight), ["web.6 10.0.1.6 two c5"]);
    }
}
