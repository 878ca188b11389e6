//! Services.
use super::network::service_target;
use crate::app::{App, Here};
use crate::backend::{LogSelector, RegistryAuth};
use crate::http::{ApiVersion, Failure, Params, Reply, body, created, json, logs as log, ok};
use crate::lookup;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use http::HeaderMap;
use model::{NodeState, Service, ServiceMode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::Refusal;
use wire::engine::convert;
use wire::engine::service::{ServiceCreated, ServiceSpec, ServiceUpdated};

pub fn router() -> Router<App> {
    Router::new()
        .route("/services", get(list))
        .route("/services/create", post(create))
        .route("/services/{id}", get(inspect).delete(remove))
        .route("/services/{id}/update", post(update))
        .route("/services/{id}/logs", get(logs))
}

/// By id, name or id prefix.
pub(in crate::routes) async fn find(app: &App, wanted: &str) -> Result<Arc<Service>, Refusal> {
    let services = app.services.list().await?;
    lookup::find("service", wanted, &services, |s| s.id.as_str(), |s| &s.spec.name).cloned()
}

fn mode_word(m: &ServiceMode) -> &'static str {
    match m {
        ServiceMode::Replicated { .. } => "replicated",
        ServiceMode::Global => "global",
        ServiceMode::ReplicatedJob { .. } => "replicated-job",
        ServiceMode::GlobalJob => "global-job",
    }
}

const MODES: [&str; 4] = ["replicated", "global", "replicated-job", "global-job"];

async fn list(State(app): Here, p: Params) -> Reply {
    app.manager()?;
    let f = p.filters(&["id", "label", "mode", "name", "runtime"])?;
    if let Some(bad) = f.get("mode").find(|m| !MODES.contains(m)) {
        return Err(Refusal::invalid(format!("Invalid mode filter: {bad}")).into());
    }
    let services = app.services.list().await?;
    let chosen: Vec<_> = services
        .iter()
        .filter(|s| {
            f.prefix("id", s.id.as_str())
                && f.prefix("name", &s.spec.name)
                && f.labels("label", &s.spec.labels)
                && f.exact("mode", mode_word(&s.spec.mode))
                && f.exact("runtime", "container")
        })
        .collect();
    let mut out: Vec<_> = chosen.iter().map(|s| convert::service_out(s)).collect();
    if p.flag("status") {
        let (tasks, nodes) = (app.tasks.list().await?, app.nodes.list().await?);
        let down: BTreeSet<_> = nodes.iter().filter(|n| n.status.state == NodeState::Down).map(|n| &n.id).collect();
        let mut by_service: BTreeMap<_, Vec<&model::Task>> = BTreeMap::new();
        // What ran on a machine that is down is told as running until the machine comes back; nobody can reach it.
        for t in tasks.iter().filter(|t| t.node.as_ref().is_none_or(|n| !down.contains(n))) {
            if let Some(id) = &t.service {
                by_service.entry(id).or_default().push(t);
            }
        }
        for (shown, s) in out.iter_mut().zip(&chosen) {
            let tasks = by_service.remove(&s.id).unwrap_or_default();
            shown.service_status = Some(convert::service_status(s, tasks.into_iter()));
        }
    }
    out.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    json(&out)
}

async fn spec(app: &App, wish: &ServiceSpec) -> Result<model::ServiceSpec, Failure> {
    let networks = app.networks.list().await?;
    Ok(convert::service_spec_in(wish, &|name| service_target(&networks, name))?)
}

fn registry_auth(headers: &HeaderMap) -> Option<String> {
    headers.get("x-registry-auth").and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty()).map(str::to_owned)
}

async fn create(State(app): Here, request: Request) -> Reply {
    app.manager()?;
    let auth = registry_auth(request.headers());
    let wish: ServiceSpec = body::json(request).await?;
    let spec = spec(&app, &wish).await?;
    let (id, warnings) = app.services.create(spec, auth).await?;
    created(&ServiceCreated { id: id.to_string(), warnings: Some(warnings).filter(|w| !w.is_empty()) })
}

async fn inspect(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    app.manager()?;
    let insert_defaults = match p.text("insertDefaults") {
        "" => false,
        text => match text.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => true,
            "0" | "f" | "false" => false,
            _ => return Err(Refusal::invalid(format!("invalid value for insertDefaults: {text}")).into()),
        },
    };
    let found = find(&app, &id).await?;
    if !insert_defaults {
        return json(&convert::service_out(&found));
    }
    let mut service = Service::clone(&found);
    convert::insert_defaults(&mut service.spec);
    json(&convert::service_out(&service))
}

async fn update(State(app): Here, Path(id): Path<String>, p: Params, request: Request) -> Reply {
    app.manager()?;
    let given = registry_auth(request.headers());
    let wish: ServiceSpec = body::json(request).await?;
    let version = p.version("service")?;
    let found = find(&app, &id).await?;
    let warnings = match p.text("rollback") {
        "previous" => app.services.rollback(&found.id, version).await?,
        "" => {
            let auth = match (given, p.text("registryAuthFrom")) {
                (Some(auth), _) => RegistryAuth::Given(auth),
                (None, "" | "spec") => RegistryAuth::FromSpec,
                (None, "previous-spec") => RegistryAuth::FromPreviousSpec,
                (None, _) => return Err(Refusal::invalid("unsupported registryAuthFrom value").into()),
            };
            let spec = spec(&app, &wish).await?;
            app.services.update(&found.id, version, spec, auth).await?
        }
        other => return Err(Refusal::invalid(format!("unrecognized rollback option {other}")).into()),
    };
    json(&ServiceUpdated { warnings: Some(warnings).filter(|w| !w.is_empty()) })
}

async fn remove(State(app): Here, Path(id): Path<String>) -> Reply {
    app.manager()?;
    let found = find(&app, &id).await?;
    app.services.remove(&found.id).await?;
    ok()
}

/// Reads a log query as the swarm does: stricter than for a container.
pub(in crate::routes) fn log_query(p: &Params) -> Result<(crate::backend::LogQuery, log::LineFormat), Failure> {
    if !p.flag("stdout") && !p.flag("stderr") {
        return Err(Refusal::invalid("Bad parameters: you must choose at least one stream").into());
    }
    let tail = p.text("tail");
    if !matches!(tail, "" | "all") && tail.parse::<u64>().is_err() {
        return Err(Refusal::invalid("tail value must be a positive integer or \"all\"").into());
    }
    if !matches!(p.text("until"), "" | "0") {
        return Err(Refusal::invalid("until is not supported for the logs of services and tasks").into());
    }
    Ok(log::query(p)?)
}

async fn logs(State(app): Here, Path(id): Path<String>, p: Params, version: ApiVersion) -> Reply {
    app.manager()?;
    let (query, format) = log_query(&p)?;
    let found = find(&app, &id).await?;
    log::reply(app.services.logs(LogSelector::Service(found.id.clone()), query).await?, format, version)
}
