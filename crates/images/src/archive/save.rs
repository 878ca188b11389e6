//! `docker save`: one archive that is a Docker archive (`manifest.json`, `repositories`) and an OCI layout at once.
use crate::{
    digest::{self, hex_of},
    error::{ImageError, IoContext},
    layer::pack::{file_header, small_dir, small_file},
    reference::{AnyReference, Reference},
    store::Store,
    types::Image,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::Arc,
};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// One image with the names it is saved under.
struct Chosen {
    image: Arc<Image>,
    names: BTreeSet<Reference>,
}

/// Writes an archive of these images.
pub(crate) fn save(store: &Arc<Store>, names: &[String], out: &mut dyn Write) -> Result<(), ImageError> {
    let chosen = choose(store, names)?;
    // Nothing may be removed while it is written.
    let mut leases = Vec::new();
    for layer in chosen.values().flat_map(|c| &c.image.layers) {
        leases.push(store.lease(layer).ok_or_else(|| ImageError::NoSuchImage(layer.clone()))?);
    }
    let mut written = BTreeSet::new();
    let (mut saved, mut descriptors) = (Vec::new(), Vec::new());
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let io = |r: std::io::Result<()>| r.at("write", "archive");
    io(small_dir(out, "blobs/", 0))?;
    io(small_dir(out, "blobs/sha256/", 0))?;
    for chosen in chosen.values() {
        let image = &chosen.image;
        let made = image.created_unix_nanos / 1_000_000_000;
        let (mut layers, mut sources) = (Vec::new(), serde_json::Map::new());
        for diff_id in &image.layers {
            let size = store.tar_size(diff_id)?;
            if written.insert(diff_id.clone()) {
                io(file_header(out, &blob(diff_id), size, made))?;
                store.write_layer(diff_id, out)?;
                io(out.write_all(&vec![0; ((512 - size % 512) % 512) as usize]))?;
            }
            let descriptor = json!({"mediaType": OCI_LAYER, "size": size, "digest": diff_id});
            sources.insert(diff_id.clone(), descriptor.clone());
            layers.push(descriptor);
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": image.id, "size": image.raw_config.len()},
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let manifest_digest = digest::sha256(&manifest);
        if written.insert(image.id.clone()) {
            io(small_file(out, &blob(&image.id), &image.raw_config, made))?;
        }
        if written.insert(manifest_digest.clone()) {
            io(small_file(out, &blob(&manifest_digest), &manifest, made))?;
        }
        let tags: Vec<String> = chosen.names.iter().map(Reference::familiar).collect();
        let top = image.layers.last().map(|l| hex_of(l).to_owned()).unwrap_or_default();
        for name in &chosen.names {
            let tag = name.tag().unwrap_or_default().to_owned();
            repositories.entry(name.familiar_name()).or_default().insert(tag.clone(), top.clone());
            descriptors.push(json!({
                "mediaType": OCI_MANIFEST, "digest": manifest_digest, "size": manifest.len(),
                "annotations": {"io.containerd.image.name": name.to_string(), "org.opencontainers.image.ref.name": tag},
            }));
        }
        if chosen.names.is_empty() {
            descriptors.push(json!({"mediaType": OCI_MANIFEST, "digest": manifest_digest, "size": manifest.len()}));
        }
        saved.push(json!({
            "Config": blob(&image.id),
            "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
            "Layers": image.layers.iter().map(|l| blob(l)).collect::<Vec<_>>(),
            "LayerSources": sources,
        }));
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors});
    io(small_file(out, "index.json", index.to_string().as_bytes(), 0))?;
    io(small_file(out, "manifest.json", Value::Array(saved).to_string().as_bytes(), 0))?;
    io(small_file(out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0))?;
    if !repositories.is_empty() {
        io(small_file(out, "repositories", json!(repositories).to_string().as_bytes(), 0))?;
    }
    io(out.write_all(&[0; 1024]))?;
    io(out.flush())
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", hex_of(digest))
}

/// A name without a tag means every tag of that repository, an id means no name at all.
fn choose(store: &Arc<Store>, names: &[String]) -> Result<BTreeMap<String, Chosen>, ImageError> {
    let mut chosen: BTreeMap<String, Chosen> = BTreeMap::new();
    let mut add = |image: Arc<Image>, name: Option<Reference>| {
        let seat = chosen.entry(image.id.clone()).or_insert_with(|| Chosen { image, names: BTreeSet::new() });
        seat.names.extend(name);
    };
    for text in names {
        if let AnyReference::Named(reference) = AnyReference::parse(text)? {
            if reference.tag().is_none() && reference.digest().is_none() {
                let tags = tags_of(store, &reference);
                if !tags.is_empty() {
                    for (name, image) in tags {
                        add(image, Some(name));
                    }
                    continue;
                }
            }
            let image = store.resolve(text)?;
            let reference = reference.or_latest();
            let is_name = store.state.read().id_of(&reference).is_some();
            add(image, (is_name && reference.digest().is_none()).then_some(reference));
        } else {
            add(store.resolve(text)?, None);
        }
    }
    Ok(chosen)
}

fn tags_of(store: &Arc<Store>, repository: &Reference) -> Vec<(Reference, Arc<Image>)> {
    let state = store.state.read();
    let of_repository = state.names.iter().filter_map(|(name, id)| {
        let reference = Reference::parse(name).ok()?;
        let fits = reference.name() == repository.name() && reference.tag().is_some();
        fits.then(|| state.images.get(id).map(|e| (reference, Arc::clone(&e.view)))).flatten()
    });
    of_repository.collect()
}
