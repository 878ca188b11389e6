//! Nodes.
use crate::app::{App, Here};
use crate::http::{Params, Reply, body, json, ok};
use crate::lookup;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use model::{Node, NodeRole};
use std::sync::Arc;
use wire::Refusal;
use wire::engine::convert;
use wire::engine::node::NodeSpec;

pub fn router() -> Router<App> {
    Router::new()
        .route("/nodes", get(list))
        .route("/nodes/{id}", get(inspect).delete(remove))
        .route("/nodes/{id}/update", post(update))
}

fn hostname(n: &Node) -> &str {
    n.description.as_ref().map_or("", |d| d.hostname.as_str())
}

/// By id, hostname or id prefix; `self` is this node.
pub(in crate::routes) async fn find(app: &App, wanted: &str) -> Result<Arc<Node>, Refusal> {
    let nodes = app.nodes.list().await?;
    let own = if wanted == "self" { app.nodes.own_id().await } else { None };
    let wanted = own.as_ref().map_or(wanted, |id| id.as_str());
    lookup::find("node", wanted, &nodes, |n| n.id.as_str(), |n| hostname(n)).cloned()
}

async fn list(State(app): Here, p: Params) -> Reply {
    app.manager()?;
    let f = p.filters(&["id", "label", "membership", "name", "node.label", "role"])?;
    for (key, words) in [("role", ["worker", "manager"]), ("membership", ["accepted", "pending"])] {
        if let Some(bad) = f.get(key).find(|v| !words.contains(v)) {
            return Err(Refusal::invalid(format!("invalid {key} filter: {bad}")).into());
        }
    }
    let none = Default::default();
    let nodes = app.nodes.list().await?;
    let mut chosen: Vec<_> = nodes
        .iter()
        .filter(|n| {
            let engine = n.description.as_ref().map_or(&none, |d| &d.engine_labels);
            f.prefix("id", n.id.as_str())
                && f.prefix("name", hostname(n))
                && f.labels("label", engine)
                && f.labels("node.label", &n.spec.labels)
                && f.exact("role", if n.spec.role == NodeRole::Manager { "manager" } else { "worker" })
                && f.exact("membership", "accepted")
        })
        .map(|n| convert::node_out(n))
        .collect();
    chosen.sort_by(|a, b| (&a.description.hostname, &a.id).cmp(&(&b.description.hostname, &b.id)));
    json(&chosen)
}

async fn inspect(State(app): Here, Path(id): Path<String>) -> Reply {
    app.manager()?;
    json(&convert::node_out(&*find(&app, &id).await?))
}

async fn update(State(app): Here, Path(id): Path<String>, p: Params, request: Request) -> Reply {
    app.manager()?;
    let wish: NodeSpec = body::json(request).await?;
    let version = p.version("node")?;
    let node = find(&app, &id).await?;
    app.nodes.update(&node.id, version, convert::node_spec_in(&wish)?).await?;
    ok()
}

async fn remove(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    app.manager()?;
    let node = find(&app, &id).await?;
    app.nodes.remove(&node.id, p.flag("force")).await?;
    // Docker answers 200 here, not 204.
    ok()
}
