//! Images.
use super::Backend;
use super::containers::{reader, tokio_stream_of, written};
use api::backend::*;
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use images::{Credentials, ImageError, Platform, Reference, Removed};
use node::containers::refuse_image;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use wire::Refusal;
use wire::engine::container::{Descriptor, DriverData, OciPlatform};
use wire::engine::image::*;
use wire::engine::progress::Progress;
use wire::engine::shape::decode_base64;
use wire::engine::{Time, lenient};

#[async_trait]
impl Images for Backend {
    async fn list(&self, how: ListImages) -> Answer<Vec<ImageSummary>> {
        let uses = self.0.containers.image_uses();
        let usage = if how.shared_size { Some(self.0.images.usage()) } else { None };
        let all = self.0.images.list();
        let is_parent = |id: &str| all.iter().any(|i| i.parent.as_deref() == Some(id));
        let shown = all.iter().filter(|i| how.all || !i.is_dangling() || !is_parent(&i.id));
        Ok(shown
            .map(|i| ImageSummary {
                containers: uses.iter().filter(|u| u.image_id == i.id).count() as i64,
                shared_size: usage
                    .as_ref()
                    .and_then(|u| u.images.iter().find(|s| s.id == i.id))
                    .map_or(-1, |s| s.shared_size as i64),
                ..summary(i)
            })
            .collect())
    }

    async fn inspect(&self, name: &str) -> Answer<ImageInspect> {
        let i = self.0.images.get(name).map_err(refuse_image)?;
        let json = serde_json::to_value(&i.config.config).map_err(|e| Refusal::internal(e.to_string()))?;
        let config: ImageConfig = lenient::from_value(json).map_err(|e| Refusal::internal(e.to_string()))?;
        // What the classic builder and `docker commit` wrote down.
        let made_in = i.config.rest.get("container_config").and_then(|c| lenient::from_value(c.clone()).ok());
        Ok(ImageInspect {
            id: i.id.clone(),
            repo_tags: i.repo_tags.clone(),
            repo_digests: i.repo_digests.clone(),
            parent: i.parent.clone().unwrap_or_default(),
            comment: i.config.comment.clone(),
            created: i
                .config
                .created
                .clone()
                .unwrap_or_else(|| Time(model::Timestamp(i.created_unix_nanos)).to_string()),
            docker_version: i.config.docker_version.clone(),
            author: i.config.author.clone(),
            container: i.config.container.clone(),
            container_config: made_in,
            config,
            architecture: i.config.architecture.clone(),
            variant: i.config.variant.clone(),
            os: if i.config.os.is_empty() { "linux".into() } else { i.config.os.clone() },
            size: i.size as i64,
            graph_driver: DriverData { data: Some(Default::default()), name: "overlay2".into() },
            root_fs: RootFs { typ: "layers".into(), layers: i.layers.clone() },
            metadata: ImageMetadata { last_tag_time: Time(model::Timestamp(i.last_tagged_unix_nanos)) },
            ..ImageInspect::default()
        })
    }

    async fn history(&self, name: &str) -> Answer<Vec<ImageHistory>> {
        let items = self.0.images.history(name).map_err(refuse_image)?;
        Ok(items
            .into_iter()
            .map(|h| ImageHistory {
                comment: h.comment,
                created: h.created_unix_seconds,
                created_by: h.created_by,
                id: h.id,
                size: h.size as i64,
                tags: Some(h.tags).filter(|t| !t.is_empty()),
            })
            .collect())
    }

    async fn pull(&self, query: PullQuery) -> Answer<ProgressStream> {
        let reference = checked(Reference::from_parts(&query.image, &query.tag))?;
        let platform = match query.platform.as_str() {
            "" => None,
            p => Some(Platform::parse(p).map_err(|e| Refusal::invalid(e.to_string()))?),
        };
        let images = self.0.images.clone();
        let credentials = credentials(query.auth);
        let events = self.0.events.clone();
        Ok(progress(move |sink| async move {
            match (reference.tag(), reference.digest()) {
                (None, None) => images.pull_all_tags(reference.clone(), platform, credentials, sink).await.map(drop),
                _ => images.pull(reference.clone(), platform, credentials, sink).await.map(drop),
            }?;
            let name = reference.to_string();
            events.tell("image", "pull", &name, [("name".to_owned(), name.clone())].into());
            Ok(Vec::new())
        })
        .await?)
    }

    async fn import(&self, query: ImportQuery, body: BodyStream) -> Answer<ProgressStream> {
        let archive: Box<dyn AsyncRead + Send + Unpin> = match query.source.as_str() {
            "-" => Box::new(reader(body)),
            url if url.contains("://") => images::download::get(url).await.map_err(refuse_image)?.body,
            host => images::download::get(&format!("http://{host}")).await.map_err(refuse_image)?.body,
        };
        let reference = wished_name(&query.repo, &query.tag)?;
        let platform = match query.platform.as_str() {
            "" => None,
            text => {
                let platform = Platform::parse(text).map_err(|e| Refusal::invalid(e.to_string()))?;
                if platform.os != "linux" {
                    return Err(Refusal::invalid("operating system is not supported"));
                }
                Some(platform)
            }
        };
        let id = self
            .0
            .images
            .import(archive, reference, query.changes, query.message, platform)
            .await
            .map_err(refuse_image)?;
        self.tell_image("import", &id);
        Ok(stream::iter([Progress { status: id, ..Progress::default() }]).boxed())
    }

    async fn load(&self, tar: BodyStream, _quiet: bool) -> Answer<ProgressStream> {
        // What is wrong with an archive is a line of the stream, as Docker's clients expect.
        let lines = match self.0.images.load(reader(tar)).await {
            Ok(lines) => lines,
            Err(e) => return Ok(stream::iter([Progress::failure(e.to_string())]).boxed()),
        };
        self.tell_image("load", "");
        Ok(stream::iter(lines.into_iter().map(|l| Progress::text(format!("{}\n", l.trim_end())))).boxed())
    }

    async fn save(&self, names: Vec<String>) -> Answer<ByteStream> {
        for name in &names {
            self.0.images.get(name).map_err(refuse_image)?;
        }
        let images = self.0.images.clone();
        Ok(written(move |out| async move { images.save(names, out).await.map_err(refuse_image) }))
    }

    async fn tag(&self, name: &str, repo: &str, tag: &str) -> Answer<()> {
        let target = checked(Reference::name_from_parts(repo, tag))?;
        if target.familiar_name() == "sha256" {
            return Err(Refusal::invalid("refusing to create an ambiguous tag using digest algorithm as name"));
        }
        self.0.images.tag(name, target.clone()).await.map_err(refuse_image)?;
        self.tell_image("tag", &target.to_string());
        Ok(())
    }

    async fn remove(&self, name: &str, force: bool, no_prune: bool) -> Answer<Vec<ImageDeleted>> {
        let uses = self.0.containers.image_uses();
        let removed = self.0.images.remove(name, force, no_prune, uses).await.map_err(refuse_image)?;
        for r in &removed {
            match r {
                Removed::Untagged(name) => self.tell_image("untag", name),
                Removed::Deleted(id) => self.tell_image("delete", id),
            }
        }
        Ok(removed.into_iter().map(deleted).collect())
    }

    async fn prune(&self, query: PruneQuery) -> Answer<ImagesPruned> {
        let filter = images::PruneFilter {
            dangling_only: query.dangling,
            until_unix_nanos: query.until.map(|t| t.0),
            labels: query.filters.get("label").map(str::to_owned).collect(),
            not_labels: query.filters.get("label!").map(str::to_owned).collect(),
        };
        let pruned = self.0.images.prune(filter, self.0.containers.image_uses()).await.map_err(refuse_image)?;
        let images_deleted: Vec<ImageDeleted> = pruned.removed.into_iter().map(deleted).collect();
        Ok(ImagesPruned {
            images_deleted: Some(images_deleted).filter(|d| !d.is_empty()),
            space_reclaimed: pruned.space_reclaimed,
        })
    }

    async fn push(&self, name: &str, tag: &str, auth: Option<AuthConfig>) -> Answer<ProgressStream> {
        // Without a tag, every one is meant.
        let reference = match tag {
            "" => parse(name)?,
            tag => checked(Reference::name_from_parts(name, tag))?,
        };
        let images = self.0.images.clone();
        let credentials = credentials(auth);
        progress(move |sink| async move {
            images.push(reference, credentials, sink).await?;
            Ok(Vec::new())
        })
        .await
    }

    async fn search(&self, term: &str, limit: u32) -> Answer<Vec<ImageSearchResult>> {
        let found = self.0.images.search(term, limit).await.map_err(refuse_image)?;
        let one = |f: images::Found| ImageSearchResult {
            name: f.name,
            description: f.description,
            star_count: f.star_count,
            is_official: f.is_official,
            is_automated: f.is_automated,
        };
        Ok(found.into_iter().map(one).collect())
    }

    async fn distribution(&self, name: &str, auth: Option<AuthConfig>) -> Answer<DistributionInspect> {
        let info = self.0.images.distribution(parse(name)?, credentials(auth)).await.map_err(refuse_registry)?;
        let platform = |p: Platform| OciPlatform {
            architecture: p.architecture,
            os: p.os,
            variant: p.variant,
            ..OciPlatform::default()
        };
        Ok(DistributionInspect {
            descriptor: Descriptor {
                media_type: info.media_type,
                digest: info.digest,
                size: info.size as i64,
                ..Descriptor::default()
            },
            platforms: info.platforms.into_iter().map(platform).collect(),
        })
    }

    async fn build(&self, query: BuildQuery, context: BodyStream) -> Answer<ProgressStream> {
        let request = super::build::request(query)?;
        let job = self.0.builder().begin(request, reader(context)).await?;
        let (lines, stream) = mpsc::channel(64);
        tokio::spawn(job.run(lines));
        Ok(tokio_stream_of(stream))
    }

    async fn authenticate(&self, auth: AuthConfig) -> Answer<AuthStatus> {
        let server = auth.server_address.clone();
        self.0.images.login(&server, credentials(Some(auth))).await.map_err(refuse_image)?;
        Ok(AuthStatus { status: "Login Succeeded".into(), identity_token: String::new() })
    }
}

impl Backend {
    fn tell_image(&self, action: &str, name: &str) {
        self.0.events.tell("image", action, name, [("name".to_owned(), name.to_owned())].into());
    }
}

pub(super) fn summary(i: &Arc<images::Image>) -> ImageSummary {
    ImageSummary {
        containers: -1,
        created: i.created_unix_nanos.div_euclid(1_000_000_000),
        id: i.id.clone(),
        labels: Some(i.config.config.labels.clone()).filter(|l| !l.is_empty()),
        parent_id: i.parent.clone().unwrap_or_default(),
        repo_digests: i.repo_digests.clone(),
        repo_tags: i.repo_tags.clone(),
        shared_size: -1,
        size: i.size as i64,
        ..ImageSummary::default()
    }
}

fn deleted(r: Removed) -> ImageDeleted {
    match r {
        Removed::Untagged(untagged) => ImageDeleted { untagged, ..ImageDeleted::default() },
        Removed::Deleted(deleted) => ImageDeleted { deleted, ..ImageDeleted::default() },
    }
}

pub(super) fn parse(text: &str) -> Result<Reference, Refusal> {
    checked(Reference::parse(text))
}

fn checked(reference: Result<Reference, images::ReferenceError>) -> Result<Reference, Refusal> {
    reference.map_err(|e| Refusal::invalid(e.to_string()))
}

/// The name that an image shall get, if any.
pub(super) fn wished_name(repo: &str, tag: &str) -> Result<Option<Reference>, Refusal> {
    if repo.is_empty() { Ok(None) } else { checked(Reference::name_from_parts(repo, tag)).map(Some) }
}

pub(super) fn credentials(auth: Option<AuthConfig>) -> Credentials {
    match auth {
        Some(a) if !a.registry_token.is_empty() => Credentials::Bearer(a.registry_token),
        Some(a) if !a.username.is_empty() => Credentials::Basic { username: a.username, password: a.password },
        // As it stands in a client's configuration file: `user:password` in base64.
        Some(a) => match decode_base64(&a.auth).and_then(|b| String::from_utf8(b).ok()) {
            Some(text) => match text.split_once(':') {
                Some((user, password)) => Credentials::Basic {
                    username: user.to_owned(),
                    password: password.trim_end_matches('\0').to_owned(),
                },
                None => Credentials::Anonymous,
            },
            None => Credentials::Anonymous,
        },
        None => Credentials::Anonymous,
    }
}

/// `X-Registry-Auth` as it came; what cannot be read is nothing.
pub(crate) fn pull_credentials(header: &str) -> Credentials {
    credentials(decode_base64(header).and_then(|json| lenient::from_slice(&json).ok()))
}

/// A registry's no to somebody it does not know is dockerd's 500: at a 401 clients ask for a password, also those that
/// nobody types to.
fn refuse_registry(e: ImageError) -> Refusal {
    match refuse_image(e) {
        r if r.kind == wire::RefusalKind::Unauthorized => Refusal::internal(r.message),
        r => r,
    }
}

/// Runs something that reports progress. What fails before its first line is refused as a whole.
async fn progress<F, Fut>(work: F) -> Answer<ProgressStream>
where
    F: FnOnce(images::ProgressSink) -> Fut,
    Fut: Future<Output = Result<Vec<Progress>, ImageError>> + Send + 'static,
{
    let (sink, mut lines) = mpsc::channel(64);
    let (out, stream) = mpsc::channel(64);
    let mut work = tokio::spawn(work(sink));
    let first = tokio::select! {
        biased;
        line = lines.recv() => line,
        end = &mut work => {
            let end = end.map_err(|e| Refusal::internal(e.to_string()))?;
            let mut rest = Vec::new();
            while let Ok(line) = lines.try_recv() {
                rest.push(node::build::progress_line(line));
            }
            return match end {
                Ok(more) => Ok(stream::iter(rest.into_iter().chain(more)).boxed()),
                Err(e) if rest.is_empty() => Err(refuse_registry(e)),
                Err(e) => Ok(stream::iter(rest.into_iter().chain([Progress::failure(e.to_string())])).boxed()),
            };
        }
    };
    if first.is_none() {
        return match work.await.map_err(|e| Refusal::internal(e.to_string()))? {
            Ok(more) => Ok(stream::iter(more).boxed()),
            Err(e) => Err(refuse_registry(e)),
        };
    }
    tokio::spawn(async move {
        let mut next = first;
        while let Some(line) = next {
            if out.send(node::build::progress_line(line)).await.is_err() {
                // The client is gone; dropping the receiver cancels the work.
                return;
            }
            next = lines.recv().await;
        }
        let last = match work.await {
            Ok(Ok(more)) => more,
            Ok(Err(e)) => vec![Progress::failure(e.to_string())],
            Err(e) => vec![Progress::failure(e.to_string())],
        };
        for line in last {
            let _ = out.send(line).await;
        }
    });
    Ok(tokio_stream_of(stream))
}
