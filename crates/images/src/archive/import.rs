//! `docker import`: a root filesystem becomes an image of one layer.
use crate::{
    config::{History, ImageConfig, RootFs, RunConfig, host_architecture},
    error::{ImageError, IoContext},
    instructions,
    layer::{chunks, writer::LayerWriter},
    reference::Reference,
    store::{Store, now_text},
    types::Platform,
};
use bytes::Bytes;
use std::{io::Read, sync::Arc};

pub(crate) struct Import {
    pub reference: Option<Reference>,
    pub changes: Vec<String>,
    pub message: String,
    pub platform: Option<Platform>,
}

/// Feeds a whole stream to a layer.
pub(crate) fn feed(reader: &mut impl Read, writer: &mut LayerWriter) -> Result<(), ImageError> {
    loop {
        let mut buffer = vec![0u8; chunks::CHUNK];
        let n = chunks::fill(reader, &mut buffer).at("read", "archive")?;
        if n == 0 {
            return Ok(());
        }
        buffer.truncate(n);
        writer.write(Bytes::from(buffer))?;
    }
}

/// Makes the image; tells its id.
pub(crate) fn import(store: &Arc<Store>, mut reader: impl Read, spec: Import) -> Result<String, ImageError> {
    let mut run = RunConfig::default();
    instructions::apply_all(&mut run, &spec.changes)?;
    if spec.reference.as_ref().is_some_and(|r| r.digest().is_some()) {
        return Err(ImageError::InvalidArgument("cannot import digest reference".into()));
    }
    let mut writer = store.layer_writer()?;
    let fed = feed(&mut reader, &mut writer);
    let staged = finish(writer, fed)?;
    let lease = store.adopt(staged, None)?;
    let created = now_text();
    let platform = spec.platform.unwrap_or_else(Platform::host);
    let config = ImageConfig {
        architecture: if platform.architecture.is_empty() { host_architecture().into() } else { platform.architecture },
        variant: platform.variant,
        os: platform.os,
        comment: spec.message.clone(),
        created: Some(created.clone()),
        docker_version: env!("CARGO_PKG_VERSION").into(),
        config: run,
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![lease.diff_id.clone()] },
        history: vec![History { created: Some(created), comment: spec.message, ..History::default() }],
        ..ImageConfig::default()
    };
    let raw = serde_json::to_vec(&config).map_err(|e| ImageError::malformed("image configuration", e))?;
    let id = store.create_image(&raw, None)?;
    if let Some(reference) = spec.reference {
        store.name_image(&reference.or_latest(), &id)?;
    }
    Ok(id)
}

/// Ends a layer whose feeding may have failed: the unpacker's reason is the better one where it gave up first.
pub(crate) fn finish(
    writer: LayerWriter,
    fed: Result<(), ImageError>,
) -> Result<crate::layer::writer::Staged, ImageError> {
    match fed {
        Ok(()) | Err(ImageError::Cancelled) => writer.finish(),
        Err(ImageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => writer.finish(),
        Err(e) => Err(e),
    }
}
