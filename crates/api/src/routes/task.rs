//! Tasks.
use super::service::log_query;
use super::{node, service};
use crate::app::{App, Here};
use crate::backend::LogSelector;
use crate::http::{ApiVersion, Failure, Params, Reply, json, logs as log};
use crate::lookup;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use model::{DesiredState, Network, NetworkId, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::Refusal;
use wire::engine::convert;

pub fn router() -> Router<App> {
    Router::new().route("/tasks", get(list)).route("/tasks/{id}", get(inspect)).route("/tasks/{id}/logs", get(logs))
}

pub(super) async fn find(app: &App, wanted: &str) -> Result<Arc<Task>, Refusal> {
    let tasks = app.tasks.list().await?;
    let names: Vec<_> = tasks.into_iter().map(|t| (t.container_name(), t)).collect();
    lookup::find("task", wanted, &names, |(_, t)| t.id.as_str(), |(name, _)| name).map(|(_, t)| t.clone())
}

async fn networks(app: &App) -> Result<BTreeMap<NetworkId, Arc<Network>>, Refusal> {
    Ok(app.tasks.networks().await?.into_iter().map(|n| (n.id.clone(), n)).collect())
}

fn desired(word: &str) -> Result<DesiredState, Failure> {
    use DesiredState::{Complete, Ready, Remove, Running, Shutdown};
    [Ready, Running, Complete, Shutdown, Remove]
        .into_iter()
        // Docker's words for wishes that no task here has are read as the wish that comes nearest.
        .find(|d| d.as_str() == word || (*d == Ready && word == "accepted"))
        .ok_or_else(|| Refusal::invalid(format!("invalid desired-state filter: {word}")).into())
}

async fn list(State(app): Here, p: Params) -> Reply {
    app.manager()?;
    let f = p.filters(&["desired-state", "id", "label", "name", "node", "runtime", "service", "_up-to-date"])?;
    let mut services = BTreeSet::new();
    for wanted in f.get("service") {
        services.insert(service::find(&app, wanted).await?.id.clone());
    }
    let mut nodes = BTreeSet::new();
    for wanted in f.get("node") {
        nodes.insert(node::find(&app, wanted).await?.id.clone());
    }
    let states = f.get("desired-state").map(desired).collect::<Result<Vec<_>, _>>()?;
    let up_to_date = f.flag("_up-to-date")?;
    let current = match up_to_date {
        Some(_) => app.tasks.up_to_date(&services).await?,
        None => BTreeSet::new(),
    };
    let networks = networks(&app).await?;
    let tasks = app.tasks.list().await?;
    let mut chosen: Vec<&Arc<Task>> = tasks
        .iter()
        .filter(|t| {
            let Some(id) = &t.service else { return false };
            (services.is_empty() || services.contains(id))
                && (nodes.is_empty() || t.node.as_ref().is_some_and(|n| nodes.contains(n)))
                && (states.is_empty() || states.contains(&t.desired))
                && up_to_date.is_none_or(|u| u == current.contains(&t.id))
                && f.prefix("id", t.id.as_str())
                && (!f.has("name") || f.prefix("name", &t.container_name()))
                && f.labels("label", &t.service_labels)
                && f.exact("runtime", "container")
        })
        .collect();
    chosen.sort_by(|a, b| a.meta.created_at.cmp(&b.meta.created_at).then_with(|| a.id.cmp(&b.id)));
    let find = |id: &NetworkId| networks.get(id).cloned();
    json(&chosen.into_iter().map(|t| convert::task_out(t, &find)).collect::<Vec<_>>())
}

async fn inspect(State(app): Here, Path(id): Path<String>) -> Reply {
    app.manager()?;
    let task = find(&app, &id).await?;
    let networks = networks(&app).await?;
    json(&convert::task_out(&task, &|id| networks.get(id).cloned()))
}

async fn logs(State(app): Here, Path(id): Path<String>, p: Params, version: ApiVersion) -> Reply {
    app.manager()?;
    let (query, format) = log_query(&p)?;
    let task = find(&app, &id).await?;
    log::reply(app.services.logs(LogSelector::Task(task.id.clone()), query).await?, format, version)
}
