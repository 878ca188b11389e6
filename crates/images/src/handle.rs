//! The asynchronous handle.
use crate::{error::ImageError, reference::Reference, types::*};
use std::{path::PathBuf, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};

/// The image store of one machine; cheap to clone.
#[derive(Clone)]
pub struct Images {
    inner: Arc<PathBuf>,
}

type R<T> = Result<T, ImageError>;
fn soon<T>() -> R<T> {
    Err(ImageError::Unimplemented("the image store is being built".into()))
}

#[allow(missing_docs, unused_variables)]
impl Images {
    pub async fn open(root: PathBuf) -> R<Self> { let _ = root; soon() }
    pub fn root(&self) -> &std::path::Path { &self.inner }
    /// All images, newest first.
    pub fn list(&self) -> Vec<Arc<Image>> { Vec::new() }
    /// By name, id or prefix of an id.
    pub fn get(&self, name: &str) -> R<Arc<Image>> { soon() }
    pub fn damaged(&self) -> Vec<String> { Vec::new() }
    pub async fn import(&self, tar: impl AsyncRead + Send + Unpin + 'static, reference: Option<Reference>, changes: Vec<String>, message: String, platform: Option<Platform>) -> R<String> { soon() }
    pub async fn load(&self, tar: impl AsyncRead + Send + Unpin + 'static) -> R<Vec<String>> { soon() }
    pub async fn save(&self, names: Vec<String>, out: impl AsyncWrite + Send + Unpin + 'static) -> R<()> { soon() }
    pub async fn tag(&self, source: &str, target: Reference) -> R<()> { soon() }
    pub async fn remove(&self, name: &str, force: bool, no_prune: bool, uses: Vec<ContainerUse>) -> R<Vec<Removed>> { soon() }
    pub async fn prune(&self, filter: PruneFilter, uses: Vec<ContainerUse>) -> R<Pruned> { soon() }
    pub fn history(&self, name: &str) -> R<Vec<HistoryItem>> { soon() }
    pub fn usage(&self) -> Usage { Usage::default() }
    pub async fn pull(&self, reference: Reference, platform: Option<Platform>, credentials: Credentials, progress: ProgressSink) -> R<Arc<Image>> { soon() }
    pub async fn push(&self, reference: Reference, credentials: Credentials, progress: ProgressSink) -> R<String> { soon() }
    pub async fn distribution(&self, reference: Reference, credentials: Credentials) -> R<DistributionInfo> { soon() }
    pub async fn commit(&self, spec: CommitSpec) -> R<String> { soon() }
    pub async fn rootfs(&self, container_id: &str, image_id: &str) -> R<Rootfs> { soon() }
    pub async fn unmount(&self, container_id: &str) -> R<()> { soon() }
    pub async fn remove_rootfs(&self, container_id: &str) -> R<()> { soon() }
    pub async fn changes(&self, container_id: &str) -> R<Vec<Change>> { soon() }
    pub async fn rootfs_size(&self, container_id: &str) -> R<(u64, u64)> { soon() }
    pub async fn export(&self, container_id: &str, out: impl AsyncWrite + Send + Unpin + 'static) -> R<()> { soon() }
    pub async fn stat_path(&self, container_id: &str, path: &str) -> R<PathStat> { soon() }
    pub async fn copy_out(&self, container_id: &str, path: &str, out: impl AsyncWrite + Send + Unpin + 'static) -> R<()> { soon() }
    pub async fn copy_in(&self, container_id: &str, path: &str, tar: impl AsyncRead + Send + Unpin + 'static, options: CopyOptions) -> R<()> { soon() }
}
