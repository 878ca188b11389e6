//! Commands run in containers.
use super::size;
use crate::app::{App, Here};
use crate::backend::{Attached, ExecStartQuery, StdStream};
use crate::http::{ApiVersion, Params, Reply, body, created, hijack, json, ok};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::{StreamExt, stream};
use wire::Refusal;
use wire::engine::container::IdResponse;
use wire::engine::exec::{ExecConfig, ExecStart};

pub fn router() -> Router<App> {
    Router::new()
        .route("/containers/{id}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/resize", post(resize))
        .route("/exec/{id}/json", get(inspect))
}

async fn create(State(app): Here, Path(id): Path<String>, request: Request) -> Reply {
    let config: ExecConfig = body::json(request).await?;
    if config.cmd.words().is_empty() {
        return Err(Refusal::invalid("No exec command specified").into());
    }
    created(&IdResponse { id: app.execs.create(&id, config).await? })
}

async fn start(State(app): Here, Path(id): Path<String>, version: ApiVersion, mut request: Request) -> Reply {
    body::check_json_type(request.headers())?;
    // The upgrade must stay with the request; only the body is taken out.
    let body = std::mem::take(request.body_mut());
    // A tunnel's length nobody knows.
    let tunnelled = request.extensions().get::<hyper::upgrade::OnUpgrade>().is_none()
        && !request.headers().contains_key(http::header::CONTENT_LENGTH);
    let (options, rest) = if tunnelled {
        body::json_then_rest(body).await?
    } else {
        (body::json_or_default(Request::new(body)).await?, None)
    };
    let options: ExecStart = options;
    if let Some(rest) = rest {
        *request.body_mut() = rest;
    }
    let state = app.execs.inspect(&id).await?;
    let how = ExecStartQuery { detach: options.detach, console_size: options.console_size };
    if how.detach {
        app.execs.start(&id, how).await?;
        return ok();
    }
    if state.running {
        return Err(Refusal::conflict(format!("exec command {id} is already running")).into());
    }
    if state.exit_code.is_some() {
        return Err(Refusal::conflict(format!("exec command {id} has already run")).into());
    }
    // Frames or not is what this request says, also for a command that was made with a terminal.
    let tty = options.tty;
    let start = async move {
        match app.execs.start(&id, how).await {
            Ok(Some(attached)) => attached,
            Ok(None) => Attached { tty, stdin: None, output: stream::empty().boxed() },
            // What the runtime says reaches the client's terminal, as with Docker.
            Err(e) => {
                let text = Bytes::from(format!("{}\r\n", e.message));
                Attached { tty, stdin: None, output: stream::once(async { (StdStream::Stdout, text) }).boxed() }
            }
        }
    };
    Ok(hijack::process_later(request, tty, version, start))
}

async fn resize(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let (height, width) = size(&p)?;
    app.execs.resize(&id, height, width).await?;
    ok()
}

async fn inspect(State(app): Here, Path(id): Path<String>) -> Reply {
    json(&app.execs.inspect(&id).await?)
}
