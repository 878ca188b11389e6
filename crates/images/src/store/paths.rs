//! Where things are below the store's root.
//!
//! ```text
//! layers/<diff hex>/{diff/,recipe.zst,layer.json,shadow/}   l/<short> → ../layers/<diff hex>/diff
//! blobs/sha256/<hex>  configurations         images/<hex>.json  names and parent of one image
//! init/<chain hex>/diff  mount points of a stack of layers
//! mounts/<container>/{rootfs.json,upper/,work/,merged/}     staging/  what is not finished, emptied at open
//! ```
use crate::digest::hex_of;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }
    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }
    pub(crate) fn layer(&self, diff_id: &str) -> PathBuf {
        self.layers().join(hex_of(diff_id))
    }
    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("l")
    }
    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.blobs().join(hex_of(digest))
    }
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }
    pub(crate) fn image(&self, id: &str) -> PathBuf {
        self.images().join(format!("{}.json", hex_of(id)))
    }
    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }
    pub(crate) fn init(&self) -> PathBuf {
        self.root.join("init")
    }
    pub(crate) fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }
    pub(crate) fn mount(&self, container: &str) -> PathBuf {
        self.mounts().join(container)
    }
}
