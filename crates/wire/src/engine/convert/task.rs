//! Tasks.
use super::network::swarm_network_out;
use super::service::{generic_out, ports_out, task_spec_out};
use super::version;
use crate::engine::swarm::ObjectVersion;
use crate::engine::task as et;
use model::{NetworkId, NetworkTarget};
use std::sync::Arc;

/// Shows a task. `network` finds the networks that it refers to.
pub fn task_out(t: &model::Task, network: &dyn Fn(&NetworkId) -> Option<Arc<model::Network>>) -> et::Task {
    et::Task {
        id: t.id.to_string(),
        version: version(&t.meta),
        created_at: t.meta.created_at.into(),
        updated_at: t.meta.updated_at.into(),
        name: String::new(),
        labels: Default::default(),
        spec: task_spec_out(&t.spec),
        service_id: t.service.as_ref().map(ToString::to_string).unwrap_or_default(),
        slot: t.slot,
        node_id: t.node.as_ref().map(ToString::to_string).unwrap_or_default(),
        status: et::TaskStatus {
            timestamp: t.status.timestamp.into(),
            state: t.status.state.as_str().into(),
            message: t.status.message.clone(),
            err: t.status.err.clone(),
            container_status: t.status.container.as_ref().map(|c| et::ContainerStatus {
                container_id: c.id.clone(),
                pid: c.pid,
                exit_code: c.exit_code,
            }),
            port_status: et::PortStatus { ports: ports_out(&t.status.host_ports) },
        },
        desired_state: t.desired.as_str().into(),
        networks_attachments: t
            .networks
            .iter()
            .map(|n| et::NetworkAttachment {
                network: match &n.network {
                    NetworkTarget::Swarm(id) => match network(id) {
                        Some(n) => swarm_network_out(&n),
                        None => et::TaskNetwork { id: id.to_string(), ..Default::default() },
                    },
                    NetworkTarget::Predefined(name) => et::TaskNetwork {
                        id: name.clone(),
                        spec: et::SwarmNetworkSpec { name: name.clone(), scope: "local".into(), ..Default::default() },
                        ..Default::default()
                    },
                },
                addresses: n.addresses.iter().map(|(a, p)| format!("{a}/{p}")).collect(),
            })
            .collect(),
        generic_resources: t.generic.iter().map(generic_out).collect(),
        job_iteration: t.job_iteration.map(|index| ObjectVersion { index }),
        volumes: None,
    }
}
