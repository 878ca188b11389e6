//! `top` without a container: the whole swarm on one page, again and again.
use crate::Ctx;
use crate::commands::Done;
use crate::commands::container::top::Top as OfContainer;
use crate::render::tabs::align;
use crate::terminal::{interrupted, say, size, stdout_is_tty};
use clap::Args;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::engine::node::Node;
use wire::engine::service::Service;
use wire::engine::task::Task;

const EVERY: Duration = Duration::from_secs(2);

/// Display the whole swarm, or the running processes of a container.
#[derive(Args)]
pub(crate) struct Top {
    /// Print one page and end
    #[arg(long)]
    no_stream: bool,
    /// A container, and options of ps
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Top {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if let Some((container, options)) = self.words.split_first() {
            return OfContainer::of(container.clone(), options.to_vec()).run(ctx).await;
        }
        let live = stdout_is_tty() && !self.no_stream;
        loop {
            let text = page(ctx).await?;
            if !live {
                say(&text);
                return Ok(());
            }
            let rows = size().map_or(24, |(rows, _)| usize::from(rows));
            let fits: Vec<&str> = text.lines().take(rows.saturating_sub(1)).collect();
            say(&format!("\x1b[H\x1b[J{}\n", fits.join("\n")));
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = interrupted() => return Ok(()),
            }
        }
    }
}

async fn page(ctx: &Ctx) -> anyhow::Result<String> {
    let nodes: Vec<Node> = ctx.client.get("/nodes").read().await?;
    let services: Vec<Service> = ctx.client.get("/services").flag("status", true).read().await?;
    let tasks: Vec<Task> = ctx.client.get("/tasks").read().await?;
    Ok(shown(&nodes, &services, &tasks))
}

fn shown(nodes: &[Node], services: &[Service], tasks: &[Task]) -> String {
    let mut per_node: BTreeMap<&str, (u64, i64, i64)> = BTreeMap::new();
    for task in tasks.iter().filter(|t| t.status.state == "running") {
        let seen = per_node.entry(&task.node_id).or_default();
        seen.0 += 1;
        if let Some(reserved) = task.spec.resources.as_ref().and_then(|r| r.reservations.as_ref()) {
            seen.1 += reserved.nano_cpus;
            seen.2 += reserved.memory_bytes;
        }
    }
    let mut text = String::from("NODE\tSTATUS\tAVAILABILITY\tMANAGER\tTASKS\tCPUS RESERVED\tMEMORY RESERVED\n");
    for node in nodes {
        let (count, cpus, memory) = per_node.get(node.id.as_str()).copied().unwrap_or_default();
        let manager = match &node.manager_status {
            Some(m) if m.leader => "leader",
            Some(m) => &m.reachability,
            None => "",
        };
        let all = &node.description.resources;
        text.push_str(&format!(
            "{}\t{}\t{}\t{manager}\t{count}\t{:.1} of {:.1}\t{} of {}\n",
            node.description.hostname,
            node.status.state,
            node.spec.availability,
            cpus as f64 / 1e9,
            all.nano_cpus as f64 / 1e9,
            mebibytes(memory),
            mebibytes(all.memory_bytes),
        ));
    }
    let mut below = String::from("SERVICE\tTASKS\tUPDATE\tFAILED\tLAST FAILURE\n");
    for service in services {
        let status = service.service_status.clone().unwrap_or_default();
        let update = service.update_status.as_ref().map_or("", |u| u.state.as_str());
        let mut failed: Vec<&Task> = tasks
            .iter()
            .filter(|t| t.service_id == service.id && matches!(t.status.state.as_str(), "failed" | "rejected"))
            .collect();
        failed.sort_by_key(|t| t.status.timestamp.0);
        let last = failed.last().map(|t| t.status.err.replace('\n', " ")).unwrap_or_default();
        below.push_str(&format!(
            "{}\t{}/{}\t{update}\t{}\t{}\n",
            service.spec.name,
            status.running_tasks,
            status.desired_tasks,
            failed.len(),
            crate::render::human::ellipsis(&last, 60),
        ));
    }
    format!("{}\n{}", align(&text, 10), align(&below, 10))
}

fn mebibytes(bytes: i64) -> String {
    format!("{} MiB", bytes / (1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wire::engine::lenient::from_value;

    #[test]
    fn one_page_shows_nodes_and_services() {
        let node: Node =
            from_value(json!({"ID": "n1", "Spec": {"Availability": "active"}, "Status": {"State": "ready"},
            "Description": {"Hostname": "one", "Resources": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 1 << 30}},
            "ManagerStatus": {"Leader": true}}))
            .unwrap();
        let service: Service = from_value(json!({"ID": "s", "Spec": {"Name": "web"},
            "ServiceStatus": {"RunningTasks": 1, "DesiredTasks": 2}}))
        .unwrap();
        let task = |state: &str, err: &str| -> Task {
            from_value(json!({"ServiceID": "s", "NodeID": "n1", "Status": {"State": state, "Err": err},
                "Spec": {"Resources": {"Reservations": {"NanoCPUs": 500_000_000, "MemoryBytes": 8 << 20}}}}))
            .unwrap()
        };
        let text = shown(&[node], &[service], &[task("running", ""), task("failed", "task: non-zero exit (1)")]);
        let words: Vec<Vec<&str>> =
            text.lines().map(|l| l.split("  ").map(str::trim).filter(|w| !w.is_empty()).collect()).collect();
        assert_eq!(words[1], ["one", "ready", "active", "leader", "1", "0.5 of 2.0", "8 MiB of 1024 MiB"]);
        assert_eq!(words[4], ["web", "1/2", "1", "task: non-zero exit (1)"]);
    }
}
