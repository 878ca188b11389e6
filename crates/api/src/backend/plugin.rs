//! Managed plugins.
use super::{Answer, BodyStream};
use async_trait::async_trait;
use wire::engine::plugin::Plugin;

/// Plugins of this node: kept, not run. Unknown: 404 `plugin "X" not found`.
#[async_trait]
pub trait Plugins: Send + Sync + 'static {
    /// All.
    async fn list(&self) -> Answer<Vec<Plugin>>;
    /// One.
    async fn inspect(&self, name: &str) -> Answer<Plugin>;
    /// Takes one out of a tar with `config.json` and `rootfs/`.
    async fn create(&self, name: &str, tar: BodyStream) -> Answer<()>;
    /// Sets variables and arguments.
    async fn configure(&self, name: &str, settings: Vec<String>) -> Answer<()>;
    /// Removes it.
    async fn remove(&self, name: &str) -> Answer<Plugin>;
}
