//! Secrets.
use crate::app::{App, Here};
use crate::http::{Params, Reply, body, created, json, no_content, ok};
use crate::lookup;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use model::Secret;
use std::sync::Arc;
use wire::Refusal;
use wire::engine::convert;
use wire::engine::secret::ObjectCreated;
use wire::engine::secret::SecretSpec;

pub fn router() -> Router<App> {
    Router::new()
        .route("/secrets", get(list))
        .route("/secrets/create", post(create))
        .route("/secrets/{id}", get(inspect).delete(remove))
        .route("/secrets/{id}/update", post(update))
}

async fn find(app: &App, wanted: &str) -> Result<Arc<Secret>, Refusal> {
    let all = app.secrets.list().await?;
    lookup::find("secret", wanted, &all, |o| o.id.as_str(), |o| &o.spec.name).cloned()
}

async fn list(State(app): Here, p: Params) -> Reply {
    app.manager()?;
    let f = p.filters(&["id", "label", "name", "names"])?;
    let all = app.secrets.list().await?;
    let mut chosen: Vec<_> = all
        .iter()
        .filter(|o| {
            f.prefix("id", o.id.as_str())
                && f.prefix("name", &o.spec.name)
                && f.exact("names", &o.spec.name)
                && f.labels("label", &o.spec.labels)
        })
        .map(|o| convert::secret_out(o))
        .collect();
    chosen.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    json(&chosen)
}

async fn create(State(app): Here, request: Request) -> Reply {
    app.manager()?;
    let wish: SecretSpec = body::json(request).await?;
    let id = app.secrets.create(convert::secret_spec_in(&wish)?).await?;
    created(&ObjectCreated { id: id.to_string() })
}

async fn inspect(State(app): Here, Path(id): Path<String>) -> Reply {
    app.manager()?;
    json(&convert::secret_out(&*find(&app, &id).await?))
}

async fn update(State(app): Here, Path(id): Path<String>, p: Params, request: Request) -> Reply {
    app.manager()?;
    let wish: SecretSpec = body::json(request).await?;
    let version = p.version("secret")?;
    let found = find(&app, &id).await?;
    app.secrets.update(&found.id, version, convert::secret_spec_in(&wish)?).await?;
    ok()
}

async fn remove(State(app): Here, Path(id): Path<String>) -> Reply {
    app.manager()?;
    let found = find(&app, &id).await?;
    app.secrets.remove(&found.id).await?;
    no_content()
}
