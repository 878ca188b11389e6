//! Networks: those of this node and those of the swarm, as one list.
use super::{Answer, volume::PruneQuery};
use async_trait::async_trait;
use wire::engine::network::*;

/// A network in a list.
#[derive(Clone, Debug, Default)]
pub struct ListedNetwork {
    /// What is shown (`containers` may be left empty: lists do not show them). `scope` is `local` or `swarm`.
    pub network: Network,
    /// Made by the engine: `bridge`, `host`, `none` (`ingress` and `docker_gwbridge` are not).
    pub predefined: bool,
    /// Whether a container (or service) is on it.
    pub in_use: bool,
}

/// Networks. `create` of a swarm-scoped one goes to the manager; on a worker such writes are forwarded before they get here.
/// Ids are resolved by `api` (full id, name, id prefix) from [`Self::list`], so that the other calls get full ids.
#[async_trait]
pub trait Networks: Send + Sync + 'static {
    /// All that this node knows: its own, and those of the swarm.
    async fn list(&self) -> Answer<Vec<ListedNetwork>>;
    /// Everything about one, with this node's containers; with `verbose` also the services on it.
    async fn inspect(&self, id: &str, verbose: bool) -> Answer<Network>;
    /// Makes a node-local one.
    async fn create_local(&self, body: NetworkCreate) -> Answer<NetworkCreated>;
    /// Makes one of the swarm.
    async fn create_swarm(&self, spec: model::NetworkSpec) -> Answer<model::NetworkId>;
    /// Removes it.
    async fn remove(&self, id: &str) -> Answer<()>;
    /// Puts a container on it.
    async fn connect(&self, id: &str, container: &str, wish: EndpointSettings) -> Answer<()>;
    /// Takes a container off it.
    async fn disconnect(&self, id: &str, container: &str, force: bool) -> Answer<()>;
    /// Removes those that nothing uses.
    async fn prune(&self, query: PruneQuery) -> Answer<NetworksPruned>;
}
