//! One folder or file per noun.
mod config;
mod container;
mod diagnosis;
mod disk_usage;
mod exec;
mod image;
mod network;
mod node;
mod plugin;
mod secret;
mod service;
mod swarm;
mod system;
mod task;
mod volume;

use crate::app::App;
use axum::Router;
use container::{prune_query, size};

/// All routes, without version.
pub fn router() -> Router<App> {
    Router::new()
        .merge(system::router())
        .merge(container::router())
        .merge(diagnosis::router())
        .merge(exec::router())
        .merge(image::router())
        .merge(volume::router())
        .merge(network::router())
        .merge(swarm::router())
        .merge(node::router())
        .merge(service::router())
        .merge(task::router())
        .merge(secret::router())
        .merge(config::router())
        .merge(plugin::router())
}
