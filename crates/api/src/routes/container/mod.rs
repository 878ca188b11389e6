//! Containers.
mod archive;
mod lifecycle;
mod list;
mod streams;

use crate::app::App;
use axum::Router;
use axum::routing::{any, delete, get, post};

pub(super) use lifecycle::{prune_query, size};

pub fn router() -> Router<App> {
    Router::new()
        .route("/containers/json", get(list::list))
        .route("/containers/create", post(lifecycle::create))
        .route("/containers/prune", post(lifecycle::prune))
        .route("/containers/{id}", delete(lifecycle::remove))
        .route("/containers/{id}/json", get(list::inspect))
        .route("/containers/{id}/start", post(lifecycle::start))
        .route("/containers/{id}/stop", post(lifecycle::stop))
        .route("/containers/{id}/restart", post(lifecycle::restart))
        .route("/containers/{id}/kill", post(lifecycle::kill))
        .route("/containers/{id}/pause", post(lifecycle::pause))
        .route("/containers/{id}/unpause", post(lifecycle::unpause))
        .route("/containers/{id}/wait", post(lifecycle::wait))
        .route("/containers/{id}/resize", post(lifecycle::resize))
        .route("/containers/{id}/rename", post(lifecycle::rename))
        .route("/containers/{id}/update", post(lifecycle::update))
        .route("/containers/{id}/top", get(list::top))
        .route("/containers/{id}/changes", get(list::changes))
        .route("/containers/{id}/logs", get(streams::logs))
        .route("/containers/{id}/attach", post(streams::attach))
        .route("/containers/{id}/attach/ws", get(streams::attach_ws))
        .route("/containers/{id}/stats", get(streams::stats))
        .route("/containers/{id}/export", get(archive::export))
        .route("/containers/{id}/archive", get(archive::get).head(archive::head).put(archive::put))
        .route("/containers/{id}/checkpoints", any(lifecycle::checkpoint))
        .route("/containers/{id}/checkpoints/{checkpoint}", any(lifecycle::checkpoint))
        // A legacy link below a container's name (`/web/db`).
        .route("/containers/{id}/{link}", delete(lifecycle::remove_link))
        .route("/containers/{id}/{link}/json", get(list::inspect_linked))
        .route("/commit", post(lifecycle::commit))
}
