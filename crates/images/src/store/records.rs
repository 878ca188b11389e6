//! What the store's JSON files hold.
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// `images/<hex>.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub id: String,
    /// Full name with tag → when it moved here, nanoseconds since the epoch. The later one wins if a crash left two.
    #[serde(default)]
    pub tags: BTreeMap<String, i64>,
    /// Full names with digest.
    #[serde(default)]
    pub digests: Vec<String>,
    #[serde(default)]
    pub parent: Option<String>,
    /// By a build of this machine: such images are the build cache.
    #[serde(default)]
    pub built: bool,
    #[serde(default)]
    pub last_tagged_unix_nanos: i64,
}

/// `layers/<hex>/layer.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub diff_id: String,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes of its tar, once known.
    #[serde(default)]
    pub tar_size: u64,
    /// Name in `l/`.
    pub link: String,
    /// Contents that were replaced within the layer: number in the recipe → path in the layer's directory.
    #[serde(default)]
    pub moved: BTreeMap<u64, PathBuf>,
    /// In which boot it was written, while it is not known to be on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsynced_boot: Option<String>,
    /// Packed forms that registries have or had.
    #[serde(default)]
    pub blobs: Vec<KnownBlob>,
}

/// A packed form of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownBlob {
    pub digest: String,
    pub size: u64,
    pub media_type: String,
}

/// `mounts/<container>/rootfs.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootfsRecord {
    pub image_id: String,
    /// Bottom first.
    pub layers: Vec<String>,
}
