//! The logs of services and tasks: from wherever the containers run, merged by time.
//!
//! Each task's log is read on its node, through the managers. A node that is down or falls silent ends only the logs of its
//! own tasks, with a line that says so; when it is followed and the node comes back, its log goes on where it stopped.
use super::log_order::{Order, Source};
use crate::daemon::membership::Membership;
use api::backend::*;
use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::StreamExt;
use manager::Manager;
use model::{Task, TaskId, TaskState, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use wire::Refusal;
use wire::agent::ContainerPlace;
use wire::engine::Time;

/// A node that does not begin to answer is left out, with a line that says so.
const NODE_ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Logs that are read to their end: how long the others wait for the next line of a slow one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Logs that are followed: lines of different tasks that come within this time are put in order.
const PATIENCE_FOLLOWING: Duration = Duration::from_millis(200);
/// Lines of one task that wait for those of others.
const LINES_MAX: usize = 256;

/// Reads them.
///
/// # Errors
/// When this is no manager.
pub(super) fn open(membership: &Arc<Membership>, which: LogSelector, query: LogQuery) -> Answer<Logs> {
    let manager = membership.manager()?;
    let tables = manager.control().tables();
    let has_tty = |t: &model::TaskSpec| t.container.as_ref().is_some_and(|c| c.tty);
    let tty = match &which {
        LogSelector::Service(id) => tables.service(id).is_some_and(|s| has_tty(&s.spec.task)),
        LogSelector::Task(id) => tables.task(id).is_some_and(|t| has_tty(&t.spec)),
    };
    drop(tables);
    let (sources, coming) = mpsc::channel(16);
    let patience = if query.follow { PATIENCE_FOLLOWING } else { PATIENCE };
    let gatherer = Gatherer { membership: membership.clone(), manager, which, query, sources, reading: HashMap::new() };
    tokio::spawn(gatherer.run());
    let order = Order::new(coming, patience);
    let lines = futures::stream::unfold(order, |mut order| async move { Some((Ok(order.next().await?), order)) });
    Ok(Logs { tty, lines: lines.boxed() })
}

/// Finds the tasks whose logs are wanted; following, also those that come later.
struct Gatherer {
    membership: Arc<Membership>,
    manager: Manager,
    which: LogSelector,
    query: LogQuery,
    sources: mpsc::Sender<Source>,
    reading: HashMap<TaskId, Progress>,
}

enum Progress {
    /// It is read, or has been read to its end.
    Taken,
    /// Its node could not be asked. It goes on after this time when the node is back.
    Lost(Option<Timestamp>),
}

impl Gatherer {
    async fn run(mut self) {
        let mut changes = self.manager.store().watch_revision();
        let (tell_lost, mut lost) = mpsc::unbounded_channel();
        let mut first = true;
        loop {
            let mut open = false;
            for (task, place) in self.found() {
                open |= !task.status.state.is_terminal();
                // A container that does not run yet has no log that could be followed: it is looked at again when it does.
                if task.status.state < TaskState::Running {
                    continue;
                }
                let since = match self.reading.get(&task.id) {
                    Some(Progress::Taken) => continue,
                    Some(Progress::Lost(_)) if place.unreachable.is_some() => continue,
                    Some(Progress::Lost(at)) => *at,
                    None => None,
                };
                let mut query = self.query.clone();
                if self.reading.insert(task.id.clone(), Progress::Taken).is_some() {
                    (query.since, query.tail) = (since.map(|t| Timestamp(t.0 + 1)).or(query.since), None);
                } else if !first {
                    // What began after the question is told whole.
                    query.tail = None;
                }
                let (lines, source) = mpsc::channel(LINES_MAX);
                if self.sources.send(source).await.is_err() {
                    return;
                }
                let reader = Reader { membership: self.membership.clone(), task, place, query, lines, last: since };
                let tell_lost = tell_lost.clone();
                tokio::spawn(async move {
                    let id = reader.task.id.clone();
                    if let Err(at) = reader.read().await {
                        let _ = tell_lost.send((id, at));
                    }
                });
            }
            first = false;
            let one_task_is_over = matches!(self.which, LogSelector::Task(_)) && !open;
            if !self.query.follow || one_task_is_over || !self.is_there() {
                return;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                Some((task, at)) = lost.recv() => drop(self.reading.insert(task, Progress::Lost(at))),
                () = self.sources.closed() => return,
            }
        }
    }

    fn found(&self) -> Vec<(Arc<Task>, ContainerPlace)> {
        match &self.which {
            LogSelector::Service(id) => self.manager.control().service_log_sources(id),
            LogSelector::Task(id) => self.manager.control().task_log_source(id).into_iter().collect(),
        }
    }

    /// Whether what is followed is there still.
    fn is_there(&self) -> bool {
        let tables = self.manager.control().tables();
        match &self.which {
            LogSelector::Service(id) => tables.service(id).is_some(),
            LogSelector::Task(id) => tables.task(id).is_some(),
        }
    }
}

/// Reads the log of one task.
struct Reader {
    membership: Arc<Membership>,
    task: Arc<Task>,
    place: ContainerPlace,
    query: LogQuery,
    lines: mpsc::Sender<LogLine>,
    last: Option<Timestamp>,
}

impl Reader {
    /// To its end. When its node cannot be asked (any more): the time of the last line.
    async fn read(mut self) -> Result<(), Option<Timestamp>> {
        let why = match &self.place.unreachable {
            Some(state) => format!("node {} is {state}", self.place.hostname),
            None => match self.read_there().await {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
        };
        tracing::info!(task = %self.task.id, node = %self.place.node, why, "the log of a task cannot be read");
        let note = format!("(the log of this task cannot be read on: {why})\n");
        let at = self.last.unwrap_or(self.task.status.timestamp);
        let line = LogLine { stream: StdStream::Stderr, time: at, line: note.into(), attrs: self.attributes() };
        let _ = self.lines.send(line).await;
        Err(self.last)
    }

    async fn read_there(&mut self) -> Result<(), String> {
        let uri = log_uri(&self.place.container, &self.query);
        let request = http::Request::get(uri).body(Body::empty()).map_err(|e| e.to_string())?;
        let asked = tokio::time::timeout(NODE_ANSWERS_WITHIN, self.membership.ask_node(&self.place.node, request));
        let answer = asked.await.map_err(|_| format!("node {} does not answer", self.place.hostname))?;
        let answer = answer.map_err(|r: Refusal| r.message)?;
        match answer.status().as_u16() {
            200 => {}
            // Its history has been cut, or somebody has removed the container: there is no log any more.
            404 => return Ok(()),
            other => return Err(format!("node {} answers {other}", self.place.hostname)),
        }
        let raw = self.task.spec.container.as_ref().is_some_and(|c| c.tty);
        self.read_frames(answer.into_body().into_data_stream(), raw).await
    }

    async fn read_frames(&mut self, mut body: BodyDataStream, raw: bool) -> Result<(), String> {
        let own = self.attributes();
        let mut buffer = BytesMut::new();
        loop {
            while let Some((stream, line)) = take_line(&mut buffer, raw) {
                let Some(mut line) = split(stream, line, self.query.details) else { continue };
                line.attrs.extend(own.clone());
                self.last = Some(line.time);
                if self.lines.send(line).await.is_err() {
                    return Ok(());
                }
            }
            let more = tokio::select! {
                more = body.next() => more,
                () = self.lines.closed() => return Ok(()),
            };
            match more {
                None => return Ok(()),
                Some(Ok(bytes)) => buffer.extend_from_slice(&bytes),
                Some(Err(_)) => return Err(format!("node {} fell silent", self.place.hostname)),
            }
        }
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        let service = self.task.service.as_ref().map(ToString::to_string).unwrap_or_default();
        [("node", self.place.node.to_string()), ("service", service), ("task", self.task.id.to_string())]
            .map(|(k, v)| (format!("com.docker.swarm.{k}.id"), v))
            .into()
    }
}

/// Always with time stamps: they are what the merge goes by.
fn log_uri(container: &str, q: &LogQuery) -> String {
    let time = |t: Option<Timestamp>| {
        t.map(|t| format!("{}.{:09}", t.0.div_euclid(1_000_000_000), t.0.rem_euclid(1_000_000_000)))
    };
    let flag = |b: bool| u8::from(b);
    let mut uri = format!(
        "/containers/{container}/logs?timestamps=1&stdout={}&stderr={}&follow={}&details={}",
        flag(q.stdout),
        flag(q.stderr),
        flag(q.follow),
        flag(q.details)
    );
    for (key, value) in [("since", time(q.since)), ("until", time(q.until)), ("tail", q.tail.map(|n| n.to_string()))] {
        if let Some(value) = value {
            uri.push_str(&format!("&{key}={value}"));
        }
    }
    uri
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

/// `<time> [<details> ]<text>`.
fn split(stream: StdStream, line: Bytes, details: bool) -> Option<LogLine> {
    let word = |line: &Bytes| line.iter().position(|b| *b == b' ');
    let space = word(&line)?;
    let time = std::str::from_utf8(&line[..space]).ok()?.parse::<Time>().ok()?.0;
    let mut text = line.slice(space + 1..);
    let mut attrs = BTreeMap::new();
    if details && let Some(space) = word(&text) {
        let pairs = String::from_utf8_lossy(&text[..space]).into_owned();
        attrs = pairs.split(',').filter_map(|p| p.split_once('=')).map(|(k, v)| (unescape(k), unescape(v))).collect();
        text = text.slice(space + 1..);
    }
    Some(LogLine { stream, time, line: text, attrs })
}

fn unescape(text: &str) -> String {
    api::forward::decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart() {
        let mut buffer = BytesMut::new();
        let text = b"2024-01-02T03:04:05.000000006Z a=b+c,k=1%2C2 hello you\n";
        buffer.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, text.len() as u8]);
        buffer.extend_from_slice(&text[..20]);
        assert!(take_line(&mut buffer, false).is_none(), "not all of it is there");
        buffer.extend_from_slice(&text[20..]);
        let (stream, line) = take_line(&mut buffer, false).unwrap();
        let line = split(stream, line, true).unwrap();
        assert_eq!((line.stream, &line.line[..]), (StdStream::Stderr, &b"hello you\n"[..]));
        assert_eq!(line.time.0 % 1_000_000_000, 6);
        assert_eq!(line.attrs, [("a", "b c"), ("k", "1,2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(buffer.is_empty());
    }
}
