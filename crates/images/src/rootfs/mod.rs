//! Root filesystems of containers: an image's layers below, the container's own directory on top.
//!
//! Between the two lies one directory per image with the mount points that every container needs (`/proc`,
//! `/etc/hosts` and so on), so that making them does not show as a change of the container.
pub(crate) mod changes;
pub(crate) mod commit;
pub mod files;

use crate::{
    digest,
    error::{ImageError, IoContext},
    store::{Lease, Store, file, records::RootfsRecord},
    types::Rootfs,
};
use kernel::{
    beneath::Root,
    overlay::{self, Overlay},
};
use parking_lot::Mutex;
use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A path every container has, and what it is.
enum Fixture {
    Dir,
    File,
    Link(&'static str),
}

const FIXTURES: &[(&str, Fixture)] = &[
    ("dev/pts", Fixture::Dir),
    ("dev/shm", Fixture::Dir),
    ("proc", Fixture::Dir),
    ("sys", Fixture::Dir),
    (".dockerenv", Fixture::File),
    ("etc/resolv.conf", Fixture::File),
    ("etc/hosts", Fixture::File),
    ("etc/hostname", Fixture::File),
    ("dev/console", Fixture::File),
    ("etc/mtab", Fixture::Link("/proc/mounts")),
];

impl Store {
    fn mount_lock(&self, container: &str) -> Arc<Mutex<()>> {
        Arc::clone(self.mounts.lock().entry(container.to_owned()).or_default())
    }

    /// Mounts a container's root filesystem, making it at the first time. Fine if it is mounted already.
    pub(crate) fn mount_rootfs(self: &Arc<Self>, container: &str, image: &str) -> Result<Rootfs, ImageError> {
        check_container_id(container)?;
        let lock = self.mount_lock(container);
        let _held = lock.lock();
        let dir = self.paths.mount(container);
        if self.rootfs_record(container)?.is_none() {
            let image = self.resolve(image)?;
            let leases: Vec<Lease> = image
                .layers
                .iter()
                .map(|l| self.lease(l).ok_or_else(|| ImageError::NoSuchImage(image.id.clone())))
                .collect::<Result<_, _>>()?;
            file::remove_tree(&dir)?;
            for part in ["upper", "work", "merged"] {
                fs::create_dir_all(dir.join(part)).at("create", dir.join(part))?;
            }
            let record = RootfsRecord { image_id: image.id.clone(), layers: image.layers.clone() };
            let json = serde_json::to_vec(&record).map_err(|e| ImageError::malformed("root filesystem record", e))?;
            file::write_atomic(&dir.join("rootfs.json"), &json)?;
            self.state.write().rootfs.insert(container.to_owned(), record.layers);
            drop(leases);
        }
        self.mount_existing(container)
    }

    fn mount_existing(self: &Arc<Self>, container: &str) -> Result<Rootfs, ImageError> {
        let record = self.rootfs_record(container)?.ok_or_else(|| ImageError::NoSuchRootfs(container.to_owned()))?;
        let rootfs = self.describe(container, &record)?;
        if overlay::is_mounted(&rootfs.merged) {
            return Ok(rootfs);
        }
        let init = self.init_layer(&record)?;
        self.root_attributes(&rootfs, &record)?;
        let lower = std::iter::once(init).chain(self.links_of(&record.layers)?).collect();
        self.overlay(lower, Some((&rootfs.upper, &rootfs.work)), &rootfs.merged)?;
        Ok(rootfs)
    }

    fn overlay(&self, lower: Vec<String>, upper: Option<(&Path, &Path)>, target: &Path) -> Result<(), ImageError> {
        let upper = upper.map(|(upper, work)| (upper.to_owned(), work.to_owned()));
        let overlay = Overlay { lower_base: self.paths.links(), lower, upper, target: target.to_owned() };
        overlay.mount().at("mount overlay at", target)
    }

    /// Short names of layers, topmost first.
    pub(crate) fn links_of(&self, layers: &[String]) -> Result<Vec<String>, ImageError> {
        let state = self.state.read();
        let lost =
            |layer: &String| ImageError::Damaged { path: self.paths.layer(layer), why: "the layer is missing".into() };
        layers.iter().rev().map(|l| state.layers.get(l).map(|r| r.link.clone()).ok_or_else(|| lost(l))).collect()
    }

    fn describe(&self, container: &str, record: &RootfsRecord) -> Result<Rootfs, ImageError> {
        let dir = self.paths.mount(container);
        let init = self.init_dir(&record.layers).join("diff");
        let lower =
            std::iter::once(init).chain(record.layers.iter().rev().map(|l| self.paths.layer(l).join("diff"))).collect();
        Ok(Rootfs { merged: dir.join("merged"), upper: dir.join("upper"), work: dir.join("work"), lower })
    }

    /// The merged root shows the upper directory's owner and mode: they must be the image's.
    fn root_attributes(&self, rootfs: &Rootfs, record: &RootfsRecord) -> Result<(), ImageError> {
        let Some(top) = record.layers.last() else { return Ok(()) };
        let marker = rootfs.upper.with_file_name("root-set");
        if marker.exists() {
            return Ok(());
        }
        let from = kernel::beneath::Dir::open(&self.paths.layer(top).join("diff")).at("open", top)?;
        let to = kernel::beneath::Dir::open(&rootfs.upper).at("open", &rootfs.upper)?;
        to.copy_attributes_from(&from).at("set attributes of", &rootfs.upper)?;
        fs::File::create(&marker).at("create", &marker).map(drop)
    }

    fn rootfs_record(&self, container: &str) -> Result<Option<RootfsRecord>, ImageError> {
        let path = self.paths.mount(container).join("rootfs.json");
        match fs::read(&path) {
            Ok(json) => {
                serde_json::from_slice(&json).map(Some).map_err(|e| ImageError::Damaged { path, why: e.to_string() })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).at("read", path),
        }
    }

    fn init_dir(&self, layers: &[String]) -> PathBuf {
        let chain = digest::chain_ids(layers).pop().unwrap_or_else(|| digest::sha256(b""));
        self.paths.init().join(digest::hex_of(&chain))
    }

    /// The mount points' directory of a stack of layers, made at its first use; its short name.
    fn init_layer(&self, record: &RootfsRecord) -> Result<String, ImageError> {
        let dir = self.init_dir(&record.layers);
        let hex = dir.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
        let link = format!("I{}", hex.get(..15).unwrap_or(&hex));
        if !dir.exists() {
            let _writer = self.writer.lock();
            if !dir.exists() {
                self.build_init(record, &dir)?;
            }
        }
        let target = format!("../init/{hex}/diff");
        match std::os::unix::fs::symlink(target, self.paths.links().join(&link)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e).at("create", &link)?,
            _ => {}
        }
        Ok(link)
    }

    fn build_init(&self, record: &RootfsRecord, dir: &Path) -> Result<(), ImageError> {
        let staging = self.staging()?;
        let (diff, work, merged) =
            (staging.path().join("diff"), staging.path().join("work"), staging.path().join("merged"));
        for part in [&diff, &work, &merged] {
            fs::create_dir(part).at("create", part)?;
        }
        if let Some(top) = record.layers.last() {
            let from = kernel::beneath::Dir::open(&self.paths.layer(top).join("diff")).at("open", top)?;
            kernel::beneath::Dir::open(&diff)
                .and_then(|to| to.copy_attributes_from(&from))
                .at("set attributes of", &diff)?;
        }
        let lower = if record.layers.is_empty() { Vec::new() } else { self.links_of(&record.layers)? };
        if lower.is_empty() {
            add_fixtures(&Root::open(&diff).at("open", &diff)?);
        } else {
            self.overlay(lower, Some((&diff, &work)), &merged)?;
            let root = Root::open(&merged);
            if let Ok(root) = &root {
                add_fixtures(root);
            }
            drop(root);
            overlay::unmount(&merged).at("unmount", &merged)?;
        }
        file::remove_tree(&work)?;
        file::remove_tree(&merged)?;
        fs::rename(staging.path(), dir).at("create", dir)?;
        staging.kept();
        Ok(())
    }

    /// Takes the mount away; the container's files stay.
    pub(crate) fn unmount_rootfs(&self, container: &str) -> Result<(), ImageError> {
        check_container_id(container)?;
        let lock = self.mount_lock(container);
        let _held = lock.lock();
        let merged = self.paths.mount(container).join("merged");
        overlay::unmount(&merged).at("unmount", merged)
    }

    /// Takes the mount and the container's files away. Fine if there is nothing.
    pub(crate) fn remove_rootfs(&self, container: &str) -> Result<(), ImageError> {
        check_container_id(container)?;
        let lock = self.mount_lock(container);
        let held = lock.lock();
        let dir = self.paths.mount(container);
        if dir.exists() {
            let merged = dir.join("merged");
            overlay::unmount(&merged).at("unmount", merged)?;
            let aside = self.staging()?;
            fs::rename(&dir, aside.path().join("rootfs")).at("remove", &dir)?;
        }
        let layers = self.state.write().rootfs.remove(container);
        drop(held);
        self.mounts.lock().remove(container);
        if let Some(layers) = layers {
            self.drop_unneeded(&layers)?;
        }
        Ok(())
    }

    /// Runs `work` with the container's tree mounted, and leaves it as it was.
    pub(crate) fn with_mounted<T>(
        self: &Arc<Self>,
        container: &str,
        work: impl FnOnce(&Rootfs) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        check_container_id(container)?;
        let lock = self.mount_lock(container);
        let (rootfs, ours) = {
            let _held = lock.lock();
            let was = overlay::is_mounted(&self.paths.mount(container).join("merged"));
            (self.mount_existing(container)?, !was)
        };
        let result = work(&rootfs);
        // A start meanwhile finds it mounted and counts on it; only an idle one is taken away again, which a busy
        // mount refuses by itself.
        if ours {
            let _held = lock.lock();
            overlay::unmount_if_idle(&rootfs.merged).at("unmount", &rootfs.merged)?;
        }
        result
    }

    /// Where the container's files are, without mounting.
    pub(crate) fn rootfs_of(&self, container: &str) -> Result<(Rootfs, RootfsRecord), ImageError> {
        check_container_id(container)?;
        let record = self.rootfs_record(container)?.ok_or_else(|| ImageError::NoSuchRootfs(container.to_owned()))?;
        Ok((self.describe(container, &record)?, record))
    }
}

/// An id becomes a directory's name.
fn check_container_id(id: &str) -> Result<(), ImageError> {
    let fits = !id.is_empty()
        && id.len() <= 128
        && !id.starts_with('.')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fits { Ok(()) } else { Err(ImageError::NoSuchRootfs(id.to_owned())) }
}

/// Makes the fixtures that the image lacks. What cannot be made (a file where a directory should be) is left alone:
/// the mount that wants it will say so.
fn add_fixtures(root: &Root) {
    for (path, fixture) in FIXTURES {
        let path = Path::new(path);
        let made = (|| -> io::Result<()> {
            let (parent, _) = root.make_dirs(path.parent().unwrap_or(Path::new("")))?;
            let name = path.file_name().unwrap_or_default();
            let old = parent.stat(name).ok();
            match fixture {
                Fixture::Dir => {
                    if !root.stat(path).is_ok_and(|s| s.is_dir()) {
                        parent.remove(name)?;
                        parent.make_dir(name, 0o755)?;
                        parent.set_mode(name, 0o755)?;
                    }
                }
                Fixture::File if old.is_some_and(|s| s.is_dir()) => {}
                Fixture::File => {
                    parent.remove(name)?;
                    parent.create_file(name, 0o755)?;
                    parent.set_mode(name, 0o755)?;
                }
                Fixture::Link(_) if old.is_some() => {}
                Fixture::Link(target) => parent.make_symlink(OsStr::new(target), name)?,
            }
            Ok(())
        })();
        if let Err(e) = made {
            tracing::debug!(path = %path.display(), error = %e, "a container's mount point cannot be made");
        }
    }
}
