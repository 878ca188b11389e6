//! Fetching images. Layers are unpacked while they come, some at a time; a connection that breaks is taken up again
//! where it broke.
use super::{
    Registry, parse_manifest,
    progress::{Bar, Teller},
    root_cause,
    settings::first,
};
use crate::{
    archive::{
        import::finish,
        load::{Descriptor, choose},
    },
    config::ImageConfig,
    digest,
    error::ImageError,
    handle::blocking,
    layer::writer::{LayerWriter, Staged},
    reference::Reference,
    store::{Lease, Store, parse_config, records::KnownBlob},
    types::*,
};
use bytes::Bytes;
use futures::TryStreamExt;
use oci_client::{RegistryOperation, client::BlobResponse};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};

const TAGS_MAX: usize = 1000;
const BACK_OFF: Duration = Duration::from_millis(250);
const CHUNKS_AHEAD: usize = 16;

pub(crate) async fn pull(
    store: &Arc<Store>,
    reference: Reference,
    platform: Option<Platform>,
    credentials: Credentials,
    progress: ProgressSink,
) -> Result<Arc<Image>, ImageError> {
    let teller = Teller(progress);
    first(store.registries().endpoints(reference.domain()).await, |endpoint| {
        let registry = Registry::new(endpoint, credentials.clone());
        let (reference, platform, teller) = (&reference, platform.clone(), &teller);
        async move {
            let registry = registry?;
            registry.authenticate(reference, RegistryOperation::Pull).await?;
            let (image, moved) = one(store, &registry, reference, platform, teller).await?;
            say_status(teller, reference, moved).await?;
            Ok(image)
        }
    })
    .await
}

pub(crate) async fn pull_all(
    store: &Arc<Store>,
    repository: Reference,
    platform: Option<Platform>,
    credentials: Credentials,
    progress: ProgressSink,
) -> Result<Vec<Arc<Image>>, ImageError> {
    let teller = Teller(progress);
    first(store.registries().endpoints(repository.domain()).await, |endpoint| {
        let registry = Registry::new(endpoint, credentials.clone());
        let (repository, platform, teller) = (&repository, platform.clone(), &teller);
        async move {
            let registry = registry?;
            registry.authenticate(repository, RegistryOperation::Pull).await?;
            let address = registry.address(repository);
            let listed = registry.client.list_tags(&address, &registry.auth, Some(TAGS_MAX), None).await;
            let (mut images, mut any_moved) = (Vec::new(), false);
            for tag in listed.map_err(|e| registry.explain(repository, e))?.tags {
                let tagged = repository.with_tag(&tag)?;
                let (image, moved) = one(store, &registry, &tagged, platform.clone(), teller).await?;
                images.push(image);
                any_moved |= moved;
            }
            say_status(teller, repository, any_moved).await?;
            Ok(images)
        }
    })
    .await
}

async fn say_status(teller: &Teller, reference: &Reference, moved: bool) -> Result<(), ImageError> {
    let news = if moved { "Downloaded newer image for" } else { "Image is up to date for" };
    teller.say(format!("Status: {news} {}", reference.familiar())).await
}

/// Fetches one image. Tells also whether its name means another image than before.
async fn one(
    store: &Arc<Store>,
    registry: &Registry,
    reference: &Reference,
    platform: Option<Platform>,
    teller: &Teller,
) -> Result<(Arc<Image>, bool), ImageError> {
    let wanted = platform.clone().unwrap_or_else(Platform::host);
    let (body, digest) = registry.manifest(reference).await?;
    let shown = reference.digest().or(reference.tag()).unwrap_or("latest").to_owned();
    teller
        .send(Progress { status: format!("Pulling from {}", reference.path()), id: shown, ..Progress::default() })
        .await?;
    let (mut document, _) = parse_manifest(&body)?;
    if let Some(manifests) = &document.manifests {
        let fit = choose(manifests, &wanted, |_| true).ok_or_else(|| ImageError::NoPlatform(wanted.to_string()))?;
        let (body, _) = registry.manifest(&reference.with_digest(&fit.digest)).await?;
        document = parse_manifest(&body)?.0;
    }
    let (Some(config), Some(layers)) = (document.config, document.layers) else {
        return Err(ImageError::malformed(
            "registry manifest",
            "it is neither an image nor a list of images for platforms",
        ));
    };
    // What is here already is not fetched again, and its layers are not spoken of.
    let here = store.state.read().images.get(&config.digest).map(|i| Arc::clone(&i.view));
    let (raw, parsed) = match &here {
        Some(image) => (image.raw_config.to_vec(), Arc::clone(&image.config)),
        None => {
            let raw = registry.document(reference, &config.digest).await?;
            let parsed = Arc::new(parse_config(&raw)?);
            (raw, parsed)
        }
    };
    if layers.len() != parsed.rootfs.diff_ids.len() {
        return Err(ImageError::malformed("registry manifest", "its layers do not match its configuration"));
    }
    if let Some(wrong) = layers.iter().find(|l| !digest::is_sha256(&l.digest)) {
        return Err(ImageError::malformed("registry manifest", format!("{:?} is not a sha256 digest", wrong.digest)));
    }
    let held = |image: Arc<Image>| image.layers.iter().map(|layer| store.lease(layer)).collect::<Option<Vec<_>>>();
    let leases = match here.and_then(held) {
        Some(leases) => leases,
        None => fetch_layers(store, registry, reference, &layers, &parsed.rootfs.diff_ids, teller).await?,
    };
    let (store_, named, by_digest) = (Arc::clone(store), reference.clone(), reference.with_digest(&digest));
    let done = blocking(move || {
        let before = store_.state.read().id_of(&named).cloned();
        let id = store_.create_image(&raw, None)?;
        drop(leases);
        if named.digest().is_none() {
            store_.name_image(&named, &id)?;
        }
        store_.name_image(&by_digest, &id)?;
        let moved = before.as_deref() != Some(&id);
        Ok((store_.resolve(&id)?, moved))
    })
    .await?;
    teller.say(format!("Digest: {digest}")).await?;
    if let Some(wrong) = platform.and_then(|asked| other_platform(reference, &done.0.config, &asked)) {
        teller.say(format!("WARNING: {wrong}")).await?;
    }
    Ok(done)
}

/// An image that is there for one platform only is taken as it is, whatever was asked for.
fn other_platform(reference: &Reference, config: &ImageConfig, asked: &Platform) -> Option<String> {
    let actual =
        Platform { os: config.os.clone(), architecture: config.architecture.clone(), variant: config.variant.clone() };
    let fits = asked.os == actual.os
        && asked.architecture == actual.architecture
        && (asked.variant.is_empty() || asked.variant == actual.variant);
    let name = reference.familiar();
    let why = "was found but does not match the specified platform";
    (!fits).then(|| format!("image with reference {name} {why}: wanted {asked}, actual: {actual}"))
}

/// All layers, leased; the first failure ends the others.
async fn fetch_layers(
    store: &Arc<Store>,
    registry: &Registry,
    reference: &Reference,
    layers: &[Descriptor],
    diff_ids: &[String],
    teller: &Teller,
) -> Result<Vec<Lease>, ImageError> {
    let settings = store.registries();
    let seats = Arc::new(Semaphore::new(settings.downloads_at_once));
    let mut tasks = tokio::task::JoinSet::new();
    let mut leases = Vec::new();
    let mut started = std::collections::HashSet::new();
    for (descriptor, diff_id) in layers.iter().zip(diff_ids) {
        let short = digest::short(&descriptor.digest).to_owned();
        if let Some(lease) = store.lease(diff_id) {
            leases.push(lease);
            teller.about(&short, "Already exists").await?;
            continue;
        }
        if !started.insert(diff_id.clone()) {
            continue;
        }
        teller.about(&short, "Pulling fs layer").await?;
        let job = Job {
            store: Arc::clone(store),
            registry: registry.clone(),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            diff_id: diff_id.clone(),
            short,
            teller: teller.clone(),
            attempts: settings.download_attempts,
        };
        let seats = Arc::clone(&seats);
        tasks.spawn(async move {
            let _seat = seats.acquire_owned().await.map_err(|_| ImageError::Cancelled)?;
            job.run().await
        });
    }
    // Dropping the set on an error aborts the rest.
    while let Some(done) = tasks.join_next().await {
        leases.push(done.map_err(|e| ImageError::Worker(e.to_string()))??);
    }
    Ok(leases)
}

struct Job {
    store: Arc<Store>,
    registry: Registry,
    reference: Reference,
    descriptor: Descriptor,
    diff_id: String,
    short: String,
    teller: Teller,
    attempts: u32,
}

impl Job {
    async fn run(self) -> Result<Lease, ImageError> {
        let (tx, rx) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
        let writer = self.store.layer_writer()?;
        let unpacking = tokio::task::spawn_blocking(move || unpack(writer, rx));
        let fetched = self.fetch(tx).await;
        let staged = unpacking.await.map_err(|e| ImageError::Worker(e.to_string()))?;
        let staged = match (fetched, staged) {
            // The unpacker's reason comes first: the fetcher only saw that it had gone.
            (Err(ImageError::Cancelled), Err(e)) => return Err(e),
            (Err(e), _) | (Ok(()), Err(e)) => return Err(e),
            (Ok(()), Ok(staged)) => staged,
        };
        let check = |expected: &String, actual: &String| {
            if expected == actual {
                Ok(())
            } else {
                Err(ImageError::DigestMismatch { expected: expected.clone(), actual: actual.clone() })
            }
        };
        check(&self.descriptor.digest, &staged.blob.digest)?;
        self.teller.about(&self.short, "Download complete").await?;
        check(&self.diff_id, &staged.diff_id)?;
        let known = KnownBlob {
            digest: staged.blob.digest.clone(),
            size: staged.blob.size,
            media_type: self.descriptor.media_type.clone(),
        };
        let store = Arc::clone(&self.store);
        let lease = blocking(move || store.adopt(staged, Some(known))).await?;
        self.teller.about(&self.short, "Pull complete").await?;
        Ok(lease)
    }

    /// Sends the blob's bytes down the pipe, from start to end whatever happens to the connection.
    async fn fetch(&self, tx: mpsc::Sender<Bytes>) -> Result<(), ImageError> {
        let mut bar = Bar::new(&self.teller, &self.short, "Downloading", self.descriptor.size);
        let (mut received, mut attempt) = (0u64, 0);
        loop {
            let error = match self.attempt(&tx, &mut received, &mut bar).await {
                Ok(()) if self.descriptor.size == 0 || received == self.descriptor.size => break,
                Ok(()) if received > self.descriptor.size => {
                    return Err(ImageError::Registry(format!(
                        "blob {} is longer than its manifest says",
                        self.descriptor.digest
                    )));
                }
                Ok(()) => ImageError::Registry("unexpected EOF".into()),
                Err(
                    e @ (ImageError::Cancelled
                    | ImageError::Unauthorized(_)
                    | ImageError::PullDenied(_)
                    | ImageError::ManifestUnknown { .. }),
                ) => return Err(e),
                Err(e) => e,
            };
            attempt += 1;
            if attempt >= self.attempts {
                return Err(error);
            }
            tracing::warn!(layer = %self.descriptor.digest, received, attempt, error = %error, "download broke, taking it up again");
            self.teller.about(&self.short, "Retrying").await?;
            tokio::time::sleep(BACK_OFF * 2u32.pow(attempt - 1)).await;
        }
        self.teller.about(&self.short, "Verifying Checksum").await
    }

    async fn attempt(&self, tx: &mpsc::Sender<Bytes>, received: &mut u64, bar: &mut Bar) -> Result<(), ImageError> {
        let (address, digest) = (self.registry.address(&self.reference), self.descriptor.digest.as_str());
        let explain = |e| self.registry.explain(&self.reference, e);
        let (mut stream, mut skip) = if *received == 0 {
            (self.registry.client.pull_blob_stream(&address, digest).await.map_err(explain)?, 0)
        } else {
            match self
                .registry
                .client
                .pull_blob_stream_partial(&address, digest, *received, None)
                .await
                .map_err(explain)?
            {
                BlobResponse::Partial(stream) => (stream, 0),
                // A registry that cannot resume sends all of it again.
                BlobResponse::Full(stream) => (stream, *received),
            }
        };
        while let Some(mut chunk) = stream.try_next().await.map_err(|e| ImageError::Registry(root_cause(&e)))? {
            let again = skip.min(chunk.len() as u64);
            skip -= again;
            chunk = chunk.split_off(again as usize);
            if chunk.is_empty() {
                continue;
            }
            let n = chunk.len() as u64;
            *received += n;
            tx.send(chunk).await.map_err(|_| ImageError::Cancelled)?;
            bar.advance(n).await?;
        }
        Ok(())
    }
}

fn unpack(mut writer: LayerWriter, mut rx: mpsc::Receiver<Bytes>) -> Result<Staged, ImageError> {
    let mut fed = Ok(());
    while let Some(chunk) = rx.blocking_recv() {
        fed = writer.write(chunk);
        if fed.is_err() {
            break;
        }
    }
    drop(rx);
    finish(writer, fed)
}
