//! Images.
use super::{Answer, BodyStream, ByteStream, ProgressStream, volume::PruneQuery};
use async_trait::async_trait;
use std::collections::BTreeMap;
use wire::engine::image::*;

/// `GET /images/json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListImages {
    /// Intermediate ones too.
    pub all: bool,
    /// Fill `SharedSize`.
    pub shared_size: bool,
}

/// `POST /images/create?fromImage=`.
#[derive(Clone, Debug, Default)]
pub struct PullQuery {
    /// Name as the client wrote it (`busybox`, `registry:5000/x:1`).
    pub image: String,
    /// Tag or digest, before the name's own. Neither here nor there: every tag is asked for.
    pub tag: String,
    /// `os/arch`, or empty.
    pub platform: String,
    /// Credentials.
    pub auth: Option<AuthConfig>,
}

/// `POST /images/create?fromSrc=`.
#[derive(Clone, Debug, Default)]
pub struct ImportQuery {
    /// `-`: the body; else a URL.
    pub source: String,
    /// Name for the image, perhaps with a tag; empty: none.
    pub repo: String,
    /// Tag, before the name's own.
    pub tag: String,
    /// Comment.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `os/arch`, or empty.
    pub platform: String,
}

/// `POST /build` (the classic builder).
#[derive(Clone, Debug, Default)]
pub struct BuildQuery {
    /// All query parameters, as they came.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// Credentials by registry.
    pub auths: BTreeMap<String, AuthConfig>,
}

/// Images of this node. `name` is a reference, a full id or an id prefix. Unknown: 404 `No such image: X`.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// All.
    async fn list(&self, how: ListImages) -> Answer<Vec<ImageSummary>>;
    /// Everything about one.
    async fn inspect(&self, name: &str) -> Answer<ImageInspect>;
    /// How it was made.
    async fn history(&self, name: &str) -> Answer<Vec<ImageHistory>>;
    /// From a registry. A refusal before the first line becomes the HTTP status.
    async fn pull(&self, query: PullQuery) -> Answer<ProgressStream>;
    /// From a tar archive of a root file system.
    async fn import(&self, query: ImportQuery, body: BodyStream) -> Answer<ProgressStream>;
    /// From an archive made by `save`.
    async fn load(&self, tar: BodyStream, quiet: bool) -> Answer<ProgressStream>;
    /// To an archive.
    async fn save(&self, names: Vec<String>) -> Answer<ByteStream>;
    /// One more name.
    async fn tag(&self, name: &str, repo: &str, tag: &str) -> Answer<()>;
    /// Removes a name, and the image with its last one. 409 while a container uses it.
    async fn remove(&self, name: &str, force: bool, no_prune: bool) -> Answer<Vec<ImageDeleted>>;
    /// Removes what nothing uses. `query.dangling` is true unless the client says otherwise.
    async fn prune(&self, query: PruneQuery) -> Answer<ImagesPruned>;
    /// To a registry.
    async fn push(&self, name: &str, tag: &str, auth: Option<AuthConfig>) -> Answer<ProgressStream>;
    /// What a registry has under a name.
    async fn distribution(&self, name: &str, auth: Option<AuthConfig>) -> Answer<DistributionInspect>;
    /// Tries credentials.
    async fn authenticate(&self, auth: AuthConfig) -> Answer<AuthStatus>;
    /// Search of a registry.
    async fn search(&self, term: &str, limit: u32) -> Answer<Vec<ImageSearchResult>>;
    /// Builds an image from a context (a tar archive).
    async fn build(&self, query: BuildQuery, context: BodyStream) -> Answer<ProgressStream>;
}
