//! The engine itself.
use super::Answer;
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::Timestamp;
use wire::engine::events::Event;
use wire::engine::system::{DiskUsage, Info, Version};

/// What this node is in a swarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwarmRole {
    /// In none.
    #[default]
    Inactive,
    /// Joining, or starting.
    Pending,
    /// In one, but something is wrong (no quorum, …).
    Error,
    /// Its keys are locked.
    Locked,
    /// A worker.
    Worker,
    /// A manager.
    Manager,
}

/// Which parts of the disk usage are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsageQuery {
    /// Containers.
    pub containers: bool,
    /// Images.
    pub images: bool,
    /// Volumes.
    pub volumes: bool,
}

/// Events since a time, and those to come.
pub struct EventFeed {
    /// What happened since the asked-for time, in order (empty when no time was given).
    pub past: Vec<Event>,
    /// What happens from now, without gap to `past`.
    pub live: BoxStream<'static, Event>,
}

/// The engine itself.
#[async_trait]
pub trait System: Send + Sync + 'static {
    /// What this node is in a swarm; asked at every request, so it must be cheap.
    fn swarm_role(&self) -> SwarmRole;
    /// Whether it was started with `--experimental`; clients ask for it before they use some options.
    fn experimental(&self) -> bool {
        false
    }
    /// `docker info`.
    async fn info(&self) -> Answer<Info>;
    /// `docker version`. Without components, `api` adds the one that the CLI looks for.
    async fn version(&self) -> Answer<Version>;
    /// `docker system df`.
    async fn disk_usage(&self, what: DiskUsageQuery) -> Answer<DiskUsage>;
    /// `docker events`, of this node and (on managers) of the swarm. Filters are applied by `api`.
    async fn events(&self, since: Option<Timestamp>) -> Answer<EventFeed>;
    /// `/metrics`, in Prometheus' text form.
    async fn metrics(&self) -> Answer<String> {
        Ok(String::new())
    }
}
