//! One step of a build: the next image.
use super::{BuildStep, Change, copy, pad::Pad, squash};
use crate::{
    config::{History, ImageConfig, LAYERS_MAX},
    error::ImageError,
    store::{Lease, Store, now_text},
};
use std::{path::Path, sync::Arc};

/// Where the configuration keeps what the cache goes by.
pub(crate) const CONTAINER_CONFIG: &str = "container_config";

impl Store {
    /// Makes the next image; tells its id.
    pub(crate) fn build_step(self: &Arc<Self>, step: &BuildStep) -> Result<String, ImageError> {
        let base = step.parent.as_ref().map(|id| self.resolve(id)).transpose()?;
        let lease = match &step.change {
            Change::None => None,
            Change::Container(id) => self.layer_of_container(id)?,
            Change::Copy(what) => {
                let pad = Pad::open(self, step.parent.as_deref())?;
                copy::perform(self, what, &pad.root()?)?;
                self.layer_of_upper(&pad.upper())?
            }
            Change::Directory(path) => {
                let pad = Pad::open(self, step.parent.as_deref())?;
                copy::make_dirs(&pad.root()?, Path::new(path.trim_start_matches('/')), None)?;
                self.layer_of_upper(&pad.upper())?
            }
        };
        let mut config = base.as_ref().map(|b| ImageConfig::clone(&b.config)).unwrap_or_else(|| ImageConfig {
            architecture: step.platform.architecture.clone(),
            variant: step.platform.variant.clone(),
            os: step.platform.os.clone(),
            ..ImageConfig::default()
        });
        config.rootfs.diff_ids.extend(lease.as_ref().map(|l| l.diff_id.clone()));
        let container = match &step.change {
            Change::Container(id) => id.clone(),
            _ => String::new(),
        };
        let id = self.finish_step(config, step, &container, lease.as_ref())?;
        Ok(id)
    }

    fn finish_step(
        &self,
        mut config: ImageConfig,
        step: &BuildStep,
        container: &str,
        layer: Option<&Lease>,
    ) -> Result<String, ImageError> {
        if config.rootfs.diff_ids.len() > LAYERS_MAX {
            return Err(ImageError::MaxDepth);
        }
        let created = now_text();
        config.rootfs.kind = "layers".into();
        config.config = step.config.clone();
        if !step.author.is_empty() {
            config.author.clone_from(&step.author);
        }
        config.comment.clear();
        config.container = container.to_owned();
        config.docker_version = env!("CARGO_PKG_VERSION").into();
        config.created = Some(created.clone());
        config.history.push(History {
            created: Some(created),
            created_by: step.created_by(),
            author: step.author.clone(),
            comment: String::new(),
            empty_layer: layer.is_none(),
        });
        config.rest.insert(CONTAINER_CONFIG.into(), to_json(&step.container_config)?);
        let raw = serde_json::to_vec(&config).map_err(|e| ImageError::malformed("image configuration", e))?;
        self.create_built_image(&raw, step.parent.clone())
    }

    /// An image like `id` whose layers above `base` are one.
    pub(crate) fn squash(self: &Arc<Self>, id: &str, base: Option<&str>) -> Result<String, ImageError> {
        let image = self.resolve(id)?;
        let below = base.map(|b| self.resolve(b)).transpose()?;
        let (keep, history) = below.as_ref().map_or((0, 0), |b| (b.layers.len(), b.config.history.len()));
        if image.layers.len() <= keep {
            return Ok(image.id.clone());
        }
        let lease = squash::merge(self, &image.layers[keep..])?;
        let mut config = ImageConfig::clone(&image.config);
        config.rootfs.diff_ids.truncate(keep);
        config.rootfs.diff_ids.push(lease.diff_id.clone());
        for step in config.history.iter_mut().skip(history) {
            step.empty_layer = true;
        }
        let created = now_text();
        config.created = Some(created.clone());
        let parent = below.as_ref().map_or("scratch", |b| b.id.as_str());
        let comment = format!("merge {} to {parent}", image.id);
        config.history.push(History { created: Some(created), comment, ..History::default() });
        let raw = serde_json::to_vec(&config).map_err(|e| ImageError::malformed("image configuration", e))?;
        self.create_image(&raw, None)
    }
}

pub(crate) fn to_json(config: &crate::RunConfig) -> Result<serde_json::Value, ImageError> {
    serde_json::to_value(config).map_err(|e| ImageError::malformed("container configuration", e))
}
