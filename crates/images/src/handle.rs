//! The asynchronous handle: every blocking piece of work runs on one of tokio's blocking threads.
use crate::{
    archive::{import, load, save},
    build::{BuildStep, Context, Found, SourceTree, sources},
    config::RunConfig,
    error::ImageError,
    layer::{Limits, chunks, decompressed},
    reference::Reference,
    registry::{self, RegistrySettings},
    rootfs::files,
    store::Store,
    types::*,
};
use std::{
    io::{self, BufWriter, Read, Write},
    path::PathBuf,
    sync::Arc,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    runtime::Handle,
};

/// The image store of one machine; cheap to clone.
#[derive(Clone)]
pub struct Images {
    store: Arc<Store>,
}

type R<T> = Result<T, ImageError>;

/// An asynchronous stream as a blocking one.
struct Blocking<T>(T, Handle);

impl<T: AsyncRead + Unpin> Read for Blocking<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1.block_on(self.0.read(out))
    }
}

impl<T: AsyncWrite + Unpin> Write for Blocking<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.block_on(self.0.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.1.block_on(self.0.flush())
    }
}

fn reader(from: impl AsyncRead + Send + Unpin + 'static) -> impl Read + Send {
    io::BufReader::with_capacity(chunks::CHUNK, Blocking(from, Handle::current()))
}

fn writer<W: AsyncWrite + Send + Unpin + 'static>(to: W) -> BufWriter<Blocking<W>> {
    BufWriter::with_capacity(chunks::CHUNK, Blocking(to, Handle::current()))
}

/// Tells the other side that all is written.
async fn shut<W: AsyncWrite + Unpin>(out: BufWriter<Blocking<W>>) -> R<()> {
    let mut inner = match out.into_inner() {
        Ok(inner) => inner.0,
        Err(e) => return Err(ImageError::Io { what: "write", path: "archive".into(), source: e.into_error() }),
    };
    // A reader that has all it wants may be gone by now.
    inner.shutdown().await.ok();
    Ok(())
}

impl Images {
    /// Opens (or makes) the store at `root`. Damaged entries are left out and named by [`Self::damaged`].
    pub async fn open(root: PathBuf) -> R<Self> {
        Self::open_with(root, Limits::default()).await
    }

    /// The same with other limits for layers.
    pub async fn open_with(root: PathBuf, limits: Limits) -> R<Self> {
        let store = blocking(move || Store::open(root, limits)).await?;
        Ok(Self { store })
    }

    /// From now on registries are reached like this.
    pub fn set_registries(&self, settings: RegistrySettings) {
        *self.store.registries.write() = settings;
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(Arc<Store>) -> R<T> + Send + 'static) -> R<T> {
        let store = Arc::clone(&self.store);
        blocking(move || work(store)).await
    }

    /// What could not be read when the store was opened.
    pub fn damaged(&self) -> Vec<String> {
        self.store.state.read().damaged.clone()
    }

    /// All images, newest first.
    pub fn list(&self) -> Vec<Arc<Image>> {
        self.store.list()
    }

    /// By name, id or prefix of an id.
    pub fn get(&self, name: &str) -> R<Arc<Image>> {
        self.store.resolve(name)
    }

    /// Makes an image of a root filesystem's tar (plain, gzip, bzip2, xz or zstd); tells its id.
    pub async fn import(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        reference: Option<Reference>,
        changes: Vec<String>,
        message: String,
        platform: Option<Platform>,
    ) -> R<String> {
        let tar = reader(tar);
        self.run(move |store| import::import(&store, tar, import::Import { reference, changes, message, platform }))
            .await
    }

    /// Loads the images of an archive (Docker's or an OCI layout); tells Docker's sentences, each with its line feed.
    pub async fn load(&self, tar: impl AsyncRead + Send + Unpin + 'static) -> R<Vec<String>> {
        let tar = reader(tar);
        self.run(move |store| load::load(&store, tar)).await
    }

    /// Writes an archive of these images (names or ids). Check the names with [`Self::get`] before the answer's
    /// headers go out.
    pub async fn save(&self, names: Vec<String>, out: impl AsyncWrite + Send + Unpin + 'static) -> R<()> {
        let mut out = writer(out);
        let out = self.run(move |store| save::save(&store, &names, &mut out).map(|()| out)).await?;
        shut(out).await
    }

    /// Gives an image another name.
    pub async fn tag(&self, source: &str, target: Reference) -> R<()> {
        if target.digest().is_some() {
            return Err(crate::ReferenceError::TagWithDigest.into());
        }
        let source = source.to_owned();
        self.run(move |store| {
            let _writer = store.writer.lock();
            let image = store.resolve(&source)?;
            store.name_image_locked(&target.or_latest(), &image.id)
        })
        .await
    }

    /// Takes a name away, and the image with its last one. `uses` are all containers of this machine.
    pub async fn remove(&self, name: &str, force: bool, no_prune: bool, uses: Vec<ContainerUse>) -> R<Vec<Removed>> {
        let name = name.to_owned();
        self.run(move |store| store.remove(&name, force, no_prune, &uses)).await
    }

    /// Removes what no container uses.
    pub async fn prune(&self, filter: PruneFilter, uses: Vec<ContainerUse>) -> R<Pruned> {
        self.run(move |store| store.prune(&filter, &uses)).await
    }

    /// How an image was made, newest step first.
    pub fn history(&self, name: &str) -> R<Vec<HistoryItem>> {
        let image = self.store.resolve(name)?;
        Ok(self.store.history(&image))
    }

    /// Disk use.
    pub fn usage(&self) -> Usage {
        self.store.usage()
    }

    /// Fetches an image. `credentials` are for the reference's registry.
    pub async fn pull(
        &self,
        reference: Reference,
        platform: Option<Platform>,
        credentials: Credentials,
        progress: ProgressSink,
    ) -> R<Arc<Image>> {
        registry::pull::pull(&self.store, reference.or_latest(), platform, credentials, progress).await
    }

    /// Fetches every tag of a repository.
    pub async fn pull_all_tags(
        &self,
        repository: Reference,
        platform: Option<Platform>,
        credentials: Credentials,
        progress: ProgressSink,
    ) -> R<Vec<Arc<Image>>> {
        registry::pull::pull_all(&self.store, repository, platform, credentials, progress).await
    }

    /// Sends an image; without a tag, every tag of the repository. Tells the digest of the last manifest.
    pub async fn push(&self, reference: Reference, credentials: Credentials, progress: ProgressSink) -> R<String> {
        registry::push::push(&self.store, reference, credentials, progress).await
    }

    /// What a registry says about a name, without fetching it.
    pub async fn distribution(&self, reference: Reference, credentials: Credentials) -> R<DistributionInfo> {
        let settings = self.store.registries();
        registry::distribution(&settings, reference.or_latest(), credentials).await
    }

    /// Asks an index for images (`docker search`).
    pub async fn search(&self, term: &str, limit: u32) -> R<Vec<registry::search::Found>> {
        let settings = self.store.registries();
        registry::search::search(&settings, term, limit).await
    }

    /// Asks a registry whether it takes these credentials (`docker login`).
    pub async fn login(&self, registry: &str, credentials: Credentials) -> R<()> {
        let settings = self.store.registries();
        registry::login(&settings, registry, credentials).await
    }

    /// Makes an image of what a container wrote; tells its id.
    pub async fn commit(&self, spec: CommitSpec) -> R<String> {
        self.run(move |store| store.commit(spec)).await
    }

    /// Unpacks a build's context (plain or packed).
    pub async fn build_context(&self, tar: impl AsyncRead + Send + Unpin + 'static) -> R<Context> {
        let tar = reader(tar);
        self.run(move |store| Context::unpack(&store, tar)).await
    }

    /// A context with nothing in it.
    pub async fn empty_context(&self) -> R<Context> {
        self.run(|store| Context::empty(&store)).await
    }

    /// Finds what `COPY` and `ADD` name (paths and patterns), with a hash of each.
    pub async fn find_sources(&self, from: SourceTree, patterns: Vec<String>) -> R<Vec<Found>> {
        self.run(move |store| {
            let tree = from.open(&store)?;
            sources::find(&tree.root, tree.place, &patterns)
        })
        .await
    }

    /// One hash for several of them.
    pub fn hash_of_sources(found: &[Found]) -> String {
        sources::hash_of(found)
    }

    /// Makes the next image of a build; tells its id.
    pub async fn build_step(&self, step: BuildStep) -> R<String> {
        self.run(move |store| store.build_step(&step)).await
    }

    /// An image that an earlier build made in the same way.
    pub async fn cached_step(
        &self,
        parent: Option<String>,
        container_config: RunConfig,
        platform: Platform,
    ) -> R<Option<String>> {
        self.run(move |store| store.cached_step(parent.as_deref(), &container_config, &platform)).await
    }

    /// The same among these images and their histories only (`--cache-from`). The second part of the answer: from now
    /// on only this one of them.
    pub async fn cached_from(
        &self,
        parent: Option<String>,
        container_config: RunConfig,
        platform: Platform,
        sources: Vec<String>,
    ) -> R<Option<(String, Option<String>)>> {
        self.run(move |store| store.cached_from(parent.as_deref(), &container_config, &platform, &sources)).await
    }

    /// An image like this one whose layers above `base` are one layer; tells its id.
    pub async fn squash(&self, id: String, base: Option<String>) -> R<String> {
        self.run(move |store| store.squash(&id, base.as_deref())).await
    }

    /// Mounts a container's root filesystem (made at the first call) and keeps it until [`Self::unmount`]. Repeatable.
    pub async fn rootfs(&self, container_id: &str, image: &str) -> R<Rootfs> {
        let (container, image) = (container_id.to_owned(), image.to_owned());
        self.run(move |store| store.mount_rootfs(&container, &image)).await
    }

    /// Where a container's root file system is, mounted or not.
    pub async fn rootfs_places(&self, container_id: &str) -> R<Rootfs> {
        let container = container_id.to_owned();
        self.run(move |store| Ok(store.rootfs_of(&container)?.0)).await
    }

    /// Unmounts; the container's files stay. Repeatable.
    pub async fn unmount(&self, container_id: &str) -> R<()> {
        let container = container_id.to_owned();
        self.run(move |store| store.unmount_rootfs(&container)).await
    }

    /// Unmounts and removes the container's files. Repeatable.
    pub async fn remove_rootfs(&self, container_id: &str) -> R<()> {
        let container = container_id.to_owned();
        self.run(move |store| store.remove_rootfs(&container)).await
    }

    /// Containers that have a root filesystem here; the caller removes those it does not know.
    pub fn rootfs_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.store.state.read().rootfs.keys().cloned().collect();
        ids.sort();
        ids
    }

    /// What a container changed (`docker diff`), by path.
    pub async fn changes(&self, container_id: &str) -> R<Vec<Change>> {
        let container = container_id.to_owned();
        self.run(move |store| store.changes(&container)).await
    }

    /// `SizeRw` and `SizeRootFs` of a container.
    pub async fn rootfs_size(&self, container_id: &str) -> R<(u64, u64)> {
        let container = container_id.to_owned();
        self.run(move |store| {
            let written = store.upper_size(&container)?;
            let (_, record) = store.rootfs_of(&container)?;
            let state = store.state.read();
            let below: u64 = record.layers.iter().filter_map(|l| state.layers.get(l)).map(|l| l.size).sum();
            Ok((written, below + written))
        })
        .await
    }

    /// Writes a tar of the container's whole tree.
    pub async fn export(&self, container_id: &str, out: impl AsyncWrite + Send + Unpin + 'static) -> R<()> {
        let (container, mut out) = (container_id.to_owned(), writer(out));
        let out = self
            .run(move |store| {
                store.with_mounted(&container, |rootfs| files::export(&rootfs.merged, &mut out)).map(|()| out)
            })
            .await?;
        shut(out).await
    }

    /// What is at a path of the container.
    pub async fn stat_path(&self, container_id: &str, path: &str) -> R<PathStat> {
        let (container, path) = (container_id.to_owned(), path.to_owned());
        self.run(move |store| store.with_mounted(&container, |rootfs| files::stat(&rootfs.merged, &container, &path)))
            .await
    }

    /// Writes a tar of a file or directory of the container.
    pub async fn copy_out(
        &self,
        container_id: &str,
        path: &str,
        out: impl AsyncWrite + Send + Unpin + 'static,
    ) -> R<()> {
        let (container, path, mut out) = (container_id.to_owned(), path.to_owned(), writer(out));
        let out = self
            .run(move |store| {
                store
                    .with_mounted(&container, |rootfs| files::copy_out(&rootfs.merged, &container, &path, &mut out))
                    .map(|()| out)
            })
            .await?;
        shut(out).await
    }

    /// Unpacks a tar (plain or packed) into a directory of the container.
    pub async fn copy_in(
        &self,
        container_id: &str,
        path: &str,
        tar: impl AsyncRead + Send + Unpin + 'static,
        options: CopyOptions,
    ) -> R<()> {
        let (container, path, tar) = (container_id.to_owned(), path.to_owned(), reader(tar));
        self.run(move |store| {
            let tar = decompressed(tar)?;
            store.with_mounted(&container, |rootfs| files::copy_in(&rootfs.merged, &container, &path, tar, options))
        })
        .await
    }

    /// Copies the image content at `path` of a tree into an empty directory, with owners and modes (a fresh volume).
    /// Tells whether there was any.
    pub async fn copy_up(tree: PathBuf, path: &str, to: PathBuf) -> R<bool> {
        let path = path.to_owned();
        blocking(move || files::copy_tree(&tree, &path, &to)).await
    }

    /// [`Self::stat_path`] in any tree, for example `/proc/<pid>/root` of a running container with its volumes.
    pub async fn stat_in(tree: PathBuf, container_id: &str, path: &str) -> R<PathStat> {
        let (container, path) = (container_id.to_owned(), path.to_owned());
        blocking(move || files::stat(&tree, &container, &path)).await
    }

    /// [`Self::copy_out`] of any tree.
    pub async fn copy_out_of(
        tree: PathBuf,
        container_id: &str,
        path: &str,
        out: impl AsyncWrite + Send + Unpin + 'static,
    ) -> R<()> {
        let (container, path, mut out) = (container_id.to_owned(), path.to_owned(), writer(out));
        let out = blocking(move || files::copy_out(&tree, &container, &path, &mut out).map(|()| out)).await?;
        shut(out).await
    }

    /// [`Self::copy_in`] into any tree.
    pub async fn copy_into(
        tree: PathBuf,
        container_id: &str,
        path: &str,
        tar: impl AsyncRead + Send + Unpin + 'static,
        options: CopyOptions,
    ) -> R<()> {
        let (container, path, tar) = (container_id.to_owned(), path.to_owned(), reader(tar));
        blocking(move || files::copy_in(&tree, &container, &path, decompressed(tar)?, options)).await
    }
}

/// Runs on a blocking thread; a panic there is an error here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> R<T> + Send + 'static) -> R<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(ImageError::Worker(e.to_string())),
    }
}
