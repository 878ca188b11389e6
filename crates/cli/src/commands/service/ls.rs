//! `service ls`.
use crate::Ctx;
use crate::commands::{Done, FilterArg};
use crate::render::human::short_id;
use crate::render::list::{Show, Table, labels, print, row};
use crate::spec::pairs;
use clap::Args;
use serde_json::Value;
use wire::engine::Filters;
use wire::engine::service::{PortConfig, Service};

const SERVICES: Table = Table {
    headers: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Mode", "MODE"),
        ("Replicas", "REPLICAS"),
        ("Image", "IMAGE"),
        ("Ports", "PORTS"),
        ("Labels", "LABELS"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}",
    quiet: "{{.ID}}",
};

/// List services.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    show: Show,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        list(ctx, &pairs::filters(&self.filter.filter)?, &self.show).await
    }
}

pub(crate) async fn list(ctx: &Ctx, filters: &Filters, show: &Show) -> Done {
    let mut services: Vec<Service> =
        ctx.client.get("/services").query("status", "true").filters(filters).read().await?;
    services.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    let rows: Vec<Value> = services.iter().map(shown).collect();
    print(&SERVICES, show, &rows)
}

fn shown(s: &Service) -> Value {
    let status = s.service_status.clone().unwrap_or_default();
    let (mode, mut replicas) = match &s.spec.mode {
        m if m.global.is_some() => ("global", format!("{}/{}", status.running_tasks, status.desired_tasks)),
        m if m.global_job.is_some() => (
            "global job",
            format!(
                "{}/{} ({}/{} completed)",
                status.running_tasks, status.desired_tasks, status.completed_tasks, status.desired_tasks
            ),
        ),
        m => match &m.replicated_job {
            Some(job) => {
                let total = job.total_completions.unwrap_or(1);
                let at_once = job.max_concurrent.unwrap_or(1).min(total.saturating_sub(status.completed_tasks));
                (
                    "replicated job",
                    format!("{}/{at_once} ({}/{total} completed)", status.running_tasks, status.completed_tasks),
                )
            }
            None => ("replicated", format!("{}/{}", status.running_tasks, status.desired_tasks)),
        },
    };
    let placement = s.spec.task_template.placement.as_ref();
    if let Some(most) = placement.map(|p| p.max_replicas).filter(|n| *n > 0 && s.spec.mode.replicated.is_some()) {
        replicas = format!("{replicas} (max {most} per node)");
    }
    let image = s.spec.task_template.container_spec.as_ref().map(|c| c.image.clone()).unwrap_or_default();
    row! {
        "ID": short_id(&s.id),
        "Name": s.spec.name.clone(),
        "Mode": mode,
        "Replicas": replicas,
        "Image": image.split("@sha256:").next().unwrap_or_default(),
        "Ports": ports(&s.endpoint.ports),
        "Labels": labels(&s.spec.labels),
    }
}

/// `*:4000->8080/tcp`; neighbours on both sides are joined.
fn ports(ports: &[PortConfig]) -> String {
    let mut sorted: Vec<&PortConfig> = ports.iter().filter(|p| p.publish_mode != "host").collect();
    sorted.sort_by_key(|p| (p.protocol.clone(), p.published_port, p.target_port));
    let mut groups: Vec<(u32, u32, u32, u32, &str, &str)> = Vec::new();
    for p in sorted {
        match groups.last_mut() {
            Some((_, to, _, target_to, protocol, at))
                if *protocol == p.protocol
                    && *at == p.host_ip
                    && p.published_port == *to + 1
                    && p.target_port == *target_to + 1 =>
            {
                (*to, *target_to) = (p.published_port, p.target_port);
            }
            _ => {
                groups.push((p.published_port, p.published_port, p.target_port, p.target_port, &p.protocol, &p.host_ip))
            }
        }
    }
    let range = |from: u32, to: u32| if from == to { from.to_string() } else { format!("{from}-{to}") };
    let shown: Vec<String> = groups
        .iter()
        .map(|(from, to, t_from, t_to, protocol, at)| {
            let at = if at.is_empty() { "*" } else { at };
            format!("{at}:{}->{}/{protocol}", range(*from, *to), range(*t_from, *t_to))
        })
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_joined() {
        let p = |published_port, target_port, protocol: &str| PortConfig {
            protocol: protocol.into(),
            published_port,
            target_port,
            publish_mode: "ingress".into(),
            ..PortConfig::default()
        };
        assert_eq!(ports(&[p(4000, 8080, "tcp")]), "*:4000->8080/tcp");
        assert_eq!(ports(&[p(81, 81, "tcp"), p(80, 80, "tcp"), p(53, 53, "udp")]), "*:80-81->80-81/tcp, *:53->53/udp");
    }
}
