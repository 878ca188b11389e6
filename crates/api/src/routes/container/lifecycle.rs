//! Containers come, change and go.
use crate::app::Here;
use crate::backend::{CommitQuery, CreateContainer, PruneQuery, RemoveQuery, StopQuery, WaitCondition};
use crate::http::{ApiVersion, Failure, Params, Reply, answer, body, created, json, json_error, no_content, ok, time};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use futures::{FutureExt, stream};
use wire::Refusal;
use wire::engine::Filters;
use wire::engine::container::{ContainerConfig, ContainerCreateBody, ContainerUpdateBody, IdResponse};

/// Reads the filters of a prune.
pub(in crate::routes) fn prune_query(p: &Params, keys: &[&str]) -> Result<PruneQuery, Failure> {
    let filters: Filters = p.filters(keys)?;
    let mut until = None;
    for text in filters.get("until") {
        until = time::parse(text)?;
    }
    Ok(PruneQuery {
        until,
        dangling: filters.flag("dangling")?.unwrap_or(true),
        all: filters.flag("all")?.unwrap_or(false),
        filters,
    })
}

pub(super) async fn create(State(app): Here, version: ApiVersion, p: Params, request: Request) -> Reply {
    let name = p.text("name").trim_start_matches('/').to_owned();
    if !name.is_empty() && !valid_name(&name) {
        return Err(Refusal::invalid(format!(
            "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        ))
        .into());
    }
    let bytes = body::json_text(request).await?;
    if bytes.trim_ascii().is_empty() {
        return Err(Refusal::invalid("invalid JSON: got EOF while reading request body").into());
    }
    let mut body = ContainerCreateBody::from_slice(&bytes).map_err(|e| json_error::refusal(&bytes, &e))?;
    if body == ContainerCreateBody::default() {
        return Err(Refusal::invalid("config cannot be empty in order to create a container").into());
    }
    // Until then the memory of every container could be joined.
    if version.0 < 40 && body.host_config.ipc_mode.is_empty() {
        body.host_config.ipc_mode = "shareable".into();
    }
    body.host_config.pids_limit = body.host_config.pids_limit.filter(|limit| *limit > 0);
    let what = CreateContainer { name, platform: p.text("platform").to_owned(), body };
    created(&app.containers.create(what).await?)
}

fn valid_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

pub(super) async fn start(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    if !p.text("checkpoint").is_empty() {
        return checkpoint().await;
    }
    app.containers.start(&id, p.text("detachKeys")).await?;
    no_content()
}

pub(super) async fn checkpoint() -> Reply {
    Err(Refusal::unimplemented("checkpoints are not supported: start the container anew, or commit it").into())
}

fn stop_query(p: &Params) -> Result<StopQuery, Failure> {
    Ok(StopQuery { signal: p.text("signal").to_owned(), timeout: p.number("t")? })
}

pub(super) async fn stop(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    app.containers.stop(&id, stop_query(&p)?).await?;
    no_content()
}

pub(super) async fn restart(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    app.containers.restart(&id, stop_query(&p)?).await?;
    no_content()
}

pub(super) async fn kill(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    app.containers.kill(&id, p.text("signal")).await?;
    no_content()
}

pub(super) async fn pause(State(app): Here, Path(id): Path<String>) -> Reply {
    app.containers.pause(&id).await?;
    no_content()
}

pub(super) async fn unpause(State(app): Here, Path(id): Path<String>) -> Reply {
    app.containers.unpause(&id).await?;
    no_content()
}

/// The head goes out at once, so that `docker run` knows that it is waited for; the body follows at the end.
pub(super) async fn wait(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let condition = match p.text("condition") {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(Refusal::invalid(format!("invalid condition: {other:?}")).into()),
    };
    let end = app.containers.wait(&id, condition).await?;
    let text = end.map(|end| {
        let mut bytes = serde_json::to_vec(&end).map_err(std::io::Error::other)?;
        bytes.push(b'\n');
        Ok::<_, std::io::Error>(bytes::Bytes::from(bytes))
    });
    let mut r = Response::new(Body::from_stream(stream::once(text)));
    answer::set_type(&mut r, "application/json");
    Ok(r)
}

/// Reads `h` and `w`.
pub(in crate::routes) fn size(p: &Params) -> Result<(u16, u16), Failure> {
    let side = |name: &str| {
        p.number::<u16>(name)?.ok_or_else(|| Refusal::invalid(format!("invalid resize {name}: it must be given")))
    };
    Ok((side("h")?, side("w")?))
}

pub(super) async fn resize(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let (height, width) = size(&p)?;
    app.containers.resize(&id, height, width).await?;
    ok()
}

pub(super) async fn rename(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let name = p.text("name").trim_start_matches('/');
    if name.is_empty() {
        return Err(Refusal::invalid("Neither old nor new names may be empty").into());
    }
    if !valid_name(name) {
        return Err(Refusal::invalid(format!(
            "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        ))
        .into());
    }
    app.containers.rename(&id, name).await?;
    no_content()
}

pub(super) async fn update(State(app): Here, Path(id): Path<String>, version: ApiVersion, request: Request) -> Reply {
    let mut wish: ContainerUpdateBody = body::json(request).await?;
    if version.0 < 40 {
        wish.pids_limit = None;
    }
    json(&app.containers.update(&id, wish).await?)
}

pub(super) async fn remove(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let how = RemoveQuery { force: p.flag("force"), volumes: p.flag("v"), link: p.flag("link") };
    app.containers.remove(&id, how).await?;
    no_content()
}

pub(super) async fn remove_link(State(app): Here, Path((id, link)): Path<(String, String)>, p: Params) -> Reply {
    if !p.flag("link") {
        return Err(Refusal::not_found("page not found").into());
    }
    let how = RemoveQuery { force: p.flag("force"), volumes: p.flag("v"), link: true };
    app.containers.remove(&format!("{id}/{link}"), how).await?;
    no_content()
}

pub(super) async fn prune(State(app): Here, p: Params) -> Reply {
    json(&app.containers.prune(prune_query(&p, &["label", "label!", "until"])?).await?)
}

pub(super) async fn commit(State(app): Here, p: Params, request: Request) -> Reply {
    let bytes = body::json_text(request).await?;
    let config: Option<ContainerConfig> = match bytes.trim_ascii() {
        b"" | b"null" => None,
        text => {
            let c: ContainerConfig =
                wire::engine::lenient::from_slice(text).map_err(|e| json_error::refusal(text, &e))?;
            (c != ContainerConfig::default()).then_some(c)
        }
    };
    let how = CommitQuery {
        container: p.text("container").to_owned(),
        repo: p.text("repo").to_owned(),
        tag: p.text("tag").to_owned(),
        comment: p.text("comment").to_owned(),
        author: p.text("author").to_owned(),
        pause: p.flag_or("pause", true),
        changes: p
            .all("changes")
            .iter()
            .flat_map(|c| c.lines())
            .filter(|l| !l.trim().is_empty())
            .map(str::to_owned)
            .collect(),
        config,
    };
    created(&IdResponse { id: app.containers.commit(how).await? })
}
