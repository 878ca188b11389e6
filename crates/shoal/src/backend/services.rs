//! Services, and the logs of their tasks from wherever they run.
use super::Backend;
use crate::daemon::relay;
use api::backend::*;
use async_trait::async_trait;
use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use manager::Manager;
use model::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use wire::Refusal;
use wire::agent::TunnelRequest;
use wire::engine::Time;

/// A node that does not begin to answer is left out, with a line that says so.
const NODE_ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Lines of different tasks that come within this time are put in order.
const ORDER_WINDOW: Duration = Duration::from_millis(100);

#[async_trait]
impl Services for Backend {
    async fn list(&self) -> Answer<Vec<Arc<Service>>> {
        Ok(self.0.membership.manager()?.control().tables().services().cloned().collect())
    }
    async fn create(&self, spec: ServiceSpec, _auth: Option<String>) -> Answer<(ServiceId, Vec<String>)> {
        Ok((self.0.membership.manager()?.control().create_service(spec).await?, Vec::new()))
    }
    async fn update(
        &self,
        id: &ServiceId,
        version: u64,
        spec: ServiceSpec,
        _auth: RegistryAuth,
    ) -> Answer<Vec<String>> {
        self.0.membership.manager()?.control().update_service(id.as_str(), version, spec).await?;
        Ok(Vec::new())
    }
    async fn rollback(&self, id: &ServiceId, version: u64) -> Answer<Vec<String>> {
        self.0.membership.manager()?.control().rollback_service(id.as_str(), version).await?;
        Ok(Vec::new())
    }
    async fn remove(&self, id: &ServiceId) -> Answer<()> {
        self.0.membership.manager()?.control().remove_service(id.as_str()).await
    }

    async fn logs(&self, which: LogSelector, query: LogQuery) -> Answer<Logs> {
        let manager = self.0.membership.manager()?;
        let sources = match &which {
            LogSelector::Service(id) => manager.control().service_log_sources(id.as_str())?,
            LogSelector::Task(id) => manager.control().task_log_source(id.as_str())?.into_iter().collect(),
        };
        let tty = sources.iter().any(|(t, _)| t.spec.container.as_ref().is_some_and(|c| c.tty));
        let (lines, merged) = mpsc::channel(256);
        for (task, node) in sources {
            let (manager, query, lines) = (manager.clone(), query.clone(), lines.clone());
            tokio::spawn(async move {
                if let Err(why) = read_task(&manager, &task, &node, &query, &lines).await {
                    tracing::info!(task = %task.id, %node, why = %why, "the log of a task cannot be read");
                }
            });
        }
        drop(lines);
        Ok(Logs { tty, lines: in_order(merged, query.tail) })
    }
}

type Lines = mpsc::Sender<Result<LogLine, Refusal>>;

async fn read_task(
    manager: &Manager,
    task: &Arc<Task>,
    node: &NodeId,
    query: &LogQuery,
    lines: &Lines,
) -> Result<(), Refusal> {
    let container = task.status.container.as_ref().map(|c| c.id.clone()).unwrap_or_default();
    let uri = log_uri(&container, query);
    let ask = async {
        let request = TunnelRequest { method: "GET".into(), uri: uri.clone() };
        let tunnel = manager.tunnel(node, request).await?;
        let request = http::Request::get(&uri).header("host", "node").body(Body::empty());
        let request = request.map_err(|e| Refusal::internal(e.to_string()))?;
        relay::ask(tunnel, request).await.map_err(|e| Refusal::unavailable(e.to_string()))
    };
    let answer = tokio::time::timeout(NODE_ANSWERS_WITHIN, ask)
        .await
        .map_err(|_| Refusal::unavailable(format!("node {node} does not answer")))??;
    if !answer.status().is_success() {
        return Err(Refusal::unavailable(format!("node {node} answers {}", answer.status())));
    }
    let attrs: BTreeMap<String, String> = [
        ("com.docker.swarm.node.id", node.to_string()),
        ("com.docker.swarm.service.id", task.service.as_ref().map(|s| s.to_string()).unwrap_or_default()),
        ("com.docker.swarm.task.id", task.id.to_string()),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into();
    let raw = task.spec.container.as_ref().is_some_and(|c| c.tty);
    read_frames(answer, raw, attrs, lines).await
}

/// Always with time stamps: they are what the merge goes by.
fn log_uri(container: &str, q: &LogQuery) -> String {
    let time = |t: Option<Timestamp>| {
        t.map(|t| format!("{}.{:09}", t.0.div_euclid(1_000_000_000), t.0.rem_euclid(1_000_000_000)))
    };
    let mut uri = format!(
        "/containers/{container}/logs?timestamps=1&stdout={}&stderr={}&follow={}",
        u8::from(q.stdout),
        u8::from(q.stderr),
        u8::from(q.follow)
    );
    for (key, value) in [("since", time(q.since)), ("until", time(q.until)), ("tail", q.tail.map(|n| n.to_string()))] {
        if let Some(value) = value {
            uri.push_str(&format!("&{key}={value}"));
        }
    }
    uri
}

async fn read_frames(
    answer: http::Response<Incoming>,
    raw: bool,
    attrs: BTreeMap<String, String>,
    lines: &Lines,
) -> Result<(), Refusal> {
    let mut body = answer.into_body();
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Refusal::unavailable(e.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some((stream, line)) = take_line(&mut buffer, raw) {
            let (time, line) = split_time(line);
            let line = LogLine { stream, time, line, attrs: attrs.clone() };
            if lines.send(Ok(line)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The next whole frame (or raw line).
fn take_line(buffer: &mut BytesMut, raw: bool) -> Option<(StdStream, Bytes)> {
    if raw {
        let end = buffer.iter().position(|b| *b == b'\n')?;
        return Some((StdStream::Stdout, buffer.split_to(end + 1).freeze()));
    }
    let head = buffer.first_chunk::<8>()?;
    let stream = if head[0] == 2 { StdStream::Stderr } else { StdStream::Stdout };
    let len = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if buffer.len() < 8 + len {
        return None;
    }
    buffer.advance(8);
    Some((stream, buffer.split_to(len).freeze()))
}

fn split_time(line: Bytes) -> (Timestamp, Bytes) {
    let Some(space) = line.iter().position(|b| *b == b' ') else { return (Timestamp(0), line) };
    match std::str::from_utf8(&line[..space]).ok().and_then(|t| t.parse::<Time>().ok()) {
        Some(time) => (time.0, line.slice(space + 1..)),
        None => (Timestamp(0), line),
    }
}

/// Puts lines in order of time within a short window; `tail` keeps the last ones of all tasks together.
fn in_order(
    lines: mpsc::Receiver<Result<LogLine, Refusal>>,
    tail: Option<u64>,
) -> BoxStream<'static, Result<LogLine, Refusal>> {
    let state = (lines, std::collections::VecDeque::new(), tail.is_some());
    futures::stream::unfold(state, |(mut lines, mut ready, first)| async move {
        loop {
            if let Some(line) = ready.pop_front() {
                return Some((line, (lines, ready, first)));
            }
            let mut batch = vec![lines.recv().await?];
            let until = tokio::time::Instant::now() + ORDER_WINDOW;
            while let Ok(Some(line)) = tokio::time::timeout_at(until, lines.recv()).await {
                batch.push(line);
            }
            batch.sort_by_key(|l| l.as_ref().map_or(Timestamp(0), |l| l.time));
            ready.extend(batch);
        }
    })
    .boxed()
}
