//! Whether a task still is what its service asks for, as far as its container can see. Names, published mesh ports,
//! labels of the service and placements that still hold change under a living task.
use crate::allocate::services::publishes_in_mesh;
use crate::draft::Draft;
use crate::enforce;
use model::{
    EndpointSpec, NetworkId, NetworkTarget, Node, PortConfig, PublishMode, Service, ServiceSpec, Tables, Task, TaskSpec,
};

pub(crate) fn is_current(draft: &Draft<'_>, service: &Service, task: &Task) -> bool {
    let node = task.node.as_ref().and_then(|n| draft.node(n));
    matches(service, task, node.map(|n| &**n), draft.tables.ingress().map(|n| &n.id))
}

/// Whether a task needs no successor to be what its service wishes now (what Docker's clients ask with the filter
/// `_up-to-date`).
pub fn is_up_to_date(tables: &Tables, service: &Service, task: &Task) -> bool {
    let node = task.node.as_ref().and_then(|n| tables.node(n));
    matches(service, task, node.map(|n| &**n), tables.ingress().map(|n| &n.id))
}

/// Whether the last change of a service asked for successors of the tasks that it had. Tells a task that was made from
/// the change itself, because the one before it was never planned.
pub(crate) fn asked_for_successors(service: &Service) -> bool {
    let now = &service.spec;
    service.previous_spec.as_ref().is_some_and(|before| {
        let ports = |spec: &ServiceSpec| spec.endpoint.clone().unwrap_or_default();
        !(same_container(&before.task, &now.task)
            && same_networks(&before.task, &now.task)
            && host_ports(&ports(before)) == host_ports(&ports(now)))
    })
}

fn matches(service: &Service, task: &Task, node: Option<&Node>, ingress: Option<&NetworkId>) -> bool {
    if task.spec_version == service.spec_version {
        return true;
    }
    let wish = &service.spec.task;
    same_container(&task.spec, wish)
        && same_networks(&task.spec, wish)
        && placement_holds(node, service, task)
        && host_ports(&task.endpoint) == host_ports(&service.spec.endpoint.clone().unwrap_or_default())
        && has_mesh_interface(ingress, service, task)
}

fn same_container(a: &TaskSpec, b: &TaskSpec) -> bool {
    a.force_update == b.force_update
        && a.container == b.container
        && a.attachment == b.attachment
        && a.resources == b.resources
        && a.log_driver == b.log_driver
}

/// Further names are the service's, and change live.
fn same_networks(a: &TaskSpec, b: &TaskSpec) -> bool {
    a.networks.len() == b.networks.len()
        && a.networks
            .iter()
            .zip(&b.networks)
            .all(|(a, b)| a.target == b.target && a.driver_opts == b.driver_opts && a.addresses == b.addresses)
}

fn placement_holds(node: Option<&Node>, service: &Service, task: &Task) -> bool {
    let wish = &service.spec.task.placement;
    if task.spec.placement.constraints == wish.constraints && task.spec.placement.platforms == wish.platforms {
        return true;
    }
    node.is_some_and(|n| enforce::fits(wish, n))
}

/// Ports on the node are bound when the container is made.
fn host_ports(endpoint: &EndpointSpec) -> Vec<&PortConfig> {
    let mut ports: Vec<_> = endpoint.ports.iter().filter(|p| p.publish_mode == PublishMode::Host).collect();
    ports.sort();
    ports
}

/// The routing mesh reaches a task on an interface of its own, which only a new container gets.
fn has_mesh_interface(ingress: Option<&NetworkId>, service: &Service, task: &Task) -> bool {
    !publishes_in_mesh(&service.spec)
        || ingress.is_none_or(|ingress| {
            let target = NetworkTarget::Swarm(ingress.clone());
            task.networks.iter().any(|n| n.network == target)
        })
}
