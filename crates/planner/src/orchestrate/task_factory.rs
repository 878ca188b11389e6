//! A new task of a service: a copy of what the service asks for now.
use super::slot::SlotKey;
use crate::allocate::services::publishes_in_mesh;
use crate::draft::Draft;
use model::{DesiredState, Meta, NetworkTarget, Service, Task, TaskId, TaskNetwork, TaskState, TaskStatus};

/// Makes a task for a slot. It has no addresses yet, and a node only if the slot is one.
pub(crate) fn make_task(draft: &mut Draft<'_>, service: &Service, slot: &SlotKey, desired: DesiredState) -> TaskId {
    let id = draft.fresh_task_id();
    let networks = networks(draft, service);
    let (slot, node) = match slot {
        SlotKey::Number(n) => (*n, None),
        SlotKey::Node(node) => (0, Some(node.clone())),
    };
    draft.put_task(Task {
        id: id.clone(),
        meta: Meta { version: 0, created_at: draft.now, updated_at: draft.now },
        spec: service.spec.task.clone(),
        spec_version: service.spec_version,
        service: Some(service.id.clone()),
        service_name: service.spec.name.clone(),
        service_labels: service.spec.labels.clone(),
        slot,
        node,
        status: TaskStatus {
            state: TaskState::New,
            timestamp: draft.now,
            message: "created".into(),
            ..TaskStatus::default()
        },
        desired,
        networks,
        endpoint: service.spec.endpoint.clone().unwrap_or_default(),
        draining_since: None,
        job_iteration: service.spec.mode.is_job().then_some(service.job_iteration),
        leased: model::lease::is_leased(&service.spec),
        generic: Vec::new(),
    });
    id
}

/// Interfaces in order: ingress first when the service publishes there, then the networks of the spec.
fn networks(draft: &Draft<'_>, service: &Service) -> Vec<TaskNetwork> {
    let mut networks = Vec::new();
    if publishes_in_mesh(&service.spec)
        && let Some(ingress) = draft.ingress()
    {
        networks.push(TaskNetwork {
            network: NetworkTarget::Swarm(ingress.id.clone()),
            addresses: Vec::new(),
            aliases: Vec::new(),
            driver_opts: Default::default(),
        });
    }
    for n in &service.spec.task.networks {
        networks.push(TaskNetwork {
            network: n.target.clone(),
            addresses: Vec::new(),
            aliases: n.aliases.clone(),
            driver_opts: n.driver_opts.clone(),
        });
    }
    networks
}
