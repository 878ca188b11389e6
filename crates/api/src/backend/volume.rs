//! Volumes, and what prunes ask for.
use super::Answer;
use async_trait::async_trait;
use model::Timestamp;
use std::collections::BTreeMap;
use wire::engine::Filters;
use wire::engine::volume::*;

/// What a prune may take: its parsed filters.
#[derive(Clone, Debug, Default)]
pub struct PruneQuery {
    /// Only what was made before.
    pub until: Option<Timestamp>,
    /// Images: only untagged ones (default true). Volumes: not used.
    pub dangling: bool,
    /// Volumes: named ones too (default false).
    pub all: bool,
    /// `label` and `label!`.
    pub filters: Filters,
}

impl PruneQuery {
    /// Whether something with these labels, made then, may be taken.
    pub fn takes(&self, labels: &BTreeMap<String, String>, created: Timestamp) -> bool {
        self.until.is_none_or(|until| created < until)
            && self.filters.labels("label", labels)
            && !self.filters.get("label!").any(|l| wire::engine::filters::label_matches(l, labels))
    }
}

/// A volume in a list.
#[derive(Clone, Debug, Default)]
pub struct ListedVolume {
    /// What is shown.
    pub volume: Volume,
    /// Whether a container (running or not) refers to it.
    pub in_use: bool,
}

/// Volumes of this node. Unknown: 404 `get X: no such volume`.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Makes one, or gives the one of that name. An empty name: anonymous (64 digits).
    async fn create(&self, body: VolumeCreate) -> Answer<Volume>;
    /// All.
    async fn list(&self) -> Answer<Vec<ListedVolume>>;
    /// One.
    async fn inspect(&self, name: &str) -> Answer<Volume>;
    /// Removes it. 409 while a container refers to it. `force`: fine if it is not there.
    async fn remove(&self, name: &str, force: bool) -> Answer<()>;
    /// Removes what nothing refers to.
    async fn prune(&self, query: PruneQuery) -> Answer<VolumesPruned>;
}
