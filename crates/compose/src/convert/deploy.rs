//! The `deploy` section: how many, where, how updated and restarted.
use crate::ComposeError;
use crate::read::At;
use model::{
    FailureAction, GenericResource, Labels, Placement, ResourceRequirements, Resources, RestartCondition,
    RestartPolicy, ServiceMode, UpdateConfig, UpdateOrder,
};

type Read<T> = Result<T, ComposeError>;

pub(super) fn mode(deploy: Option<&At<'_>>) -> Read<ServiceMode> {
    let replicas = deploy.and_then(|d| d.get("replicas"));
    let count = replicas.as_ref().map(|r| r.count()).transpose()?;
    let mode = deploy.and_then(|d| d.get("mode"));
    let word = mode.as_ref().map(|m| m.text()).transpose()?.unwrap_or_default();
    match (word.as_str(), &replicas) {
        ("global" | "global-job", Some(at)) => {
            at.wrong("replicas can only be used with replicated or replicated-job mode")
        }
        ("global", None) => Ok(ServiceMode::Global),
        ("global-job", None) => Ok(ServiceMode::GlobalJob),
        ("" | "replicated", _) => Ok(ServiceMode::Replicated { replicas: count.unwrap_or(1) }),
        ("replicated-job", _) => {
            let n = count.unwrap_or(1);
            Ok(ServiceMode::ReplicatedJob { max_concurrent: n, total_completions: n })
        }
        (other, _) => match mode {
            Some(at) => at.wrong(format!("Unknown mode: {other}")),
            None => Ok(ServiceMode::default()),
        },
    }
}

pub(super) fn labels(deploy: Option<&At<'_>>) -> Read<Labels> {
    Ok(deploy.and_then(|d| d.get("labels")).map(|l| l.labels()).transpose()?.unwrap_or_default())
}

pub(super) fn resources(deploy: Option<&At<'_>>) -> Read<ResourceRequirements> {
    let Some(at) = deploy.and_then(|d| d.get("resources")) else { return Ok(ResourceRequirements::default()) };
    let read = |key: &str| -> Read<Resources> {
        let Some(at) = at.get(key) else { return Ok(Resources::default()) };
        Ok(Resources {
            nano_cpus: at.get("cpus").map(|v| v.nano_cpus()).transpose()?.unwrap_or_default(),
            memory_bytes: at.get("memory").map(|v| v.bytes()).transpose()?.unwrap_or_default(),
            pids: at.get("pids").map(|v| v.whole()).transpose()?.unwrap_or_default(),
            generic: generic(at.get("generic_resources").as_ref())?,
        })
    };
    Ok(ResourceRequirements { limits: read("limits")?, reservations: read("reservations")?, ..Default::default() })
}

fn generic(at: Option<&At<'_>>) -> Read<Vec<GenericResource>> {
    let mut all = Vec::new();
    for item in at.map(|a| a.items()).transpose()?.unwrap_or_default() {
        let Some(spec) = item.get("discrete_resource_spec") else {
            return item.shape("discrete_resource_spec is required");
        };
        let (Some(kind), Some(value)) = (spec.get("kind"), spec.get("value")) else {
            return spec.shape("kind and value are required");
        };
        all.push(GenericResource::Discrete { kind: kind.text()?, value: value.whole()? });
    }
    Ok(all)
}

/// `deploy.restart_policy`, else the `restart` key of the service.
pub(super) fn restart(service: &At<'_>, deploy: Option<&At<'_>>) -> Read<Option<RestartPolicy>> {
    if let Some(at) = deploy.and_then(|d| d.get("restart_policy")) {
        let default = RestartPolicy::default();
        let condition = match at.get("condition") {
            None => default.condition,
            Some(c) => match c.text()?.as_str() {
                "" | "any" => RestartCondition::Any,
                "on-failure" => RestartCondition::OnFailure,
                "none" => RestartCondition::None,
                other => return c.wrong(format!("unknown restart condition: {other}")),
            },
        };
        return Ok(Some(RestartPolicy {
            condition,
            delay: at.get("delay").map(|v| v.duration()).transpose()?.unwrap_or(default.delay),
            max_attempts: at.get("max_attempts").map(|v| v.count()).transpose()?.unwrap_or_default(),
            window: at.get("window").map(|v| v.duration()).transpose()?,
        }));
    }
    let Some(at) = service.get("restart") else { return Ok(None) };
    let text = at.text()?;
    let (word, attempts) = text.split_once(':').unwrap_or((&text, ""));
    let max_attempts = match attempts {
        "" => 0,
        n => match n.parse() {
            Ok(n) if word == "on-failure" => n,
            _ => return at.wrong(format!("invalid restart policy: {text}")),
        },
    };
    let condition = match word {
        "" => return Ok(None),
        "always" | "unless-stopped" => RestartCondition::Any,
        "on-failure" => RestartCondition::OnFailure,
        // YAML 1.1 reads a bare `no` as false.
        "no" | "false" => RestartCondition::None,
        other => return at.wrong(format!("unknown restart policy: {other}")),
    };
    Ok(Some(RestartPolicy { condition, max_attempts, ..RestartPolicy::default() }))
}

pub(super) fn placement(deploy: Option<&At<'_>>) -> Read<Placement> {
    let Some(at) = deploy.and_then(|d| d.get("placement")) else { return Ok(Placement::default()) };
    let mut preferences = Vec::new();
    for item in at.get("preferences").map(|p| p.items()).transpose()?.unwrap_or_default() {
        if let Some(spread) = item.get("spread") {
            preferences.push(spread.text()?);
        }
    }
    Ok(Placement {
        constraints: at.get("constraints").map(|c| c.text_list()).transpose()?.unwrap_or_default(),
        preferences,
        max_replicas: at.get("max_replicas_per_node").map(|v| v.count()).transpose()?.unwrap_or_default(),
        platforms: Vec::new(),
    })
}

pub(super) fn update(deploy: Option<&At<'_>>, key: &str) -> Read<Option<UpdateConfig>> {
    let Some(at) = deploy.and_then(|d| d.get(key)) else { return Ok(None) };
    let default = UpdateConfig::default();
    let failure_action = match at.get("failure_action") {
        None => default.failure_action,
        Some(a) => match a.text()?.as_str() {
            "" | "pause" => FailureAction::Pause,
            "continue" => FailureAction::Continue,
            "rollback" if key == "update_config" => FailureAction::Rollback,
            other => return a.wrong(format!("unknown failure action: {other}")),
        },
    };
    let order = match at.get("order") {
        None => default.order,
        Some(o) => match o.text()?.as_str() {
            "" | "stop-first" => UpdateOrder::StopFirst,
            "start-first" => UpdateOrder::StartFirst,
            other => return o.wrong(format!("unknown order: {other}; stop-first or start-first is expected")),
        },
    };
    let max_failure_ratio = match at.get("max_failure_ratio") {
        None => 0.0,
        Some(r) => match r.number()? {
            n if (0.0..=1.0).contains(&n) => n as f32,
            _ => return r.wrong("max_failure_ratio must be between 0 and 1"),
        },
    };
    Ok(Some(UpdateConfig {
        parallelism: at.get("parallelism").map(|v| v.count()).transpose()?.unwrap_or(1),
        delay: at.get("delay").map(|v| v.duration()).transpose()?.unwrap_or_default(),
        failure_action,
        monitor: at.get("monitor").map(|v| v.duration()).transpose()?.unwrap_or(default.monitor),
        max_failure_ratio,
        order,
    }))
}
