//! The build cache is the images themselves: a step is not run again when an image made by it is there.
use super::{created_by, step};
use crate::{
    config::{History, ImageConfig, RunConfig},
    error::ImageError,
    store::Store,
    types::{Image, Platform},
};
use std::sync::Arc;

impl Store {
    /// An image that was built here on `parent` with this very configuration.
    pub(crate) fn cached_step(
        &self,
        parent: Option<&str>,
        container_config: &RunConfig,
        platform: &Platform,
    ) -> Result<Option<String>, ImageError> {
        let wanted = step::to_json(container_config)?;
        let state = self.state.read();
        let fits = |image: &Image| {
            image.config.rest.get(step::CONTAINER_CONFIG) == Some(&wanted)
                && image.config.os == platform.os
                && image.config.architecture == platform.architecture
        };
        let built = state.images.values().filter(|e| e.record.built && e.record.parent.as_deref() == parent);
        let newest = built.filter(|e| fits(&e.view)).max_by_key(|e| e.view.created_unix_nanos);
        Ok(newest.map(|e| e.view.id.clone()))
    }

    /// The same with `--cache-from`: only what leads to one of these images counts, and their histories stand in for
    /// images that are not here. Tells the image, and the source that it came from when only that one may be followed.
    pub(crate) fn cached_from(
        &self,
        parent: Option<&str>,
        container_config: &RunConfig,
        platform: &Platform,
        sources: &[String],
    ) -> Result<Option<(String, Option<String>)>, ImageError> {
        if let Some(local) = self.cached_step(parent, container_config, platform)?
            && sources.iter().any(|s| self.is_ancestor(&local, s))
        {
            return Ok(Some((local, None)));
        }
        let base = parent.map(|p| self.resolve(p)).transpose()?;
        let at = base.as_ref().map_or(0, |b| b.config.history.len());
        for source in sources {
            let Ok(image) = self.resolve(source) else { continue };
            let told = |h: &History| h.created_by == created_by(container_config);
            if !stands_on(&image, base.as_deref()) || !image.config.history.get(at).is_some_and(told) {
                continue;
            }
            if image.config.history.len() == at + 1 {
                return Ok(Some((image.id.clone(), None)));
            }
            let id = self.restore(&image, at + 1, container_config, parent)?;
            return Ok(Some((id, Some(image.id.clone()))));
        }
        Ok(None)
    }

    fn is_ancestor(&self, id: &str, of: &str) -> bool {
        const GENERATIONS_MAX: usize = 1000;
        let state = self.state.read();
        let mut at = Some(of.to_owned());
        for _ in 0..GENERATIONS_MAX {
            let Some(this) = at else { return false };
            if this == id {
                return true;
            }
            at = state.images.get(&this).and_then(|e| e.record.parent.clone());
        }
        false
    }

    /// The image as it was after so many steps of its history.
    fn restore(
        &self,
        image: &Arc<Image>,
        steps: usize,
        container_config: &RunConfig,
        parent: Option<&str>,
    ) -> Result<String, ImageError> {
        let mut config = ImageConfig::clone(&image.config);
        config.history.truncate(steps);
        let layers = config.history.iter().filter(|h| !h.empty_layer).count();
        config.rootfs.diff_ids.truncate(layers);
        config.created = config.history.last().and_then(|h| h.created.clone());
        config.config = container_config.clone();
        config.rest.insert(step::CONTAINER_CONFIG.into(), step::to_json(container_config)?);
        let raw = serde_json::to_vec(&config).map_err(|e| ImageError::malformed("image configuration", e))?;
        self.create_image(&raw, parent.map(str::to_owned))
    }
}

/// Whether an image begins with the layers and the history of another.
fn stands_on(image: &Image, base: Option<&Image>) -> bool {
    let Some(base) = base else { return true };
    let (mine, theirs) = (&image.config.history, &base.config.history);
    theirs.len() < mine.len() && mine[..theirs.len()] == theirs[..] && image.layers.starts_with(&base.layers)
}
