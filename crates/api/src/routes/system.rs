//! The engine itself: ping, version, info, events, disk usage, credentials.
use super::disk_usage;
use crate::app::{App, Here};
use crate::backend::{DiskUsageQuery, EventFeed, SwarmRole};
use crate::http::{ApiVersion, Params, Reply, answer, body, json, time};
use crate::lookup::matches;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get, post};
use futures::{StreamExt, stream};
use http::{HeaderName, HeaderValue};
use wire::Refusal;
use wire::engine::Filters;
use wire::engine::events::Event;
use wire::engine::image::AuthConfig;

pub fn router() -> Router<App> {
    Router::new()
        .route("/_ping", get(ping))
        .route("/session", any(buildkit))
        .route("/grpc", any(buildkit))
        .route("/version", get(version))
        .route("/info", get(info))
        .route("/events", get(events))
        .route("/system/df", get(usage))
        .route("/auth", post(authenticate))
        .route("/metrics", get(metrics))
}

/// Where BuildKit's clients meet the engine.
async fn buildkit() -> Reply {
    Err(Refusal::unimplemented(
        "building with BuildKit is not supported by this engine: set DOCKER_BUILDKIT=0 to build with the classic builder",
    )
    .into())
}

async fn ping(State(app): Here) -> Reply {
    let mut r = Response::new(Body::from("OK"));
    let swarm = match app.system.swarm_role() {
        SwarmRole::Inactive => "inactive",
        SwarmRole::Pending => "pending",
        SwarmRole::Error => "error",
        SwarmRole::Locked => "locked",
        SwarmRole::Worker => "active/worker",
        SwarmRole::Manager => "active/manager",
    };
    for (name, value) in [
        ("builder-version", "1"),
        ("swarm", swarm),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
        ("content-type", "text/plain; charset=utf-8"),
    ] {
        r.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ok(r)
}

async fn version(State(app): Here) -> Reply {
    json(&app.system.version().await?.with_engine_component())
}

async fn info(State(app): Here) -> Reply {
    json(&app.system.info().await?)
}

async fn metrics(State(app): Here) -> Reply {
    let mut r = Response::new(Body::from(app.system.metrics().await?));
    answer::set_type(&mut r, "text/plain; version=0.0.4; charset=utf-8");
    Ok(r)
}

async fn usage(State(app): Here, version: ApiVersion, p: Params) -> Reply {
    let types = p.all("type");
    let mut what = DiskUsageQuery::default();
    let mut build_cache = types.is_empty();
    for t in &types {
        match t.as_str() {
            "container" => what.containers = true,
            "image" => what.images = true,
            "volume" => what.volumes = true,
            "build-cache" => build_cache = true,
            other => return Err(Refusal::invalid(format!("unknown object type: {other}")).into()),
        }
    }
    if types.is_empty() {
        what = DiskUsageQuery { containers: true, images: true, volumes: true };
    }
    let usage = app.system.disk_usage(what).await?;
    json(&disk_usage::shaped(&usage, &what, build_cache, version, p.flag("verbose")))
}

async fn authenticate(State(app): Here, request: Request) -> Reply {
    let auth: AuthConfig = body::json(request).await?;
    json(&app.images.authenticate(auth).await?)
}

const EVENT_KEYS: [&str; 15] = [
    "event",
    "type",
    "scope",
    "daemon",
    "container",
    "image",
    "network",
    "volume",
    "plugin",
    "node",
    "service",
    "secret",
    "config",
    "label",
    "builder",
];

async fn events(State(app): Here, p: Params) -> Reply {
    let filters = p.filters(&EVENT_KEYS)?;
    let since = time::parse(p.text("since"))?;
    let until = time::parse(p.text("until"))?;
    if let (Some(s), Some(u)) = (since, until)
        && s > u
    {
        return Err(Refusal::invalid("`since` time cannot be after `until` time").into());
    }
    // Who says until when wants to hear of all that is remembered.
    let replayed = since.or(until.map(|_| model::Timestamp::default()));
    let EventFeed { past, live } = app.system.events(replayed).await?;
    let in_time = move |e: &Event| until.is_none_or(|u| e.time_nano <= u.0);
    let wanted = move |e: &Event| event_matches(&filters, e);
    let past: Vec<Event> = past.into_iter().filter(|e| in_time(e) && wanted(e)).collect();
    let left = until.map(|u| u.since(time::now()));
    let live = match left {
        Some(d) if d.is_zero() => stream::empty().boxed(),
        Some(d) => live.take_until(tokio::time::sleep(d)).boxed(),
        None => live,
    };
    let live = live.filter(move |e| std::future::ready(in_time(e) && wanted(e)));
    let events = stream::iter(past).chain(live).map(|e| {
        let mut line = serde_json::to_vec(&e).map_err(std::io::Error::other)?;
        line.push(b'\n');
        Ok::<_, std::io::Error>(bytes::Bytes::from(line))
    });
    let mut r = Response::new(Body::from_stream(events));
    answer::set_type(&mut r, "application/json");
    Ok(r)
}

/// Whether an event passes the filters.
fn event_matches(f: &Filters, e: &Event) -> bool {
    let attributes = &e.actor.attributes;
    let named = |kind: &str| {
        !f.has(kind)
            || (e.typ == kind
                && f.get(kind).any(|v| {
                    e.actor.id.starts_with(v) || attributes.get("name").is_some_and(|n| n == v || n.starts_with(v))
                }))
    };
    // `exec_create: sh` is found by `exec_create`, `health_status: healthy` by `health_status`.
    let action = f.any("event", |v| v == e.action || e.action.split(':').next() == Some(v));
    let image = !f.has("image")
        || f.get("image").any(|v| {
            let plain = |n: &str| n == v || n.split(':').next() == Some(v);
            (e.typ == "image" && (plain(&e.actor.id) || attributes.get("name").is_some_and(|n| plain(n))))
                || (e.typ == "container" && attributes.get("image").is_some_and(|n| plain(n)))
        });
    action
        && f.exact("type", &e.typ)
        && f.exact("scope", &e.scope)
        && named("container")
        && image
        && ["daemon", "network", "volume", "plugin", "node", "service", "secret", "config"].into_iter().all(named)
        && f.get("label").all(|l| match l.split_once('=') {
            Some((k, v)) => attributes.get(k).is_some_and(|have| matches(v, have)),
            None => attributes.contains_key(l),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    #[test]
    fn events_are_found_by_type_action_and_name() {
        let e = Event::new(
            "container",
            "exec_create: sh",
            "abcdef",
            [("name".to_owned(), "web".to_owned()), ("image".to_owned(), "busybox:latest".to_owned())].into(),
            "local",
            Timestamp(1),
        );
        let with = |pairs: &[(&str, &str)]| {
            let mut f = Filters::default();
            pairs.iter().for_each(|(k, v)| f.add(k, v));
            event_matches(&f, &e)
        };
        assert!(with(&[]));
        assert!(with(&[("type", "container"), ("event", "exec_create"), ("container", "web")]));
        assert!(with(&[("container", "abc"), ("image", "busybox")]));
        assert!(!with(&[("type", "network")]));
        assert!(!with(&[("network", "web")]));
        assert!(!with(&[("event", "start")]));
    }
}
