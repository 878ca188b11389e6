//! Services.
use super::container_spec::{container_spec_in, container_spec_out};
use super::{duration_in, duration_out, unsupported, version};
use crate::Refusal;
use crate::engine::service as es;
use crate::engine::shape::Empty;
use crate::engine::swarm::ObjectVersion;
use model::{FailureAction, NetworkTarget, PublishMode, ResolutionMode, RestartCondition, ServiceMode, UpdateOrder};
use std::time::Duration;

/// Parses a spec. `resolve` finds a network by id, name or id prefix.
///
/// # Errors
/// 400 or 501, naming the option; what `resolve` refuses.
pub fn service_spec_in(
    s: &es::ServiceSpec,
    resolve: &dyn Fn(&str) -> Result<NetworkTarget, Refusal>,
) -> Result<model::ServiceSpec, Refusal> {
    let mut task = task_spec_in(&s.task_template, resolve)?;
    if task.networks.is_empty() {
        task.networks = networks_in(&s.networks, resolve)?;
    }
    Ok(model::ServiceSpec {
        name: s.name.clone(),
        labels: s.labels.clone(),
        task,
        mode: mode_in(&s.mode)?,
        update: s.update_config.as_ref().map(update_in).transpose()?,
        rollback: s.rollback_config.as_ref().map(update_in).transpose()?,
        endpoint: s.endpoint_spec.as_ref().map(endpoint_in).transpose()?,
    })
}

/// Shows a spec.
pub fn service_spec_out(s: &model::ServiceSpec) -> es::ServiceSpec {
    es::ServiceSpec {
        name: s.name.clone(),
        labels: s.labels.clone(),
        task_template: task_spec_out(&s.task),
        mode: mode_out(&s.mode),
        update_config: s.update.as_ref().map(update_out),
        rollback_config: s.rollback.as_ref().map(update_out),
        networks: vec![],
        endpoint_spec: s.endpoint.as_ref().map(endpoint_out),
    }
}

/// Fills in what is left open, as swarmkit runs it (`?insertDefaults=true`).
pub fn insert_defaults(s: &mut model::ServiceSpec) {
    s.task.restart.get_or_insert_default();
    s.update.get_or_insert_default();
    s.rollback.get_or_insert_default();
    s.endpoint.get_or_insert_default();
    if let Some(c) = &mut s.task.container {
        c.stop_grace_period.get_or_insert(Duration::from_secs(10));
        c.dns.get_or_insert_default();
    }
}

/// Shows a service.
pub fn service_out(s: &model::Service) -> es::Service {
    let mut endpoint_spec = s.spec.endpoint.as_ref().map(endpoint_out).unwrap_or_default();
    if endpoint_spec.mode.is_empty() && !(s.vips.is_empty() && s.ports.is_empty()) {
        endpoint_spec.mode = "vip".into();
    }
    es::Service {
        id: s.id.to_string(),
        version: version(&s.meta),
        created_at: s.meta.created_at.into(),
        updated_at: s.meta.updated_at.into(),
        spec: service_spec_out(&s.spec),
        previous_spec: s.previous_spec.as_ref().map(|p| Box::new(service_spec_out(p))),
        endpoint: es::Endpoint {
            spec: endpoint_spec,
            ports: ports_out(&s.ports),
            virtual_ips: s
                .vips
                .iter()
                .map(|v| es::VirtualIp { network_id: v.network.to_string(), addr: format!("{}/{}", v.addr, v.prefix) })
                .collect(),
        },
        update_status: s.update.as_ref().map(|u| es::UpdateStatus {
            state: u.state.as_str().into(),
            started_at: Some(u.started_at.into()),
            completed_at: u.completed_at.map(Into::into),
            message: u.message.clone(),
        }),
        service_status: None,
        job_status: s.spec.mode.is_job().then(|| es::JobStatus {
            job_iteration: ObjectVersion { index: s.job_iteration },
            last_execution: s.job_last_execution.into(),
        }),
    }
}

/// Counts a service's tasks (`?status=true`).
pub fn service_status<'a>(service: &model::Service, tasks: impl Iterator<Item = &'a model::Task>) -> es::ServiceStatus {
    let mut status = es::ServiceStatus::default();
    let by_tasks = match service.spec.mode {
        ServiceMode::Replicated { replicas } => {
            status.desired_tasks = replicas;
            false
        }
        ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
            status.desired_tasks = if max_concurrent == 0 { total_completions } else { max_concurrent };
            false
        }
        ServiceMode::Global | ServiceMode::GlobalJob => true,
    };
    for t in tasks {
        if t.status.state == model::TaskState::Running {
            status.running_tasks += 1;
        }
        let open = t.desired == model::DesiredState::Running
            || (t.desired == model::DesiredState::Complete && t.status.state != model::TaskState::Complete);
        if by_tasks && open {
            status.desired_tasks += 1;
        }
        if t.job_iteration == Some(service.job_iteration) && t.status.state == model::TaskState::Complete {
            status.completed_tasks += 1;
        }
    }
    status
}

pub(super) fn task_spec_in(
    t: &es::TaskSpec,
    resolve: &dyn Fn(&str) -> Result<NetworkTarget, Refusal>,
) -> Result<model::TaskSpec, Refusal> {
    match t.runtime.as_str() {
        "" | "container" => {}
        other => return Err(unsupported(&format!("a task of runtime {other:?}"))),
    }
    if t.plugin_spec.is_some() {
        return Err(unsupported("PluginSpec"));
    }
    if t.network_attachment_spec.is_some() {
        return Err(Refusal::invalid("NetworkAttachmentSpec cannot be given by a client"));
    }
    Ok(model::TaskSpec {
        container: Some(container_spec_in(&t.container_spec.clone().unwrap_or_default())?),
        attachment: None,
        resources: t.resources.as_ref().map(resources_in).transpose()?.unwrap_or_default(),
        restart: t.restart_policy.as_ref().map(restart_in).transpose()?,
        placement: t.placement.as_ref().map(placement_in).transpose()?.unwrap_or_default(),
        networks: networks_in(&t.networks, resolve)?,
        log_driver: t
            .log_driver
            .as_ref()
            .map(|l| model::LogDriver { name: l.name.clone(), options: l.options.clone() }),
        force_update: t.force_update,
        runtime: "container".to_owned(),
    })
}

pub(super) fn task_spec_out(t: &model::TaskSpec) -> es::TaskSpec {
    es::TaskSpec {
        container_spec: t.container.as_ref().map(container_spec_out),
        plugin_spec: None,
        network_attachment_spec: t
            .attachment
            .as_ref()
            .map(|a| es::NetworkAttachmentSpec { container_id: a.container_id.clone() }),
        resources: Some(resources_out(&t.resources)),
        restart_policy: t.restart.as_ref().map(restart_out),
        placement: Some(placement_out(&t.placement)),
        networks: t.networks.iter().map(network_attachment_out).collect(),
        log_driver: t.log_driver.as_ref().map(|l| es::LogDriver { name: l.name.clone(), options: l.options.clone() }),
        force_update: t.force_update,
        runtime: if t.runtime.is_empty() { "container".into() } else { t.runtime.clone() },
    }
}

fn networks_in(
    list: &[es::NetworkAttachmentConfig],
    resolve: &dyn Fn(&str) -> Result<NetworkTarget, Refusal>,
) -> Result<Vec<model::NetworkAttachmentConfig>, Refusal> {
    list.iter()
        .map(|n| {
            Ok(model::NetworkAttachmentConfig {
                target: resolve(&n.target)?,
                aliases: n.aliases.clone(),
                driver_opts: n.driver_opts.clone(),
                addresses: n
                    .addresses
                    .iter()
                    .map(|a| a.parse().map_err(|_| Refusal::invalid(format!("invalid address {a:?} on a network"))))
                    .collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

fn network_attachment_out(n: &model::NetworkAttachmentConfig) -> es::NetworkAttachmentConfig {
    es::NetworkAttachmentConfig {
        target: match &n.target {
            NetworkTarget::Swarm(id) => id.to_string(),
            NetworkTarget::Predefined(name) => name.clone(),
        },
        aliases: n.aliases.clone(),
        driver_opts: n.driver_opts.clone(),
        addresses: n.addresses.iter().map(ToString::to_string).collect(),
    }
}

fn mode_in(m: &es::ServiceMode) -> Result<ServiceMode, Refusal> {
    let given = [m.replicated.is_some(), m.global.is_some(), m.replicated_job.is_some(), m.global_job.is_some()];
    if given.iter().filter(|g| **g).count() > 1 {
        return Err(Refusal::invalid("must specify only one service mode"));
    }
    Ok(if let Some(r) = &m.replicated {
        ServiceMode::Replicated { replicas: r.replicas.unwrap_or(1) }
    } else if m.global.is_some() {
        ServiceMode::Global
    } else if let Some(j) = &m.replicated_job {
        let max_concurrent = j.max_concurrent.unwrap_or(1);
        ServiceMode::ReplicatedJob { max_concurrent, total_completions: j.total_completions.unwrap_or(max_concurrent) }
    } else if m.global_job.is_some() {
        ServiceMode::GlobalJob
    } else {
        ServiceMode::default()
    })
}

fn mode_out(m: &ServiceMode) -> es::ServiceMode {
    let mut out = es::ServiceMode::default();
    match *m {
        ServiceMode::Replicated { replicas } => {
            out.replicated = Some(es::ReplicatedService { replicas: Some(replicas) });
        }
        ServiceMode::Global => out.global = Some(Empty {}),
        ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
            out.replicated_job = Some(es::ReplicatedJob {
                max_concurrent: Some(max_concurrent),
                total_completions: Some(total_completions),
            });
        }
        ServiceMode::GlobalJob => out.global_job = Some(Empty {}),
    }
    out
}

fn update_in(u: &es::UpdateConfig) -> Result<model::UpdateConfig, Refusal> {
    let defaults = model::UpdateConfig::default();
    Ok(model::UpdateConfig {
        parallelism: u.parallelism,
        delay: duration_in(u.delay, "UpdateConfig.Delay")?,
        failure_action: match u.failure_action.as_str() {
            "" | "pause" => FailureAction::Pause,
            "continue" => FailureAction::Continue,
            "rollback" => FailureAction::Rollback,
            other => return Err(Refusal::invalid(format!("unrecognized update failure action {other}"))),
        },
        monitor: if u.monitor == 0 { defaults.monitor } else { duration_in(u.monitor, "UpdateConfig.Monitor")? },
        max_failure_ratio: u.max_failure_ratio,
        order: match u.order.as_str() {
            "" | "stop-first" => UpdateOrder::StopFirst,
            "start-first" => UpdateOrder::StartFirst,
            other => return Err(Refusal::invalid(format!("unrecognized update order {other}"))),
        },
    })
}

fn update_out(u: &model::UpdateConfig) -> es::UpdateConfig {
    es::UpdateConfig {
        parallelism: u.parallelism,
        delay: duration_out(u.delay),
        failure_action: match u.failure_action {
            FailureAction::Pause => "pause",
            FailureAction::Continue => "continue",
            FailureAction::Rollback => "rollback",
        }
        .into(),
        monitor: duration_out(u.monitor),
        max_failure_ratio: u.max_failure_ratio,
        order: match u.order {
            UpdateOrder::StopFirst => "stop-first",
            UpdateOrder::StartFirst => "start-first",
        }
        .into(),
    }
}

fn endpoint_in(e: &es::EndpointSpec) -> Result<model::EndpointSpec, Refusal> {
    Ok(model::EndpointSpec {
        mode: match e.mode.to_ascii_lowercase().as_str() {
            "" | "vip" => ResolutionMode::Vip,
            "dnsrr" => ResolutionMode::DnsRr,
            _ => return Err(Refusal::invalid(format!("invalid resolution mode: {:?}", e.mode))),
        },
        ports: e.ports.iter().map(port_in).collect::<Result<_, _>>()?,
    })
}

fn port_in(p: &es::PortConfig) -> Result<model::PortConfig, Refusal> {
    let number = |n: u32, what: &str| {
        u16::try_from(n).map_err(|_| Refusal::invalid(format!("invalid {what} port {n}: it must be at most 65535")))
    };
    Ok(model::PortConfig {
        name: p.name.clone(),
        protocol: p
            .protocol
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| Refusal::invalid(format!("invalid protocol value: {:?}", p.protocol)))?,
        target_port: number(p.target_port, "target")?,
        published_port: number(p.published_port, "published")?,
        publish_mode: match p.publish_mode.to_ascii_lowercase().as_str() {
            "" | "ingress" => PublishMode::Ingress,
            "host" => PublishMode::Host,
            _ => return Err(Refusal::invalid(format!("invalid publish mode: {:?}", p.publish_mode))),
        },
        host_ip: match p.host_ip.as_str() {
            "" => None,
            text => {
                let address: std::net::IpAddr =
                    text.parse().map_err(|_| Refusal::invalid(format!("invalid host IP address: {text:?}")))?;
                Some(address).filter(|a| !a.is_unspecified())
            }
        },
    })
}

fn endpoint_out(e: &model::EndpointSpec) -> es::EndpointSpec {
    es::EndpointSpec {
        mode: match e.mode {
            ResolutionMode::Vip => "vip",
            ResolutionMode::DnsRr => "dnsrr",
        }
        .into(),
        ports: ports_out(&e.ports),
    }
}

/// Shows ports.
pub fn ports_out(ports: &[model::PortConfig]) -> Vec<es::PortConfig> {
    ports
        .iter()
        .map(|p| es::PortConfig {
            name: p.name.clone(),
            protocol: p.protocol.as_str().into(),
            target_port: p.target_port.into(),
            published_port: p.published_port.into(),
            publish_mode: match p.publish_mode {
                PublishMode::Ingress => "ingress",
                PublishMode::Host => "host",
            }
            .into(),
            host_ip: p.host_ip.map(|a| a.to_string()).unwrap_or_default(),
        })
        .collect()
}

fn resources_in(r: &es::ResourceRequirements) -> Result<model::ResourceRequirements, Refusal> {
    let limits = r.limits.clone().unwrap_or_default();
    let reservations = r.reservations.clone().unwrap_or_default();
    Ok(model::ResourceRequirements {
        limits: model::Resources {
            nano_cpus: limits.nano_cpus,
            memory_bytes: limits.memory_bytes,
            pids: limits.pids,
            generic: vec![],
        },
        reservations: model::Resources {
            nano_cpus: reservations.nano_cpus,
            memory_bytes: reservations.memory_bytes,
            pids: 0,
            generic: reservations.generic_resources.iter().map(generic_in).collect::<Result<_, _>>()?,
        },
        swap_bytes: r.swap_bytes,
        memory_swappiness: r.memory_swappiness,
    })
}

fn resources_out(r: &model::ResourceRequirements) -> es::ResourceRequirements {
    es::ResourceRequirements {
        limits: Some(es::Limit {
            nano_cpus: r.limits.nano_cpus,
            memory_bytes: r.limits.memory_bytes,
            pids: r.limits.pids,
        }),
        reservations: Some(plain_resources_out(&r.reservations)),
        swap_bytes: r.swap_bytes,
        memory_swappiness: r.memory_swappiness,
    }
}

pub(super) fn plain_resources_out(r: &model::Resources) -> es::Resources {
    es::Resources {
        nano_cpus: r.nano_cpus,
        memory_bytes: r.memory_bytes,
        generic_resources: r.generic.iter().map(generic_out).collect(),
    }
}

fn generic_in(g: &es::GenericResource) -> Result<model::GenericResource, Refusal> {
    match (&g.named, &g.discrete) {
        (Some(n), None) => Ok(model::GenericResource::Named { kind: n.kind.clone(), value: n.value.clone() }),
        (None, Some(d)) => Ok(model::GenericResource::Discrete { kind: d.kind.clone(), value: d.value }),
        _ => Err(Refusal::invalid("a generic resource is either a NamedResourceSpec or a DiscreteResourceSpec")),
    }
}

pub(super) fn generic_out(g: &model::GenericResource) -> es::GenericResource {
    match g.clone() {
        model::GenericResource::Named { kind, value } => {
            es::GenericResource { named: Some(es::NamedResource { kind, value }), discrete: None }
        }
        model::GenericResource::Discrete { kind, value } => {
            es::GenericResource { named: None, discrete: Some(es::DiscreteResource { kind, value }) }
        }
    }
}

fn restart_in(r: &es::RestartPolicy) -> Result<model::RestartPolicy, Refusal> {
    let defaults = model::RestartPolicy::default();
    Ok(model::RestartPolicy {
        condition: match r.condition.as_str() {
            "none" => RestartCondition::None,
            "on-failure" => RestartCondition::OnFailure,
            "" | "any" => RestartCondition::Any,
            other => return Err(Refusal::invalid(format!("invalid RestartCondition: {other:?}"))),
        },
        delay: r.delay.map_or(Ok(defaults.delay), |n| duration_in(n, "RestartPolicy.Delay"))?,
        max_attempts: r.max_attempts.unwrap_or_default(),
        window: r.window.map(|n| duration_in(n, "RestartPolicy.Window")).transpose()?,
    })
}

fn restart_out(r: &model::RestartPolicy) -> es::RestartPolicy {
    es::RestartPolicy {
        condition: match r.condition {
            RestartCondition::None => "none",
            RestartCondition::OnFailure => "on-failure",
            RestartCondition::Any => "any",
        }
        .into(),
        delay: Some(duration_out(r.delay)),
        max_attempts: Some(r.max_attempts),
        window: r.window.map(duration_out),
    }
}

fn placement_in(p: &es::Placement) -> Result<model::Placement, Refusal> {
    Ok(model::Placement {
        constraints: p.constraints.clone(),
        preferences: p
            .preferences
            .iter()
            .map(|p| match &p.spread {
                Some(s) => Ok(s.spread_descriptor.clone()),
                None => Err(Refusal::invalid("a placement preference must have a Spread")),
            })
            .collect::<Result<_, _>>()?,
        max_replicas: p.max_replicas,
        platforms: p
            .platforms
            .iter()
            .map(|p| model::Platform { os: p.os.clone(), architecture: p.architecture.clone() })
            .collect(),
    })
}

fn placement_out(p: &model::Placement) -> es::Placement {
    es::Placement {
        constraints: p.constraints.clone(),
        preferences: p
            .preferences
            .iter()
            .map(|d| es::PlacementPreference { spread: Some(es::SpreadOver { spread_descriptor: d.clone() }) })
            .collect(),
        max_replicas: p.max_replicas,
        platforms: p
            .platforms
            .iter()
            .map(|p| es::Platform { architecture: p.architecture.clone(), os: p.os.clone() })
            .collect(),
    }
}
