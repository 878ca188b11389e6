//! The store itself: blocking, shared by the handle's worker threads.
//!
//! One writer at a time holds `writer` while files change; readers take `state` for moments only. Each image is one
//! small JSON file, so that a damaged one takes nothing else with it.
pub(crate) mod file;
pub(crate) mod open;
pub(crate) mod paths;
pub(crate) mod records;
pub(crate) mod remove;
mod report;
pub(crate) mod sync;

use crate::{
    config::{ImageConfig, LAYERS_MAX},
    digest,
    error::{ImageError, IoContext},
    layer::{
        Limits,
        writer::{LayerWriter, Staged, Staging},
    },
    reference::{AnyReference, Reference},
    registry::RegistrySettings,
    types::*,
};
use parking_lot::{Mutex, RwLock};
use paths::Paths;
use records::{ImageRecord, KnownBlob, LayerRecord};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What one open store holds.
pub(crate) struct Store {
    pub(crate) paths: Paths,
    pub(crate) limits: Limits,
    pub(crate) registries: RwLock<RegistrySettings>,
    pub(crate) state: RwLock<State>,
    pub(crate) writer: Mutex<()>,
    /// One lock per container, so that mounting and removing do not cross.
    pub(crate) mounts: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    counter: AtomicU64,
    syncer: sync::Syncer,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) images: HashMap<String, Entry>,
    /// Full name with tag or digest → image id.
    pub(crate) names: BTreeMap<String, String>,
    pub(crate) layers: HashMap<String, LayerRecord>,
    /// Layers that somebody is about to name in an image.
    pub(crate) leases: HashMap<String, u32>,
    /// Container → its layers.
    pub(crate) rootfs: HashMap<String, Vec<String>>,
    pub(crate) damaged: Vec<String>,
}

/// One image in memory.
pub(crate) struct Entry {
    pub(crate) record: ImageRecord,
    pub(crate) view: Arc<Image>,
}

/// Keeps a layer from being collected.
pub(crate) struct Lease {
    store: Arc<Store>,
    pub(crate) diff_id: String,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.store.state.write();
        if let Some(count) = state.leases.get_mut(&self.diff_id) {
            *count -= 1;
            if *count == 0 {
                state.leases.remove(&self.diff_id);
            }
        }
    }
}

impl Store {
    /// How registries are reached; a copy, so that nobody waits for the net with the lock in hand.
    pub(crate) fn registries(&self) -> RegistrySettings {
        self.registries.read().clone()
    }

    pub(crate) fn staging(&self) -> Result<Staging, ImageError> {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.paths.staging().join(format!("{}-{n}", std::process::id()));
        Staging::create(path.clone()).at("create", path)
    }

    pub(crate) fn layer_writer(&self) -> Result<LayerWriter, ImageError> {
        Ok(LayerWriter::new(self.staging()?, self.limits))
    }

    /// Takes a lease on a layer that is in the store.
    pub(crate) fn lease(self: &Arc<Self>, diff_id: &str) -> Option<Lease> {
        let mut state = self.state.write();
        if !state.layers.contains_key(diff_id) {
            return None;
        }
        *state.leases.entry(diff_id.to_owned()).or_default() += 1;
        Some(Lease { store: Arc::clone(self), diff_id: diff_id.to_owned() })
    }

    /// Makes a staged layer part of the store; one that is there already wins.
    pub(crate) fn adopt(self: &Arc<Self>, staged: Staged, known: Option<KnownBlob>) -> Result<Lease, ImageError> {
        let _writer = self.writer.lock();
        if let Some(lease) = self.lease(&staged.diff_id) {
            if let Some(known) = known {
                self.remember_blob_locked(&staged.diff_id, known)?;
            }
            return Ok(lease);
        }
        let target = self.paths.layer(&staged.diff_id);
        if target.exists() {
            // Damaged, or it would be known.
            let aside = self.staging()?;
            std::fs::rename(&target, aside.path().join("damaged")).at("set aside", &target)?;
        }
        let record = LayerRecord {
            diff_id: staged.diff_id.clone(),
            size: staged.outcome.size,
            tar_size: if staged.blob.compression == crate::layer::Compression::Plain { staged.blob.size } else { 0 },
            link: short_link(),
            moved: staged.outcome.moved,
            unsynced_boot: Some(sync::boot_id()),
            blobs: known.into_iter().collect(),
        };
        let json = serde_json::to_vec(&record).map_err(|e| ImageError::malformed("layer record", e))?;
        file::write_atomic(&staged.dir.path().join("layer.json"), &json)?;
        self.make_link(&record)?;
        std::fs::rename(staged.dir.path(), &target).at("create", &target)?;
        staged.dir.kept();
        std::fs::File::open(self.paths.layers()).and_then(|d| d.sync_all()).at("sync", self.paths.layers())?;
        self.state.write().layers.insert(record.diff_id.clone(), record.clone());
        self.syncer.wake();
        self.lease(&record.diff_id).ok_or(ImageError::Cancelled)
    }

    pub(crate) fn make_link(&self, record: &LayerRecord) -> Result<(), ImageError> {
        let link = self.paths.links().join(&record.link);
        let target = format!("../layers/{}/diff", digest::hex_of(&record.diff_id));
        match std::os::unix::fs::symlink(&target, &link) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other.at("create", link),
        }
    }

    /// Remembers that a registry knows this layer under this digest.
    pub(crate) fn remember_blob(&self, diff_id: &str, blob: KnownBlob) -> Result<(), ImageError> {
        let _writer = self.writer.lock();
        self.remember_blob_locked(diff_id, blob)
    }

    fn remember_blob_locked(&self, diff_id: &str, blob: KnownBlob) -> Result<(), ImageError> {
        const BLOBS_MAX: usize = 8;
        let Some(mut record) = self.state.read().layers.get(diff_id).cloned() else { return Ok(()) };
        if record.blobs.contains(&blob) {
            return Ok(());
        }
        record.blobs.insert(0, blob);
        record.blobs.truncate(BLOBS_MAX);
        self.put_layer(record)
    }

    pub(crate) fn put_layer(&self, record: LayerRecord) -> Result<(), ImageError> {
        let json = serde_json::to_vec(&record).map_err(|e| ImageError::malformed("layer record", e))?;
        file::write_atomic(&self.paths.layer(&record.diff_id).join("layer.json"), &json)?;
        self.state.write().layers.insert(record.diff_id.clone(), record);
        Ok(())
    }

    /// The layer whose packed form has this digest.
    pub(crate) fn layer_of_blob(&self, digest: &str) -> Option<String> {
        let state = self.state.read();
        if state.layers.contains_key(digest) {
            return Some(digest.to_owned());
        }
        state.layers.values().find(|l| l.blobs.iter().any(|b| b.digest == digest)).map(|l| l.diff_id.clone())
    }

    /// Bytes of a layer's tar; counted once by putting it together.
    pub(crate) fn tar_size(&self, diff_id: &str) -> Result<u64, ImageError> {
        let record = self
            .state
            .read()
            .layers
            .get(diff_id)
            .cloned()
            .ok_or_else(|| ImageError::NoSuchImage(diff_id.to_owned()))?;
        if record.tar_size > 0 {
            return Ok(record.tar_size);
        }
        let mut count = Counter(0);
        self.write_layer(diff_id, &mut count)?;
        let _writer = self.writer.lock();
        // A statement of its own: in the head of an `if let` the guard would live on, and putting waits for it.
        let record = self.state.read().layers.get(diff_id).cloned();
        if let Some(record) = record {
            self.put_layer(LayerRecord { tar_size: count.0, ..record })?;
        }
        Ok(count.0)
    }

    /// Writes a layer's tar.
    pub(crate) fn write_layer(&self, diff_id: &str, out: &mut dyn Write) -> Result<(), ImageError> {
        let record = self.state.read().layers.get(diff_id).cloned().ok_or_else(|| ImageError::Damaged {
            path: self.paths.layer(diff_id),
            why: "the layer is missing".into(),
        })?;
        crate::layer::recipe::assemble(&self.paths.layer(diff_id), diff_id, &record.moved, out)
    }

    /// Adds an image whose layers are leased (or already belong to another image).
    pub(crate) fn create_image(&self, raw: &[u8], parent: Option<String>) -> Result<String, ImageError> {
        self.make_image(raw, parent, false)
    }

    /// The same for a step of a build, which the cache may find.
    pub(crate) fn create_built_image(&self, raw: &[u8], parent: Option<String>) -> Result<String, ImageError> {
        self.make_image(raw, parent, true)
    }

    fn make_image(&self, raw: &[u8], parent: Option<String>, built: bool) -> Result<String, ImageError> {
        let id = digest::sha256(raw);
        let config = parse_config(raw)?;
        let _writer = self.writer.lock();
        if let Some(lost) = config.rootfs.diff_ids.iter().find(|d| !self.state.read().layers.contains_key(*d)) {
            return Err(ImageError::malformed("image configuration", format!("layer {lost} is not in the store")));
        }
        let known = self.state.read().images.get(&id).map(|e| e.record.clone());
        if let Some(record) = known {
            if parent.is_some() && record.parent.is_none() {
                self.put_image(ImageRecord { parent, ..record }, None)?;
            }
            return Ok(id);
        }
        file::write_atomic(&self.paths.blob(&id), raw)?;
        self.put_image(ImageRecord { id: id.clone(), parent, built, ..ImageRecord::default() }, Some((config, raw)))?;
        Ok(id)
    }

    /// Writes an image's record and shows it to readers. The configuration is given for a new image.
    pub(crate) fn put_image(&self, record: ImageRecord, new: Option<(ImageConfig, &[u8])>) -> Result<(), ImageError> {
        let json = serde_json::to_vec(&record).map_err(|e| ImageError::malformed("image record", e))?;
        file::write_atomic(&self.paths.image(&record.id), &json)?;
        let mut state = self.state.write();
        state.show(record, new);
        Ok(())
    }

    /// Points a name (with tag or digest) at an image, taking it from the one that had it.
    pub(crate) fn name_image(&self, reference: &Reference, id: &str) -> Result<(), ImageError> {
        let _writer = self.writer.lock();
        self.name_image_locked(reference, id)
    }

    pub(crate) fn name_image_locked(&self, reference: &Reference, id: &str) -> Result<(), ImageError> {
        let name = reference.to_string();
        let (mut record, before) = {
            let state = self.state.read();
            let record =
                state.images.get(id).map(|e| e.record.clone()).ok_or_else(|| ImageError::NoSuchImage(id.to_owned()))?;
            (record, state.names.get(&name).filter(|o| *o != id).cloned())
        };
        let now = now_nanos();
        if reference.digest().is_some() {
            if !record.digests.contains(&name) {
                record.digests.push(name.clone());
            }
        } else {
            record.tags.insert(name.clone(), now);
        }
        record.last_tagged_unix_nanos = now;
        self.put_image(record, None)?;
        if let Some(before) = before {
            let old = self.state.read().images.get(&before).map(|e| e.record.clone());
            if let Some(mut old) = old {
                old.tags.remove(&name);
                old.digests.retain(|d| *d != name);
                self.put_image(old, None)?;
            }
        }
        let mut state = self.state.write();
        state.names.insert(name, id.to_owned());
        Ok(())
    }

    /// Finds an image by name, id, or prefix of an id.
    pub(crate) fn resolve(&self, text: &str) -> Result<Arc<Image>, ImageError> {
        let state = self.state.read();
        let missing = |shown: String| ImageError::NoSuchImage(shown);
        match AnyReference::parse(text)? {
            AnyReference::Id(id) => {
                state.images.get(&id).map(|e| Arc::clone(&e.view)).ok_or_else(|| missing(text.to_owned()))
            }
            AnyReference::Named(reference) => {
                if let Some(id) = state.id_of(&reference) {
                    return state.images.get(id).map(|e| Arc::clone(&e.view)).ok_or_else(|| missing(text.to_owned()));
                }
                let prefix = text.strip_prefix("sha256:").unwrap_or(text);
                if is_id_prefix(prefix) {
                    let mut fits = state.images.values().filter(|e| digest::hex_of(&e.record.id).starts_with(prefix));
                    // Two that fit: Docker, too, says that there is no such image.
                    if let (Some(one), None) = (fits.next(), fits.next()) {
                        return Ok(Arc::clone(&one.view));
                    }
                }
                Err(missing(reference.or_latest().familiar()))
            }
        }
    }

    /// All images, newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Image>> {
        let mut all: Vec<Arc<Image>> = self.state.read().images.values().map(|e| Arc::clone(&e.view)).collect();
        all.sort_by(|a, b| b.created_unix_nanos.cmp(&a.created_unix_nanos).then_with(|| a.id.cmp(&b.id)));
        all
    }
}

impl State {
    /// The image that a name leads to. A digest counts more than a tag beside it.
    pub(crate) fn id_of(&self, reference: &Reference) -> Option<&String> {
        let reference = match reference.digest() {
            Some(digest) => reference.with_digest(digest),
            None => reference.clone().or_latest(),
        };
        self.names.get(&reference.to_string())
    }

    pub(crate) fn show(&mut self, record: ImageRecord, new: Option<(ImageConfig, &[u8])>) {
        let (config, raw) = match (new, self.images.get(&record.id)) {
            (Some((config, raw)), _) => (Arc::new(config), Arc::from(raw)),
            (None, Some(old)) => (Arc::clone(&old.view.config), Arc::clone(&old.view.raw_config)),
            (None, None) => return,
        };
        let size = config.rootfs.diff_ids.iter().filter_map(|d| self.layers.get(d)).map(|l| l.size).sum();
        let familiar = |name: &String| Reference::parse(name).map(|r| r.familiar()).unwrap_or_else(|_| name.clone());
        let mut repo_tags: Vec<String> = record.tags.keys().map(familiar).collect();
        let mut repo_digests: Vec<String> = record.digests.iter().map(familiar).collect();
        repo_tags.sort();
        repo_digests.sort();
        let view = Arc::new(Image {
            id: record.id.clone(),
            size,
            repo_tags,
            repo_digests,
            created_unix_nanos: config.created.as_deref().map_or(0, parse_time),
            last_tagged_unix_nanos: record.last_tagged_unix_nanos,
            parent: record.parent.clone(),
            layers: config.rootfs.diff_ids.clone(),
            config,
            raw_config: raw,
        });
        self.images.insert(record.id.clone(), Entry { record, view });
    }

    /// Layers that an image, a container or a lease needs.
    pub(crate) fn needed_layers(&self) -> BTreeSet<&String> {
        let of_images = self.images.values().flat_map(|e| &e.view.layers);
        of_images.chain(self.rootfs.values().flatten()).chain(self.leases.keys()).collect()
    }
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads and checks a configuration file.
pub(crate) fn parse_config(raw: &[u8]) -> Result<ImageConfig, ImageError> {
    let bad = |why: String| ImageError::malformed("image configuration", why);
    let config: ImageConfig = serde_json::from_slice(raw).map_err(|e| bad(e.to_string()))?;
    if let Some(wrong) = config.rootfs.diff_ids.iter().find(|d| !digest::is_sha256(d)) {
        return Err(bad(format!("{wrong:?} is not a layer's digest")));
    }
    if config.rootfs.diff_ids.len() > LAYERS_MAX {
        return Err(ImageError::MaxDepth);
    }
    Ok(config)
}

fn is_id_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A short random name: sixty bits, so that two layers do not get the same.
fn short_link() -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNOPQRSTUVWXYZ2345678";
    (0..12).map(|_| char::from(LETTERS[usize::from(rand::random::<u8>()) % 32])).collect()
}

pub(crate) fn now_nanos() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0)
}

/// RFC 3339 as Docker writes it.
pub(crate) fn now_text() -> String {
    jiff::Timestamp::now().to_string()
}

/// RFC 3339 → nanoseconds since the epoch; 0 for what cannot be read and for Go's zero time.
pub(crate) fn parse_time(text: &str) -> i64 {
    let nanos = text.parse::<jiff::Timestamp>().map_or(0, |t| t.as_nanosecond());
    i64::try_from(nanos).unwrap_or(0).max(0)
}
