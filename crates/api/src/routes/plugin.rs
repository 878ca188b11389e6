//! Managed plugins: they can be made, described, configured and removed. Network, volume and log drivers are built in, so
//! none is ever run: whoever wants to enable one, or to fetch one from a registry, is told so.
use crate::app::{App, Here};
use crate::http::{Params, Reply, body, json, no_content};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{any, get, post};
use http::Method;
use wire::Refusal;
use wire::engine::plugin::{Plugin, PluginPrivilege};

/// Names of plugins have slashes; what is to be done comes behind them.
const VERBS: [&str; 7] = ["json", "enable", "disable", "push", "set", "upgrade", ""];

pub fn router() -> Router<App> {
    Router::new()
        .route("/plugins", get(list))
        .route("/plugins/pull", post(fetch))
        .route("/plugins/create", post(create))
        .route("/plugins/privileges", get(privileges))
        .route("/plugins/{*rest}", any(one))
}

async fn list(State(app): Here, p: Params) -> Reply {
    let f = p.filters(&["enable", "enabled", "capability"])?;
    let wanted = |key: &str| f.flag(key);
    let (enable, enabled) = (wanted("enable")?, wanted("enabled")?);
    let mut all = app.plugins.list().await?;
    all.retain(|p| {
        let offers = |c: &str| p.config.interface.types.iter().any(|t| t == c || capability(t) == c);
        enable.is_none_or(|e| e == p.enabled) && enabled.is_none_or(|e| e == p.enabled) && f.any("capability", offers)
    });
    json(&all)
}

/// `docker.volumedriver/1.0` → `volumedriver`.
fn capability(typ: &str) -> &str {
    let name = typ.split('/').next().unwrap_or(typ);
    name.rsplit('.').next().unwrap_or(name)
}

async fn create(State(app): Here, p: Params, request: Request) -> Reply {
    app.plugins.create(p.text("name"), body::stream(request.into_body())).await?;
    no_content()
}

/// A plugin that is never run asks for nothing.
async fn privileges(p: Params) -> Reply {
    if p.text("remote").is_empty() {
        return Err(Refusal::invalid("invalid reference format: remote must name a plugin").into());
    }
    json(&Vec::<PluginPrivilege>::new())
}

async fn fetch() -> Reply {
    Err(unsupported("fetching plugins from a registry").into())
}

fn unsupported(what: &str) -> Refusal {
    Refusal::unimplemented(format!(
        "{what} is not supported: managed plugins are not run by this engine; network, volume and log drivers are built in"
    ))
}

async fn one(State(app): Here, Path(rest): Path<String>, request: Request) -> Reply {
    let (name, verb) = match rest.rsplit_once('/') {
        Some((name, verb)) if VERBS.contains(&verb) => (name, verb),
        _ => (rest.as_str(), ""),
    };
    let found: Plugin = app.plugins.inspect(name).await?;
    match (request.method(), verb) {
        (&Method::GET, "json") => json(&found),
        (&Method::DELETE, "") => json(&app.plugins.remove(name).await?),
        (&Method::POST, "set") => {
            let settings: Vec<String> = body::json_or_default(request).await?;
            app.plugins.configure(name, settings).await?;
            no_content()
        }
        (&Method::POST, "enable") => Err(unsupported("enabling a plugin").into()),
        (&Method::POST, "disable") => {
            Err(Refusal::conflict(format!("plugin {} is already disabled", found.name)).into())
        }
        (&Method::POST, "push") => Err(unsupported("pushing a plugin").into()),
        (&Method::POST, "upgrade") => Err(unsupported("upgrading a plugin").into()),
        _ => Err(Refusal::not_found("page not found").into()),
    }
}
