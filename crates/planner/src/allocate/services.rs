//! A service's published ports and virtual addresses. Both live as long as the service needs them: a change of ports or
//! networks keeps the addresses of the networks that stay.
use super::{AllocationError, next_free};
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use model::{
    EndpointSpec, NetworkId, NetworkTarget, PortConfig, Protocol, PublishMode, ResolutionMode, Service, ServiceSpec,
    VirtualIp,
};
use std::collections::BTreeSet;

/// The numbers that the swarm chooses from.
const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// Whether the service is reached through the routing mesh.
pub(crate) fn publishes_in_mesh(spec: &ServiceSpec) -> bool {
    spec.endpoint.iter().flat_map(|e| &e.ports).any(|p| p.publish_mode == PublishMode::Ingress)
}

/// The swarm networks of a service's tasks, ingress first when it publishes there.
pub(crate) fn networks_of(ingress: Option<&NetworkId>, spec: &ServiceSpec) -> Vec<NetworkId> {
    let mut networks: Vec<NetworkId> = Vec::new();
    if publishes_in_mesh(spec) {
        networks.extend(ingress.cloned());
    }
    for attachment in &spec.task.networks {
        if let NetworkTarget::Swarm(id) = &attachment.target
            && !networks.contains(id)
        {
            networks.push(id.clone());
        }
    }
    networks
}

/// Gives what the service lacks and takes back what it needs no more.
pub(crate) fn allocate(
    draft: &mut Draft<'_>,
    memory: &mut PlannerMemory,
    service: &mut Service,
) -> Result<(), AllocationError> {
    let endpoint = service.spec.endpoint.clone().unwrap_or_default();
    let ports = ports(draft, service, &endpoint)?;
    let vips = vips(draft, memory, service, &endpoint)?;
    service.ports = ports;
    service.vips = vips;
    Ok(())
}

fn ports(draft: &Draft<'_>, service: &Service, endpoint: &EndpointSpec) -> Result<Vec<PortConfig>, AllocationError> {
    let mut mine: BTreeSet<(u16, Protocol)> = BTreeSet::new();
    for p in endpoint.ports.iter().filter(|p| p.publish_mode == PublishMode::Ingress && p.published_port != 0) {
        if let Some((name, id)) = port_holder(draft, service, p.published_port, p.protocol) {
            return Err(AllocationError::PortTaken { port: p.published_port, protocol: p.protocol, name, id });
        }
        if !mine.insert((p.published_port, p.protocol)) {
            return Err(AllocationError::PortTwice);
        }
    }
    let chosen = |p: &PortConfig| p.publish_mode == PublishMode::Ingress && p.published_port == 0;
    let mut given = endpoint.ports.clone();
    // What was chosen before stays; only then are new numbers chosen.
    for port in given.iter_mut().filter(|p| chosen(p)) {
        let had = service.ports.iter().find(|p| {
            PortConfig { published_port: 0, ..(*p).clone() } == *port
                && DYNAMIC_PORTS.contains(&p.published_port)
                && !mine.contains(&(p.published_port, p.protocol))
        });
        if let Some(had) = had {
            port.published_port = had.published_port;
            mine.insert((port.published_port, port.protocol));
        }
    }
    for port in given.iter_mut().filter(|p| chosen(p)) {
        let free =
            |n: &u16| !mine.contains(&(*n, port.protocol)) && port_holder(draft, service, *n, port.protocol).is_none();
        port.published_port = DYNAMIC_PORTS.into_iter().find(free).ok_or(AllocationError::PortsExhausted)?;
        mine.insert((port.published_port, port.protocol));
    }
    Ok(given)
}

/// Which other service has the port, by name and id.
fn port_holder(
    draft: &Draft<'_>,
    service: &Service,
    port: u16,
    protocol: Protocol,
) -> Option<(String, model::ServiceId)> {
    let stored = draft.tables.port_holder(port, protocol).and_then(|id| draft.tables.service(id));
    let touched = draft.touched_services().find(|s| {
        s.id != service.id
            && s.ports
                .iter()
                .any(|p| p.publish_mode == PublishMode::Ingress && p.published_port == port && p.protocol == protocol)
    });
    stored.filter(|s| s.id != service.id).or(touched).map(|s| (s.spec.name.clone(), s.id.clone()))
}

fn vips(
    draft: &mut Draft<'_>,
    memory: &mut PlannerMemory,
    service: &Service,
    endpoint: &EndpointSpec,
) -> Result<Vec<VirtualIp>, AllocationError> {
    if service.spec.mode.is_job() {
        return Ok(Vec::new());
    }
    let ingress = draft.ingress();
    if publishes_in_mesh(&service.spec) && ingress.is_none() {
        return Err(AllocationError::NoIngress);
    }
    if endpoint.mode == ResolutionMode::DnsRr {
        return Ok(Vec::new());
    }
    let mut vips = Vec::new();
    for id in networks_of(ingress.as_ref().map(|n| &n.id), &service.spec) {
        let kept: Vec<VirtualIp> = service.vips.iter().filter(|v| v.network == id).cloned().collect();
        if !kept.is_empty() {
            vips.extend(kept);
            continue;
        }
        let network = draft.network(&id).filter(|n| !n.subnets.is_empty()).cloned();
        let network = network.ok_or_else(|| AllocationError::NoNetwork(id.clone()))?;
        for (addr, prefix) in next_free(draft, memory, &network, &[])? {
            vips.push(VirtualIp { network: id.clone(), addr, prefix });
        }
    }
    Ok(vips)
}
