//! Containers.
use super::Backend;
use api::backend::*;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use node::containers::life::Until;
use node::containers::{AttachRequest, CreateRequest, Streams};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, DuplexStream};
use tokio_util::io::StreamReader;
use wire::Refusal;
use wire::engine::container::*;
use wire::engine::stats::Stats;

const TAR_BUFFER_BYTES: usize = 256 << 10;

#[async_trait]
impl Containers for Backend {
    async fn create(&self, what: CreateContainer) -> Answer<ContainerCreated> {
        if !what.platform.is_empty() {
            let wanted = images::Platform::parse(&what.platform).map_err(|e| Refusal::invalid(e.to_string()))?;
            let image = self.0.images.get(&what.body.config.image).map_err(node::containers::refuse_image)?;
            let other = wanted.architecture != image.config.architecture && !image.config.architecture.is_empty();
            if other || wanted.os != "linux" {
                return Err(Refusal::not_found(format!(
                    "image with reference {} was found but its platform (linux/{}) does not match the specified platform ({wanted})",
                    what.body.config.image, image.config.architecture
                )));
            }
        }
        let request = CreateRequest { name: what.name, body: what.body, managed: None };
        let (id, warnings) = self.0.containers.create(request).await?;
        Ok(ContainerCreated { id, warnings })
    }

    async fn list(&self, size: bool) -> Answer<Vec<ListedContainer>> {
        let all = self.0.containers.list(size).await;
        Ok(all
            .into_iter()
            .map(|l| {
                let ancestors = self.ancestors(&l.image_id);
                ListedContainer {
                    summary: l.summary,
                    created: l.created,
                    exit_code: l.exit_code,
                    health: l.health,
                    exposed: l.exposed,
                    is_task: l.is_task,
                    ancestors,
                }
            })
            .collect())
    }

    async fn inspect(&self, id: &str, size: bool) -> Answer<ContainerInspect> {
        self.0.containers.inspect(id, size).await
    }
    async fn start(&self, id: &str, _detach_keys: &str) -> Answer<()> {
        self.0.containers.start(id).await
    }
    async fn stop(&self, id: &str, how: StopQuery) -> Answer<()> {
        self.0.containers.stop(id, &how.signal, how.timeout).await
    }
    async fn restart(&self, id: &str, how: StopQuery) -> Answer<()> {
        self.0.containers.restart(id, &how.signal, how.timeout).await
    }
    async fn kill(&self, id: &str, signal: &str) -> Answer<()> {
        self.0.containers.kill(id, signal).await
    }
    async fn pause(&self, id: &str) -> Answer<()> {
        self.0.containers.pause(id).await
    }
    async fn unpause(&self, id: &str) -> Answer<()> {
        self.0.containers.unpause(id).await
    }

    async fn wait(&self, id: &str, condition: WaitCondition) -> Answer<BoxFuture<'static, ContainerWait>> {
        let until = match condition {
            WaitCondition::NotRunning => Until::NotRunning,
            WaitCondition::NextExit => Until::NextExit,
            WaitCondition::Removed => Until::Removed,
        };
        Ok(Box::pin(self.0.containers.wait(id, until)?))
    }

    async fn resize(&self, id: &str, height: u16, width: u16) -> Answer<()> {
        self.0.containers.resize(id, height, width).await
    }
    async fn rename(&self, id: &str, name: &str) -> Answer<()> {
        self.0.containers.rename(id, name).await
    }
    async fn update(&self, id: &str, body: ContainerUpdateBody) -> Answer<ContainerUpdated> {
        self.0.containers.update(id, body).await.map(|warnings| ContainerUpdated { warnings })
    }

    async fn remove(&self, id: &str, how: RemoveQuery) -> Answer<()> {
        if how.link {
            return self.0.containers.remove_link(id).await;
        }
        self.0.containers.remove(id, how.force, how.volumes).await
    }

    async fn prune(&self, query: PruneQuery) -> Answer<ContainersPruned> {
        let (gone, space_reclaimed) = self.0.containers.prune(|labels, created| query.takes(labels, created)).await?;
        Ok(ContainersPruned { containers_deleted: Some(gone).filter(|g| !g.is_empty()), space_reclaimed })
    }

    async fn logs(&self, id: &str, query: LogQuery) -> Answer<Logs> {
        let wanted = runtime::logs::LogQuery {
            since: query.since,
            until: query.until,
            tail: query.tail.map(|n| n as usize),
            follow: query.follow,
        };
        if !query.follow {
            self.0.containers.first_words(id).await;
        }
        let lines = self.0.containers.logs(id, wanted)?;
        let wants = move |s: runtime::StdStream| match s {
            runtime::StdStream::Stdout => query.stdout,
            runtime::StdStream::Stderr => query.stderr,
        };
        let details = query.details;
        let stream = tokio_stream_of(lines.lines).filter_map(move |line| {
            let out = match line {
                Ok(l) if wants(l.stream) => Some(Ok(LogLine {
                    stream: std_stream(l.stream),
                    time: l.time,
                    line: l.line,
                    attrs: if details { l.attrs } else { Default::default() },
                })),
                Ok(_) => None,
                Err(e) => Some(Err(Refusal::internal(format!("the log cannot be read: {e}")))),
            };
            futures::future::ready(out)
        });
        Ok(Logs { tty: lines.tty, lines: stream.boxed() })
    }

    async fn attach(&self, id: &str, query: AttachQuery) -> Answer<Attached> {
        let how = AttachRequest { stdin: query.stdin, detach_keys: query.detach_keys.clone() };
        let mut attached = attached(self.0.containers.attach(id, how).await?);
        let (out, err) = (query.stdout, query.stderr);
        let wants = move |s: &StdStream| match s {
            StdStream::Stdout => out,
            StdStream::Stderr => err,
        };
        attached.output = attached.output.filter(move |(s, _)| futures::future::ready(wants(s))).boxed();
        Ok(attached)
    }

    async fn top(&self, id: &str, ps_args: &str) -> Answer<ContainerTop> {
        self.0.containers.top(id, ps_args).await
    }

    async fn stats(&self, id: &str, stream: bool, one_shot: bool) -> Answer<BoxStream<'static, Stats>> {
        let containers = self.0.containers.clone();
        let first = containers.sample(id).await?;
        let id = first.id.clone();
        if one_shot && !stream {
            return Ok(stream::iter([first]).boxed());
        }
        let later = stream::unfold((containers, id, first.clone()), |(containers, id, before)| async move {
            // One that is removed has no next sample.
            let removed = containers.wait(&id, Until::Removed).ok()?;
            if tokio::time::timeout(Duration::from_secs(1), removed).await.is_ok() {
                return None;
            }
            let mut now = containers.sample(&id).await.ok()?;
            now.precpu_stats = before.cpu_stats.clone();
            now.preread = before.read;
            Some((now.clone(), (containers, id, now)))
        });
        Ok(if stream { stream::iter([first]).chain(later).boxed() } else { later.take(1).boxed() })
    }

    async fn changes(&self, id: &str) -> Answer<Vec<FilesystemChange>> {
        let changes = self.0.containers.changes(id).await?;
        Ok(changes.into_iter().map(|c| FilesystemChange { path: c.path, kind: c.kind as u8 }).collect())
    }

    async fn export(&self, id: &str) -> Answer<ByteStream> {
        let id = self.0.containers.resolve(id)?;
        let containers = self.0.containers.clone();
        Ok(written(move |out| async move { containers.export(&id, out).await }))
    }

    async fn archive_stat(&self, id: &str, path: &str) -> Answer<PathStat> {
        self.0.containers.path_stat(id, path).await.map(path_stat)
    }

    async fn archive_get(&self, id: &str, path: &str) -> Answer<(PathStat, ByteStream)> {
        let stat = self.archive_stat(id, path).await?;
        let (containers, id, path) = (self.0.containers.clone(), id.to_owned(), path.to_owned());
        Ok((stat, written(move |out| async move { containers.copy_out(&id, &path, out).await })))
    }

    async fn archive_put(&self, id: &str, how: ArchivePut, tar: BodyStream) -> Answer<()> {
        let options = images::CopyOptions { no_overwrite_dir_non_dir: how.no_overwrite_dir_non_dir, owner: None };
        self.0.containers.copy_in(id, &how.path, reader(tar), options).await
    }

    async fn elsewhere(&self, id: &str) -> bool {
        matches!(self.0.containers.resolve(id), Err(e) if e.kind == wire::RefusalKind::NotFound)
    }

    async fn commit(&self, how: CommitQuery) -> Answer<String> {
        let reference = super::images::wished_name(&how.repo, &how.tag)?;
        self.0
            .containers
            .commit(&how.container, reference, (how.author, how.comment), how.changes, how.config, how.pause)
            .await
    }
}

impl Backend {
    /// The image, its parents and their names.
    fn ancestors(&self, image: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut next = Some(image.to_owned());
        while let Some(id) = next {
            let Ok(image) = self.0.images.get(&id) else {
                all.push(id);
                break;
            };
            all.push(id);
            all.extend(image.repo_tags.iter().cloned());
            next = image.parent.clone().filter(|p| !all.contains(p));
        }
        all
    }
}

pub(super) fn attached(streams: Streams) -> Attached {
    let output = tokio_stream_of(streams.output).map(|(s, b): (_, Bytes)| (std_stream(s), b)).boxed();
    Attached { tty: streams.tty, stdin: streams.stdin, output }
}

pub(super) fn tokio_stream_of<T: Send + 'static>(receiver: tokio::sync::mpsc::Receiver<T>) -> BoxStream<'static, T> {
    stream::unfold(receiver, |mut r| async move { r.recv().await.map(|item| (item, r)) }).boxed()
}

fn std_stream(s: runtime::StdStream) -> StdStream {
    match s {
        runtime::StdStream::Stdout => StdStream::Stdout,
        runtime::StdStream::Stderr => StdStream::Stderr,
    }
}

fn path_stat(s: images::PathStat) -> PathStat {
    PathStat {
        name: s.name,
        size: s.size as i64,
        mode: s.go_mode,
        mtime: model::Timestamp(s.mtime_unix_nanos).into(),
        link_target: s.link_target,
    }
}

/// A body as a reader.
pub(super) fn reader(body: BodyStream) -> impl AsyncRead + Send + Unpin + 'static {
    StreamReader::new(body)
}

/// What a writer writes, as a stream; a failure ends it with its refusal.
pub(super) fn written<F, Fut>(write: F) -> ByteStream
where
    F: FnOnce(DuplexStream) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
{
    let (mine, theirs) = tokio::io::duplex(TAR_BUFFER_BYTES);
    let work = tokio::spawn(write(theirs));
    stream::unfold((mine, Some(work)), |(mut mine, work)| async move {
        let work = work?;
        let mut buffer = vec![0; 64 << 10];
        match mine.read(&mut buffer).await {
            Ok(0) | Err(_) => match work.await {
                Ok(Ok(())) => None,
                Ok(Err(e)) => Some((Err(e), (mine, None))),
                Err(e) => Some((Err(Refusal::internal(e.to_string())), (mine, None))),
            },
            Ok(n) => {
                buffer.truncate(n);
                Some((Ok(Bytes::from(buffer)), (mine, Some(work))))
            }
        }
    })
    .boxed()
}
