//! Configs.
use crate::app::{App, Here};
use crate::http::{Params, Reply, body, created, json, no_content, ok};
use crate::lookup;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use model::Config;
use std::sync::Arc;
use wire::Refusal;
use wire::engine::config::ConfigSpec;
use wire::engine::convert;
use wire::engine::secret::ObjectCreated;

/// On configs in which a client keeps what it deployed.
const LABEL_RECORD: &str = "com.shoal.stack.record";

pub fn router() -> Router<App> {
    Router::new()
        .route("/configs", get(list))
        .route("/configs/create", post(create))
        .route("/configs/{id}", get(inspect).delete(remove))
        .route("/configs/{id}/update", post(update))
}

async fn find(app: &App, wanted: &str) -> Result<Arc<Config>, Refusal> {
    let all = app.configs.list().await?;
    lookup::find("config", wanted, &all, |o| o.id.as_str(), |o| &o.spec.name).cloned()
}

async fn list(State(app): Here, p: Params) -> Reply {
    app.manager()?;
    let f = p.filters(&["id", "label", "name", "names"])?;
    let all = app.configs.list().await?;
    let mut chosen: Vec<_> = all
        .iter()
        // Records of deploys are there for who asks for them.
        .filter(|o| !f.is_empty() || !o.spec.labels.contains_key(LABEL_RECORD))
        .filter(|o| {
            f.prefix("id", o.id.as_str())
                && f.prefix("name", &o.spec.name)
                && f.exact("names", &o.spec.name)
                && f.labels("label", &o.spec.labels)
        })
        .map(|o| convert::config_out(o))
        .collect();
    chosen.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    json(&chosen)
}

async fn create(State(app): Here, request: Request) -> Reply {
    app.manager()?;
    let wish: ConfigSpec = body::json(request).await?;
    let id = app.configs.create(convert::config_spec_in(&wish)?).await?;
    created(&ObjectCreated { id: id.to_string() })
}

async fn inspect(State(app): Here, Path(id): Path<String>) -> Reply {
    app.manager()?;
    json(&convert::config_out(&*find(&app, &id).await?))
}

async fn update(State(app): Here, Path(id): Path<String>, p: Params, request: Request) -> Reply {
    app.manager()?;
    let wish: ConfigSpec = body::json(request).await?;
    let version = p.version("config")?;
    let found = find(&app, &id).await?;
    app.configs.update(&found.id, version, convert::config_spec_in(&wish)?).await?;
    ok()
}

async fn remove(State(app): Here, Path(id): Path<String>) -> Reply {
    app.manager()?;
    let found = find(&app, &id).await?;
    app.configs.remove(&found.id).await?;
    no_content()
}
