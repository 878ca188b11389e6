//! Sending images. Layers that the registry has are not sent; others are put together again and packed.
use super::{
    DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Registry,
    progress::{Bar, Teller},
};
use crate::{
    digest,
    error::{ImageError, IoContext},
    handle::blocking,
    layer::{chunks, writer::Staging},
    reference::Reference,
    store::{Lease, Store, records::KnownBlob},
    types::*,
};
use bytes::Bytes;
use futures::StreamExt;
use oci_client::{RegistryOperation, errors::OciDistributionError};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

const ATTEMPTS_MAX: u32 = 4;
const BACK_OFF: Duration = Duration::from_millis(250);
/// Fast rather than small: the network is rarely the slower one on the way to a registry nearby.
const GZIP_LEVEL: u32 = 3;
const CHUNKS_AHEAD: usize = 4;
/// So many other repositories are asked for a layer before it is sent.
const MOUNTS_MAX: usize = 4;

pub(crate) async fn push(
    store: &Arc<Store>,
    reference: Reference,
    credentials: Credentials,
    progress: ProgressSink,
) -> Result<String, ImageError> {
    let teller = Teller(progress);
    if reference.digest().is_some() {
        return Err(ImageError::InvalidArgument("cannot push a digest reference".into()));
    }
    teller.say(format!("The push refers to repository [{}]", reference.name())).await?;
    let tags = tags_of(store, &reference)?;
    // Nothing is sent to a mirror.
    let endpoints = store.registries().endpoints(reference.domain()).await;
    let Some(endpoint) = endpoints.into_iter().next_back() else { return Ok(String::new()) };
    let registry = Registry::new(endpoint, credentials)?;
    registry.authenticate(&reference, RegistryOperation::Push).await?;
    let mut last = String::new();
    for (name, image) in tags {
        last = one(store, &registry, &name, &image, &teller).await?;
    }
    Ok(last)
}

fn tags_of(store: &Arc<Store>, reference: &Reference) -> Result<Vec<(Reference, Arc<Image>)>, ImageError> {
    let state = store.state.read();
    let of_repository: Vec<(Reference, Arc<Image>)> = state
        .names
        .iter()
        .filter_map(|(name, id)| Some((Reference::parse(name).ok()?, Arc::clone(&state.images.get(id)?.view))))
        .filter(|(name, _)| name.tag().is_some() && name.name() == reference.name())
        .collect();
    if of_repository.is_empty() {
        return Err(ImageError::NoSuchTag(reference.familiar_name()));
    }
    let Some(tag) = reference.tag() else { return Ok(of_repository) };
    let one: Vec<_> = of_repository.into_iter().filter(|(name, _)| name.tag() == Some(tag)).collect();
    if one.is_empty() {
        return Err(ImageError::TagDoesNotExist(reference.familiar()));
    }
    Ok(one)
}

async fn one(
    store: &Arc<Store>,
    registry: &Registry,
    name: &Reference,
    image: &Arc<Image>,
    teller: &Teller,
) -> Result<String, ImageError> {
    let leases: Vec<Lease> = image
        .layers
        .iter()
        .map(|l| store.lease(l).ok_or_else(|| ImageError::NoSuchImage(image.id.clone())))
        .collect::<Result<_, _>>()?;
    for layer in &image.layers {
        teller.about(digest::short(layer), "Preparing").await?;
    }
    let mut layers = Vec::new();
    for diff_id in &image.layers {
        layers.push(layer(store, registry, name, diff_id, teller).await?);
    }
    drop(leases);
    let raw = Bytes::copy_from_slice(&image.raw_config);
    if !exists(registry, name, &image.id).await {
        retry(registry, name, || async {
            let (stream, size) = (futures::stream::iter([Ok(raw.clone())]), raw.len() as u64);
            registry.client.push_blob_stream(&registry.address(name), stream, &image.id, Some(size)).await
        })
        .await?;
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "size": raw.len(), "digest": image.id},
        "layers": layers.iter().map(|l| json!({"mediaType": DOCKER_LAYER_GZIP, "size": l.size, "digest": l.digest})).collect::<Vec<_>>(),
    });
    let manifest = serde_json::to_vec_pretty(&manifest).map_err(|e| ImageError::malformed("manifest", e))?;
    let (digest, size) = (digest::sha256(&manifest), manifest.len());
    let manifest = Bytes::from(manifest);
    retry(registry, name, || async {
        let kind = DOCKER_MANIFEST
            .parse()
            .map_err(|_| OciDistributionError::UnsupportedMediaTypeError(DOCKER_MANIFEST.into()))?;
        registry.client.push_manifest_raw(&registry.address(name), manifest.clone(), kind).await
    })
    .await?;
    let (store_, by_digest, id) = (Arc::clone(store), name.with_digest(&digest), image.id.clone());
    blocking(move || store_.name_image(&by_digest, &id)).await?;
    let tag = name.tag().unwrap_or("latest");
    teller.say(format!("{tag}: digest: {digest} size: {size}")).await?;
    let aux = Some(json!({"Tag": tag, "Digest": digest, "Size": size}));
    teller.send(Progress { detail: Some(ProgressDetail::default()), aux, ..Progress::default() }).await?;
    Ok(digest)
}

/// Makes sure that the registry has a layer; tells the packed form it has.
async fn layer(
    store: &Arc<Store>,
    registry: &Registry,
    name: &Reference,
    diff_id: &str,
    teller: &Teller,
) -> Result<KnownBlob, ImageError> {
    let short = digest::short(diff_id).to_owned();
    let known = store.state.read().layers.get(diff_id).map(|l| l.blobs.clone()).unwrap_or_default();
    let known: Vec<KnownBlob> = known.into_iter().filter(|b| b.media_type.ends_with("gzip")).collect();
    for blob in &known {
        if exists(registry, name, &blob.digest).await {
            teller.about(&short, "Layer already exists").await?;
            return Ok(blob.clone());
        }
    }
    for other in repositories_with(store, name, diff_id) {
        let (target, from) = (registry.address(name), registry.address(&other));
        for blob in &known {
            // A registry that does not mount it gets it sent.
            if registry.client.mount_blob(&target, &from, &blob.digest).await.is_ok() {
                teller.about(&short, &format!("Mounted from {}", other.path())).await?;
                return Ok(blob.clone());
            }
        }
    }
    let (store_, id) = (Arc::clone(store), diff_id.to_owned());
    let (staging, blob) = blocking(move || pack(&store_, &id)).await?;
    if exists(registry, name, &blob.digest).await {
        teller.about(&short, "Layer already exists").await?;
    } else {
        let path = staging.path().join("blob");
        retry(registry, name, || async {
            let file = tokio::fs::File::open(&path).await?;
            let (tx, mut rx) = mpsc::channel::<u64>(CHUNKS_AHEAD);
            let mut bar = Bar::new(teller, &short, "Pushing", blob.size);
            let counted = tokio_util::io::ReaderStream::with_capacity(file, chunks::CHUNK).then(move |chunk| {
                let tx = tx.clone();
                async move {
                    if let Ok(chunk) = &chunk {
                        tx.send(chunk.len() as u64).await.ok();
                    }
                    chunk.map_err(OciDistributionError::from)
                }
            });
            let target = registry.address(name);
            let sending = registry.client.push_blob_stream(&target, counted, &blob.digest, Some(blob.size));
            let telling = async {
                while let Some(n) = rx.recv().await {
                    if bar.advance(n).await.is_err() {
                        return;
                    }
                }
            };
            futures::future::join(sending, telling).await.0
        })
        .await?;
        teller.about(&short, "Pushed").await?;
    }
    let (store_, id, remembered) = (Arc::clone(store), diff_id.to_owned(), blob.clone());
    blocking(move || store_.remember_blob(&id, remembered)).await?;
    Ok(blob)
}

/// Other repositories of the same registry that may have a layer: those of images here that have it.
fn repositories_with(store: &Store, name: &Reference, diff_id: &str) -> Vec<Reference> {
    let state = store.state.read();
    let has_it = |id: &String| state.images.get(id).is_some_and(|i| i.view.layers.iter().any(|l| l == diff_id));
    let named = state.names.iter().filter(|(_, id)| has_it(id)).filter_map(|(n, _)| Reference::parse(n).ok());
    let mut others: Vec<Reference> =
        named.filter(|other| other.domain() == name.domain() && other.path() != name.path()).collect();
    others.dedup_by(|a, b| a.path() == b.path());
    others.truncate(MOUNTS_MAX);
    others
}

async fn exists(registry: &Registry, name: &Reference, digest: &str) -> bool {
    registry.client.store_auth_if_needed(registry.address(name).resolve_registry(), &registry.auth).await;
    registry.client.blob_exists(&registry.address(name), digest).await.unwrap_or(false)
}

/// Tries again what a broken connection or a failing server ended.
async fn retry<T, F: Future<Output = Result<T, OciDistributionError>>>(
    registry: &Registry,
    name: &Reference,
    mut work: impl FnMut() -> F,
) -> Result<T, ImageError> {
    let mut attempt = 0;
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(e) => e,
        };
        attempt += 1;
        let lasting = matches!(&error, OciDistributionError::ServerError { code, .. } if *code < 500)
            || matches!(&error, OciDistributionError::UnauthorizedError { .. });
        if lasting || attempt >= ATTEMPTS_MAX {
            return Err(match registry.explain(name, error) {
                ImageError::PullDenied(_) => {
                    ImageError::PushDenied("denied: requested access to the resource is denied".into())
                }
                other => other,
            });
        }
        tracing::warn!(target = %name, attempt, error = %error, "upload broke, trying again");
        tokio::time::sleep(BACK_OFF * 2u32.pow(attempt - 1)).await;
    }
}

/// Counts and hashes what passes.
struct Tally<W> {
    out: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Packs a layer into a file `blob` of a staging directory. The same layer always gives the same bytes.
fn pack(store: &Arc<Store>, diff_id: &str) -> Result<(Staging, KnownBlob), ImageError> {
    let staging = store.staging()?;
    let path = staging.path().join("blob");
    let file = BufWriter::with_capacity(chunks::CHUNK, File::create(&path).at("create", &path)?);
    let tally = Tally { out: file, hasher: Sha256::new(), size: 0 };
    let mut gzip = flate2::GzBuilder::new().mtime(0).write(tally, flate2::Compression::new(GZIP_LEVEL));
    store.write_layer(diff_id, &mut gzip)?;
    let mut tally = gzip.finish().at("write", &path)?;
    tally.flush().at("write", &path)?;
    let blob =
        KnownBlob { digest: digest::finish(tally.hasher), size: tally.size, media_type: DOCKER_LAYER_GZIP.into() };
    Ok((staging, blob))
}
