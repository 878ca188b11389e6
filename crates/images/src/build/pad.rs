//! A place to write on top of an image: an overlay that lives as long as its handle.
use crate::{
    error::{ImageError, IoContext},
    layer::writer::Staging,
    store::{Lease, Store},
};
use kernel::{
    beneath::{Dir, Root},
    overlay::{self, Overlay},
};
use std::{fs, path::PathBuf, sync::Arc};

pub(crate) struct Pad {
    dir: Staging,
    mounted: bool,
    _layers: Vec<Lease>,
}

impl Pad {
    /// On top of an image, or on nothing.
    pub(crate) fn open(store: &Arc<Store>, image: Option<&str>) -> Result<Self, ImageError> {
        let layers = match image {
            Some(image) => store.resolve(image)?.layers.clone(),
            None => Vec::new(),
        };
        let leases: Vec<Lease> = layers
            .iter()
            .map(|l| store.lease(l).ok_or_else(|| ImageError::NoSuchImage(image.unwrap_or_default().to_owned())))
            .collect::<Result<_, _>>()?;
        let dir = store.staging()?;
        for part in ["upper", "work", "merged"] {
            fs::create_dir(dir.path().join(part)).at("create", dir.path())?;
        }
        let mut pad = Self { dir, mounted: false, _layers: leases };
        if let Some(top) = layers.last() {
            let from = Dir::open(&store.paths.layer(top).join("diff")).at("open", top)?;
            let to = Dir::open(&pad.upper()).at("open", pad.upper())?;
            to.copy_attributes_from(&from).at("set attributes of", pad.upper())?;
            let overlay = Overlay {
                lower_base: store.paths.links(),
                lower: store.links_of(&layers)?,
                upper: Some((pad.upper(), pad.dir.path().join("work"))),
                target: pad.dir.path().join("merged"),
            };
            overlay.mount().at("mount overlay at", &overlay.target)?;
            pad.mounted = true;
        }
        Ok(pad)
    }

    /// What is written.
    pub(crate) fn upper(&self) -> PathBuf {
        self.dir.path().join("upper")
    }

    /// What is seen.
    pub(crate) fn merged(&self) -> PathBuf {
        if self.mounted { self.dir.path().join("merged") } else { self.upper() }
    }

    pub(crate) fn root(&self) -> Result<Root, ImageError> {
        let merged = self.merged();
        Root::open(&merged).at("open", merged)
    }
}

impl Drop for Pad {
    fn drop(&mut self) {
        if self.mounted
            && let Err(e) = overlay::unmount(&self.dir.path().join("merged"))
        {
            tracing::warn!(path = %self.dir.path().display(), error = %e, "cannot unmount a build's layer");
        }
    }
}
