//! Volumes.
use super::prune_query;
use crate::app::{App, Here};
use crate::http::{ApiVersion, Params, Reply, body, created, json, no_content};
use crate::lookup::matches;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use std::collections::BTreeMap;
use wire::Refusal;
use wire::engine::volume::{VolumeCreate, VolumeList};

pub fn router() -> Router<App> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove).put(update))
}

async fn list(State(app): Here, p: Params) -> Reply {
    let f = p.filters(&["name", "driver", "label", "label!", "dangling"])?;
    let dangling = f.flag("dangling")?;
    let none = BTreeMap::new();
    let mut volumes: Vec<_> = app.volumes.list().await?;
    volumes.retain(|v| {
        let labels = v.volume.labels.as_ref().unwrap_or(&none);
        f.any("name", |n| matches(n, &v.volume.name))
            && f.exact("driver", &v.volume.driver)
            && f.labels("label", labels)
            && !f.get("label!").any(|l| wire::engine::filters::label_matches(l, labels))
            && dangling.is_none_or(|d| d != v.in_use)
    });
    let mut volumes: Vec<_> = volumes.into_iter().map(|v| v.volume).collect();
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    json(&VolumeList { volumes, warnings: None })
}

async fn create(State(app): Here, request: Request) -> Reply {
    let wish: VolumeCreate = body::json_or_default(request).await?;
    if wish.cluster_volume_spec.is_some() {
        return Err(Refusal::unimplemented("cluster volumes (ClusterVolumeSpec) are not supported").into());
    }
    created(&app.volumes.create(wish).await?)
}

async fn inspect(State(app): Here, Path(name): Path<String>) -> Reply {
    json(&app.volumes.inspect(&name).await?)
}

async fn remove(State(app): Here, Path(name): Path<String>, p: Params) -> Reply {
    app.volumes.remove(&name, p.flag("force")).await?;
    no_content()
}

async fn update() -> Reply {
    Err(Refusal::unimplemented("cluster volumes are not supported, and only those can be updated").into())
}

async fn prune(State(app): Here, version: ApiVersion, p: Params) -> Reply {
    let mut query = prune_query(&p, &["all", "label", "label!", "until"])?;
    // Before 1.42 named volumes were not spared.
    query.all |= version.0 < 42;
    json(&app.volumes.prune(query).await?)
}
