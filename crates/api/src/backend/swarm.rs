//! The swarm and its objects. These are called only where this node is a manager, except [`Swarm::init`],
//! [`Swarm::join`], [`Swarm::leave`] and [`Swarm::unlock`].
//!
//! Look-up (full id, then exact name, then id prefix; `ambiguous` → 400) is done by `api` over the lists, so they must be
//! cheap: hand out shared rows. Writes get typed ids and the version that the client's change is based on
//! (`update out of sequence` → 500). Messages that come from swarmkit carry `rpc error: code = X desc = …`
//! ([`wire::Refusal::as_rpc`]).
use super::{Answer, LogQuery, Logs};
use async_trait::async_trait;
use model::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::engine::swarm::{SwarmInit, SwarmJoin, TlsInfo};

/// `GET /swarm`.
#[derive(Clone, Debug)]
pub struct SwarmView {
    /// The row.
    pub cluster: Arc<Cluster>,
    /// The root that nodes trust.
    pub tls: TlsInfo,
    /// Whole join token.
    pub worker_token: String,
    /// Whole join token.
    pub manager_token: String,
}

/// What `POST /swarm/update` also rotates.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rotate {
    /// The workers' join token.
    pub worker_token: bool,
    /// The managers' join token.
    pub manager_token: bool,
    /// The key that unlocks managers.
    pub unlock_key: bool,
    /// PEM key of the root certificate that the settings give.
    pub root_key: Option<String>,
}

/// `POST /swarm/restore`.
#[derive(Clone, Debug, Default)]
pub struct SwarmRestore {
    /// What `GET /swarm/backup` gave.
    pub backup: bytes::Bytes,
    /// The key of a swarm that was locked; else empty.
    pub unlock_key: String,
    /// Where to listen; empty: as before.
    pub listen_addr: String,
    /// Where others find the manager; empty: as before, if that is this machine's address.
    pub advertise_addr: String,
}

/// The swarm itself.
#[async_trait]
pub trait Swarm: Send + Sync + 'static {
    /// Makes one. `spec` is `request.Spec` with swarmkit's defaults filled in.
    async fn init(&self, request: SwarmInit, spec: ClusterSpec) -> Answer<NodeId>;
    /// Joins one.
    async fn join(&self, request: SwarmJoin) -> Answer<()>;
    /// Leaves it. 503 outside; 503 with Docker's advice for a manager without `force`.
    async fn leave(&self, force: bool) -> Answer<()>;
    /// How it is.
    async fn inspect(&self) -> Answer<SwarmView>;
    /// New settings.
    async fn update(&self, version: u64, spec: ClusterSpec, rotate: Rotate) -> Answer<()>;
    /// Unlocks this manager's keys. 409 `swarm is not locked`.
    async fn unlock(&self, key: &str) -> Answer<()>;
    /// The key that unlocks managers; empty without autolock.
    async fn unlock_key(&self) -> Answer<String>;
    /// Everything that the swarm is, as one file.
    async fn backup(&self) -> Answer<Vec<u8>>;
    /// A swarm out of such a file, on a machine that is in none.
    async fn restore(&self, wish: SwarmRestore) -> Answer<NodeId>;
}

/// Nodes.
#[async_trait]
pub trait Nodes: Send + Sync + 'static {
    /// All.
    async fn list(&self) -> Answer<Vec<Arc<Node>>>;
    /// This node's own id (`self` in paths).
    async fn own_id(&self) -> Option<NodeId>;
    /// New wishes.
    async fn update(&self, id: &NodeId, version: u64, spec: NodeSpec) -> Answer<()>;
    /// Removes it.
    async fn remove(&self, id: &NodeId, force: bool) -> Answer<()>;
}

/// What of the credentials an update keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RegistryAuth {
    /// `X-Registry-Auth`, as it came (base64 JSON).
    Given(String),
    /// Those of the current spec.
    #[default]
    FromSpec,
    /// Those of the previous spec.
    FromPreviousSpec,
}

/// A service's logs: which of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSelector {
    /// All tasks of a service.
    Service(ServiceId),
    /// One task.
    Task(TaskId),
}

/// Services.
#[async_trait]
pub trait Services: Send + Sync + 'static {
    /// All.
    async fn list(&self) -> Answer<Vec<Arc<Service>>>;
    /// Makes one; gives its id and warnings. `auth`: `X-Registry-Auth`, as it came.
    async fn create(&self, spec: ServiceSpec, auth: Option<String>) -> Answer<(ServiceId, Vec<String>)>;
    /// New spec; gives warnings.
    async fn update(&self, id: &ServiceId, version: u64, spec: ServiceSpec, auth: RegistryAuth) -> Answer<Vec<String>>;
    /// Back to the previous spec; gives warnings. 400 `service X does not have a previous spec`.
    async fn rollback(&self, id: &ServiceId, version: u64) -> Answer<Vec<String>>;
    /// Removes it.
    async fn remove(&self, id: &ServiceId) -> Answer<()>;
    /// Logs of its tasks, from all nodes. Lines carry the three `com.docker.swarm.*` attributes.
    async fn logs(&self, which: LogSelector, query: LogQuery) -> Answer<Logs>;
}

/// Tasks.
#[async_trait]
pub trait Tasks: Send + Sync + 'static {
    /// All, attachments of plain containers included (`api` hides those without service from lists).
    async fn list(&self) -> Answer<Vec<Arc<Task>>>;
    /// The networks that tasks refer to.
    async fn networks(&self) -> Answer<Vec<Arc<Network>>>;
    /// Which tasks are what their service wishes now, of these services (none named: of all).
    async fn up_to_date(&self, services: &BTreeSet<ServiceId>) -> Answer<BTreeSet<TaskId>>;
}

/// Secrets.
#[async_trait]
pub trait Secrets: Send + Sync + 'static {
    /// All. Their data never leaves `api`.
    async fn list(&self) -> Answer<Vec<Arc<Secret>>>;
    /// Makes one.
    async fn create(&self, spec: SecretSpec) -> Answer<SecretId>;
    /// New labels (data is empty or as it was).
    async fn update(&self, id: &SecretId, version: u64, spec: SecretSpec) -> Answer<()>;
    /// Removes it. 400 while services use it.
    async fn remove(&self, id: &SecretId) -> Answer<()>;
}

/// Configs.
#[async_trait]
pub trait Configs: Send + Sync + 'static {
    /// All.
    async fn list(&self) -> Answer<Vec<Arc<Config>>>;
    /// Makes one.
    async fn create(&self, spec: ConfigSpec) -> Answer<ConfigId>;
    /// New labels (data is empty or as it was).
    async fn update(&self, id: &ConfigId, version: u64, spec: ConfigSpec) -> Answer<()>;
    /// Removes it. 400 while services use it.
    async fn remove(&self, id: &ConfigId) -> Answer<()>;
}
