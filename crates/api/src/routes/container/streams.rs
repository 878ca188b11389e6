//! Containers' streams: logs, attach, stats.
use crate::app::{App, Here};
use crate::backend::{AttachQuery, Attached, LogQuery};
use crate::http::{ApiVersion, Failure, Params, Reply, answer, hijack, logs as log, websocket};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Request, State};
use futures::StreamExt;
use wire::Refusal;

pub(super) async fn logs(State(app): Here, Path(id): Path<String>, p: Params, version: ApiVersion) -> Reply {
    let (query, format) = log::query(&p)?;
    log::reply(app.containers.logs(&id, query).await?, format, version)
}

/// `logs=1`: first what was written so far (and not seen live), then, with `stream=1`, what comes.
pub(super) async fn attach(
    State(app): Here,
    Path(id): Path<String>,
    p: Params,
    version: ApiVersion,
    request: Request,
) -> Reply {
    let query = AttachQuery {
        stdin: p.flag("stdin"),
        stdout: p.flag("stdout"),
        stderr: p.flag("stderr"),
        detach_keys: p.text("detachKeys").to_owned(),
    };
    let attached = open(&app, &id, &p, query).await?;
    Ok(hijack::process(request, attached, version))
}

async fn open(app: &App, id: &str, p: &Params, query: AttachQuery) -> Result<Attached, Failure> {
    let (stdout, stderr) = (query.stdout, query.stderr);
    let mut attached = if p.flag("stream") {
        app.containers.attach(id, query).await?
    } else {
        let tty = app.containers.inspect(id, false).await?.config.tty;
        Attached { tty, stdin: None, output: futures::stream::empty().boxed() }
    };
    if p.flag("logs") && (stdout || stderr) {
        let so_far = LogQuery { stdout, stderr, ..LogQuery::default() };
        let lines = app.containers.logs(id, so_far).await?.lines;
        let past = lines.filter_map(|l| std::future::ready(l.ok().map(|l| (l.stream, l.line))));
        attached.output = past.chain(attached.output).boxed();
    }
    Ok(attached)
}

/// Attach over a web socket: raw bytes in binary messages (in text messages for clients before 1.28), never frames of ours.
pub(super) async fn attach_ws(
    State(app): Here,
    Path(id): Path<String>,
    p: Params,
    version: ApiVersion,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Reply {
    let upgrade = upgrade.map_err(|e| Refusal::invalid(e.body_text()))?;
    // Clients before 1.42 could not choose: they got everything.
    let chosen = |stream: &str| version < ApiVersion(42) || p.flag(stream);
    let query = AttachQuery {
        stdin: chosen("stdin"),
        stdout: chosen("stdout"),
        stderr: chosen("stderr"),
        detach_keys: p.text("detachKeys").to_owned(),
    };
    let attached = open(&app, &id, &p, query).await?;
    let text = version < ApiVersion(28);
    Ok(upgrade.on_upgrade(move |socket| websocket::pump(socket, attached, text)))
}

pub(super) async fn stats(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let one_shot = p.flag("one-shot");
    let stream = p.flag_or("stream", true);
    if stream && one_shot {
        return Err(Refusal::invalid("cannot have stream=true and one-shot=true").into());
    }
    let samples = app.containers.stats(&id, stream, one_shot).await?;
    let samples = if stream { samples } else { samples.take(1).boxed() };
    answer::lines(samples)
}
