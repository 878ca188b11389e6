//! `docker commit`: what a container wrote becomes a layer, and the container's configuration an image's.
use crate::{
    archive::import::finish,
    config::{History, ImageConfig, LAYERS_MAX},
    error::{ImageError, IoContext},
    instructions,
    layer::{
        pack::{Marks, Packer},
        writer::LayerWriter,
    },
    store::{Lease, Store, now_text},
    types::CommitSpec,
};
use bytes::Bytes;
use kernel::beneath::Dir;
use std::{
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};

/// Lets a packer write into a layer.
pub(crate) struct Feeder<'a>(pub(crate) &'a mut LayerWriter);

impl Write for Feeder<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fed = self.0.write(Bytes::copy_from_slice(bytes));
        fed.map_err(|e| match e {
            // The unpacker gave up: `finish` asks it why.
            ImageError::Cancelled => io::ErrorKind::BrokenPipe.into(),
            e => io::Error::other(e.to_string()),
        })?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Store {
    /// Makes the container's layer; `None` if it wrote nothing.
    pub(crate) fn layer_of_container(self: &Arc<Self>, container: &str) -> Result<Option<Lease>, ImageError> {
        let (rootfs, _) = self.rootfs_of(container)?;
        self.layer_of_upper(&rootfs.upper)
    }

    /// Makes a layer of an upper directory; `None` if nothing was written.
    pub(crate) fn layer_of_upper(self: &Arc<Self>, path: &Path) -> Result<Option<Lease>, ImageError> {
        let upper = Dir::open(path).at("open", path)?;
        if upper.names().at("list", path)?.is_empty() {
            return Ok(None);
        }
        let mut writer = self.layer_writer()?;
        let packed = (|| {
            let mut packer = Packer::new(
                BufWriter::with_capacity(crate::layer::chunks::CHUNK, Feeder(&mut writer)),
                Marks::Translate,
            );
            packer.tree(&upper, Path::new(""))?;
            packer.finish().map(drop)
        })();
        let staged = finish(writer, packed)?;
        self.adopt(staged, None).map(Some)
    }

    pub(crate) fn commit(self: &Arc<Self>, spec: CommitSpec) -> Result<String, ImageError> {
        let base = self.state.read().images.get(&spec.image_id).map(|e| Arc::clone(&e.view));
        let mut run = spec.config;
        instructions::apply_all(&mut run, &spec.changes)?;
        if spec.reference.as_ref().is_some_and(|r| r.digest().is_some()) {
            return Err(ImageError::InvalidArgument("cannot commit to a digest reference".into()));
        }
        let lease = self.layer_of_container(&spec.container_id)?;
        // An image that was removed by force leaves its layers to the container.
        let (_, record) = self.rootfs_of(&spec.container_id)?;
        let mut config = base.as_ref().map(|b| ImageConfig::clone(&b.config)).unwrap_or_else(|| ImageConfig {
            architecture: crate::config::host_architecture().into(),
            os: "linux".into(),
            ..ImageConfig::default()
        });
        config.rootfs.kind = "layers".into();
        config.rootfs.diff_ids = record.layers;
        config.rootfs.diff_ids.extend(lease.as_ref().map(|l| l.diff_id.clone()));
        if config.rootfs.diff_ids.len() > LAYERS_MAX {
            return Err(ImageError::MaxDepth);
        }
        let created = now_text();
        config.config = run;
        config.author.clone_from(&spec.author);
        config.comment.clone_from(&spec.comment);
        config.container = spec.container_id;
        config.docker_version = env!("CARGO_PKG_VERSION").into();
        config.created = Some(created.clone());
        config.history.push(History {
            created: Some(created),
            created_by: spec.created_by,
            author: spec.author,
            comment: spec.comment,
            empty_layer: lease.is_none(),
        });
        let raw = serde_json::to_vec(&config).map_err(|e| ImageError::malformed("image configuration", e))?;
        let id = self.create_image(&raw, base.map(|b| b.id.clone()))?;
        if let Some(reference) = spec.reference {
            self.name_image(&reference.or_latest(), &id)?;
        }
        Ok(id)
    }
}
