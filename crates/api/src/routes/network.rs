//! Networks, of this node and of the swarm.
use super::prune_query;
use crate::app::{App, Here};
use crate::backend::ListedNetwork;
use crate::forward::{Destination, to_manager};
use crate::http::{Failure, Params, Reply, answer, body, created, json, json_error, no_content, ok};
use crate::lookup::matches;
use crate::server::Forwarded;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use model::NetworkTarget;
use wire::engine::convert;
use wire::engine::lenient;
use wire::engine::network::{Network, NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect};
use wire::{Refusal, RefusalKind};

pub fn router() -> Router<App> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
        .route("/networks/{id}/connect", post(connect))
        .route("/networks/{id}/disconnect", post(disconnect))
}

/// Full id, then exact name, then id prefix.
fn find<'a>(networks: &'a [ListedNetwork], wanted: &str, scope: &str) -> Result<&'a ListedNetwork, Refusal> {
    let here = || networks.iter().filter(|n| scope.is_empty() || n.network.scope == scope);
    if let Some(hit) = here().find(|n| n.network.id == wanted) {
        return Ok(hit);
    }
    for (what, by_name) in [("name", true), ("ID prefix", false)] {
        let hits: Vec<_> = here()
            .filter(|n| {
                if by_name { n.network.name == wanted } else { !wanted.is_empty() && n.network.id.starts_with(wanted) }
            })
            .collect();
        match hits.as_slice() {
            [] => {}
            [one] => return Ok(one),
            many => {
                return Err(Refusal::invalid(format!(
                    "network {wanted} is ambiguous ({} matches found based on {what})",
                    many.len()
                )));
            }
        }
    }
    // Services may be on every node's own bridge and host networks: a swarm knows these two by name.
    let mut predefined = networks.iter().filter(|n| n.predefined && matches!(&*n.network.name, "bridge" | "host"));
    let in_swarm = || networks.iter().any(|n| n.network.scope == "swarm");
    match predefined.find(|n| scope == "swarm" && n.network.name == wanted) {
        Some(hit) if in_swarm() => Ok(hit),
        _ => Err(Refusal::not_found(format!("network {wanted} not found"))),
    }
}

/// What a service may be attached to, by id, name or id prefix.
pub(in crate::routes) fn service_target(networks: &[ListedNetwork], wanted: &str) -> Result<NetworkTarget, Refusal> {
    // A name that exists in both scopes means the swarm's network here.
    let found = match find(networks, wanted, "swarm") {
        Ok(n) => n,
        Err(_) => find(networks, wanted, "")?,
    };
    let n = &found.network;
    match n.id.parse() {
        Ok(id) if n.scope == "swarm" => Ok(NetworkTarget::Swarm(id)),
        _ if found.predefined => Ok(NetworkTarget::Predefined(n.name.clone())),
        _ => Err(Refusal::forbidden(format!(
            "The network {} cannot be used with services. Only networks scoped to the swarm can be used, such as those created with the overlay driver.",
            n.name
        ))),
    }
}

async fn list(State(app): Here, p: Params) -> Reply {
    let f = p.filters(&["dangling", "driver", "id", "idOrName", "label", "name", "scope", "type"])?;
    let dangling = f.flag("dangling")?;
    if let Some(bad) = f.get("type").find(|t| !matches!(*t, "custom" | "builtin")) {
        return Err(Refusal::invalid(format!("invalid filter: 'type'='{bad}'")).into());
    }
    let mut networks = app.networks.list().await?;
    networks.retain(|n| {
        let x = &n.network;
        f.any("name", |v| matches(v, &x.name))
            && f.any("id", |v| matches(v, &x.id))
            && f.any("idOrName", |v| x.id == v || x.name == v || x.id.starts_with(v))
            && f.labels("label", &x.labels)
            && f.exact("driver", &x.driver)
            && f.exact("scope", &x.scope)
            && f.exact("type", if n.predefined { "builtin" } else { "custom" })
            && dangling.is_none_or(|d| d == (!n.in_use && !n.predefined))
    });
    networks.sort_by(|a, b| (&a.network.name, &a.network.id).cmp(&(&b.network.name, &b.network.id)));
    json(&networks.into_iter().map(|n| n.network).collect::<Vec<Network>>())
}

async fn inspect(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let networks = app.networks.list().await?;
    let found = find(&networks, &id, p.text("scope"))?;
    json(&app.networks.inspect(&found.network.id, p.flag("verbose")).await?)
}

async fn create(State(app): Here, request: Request) -> Reply {
    let (parts, body) = request.into_parts();
    let bytes = body::json_text(Request::from_parts(parts.clone(), body)).await?;
    let mut wish: NetworkCreate = lenient::from_slice(&bytes).map_err(|e| json_error::refusal(&bytes, &e))?;
    if wish.name.trim().is_empty() {
        return Err(Refusal::invalid("network name cannot be empty").into());
    }
    if matches!(wish.name.as_str(), "bridge" | "host" | "none" | "default") {
        return Err(
            Refusal::forbidden(format!("operation is not permitted on predefined {} network ", wish.name)).into()
        );
    }
    if !matches!(wish.scope.as_str(), "" | "local" | "swarm") {
        return Err(Refusal::invalid(format!("invalid scope {:?}: local or swarm is expected", wish.scope)).into());
    }
    let of_swarm = wish.driver == "overlay" || wish.ingress || wish.scope == "swarm";
    if !of_swarm {
        if wish.driver.is_empty() {
            wish.driver = "bridge".into();
        }
        return created(&app.networks.create_local(wish).await?);
    }
    if !parts.extensions.get::<Forwarded>().is_some_and(|f| f.0)
        && to_manager(&app, true).await
        && let Some(answer) = forward(&app, Request::from_parts(parts, Body::from(bytes))).await
    {
        return Ok(answer);
    }
    if let Some(text) = crate::app::not_a_manager(app.system.swarm_role()) {
        // Docker answers 403 here, not 503.
        return Err(Refusal::forbidden(text).into());
    }
    let spec = convert::network_spec_in(&wish)?;
    let id = app.networks.create_swarm(spec).await?;
    created(&NetworkCreated { id: id.to_string(), warning: String::new() })
}

async fn forward(app: &App, request: Request) -> Option<axum::response::Response> {
    app.forwarder.as_ref()?.forward(request, Destination::Manager).await
}

async fn remove(State(app): Here, Path(id): Path<String>, request: Request) -> Reply {
    let networks = app.networks.list().await?;
    let found = find(&networks, &id, "")?;
    if found.network.scope == "swarm"
        && !request.extensions().get::<Forwarded>().is_some_and(|f| f.0)
        && to_manager(&app, true).await
        && let Some(answer) = forward(&app, request).await
    {
        return Ok(answer);
    }
    app.networks.remove(&found.network.id).await?;
    no_content()
}

async fn resolved(app: &App, id: &str) -> Result<String, Failure> {
    let networks = app.networks.list().await?;
    Ok(find(&networks, id, "")?.network.id.clone())
}

async fn connect(State(app): Here, Path(id): Path<String>, request: Request) -> Reply {
    let wish: NetworkConnect = body::json(request).await?;
    let id = match resolved(&app, &id).await {
        // A worker knows the overlays that its containers are on; of others its managers know.
        Err(Failure(e))
            if e.kind == RefusalKind::NotFound && app.system.swarm_role() == crate::backend::SwarmRole::Worker =>
        {
            id
        }
        known => known?,
    };
    app.networks.connect(&id, &wish.container, wish.endpoint_config.unwrap_or_default()).await?;
    ok()
}

async fn disconnect(State(app): Here, Path(id): Path<String>, request: Request) -> Reply {
    let wish: NetworkDisconnect = body::json(request).await?;
    let id = resolved(&app, &id).await?;
    app.networks.disconnect(&id, &wish.container, wish.force).await?;
    ok()
}

async fn prune(State(app): Here, p: Params) -> Reply {
    answer::json(&app.networks.prune(prune_query(&p, &["label", "label!", "until"])?).await?)
}
