//! `docker load`: archives of `docker save` (`manifest.json`) and OCI layouts (`index.json`), in one pass: what looks
//! like a layer is unpacked as it comes, and named when the manifests are known.
use super::import::finish;
use crate::{
    digest,
    error::ImageError,
    layer::{Compression, chunks, tar_head, writer::LayerWriter},
    reference::Reference,
    store::{Lease, Store, records::KnownBlob},
    types::Platform,
};
use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::Arc,
};
use tar::{Archive, EntryType};

const JSON_BYTES_MAX: u64 = 16 << 20;
const JSON_TOTAL_BYTES_MAX: usize = 64 << 20;
const ENTRIES_MAX: usize = 100_000;
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    #[serde(default)]
    parent: Option<String>,
}

/// A descriptor of an OCI index or manifest.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub platform: Option<DescriptorPlatform>,
    #[serde(default)]
    pub annotations: Option<HashMap<String, String>>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct DescriptorPlatform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub variant: String,
}

/// An OCI index (`manifests`) or manifest (`config`, `layers`); Docker's are the same but for media types.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    #[serde(default)]
    pub media_type: Option<String>,
    #[serde(default)]
    pub manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    pub config: Option<Descriptor>,
    #[serde(default)]
    pub layers: Option<Vec<Descriptor>>,
}

/// What the archive held.
#[derive(Default)]
struct Contents {
    documents: HashMap<PathBuf, Vec<u8>>,
    document_bytes: usize,
    layers: HashMap<PathBuf, Arc<Lease>>,
    links: HashMap<PathBuf, PathBuf>,
    /// What each layer's packed form is.
    blobs: HashMap<PathBuf, KnownBlob>,
}

/// Loads all images of an archive; tells Docker's sentences (each ends in a line feed).
pub(crate) fn load(store: &Arc<Store>, reader: impl Read) -> Result<Vec<String>, ImageError> {
    let reader = crate::layer::decompressed(reader)?;
    let contents = read_archive(store, reader)?;
    if let Some(json) = contents.document("manifest.json") {
        let images: Vec<SavedImage> =
            serde_json::from_slice(json).map_err(|e| ImageError::malformed("manifest.json", e))?;
        return load_saved(store, &contents, &images);
    }
    if let Some(json) = contents.document("index.json") {
        let index: Document = serde_json::from_slice(json).map_err(|e| ImageError::malformed("index.json", e))?;
        return load_layout(store, &contents, &index);
    }
    Err(ImageError::malformed("archive", "it holds neither manifest.json nor index.json, so it is no image archive"))
}

fn read_archive(store: &Arc<Store>, reader: impl Read) -> Result<Contents, ImageError> {
    let mut contents = Contents::default();
    let broken = |e: io::Error| ImageError::malformed("archive/tar", e);
    let mut archive = Archive::new(reader);
    for (n, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        if n >= ENTRIES_MAX {
            return Err(ImageError::LayerLimit { what: "number of entries", limit: ENTRIES_MAX as u64 });
        }
        let Some(path) = clean(&entry.path().map_err(broken)?) else { continue };
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => contents.file(store, path, &mut entry)?,
            // Old archives name a shared layer once and link to it.
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name().map_err(broken)?.map(|t| t.into_owned()).unwrap_or_default();
                let base = if entry.header().entry_type() == EntryType::Link {
                    PathBuf::new()
                } else {
                    path.parent().map(Path::to_owned).unwrap_or_default()
                };
                if let Some(target) = clean(&base.join(target)) {
                    contents.links.insert(path, target);
                }
            }
            _ => {}
        }
    }
    // What follows the archive's end is read, so that the sender is not cut off.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    Ok(contents)
}

impl Contents {
    fn file(&mut self, store: &Arc<Store>, path: PathBuf, entry: &mut impl SizedRead) -> Result<(), ImageError> {
        let broken = |e: io::Error| ImageError::malformed("archive/tar", e);
        let mut head = vec![0u8; 512];
        let n = chunks::fill(entry, &mut head).map_err(broken)?;
        head.truncate(n);
        if head.first().is_some_and(|b| matches!(b, b'{' | b'[')) {
            if entry.length() > JSON_BYTES_MAX
                || self.document_bytes as u64 + entry.length() > JSON_TOTAL_BYTES_MAX as u64
            {
                return Err(ImageError::LayerLimit { what: "size of the manifests", limit: JSON_BYTES_MAX });
            }
            entry.take(JSON_BYTES_MAX).read_to_end(&mut head).map_err(broken)?;
            self.document_bytes += head.len();
            self.documents.insert(path, head);
            return Ok(());
        }
        if !looks_like_layer(&head) {
            return Ok(());
        }
        let promised = (path.parent() == Some(Path::new("blobs/sha256")))
            .then(|| path.file_name().map(|n| format!("sha256:{}", n.to_string_lossy())))
            .flatten();
        let here = promised.as_deref().and_then(|d| store.layer_of_blob(d)).and_then(|d| store.lease(&d));
        let (lease, blob) = match here {
            // Unpacked before: only the promise is checked.
            Some(lease) => {
                let (digest, size) = hash(head, entry).map_err(broken)?;
                (lease, KnownBlob { digest, size, media_type: String::new() })
            }
            None => {
                let mut writer = store.layer_writer()?;
                let fed = writer.write(Bytes::from(head)).and_then(|()| feed_entry(entry, &mut writer));
                let staged = finish(writer, fed)?;
                let blob =
                    KnownBlob { digest: staged.blob.digest.clone(), size: staged.blob.size, media_type: String::new() };
                check(promised.as_deref(), &blob.digest)?;
                (store.adopt(staged, None)?, blob)
            }
        };
        check(promised.as_deref(), &blob.digest)?;
        self.blobs.insert(path.clone(), blob);
        self.layers.insert(path, Arc::new(lease));
        Ok(())
    }

    fn follow(&self, path: &Path) -> PathBuf {
        const HOPS_MAX: usize = 8;
        let mut path = clean(path).unwrap_or_default();
        for _ in 0..HOPS_MAX {
            match self.links.get(&path) {
                Some(next) => path.clone_from(next),
                None => break,
            }
        }
        path
    }
    fn document(&self, path: &str) -> Option<&Vec<u8>> {
        self.documents.get(&self.follow(Path::new(path)))
    }
    fn layer(&self, path: &str) -> Option<&Arc<Lease>> {
        self.layers.get(&self.follow(Path::new(path)))
    }
    fn blob_document(&self, descriptor: &Descriptor) -> Result<&Vec<u8>, ImageError> {
        let path = blob_path(&descriptor.digest)?;
        let document = self.document(&path).ok_or_else(|| ImageError::malformed(&path, "it is not in the archive"))?;
        check(Some(&descriptor.digest), &digest::sha256(document))?;
        Ok(document)
    }
}

trait SizedRead: Read {
    fn length(&self) -> u64;
}

impl<R: Read> SizedRead for tar::Entry<'_, R> {
    fn length(&self) -> u64 {
        self.size()
    }
}

fn feed_entry(entry: &mut impl Read, writer: &mut LayerWriter) -> Result<(), ImageError> {
    super::import::feed(entry, writer)
}

fn hash(head: Vec<u8>, rest: &mut impl Read) -> io::Result<(String, u64)> {
    let (mut hasher, mut size, mut buffer) =
        (Sha256::new_with_prefix(&head), head.len() as u64, vec![0u8; chunks::CHUNK]);
    loop {
        let n = chunks::fill(rest, &mut buffer)?;
        if n == 0 {
            return Ok((digest::finish(hasher), size));
        }
        hasher.update(&buffer[..n]);
        size += n as u64;
    }
}

fn check(promised: Option<&str>, actual: &str) -> Result<(), ImageError> {
    match promised {
        Some(expected) if expected != actual => {
            Err(ImageError::DigestMismatch { expected: expected.to_owned(), actual: actual.to_owned() })
        }
        _ => Ok(()),
    }
}

/// A tar (by its checksum, or all zeros: an empty one) or something packed.
fn looks_like_layer(head: &[u8]) -> bool {
    if Compression::detect(head) != Compression::Plain {
        return true;
    }
    (head.len() >= tar_head::BYTES && head.iter().all(|&b| b == 0)) || tar_head::is_sound(head)
}

fn clean(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}

fn blob_path(digest: &str) -> Result<String, ImageError> {
    if !digest::is_sha256(digest) {
        return Err(ImageError::malformed("archive", format!("{digest:?} is not a sha256 digest")));
    }
    Ok(format!("blobs/sha256/{}", digest::hex_of(digest)))
}

fn load_saved(store: &Arc<Store>, contents: &Contents, images: &[SavedImage]) -> Result<Vec<String>, ImageError> {
    let (mut messages, mut ids) = (Vec::new(), HashMap::new());
    for image in images {
        let raw = contents
            .document(&image.config)
            .ok_or_else(|| ImageError::malformed(&image.config, "it is not in the archive"))?;
        let config = crate::store::parse_config(raw)?;
        let layers = image.layers.as_deref().unwrap_or_default();
        if layers.len() != config.rootfs.diff_ids.len() {
            return Err(ImageError::malformed(
                "manifest.json",
                format!(
                    "invalid manifest, layers length mismatch: expected {}, got {}",
                    config.rootfs.diff_ids.len(),
                    layers.len()
                ),
            ));
        }
        for (path, expected) in layers.iter().zip(&config.rootfs.diff_ids) {
            let lease =
                contents.layer(path).ok_or_else(|| ImageError::malformed(path, "the layer is not in the archive"))?;
            check(Some(expected), &lease.diff_id)?;
        }
        let id = store.create_image(raw, image.parent.as_ref().and_then(|p| ids.get(p).cloned()))?;
        ids.insert(id.clone(), id.clone());
        let mut named = false;
        for tag in image.repo_tags.iter().flatten() {
            let reference = Reference::parse(tag)?;
            if reference.tag().is_none() {
                return Err(ImageError::InvalidArgument(format!("invalid tag {tag:?}")));
            }
            store.name_image(&reference, &id)?;
            messages.push(format!("Loaded image: {}\n", reference.familiar()));
            named = true;
        }
        if !named {
            messages.push(format!("Loaded image ID: {id}\n"));
        }
    }
    Ok(messages)
}

fn load_layout(store: &Arc<Store>, contents: &Contents, index: &Document) -> Result<Vec<String>, ImageError> {
    const NESTING_MAX: usize = 4;
    let mut messages = Vec::new();
    let mut seen = HashSet::new();
    for descriptor in index.manifests.iter().flatten() {
        let mut at = descriptor.clone();
        for _ in 0..NESTING_MAX {
            let document: Document = serde_json::from_slice(contents.blob_document(&at)?)
                .map_err(|e| ImageError::malformed(&at.digest, e))?;
            if let Some(nested) = &document.manifests {
                at = choose(nested, &Platform::host(), |d| {
                    contents.document(&blob_path(&d.digest).unwrap_or_default()).is_some()
                })
                .ok_or_else(|| ImageError::NoPlatform(Platform::host().to_string()))?
                .clone();
                continue;
            }
            let (Some(config), Some(layers)) = (&document.config, &document.layers) else { break };
            let id = load_manifest(store, contents, config, layers)?;
            let annotations = descriptor.annotations.as_ref();
            let name = annotations
                .and_then(|a| a.get(CONTAINERD_NAME).or_else(|| a.get(REF_NAME).filter(|n| n.contains(['/', ':']))));
            match name.and_then(|n| Reference::parse(n).ok()) {
                Some(reference) => {
                    let reference = reference.or_latest();
                    store.name_image(&reference, &id)?;
                    messages.push(format!("Loaded image: {}\n", reference.familiar()));
                }
                None if seen.insert(id.clone()) => messages.push(format!("Loaded image ID: {id}\n")),
                None => {}
            }
            break;
        }
    }
    if messages.is_empty() {
        return Err(ImageError::malformed("index.json", "it names no image for this platform"));
    }
    Ok(messages)
}

fn load_manifest(
    store: &Arc<Store>,
    contents: &Contents,
    config: &Descriptor,
    layers: &[Descriptor],
) -> Result<String, ImageError> {
    let raw = contents.blob_document(config)?;
    let parsed = crate::store::parse_config(raw)?;
    if layers.len() != parsed.rootfs.diff_ids.len() {
        return Err(ImageError::malformed("image manifest", "its layers do not match its configuration"));
    }
    for (descriptor, expected) in layers.iter().zip(&parsed.rootfs.diff_ids) {
        let path = blob_path(&descriptor.digest)?;
        let lease =
            contents.layer(&path).ok_or_else(|| ImageError::malformed(&path, "the layer is not in the archive"))?;
        check(Some(expected), &lease.diff_id)?;
        if let Some(blob) = contents.blobs.get(Path::new(&path)) {
            store.remember_blob(
                &lease.diff_id,
                KnownBlob { media_type: descriptor.media_type.clone(), ..blob.clone() },
            )?;
        }
    }
    store.create_image(raw, None)
}

/// The manifest of an index that fits a platform best.
pub(crate) fn choose<'a>(
    manifests: &'a [Descriptor],
    wanted: &Platform,
    usable: impl Fn(&Descriptor) -> bool,
) -> Option<&'a Descriptor> {
    let fits = |d: &&Descriptor| {
        usable(d)
            && d.platform.as_ref().is_none_or(|p| {
                p.os == wanted.os
                    && p.architecture == wanted.architecture
                    && (wanted.variant.is_empty() || p.variant == wanted.variant)
            })
    };
    // Attestations carry the platform unknown/unknown; a descriptor without platform is taken last.
    manifests
        .iter()
        .filter(|d| d.platform.is_some())
        .find(fits)
        .or_else(|| manifests.iter().filter(|d| d.platform.is_none()).find(fits))
}
