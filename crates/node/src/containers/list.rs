//! Containers in lists.
use super::{Container, Containers, Status};
use model::Timestamp;
use wire::engine::container::*;

/// One container in a list, with what filters look at.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// What is shown.
    pub summary: ContainerSummary,
    /// Exact creation time.
    pub created: Timestamp,
    /// Last exit code, if it ever ended.
    pub exit_code: Option<i64>,
    /// `none`, `starting`, `healthy`, `unhealthy`.
    pub health: String,
    /// `80/tcp`.
    pub exposed: Vec<String>,
    /// Whether it is a task's.
    pub is_task: bool,
    /// Id of its image.
    pub image_id: String,
}

impl Containers {
    /// All, in any order.
    pub async fn list(&self, size: bool) -> Vec<Listed> {
        let mut all = Vec::new();
        let link_names = self.link_names();
        for c in self.all() {
            let mut listed = self.listed(&c);
            let links = link_names.iter().filter(|(_, id)| *id == c.id);
            listed.summary.names.extend(links.map(|(name, _)| name.clone()));
            if size && let Ok((rw, root)) = self.inner.base.images.rootfs_size(&c.id).await {
                listed.summary.size_rw = rw as i64;
                listed.summary.size_root_fs = root as i64;
            }
            all.push(listed);
        }
        all
    }

    fn listed(&self, c: &Container) -> Listed {
        let status = Self::status_words(c);
        let r = c.record.read();
        let mut networks = r.networks.clone();
        self.name_swarm_networks(&mut networks);
        let command = r.argv.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" ");
        Listed {
            summary: ContainerSummary {
                id: r.id.clone(),
                names: vec![format!("/{}", r.name)],
                image: r.config.image.clone(),
                image_id: r.image_id.clone(),
                command,
                created: r.created.0.div_euclid(1_000_000_000),
                ports: ports(&r),
                labels: r.config.labels.clone(),
                state: r.state.status.as_str().into(),
                status,
                host_config: SummaryHostConfig {
                    network_mode: r.host_config.network_mode.clone(),
                    annotations: r.host_config.annotations.clone(),
                },
                network_settings: SummaryNetworkSettings { networks },
                mounts: r.mounts.iter().filter(|m| !m.hidden).map(|m| m.point.clone()).collect(),
                ..ContainerSummary::default()
            },
            created: r.created,
            exit_code: (!r.state.finished_at.is_never() && !r.state.status.is_up()).then_some(r.state.exit_code),
            health: r.state.health.as_ref().map_or("none".into(), |h| h.status.clone()),
            exposed: r.config.exposed_ports.keys().cloned().collect(),
            is_task: r.task.is_some(),
            image_id: r.image_id.clone(),
        }
    }
}

/// Words with blanks are shown in quotes, as Docker does.
fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

fn ports(r: &super::record::Record) -> Vec<Port> {
    let up = r.state.status == Status::Running || r.state.status == Status::Paused;
    let mut all = Vec::new();
    for (key, bindings) in r.bound_ports.iter().filter(|_| up) {
        let Some((port, typ)) = key.split_once('/') else { continue };
        let Ok(private_port) = port.parse() else { continue };
        let bound = bindings.iter().flatten();
        for b in bound {
            all.push(Port {
                ip: b.host_ip.clone(),
                private_port,
                public_port: b.host_port.parse().unwrap_or(0),
                typ: typ.to_owned(),
            });
        }
        if bindings.as_ref().is_none_or(Vec::is_empty) {
            all.push(Port { private_port, typ: typ.to_owned(), ..Port::default() });
        }
    }
    all
}
