//! Why a node may not have a task.
use super::constraint::Constraint;
use super::load::{NodeLoad, amounts};
use super::refusal::Refusal;
use model::{Availability, Node, NodeState, Placement, Protocol, PublishMode, ServiceId, Task};
use std::collections::BTreeMap;

/// What a task asks of its node, read once for all tasks that are alike.
pub(crate) struct Requirements {
    service: Option<ServiceId>,
    nano_cpus: i64,
    memory_bytes: i64,
    generic: BTreeMap<String, i64>,
    /// `None`: one of them cannot be read, so that no node fits.
    constraints: Option<Vec<Constraint>>,
    placement: Placement,
    ports: Vec<(u16, Protocol)>,
    log_driver: Option<String>,
    attachment: bool,
}

impl Requirements {
    pub fn of(task: &Task) -> Self {
        let reserved = &task.spec.resources.reservations;
        let host = |p: &&model::PortConfig| p.publish_mode == PublishMode::Host && p.published_port != 0;
        Self {
            service: task.service.clone(),
            nano_cpus: reserved.nano_cpus,
            memory_bytes: reserved.memory_bytes,
            generic: amounts(&reserved.generic),
            constraints: task.spec.placement.constraints.iter().map(|c| c.parse().ok()).collect(),
            placement: task.spec.placement.clone(),
            ports: task.endpoint.ports.iter().filter(host).map(|p| (p.published_port, p.protocol)).collect(),
            log_driver: task.spec.log_driver.as_ref().map(|d| d.name.clone()).filter(|d| d != "none" && !d.is_empty()),
            attachment: task.spec.attachment.is_some(),
        }
    }
}

/// The first reason against, in Docker's order.
pub(crate) fn refuse(task: &Requirements, node: &Node, load: &NodeLoad) -> Option<Refusal> {
    // A plain container's attachment belongs to a container that is already there.
    if node.status.state != NodeState::Ready || (node.spec.availability != Availability::Active && !task.attachment) {
        return Some(Refusal::NotAvailable);
    }
    if task.nano_cpus > 0 || task.memory_bytes > 0 || !task.generic.is_empty() {
        let has = node.description.as_ref().map(|d| d.resources.clone()).unwrap_or_default();
        let generic = amounts(&has.generic);
        let short = |(kind, amount): (&String, &i64)| {
            let free =
                generic.get(kind).copied().unwrap_or_default() - load.generic.get(kind).copied().unwrap_or_default();
            *amount > free
        };
        if (task.nano_cpus > 0 && task.nano_cpus > has.nano_cpus - load.nano_cpus)
            || (task.memory_bytes > 0 && task.memory_bytes > has.memory_bytes - load.memory_bytes)
            || task.generic.iter().any(short)
        {
            return Some(Refusal::Resources);
        }
    }
    // A node that does not tell its plugins is given the benefit of the doubt, as one without a log plugin is.
    if let (Some(driver), Some(description)) = (&task.log_driver, &node.description)
        && description.plugins.iter().any(|(kind, _)| kind == "Log")
        && !description.plugins.iter().any(|(kind, name)| kind == "Log" && name == driver)
    {
        return Some(Refusal::Plugin);
    }
    if !task.constraints.as_ref().is_some_and(|all| all.iter().all(|c| c.holds(node))) {
        return Some(Refusal::Constraints);
    }
    if !platform_fits(&task.placement, node) {
        return Some(Refusal::Platform);
    }
    if task.ports.iter().any(|p| load.ports.contains_key(p)) {
        return Some(Refusal::HostPort);
    }
    let limit = task.placement.max_replicas;
    if limit > 0 && load.of_service(task.service.as_ref()) >= limit {
        return Some(Refusal::MaxReplicas);
    }
    None
}

/// The reason against one node, for people: what is asked, and what is there.
pub(crate) fn explain(task: &Requirements, node: &Node, load: &NodeLoad, why: Refusal) -> String {
    let has = node.description.as_ref().map(|d| d.resources.clone()).unwrap_or_default();
    match why {
        Refusal::NotAvailable => match (node.status.state, node.spec.availability) {
            (NodeState::Ready, Availability::Pause) => "is paused".into(),
            (NodeState::Ready, Availability::Drain) => "is drained".into(),
            (state, _) => format!("is {}", state.as_str()),
        },
        Refusal::Resources => {
            let cpus = |n: i64| format!("{} CPUs", n as f64 / 1e9);
            let mib = |n: i64| format!("{} MiB", n >> 20);
            let mut short = Vec::new();
            if task.nano_cpus > has.nano_cpus - load.nano_cpus {
                short.push((cpus(task.nano_cpus), cpus(has.nano_cpus - load.nano_cpus), cpus(has.nano_cpus)));
            }
            if task.memory_bytes > has.memory_bytes - load.memory_bytes {
                short.push((mib(task.memory_bytes), mib(has.memory_bytes - load.memory_bytes), mib(has.memory_bytes)));
            }
            let there = amounts(&has.generic);
            for (kind, amount) in &task.generic {
                let all = there.get(kind).copied().unwrap_or_default();
                let free = all - load.generic.get(kind).copied().unwrap_or_default();
                if *amount > free {
                    short.push((format!("{amount} {kind}"), free.to_string(), all.to_string()));
                }
            }
            let texts = short.into_iter().map(|(asked, free, all)| format!("{asked} asked, {free} of {all} free"));
            texts.collect::<Vec<_>>().join(", ")
        }
        Refusal::Plugin => format!("has no log driver {}", task.log_driver.as_deref().unwrap_or_default()),
        Refusal::Constraints => match &task.constraints {
            None => "a constraint cannot be read".into(),
            Some(all) => {
                let broken = all.iter().zip(&task.placement.constraints).filter(|(c, _)| !c.holds(node));
                format!("does not meet {}", broken.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", "))
            }
        },
        Refusal::Platform => {
            let p = node.description.as_ref().map(|d| d.platform.clone()).unwrap_or_default();
            format!("is {}/{}, which the image is not made for", p.os, architecture(&p.architecture))
        }
        Refusal::HostPort => {
            let taken = task.ports.iter().filter(|p| load.ports.contains_key(p));
            let texts: Vec<_> = taken.map(|(port, protocol)| format!("{port}/{protocol}")).collect();
            format!("port {} is taken by another task", texts.join(", "))
        }
        Refusal::MaxReplicas => {
            format!(
                "has {} of at most {} tasks of the service",
                load.of_service(task.service.as_ref()),
                task.placement.max_replicas
            )
        }
    }
}

/// Whether the node is one of the platforms that the image is made for.
pub(crate) fn platform_fits(placement: &Placement, node: &Node) -> bool {
    if placement.platforms.is_empty() {
        return true;
    }
    let Some(has) = node.description.as_ref().map(|d| &d.platform) else { return false };
    placement.platforms.iter().any(|asked| {
        (asked.os.is_empty() || asked.os.eq_ignore_ascii_case(&has.os))
            && (asked.architecture.is_empty() || architecture(&asked.architecture) == architecture(&has.architecture))
    })
}

/// One word per architecture: kernels and images name them differently.
pub(crate) fn architecture(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "x86_64" => "amd64".into(),
        "aarch64" => "arm64".into(),
        other => other.to_owned(),
    }
}
