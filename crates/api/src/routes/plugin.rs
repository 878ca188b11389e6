//! Plugins: there are none, and none can be had. Drivers are built in.
use crate::app::App;
use crate::http::{Reply, json};
use axum::Router;
use axum::extract::Path;
use axum::routing::{any, get};
use wire::Refusal;

pub fn router() -> Router<App> {
    Router::new()
        .route("/plugins", get(list))
        .route("/plugins/pull", any(unsupported))
        .route("/plugins/create", any(unsupported))
        .route("/plugins/privileges", any(unsupported))
        .route("/plugins/{*rest}", any(missing))
}

async fn list() -> Reply {
    json(&Vec::<()>::new())
}

async fn unsupported() -> Reply {
    Err(Refusal::unimplemented("managed plugins are not supported: network, volume and log drivers are built in")
        .into())
}

async fn missing(Path(rest): Path<String>) -> Reply {
    const VERBS: [&str; 6] = ["json", "enable", "disable", "push", "set", "upgrade"];
    let name = rest.rsplit_once('/').filter(|(_, verb)| VERBS.contains(verb)).map_or(rest.as_str(), |(n, _)| n);
    Err(Refusal::not_found(format!("plugin \"{name}\" not found")).into())
}
