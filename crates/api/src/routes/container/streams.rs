//! Containers' streams: logs, attach, stats.
use crate::app::Here;
use crate::backend::{AttachQuery, Attached, LogQuery};
use crate::http::{ApiVersion, Params, Reply, answer, hijack, logs as log};
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
    let (stdout, stderr) = (query.stdout, query.stderr);
    let mut attached = if p.flag("stream") {
        app.containers.attach(&id, query).await?
    } else {
        let tty = app.containers.inspect(&id, false).await?.config.tty;
        Attached { tty, stdin: None, output: futures::stream::empty().boxed() }
    };
    if p.flag("logs") && (stdout || stderr) {
        let so_far = LogQuery { stdout, stderr, ..LogQuery::default() };
        let lines = app.containers.logs(&id, so_far).await?.lines;
        let past = lines.filter_map(|l| std::future::ready(l.ok().map(|l| (l.stream, l.line))));
        attached.output = past.chain(attached.output).boxed();
    }
    Ok(hijack::process(request, attached, version))
}

pub(super) async fn attach_ws() -> Reply {
    Err(Refusal::unimplemented("attaching over a web socket is not supported: use POST /containers/{id}/attach").into())
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
