//! What goes in and out of the store, as plain data.
use crate::config::ImageConfig;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// One image.
#[derive(Clone, Debug)]
pub struct Image {
    /// `sha256:…` of the configuration file.
    pub id: String,
    /// The configuration.
    pub config: Arc<ImageConfig>,
    /// The very bytes of the configuration file.
    pub raw_config: Arc<[u8]>,
    /// `busybox:latest`, sorted.
    pub repo_tags: Vec<String>,
    /// `busybox@sha256:…`, sorted.
    pub repo_digests: Vec<String>,
    /// Bytes of all its layers, unpacked.
    pub size: u64,
    /// When it was made, nanoseconds since the epoch (0 if the configuration does not say).
    pub created_unix_nanos: i64,
    /// When a name last moved to it, nanoseconds since the epoch (0 = never).
    pub last_tagged_unix_nanos: i64,
    /// The image it was built or committed on, if that is in the store.
    pub parent: Option<String>,
    /// Diff ids of its layers, bottom first.
    pub layers: Vec<String>,
}

impl Image {
    /// Whether no tag and no digest names it.
    pub fn is_dangling(&self) -> bool {
        self.repo_tags.is_empty()
    }
}

/// A container that uses an image, as the caller of [`crate::Images::remove`] knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUse {
    /// Container id.
    pub container_id: String,
    /// `sha256:…`.
    pub image_id: String,
    /// Whether it runs.
    pub running: bool,
}

/// One line of the answer to a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(String),
    /// An image or layer is gone.
    Deleted(String),
}

/// One line of `docker history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryItem {
    /// `sha256:…`, or `<missing>`.
    pub id: String,
    /// Seconds since the epoch.
    pub created_unix_seconds: i64,
    /// Command.
    pub created_by: String,
    /// Names.
    pub tags: Vec<String>,
    /// Bytes of the layer.
    pub size: u64,
    /// Comment.
    pub comment: String,
}

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What was taken away.
    pub removed: Vec<Removed>,
    /// Bytes given back.
    pub space_reclaimed: u64,
}

/// A line of Docker's JSON progress stream (`{"status":…,"id":…,"progressDetail":{…}}`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub status: String,
    /// Short layer id or tag; empty for the whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// How far.
    #[serde(rename = "progressDetail", default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<ProgressDetail>,
    /// Bar text, `[==>   ]  1.2MB/4MB`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// Extra object at the end of a push (`{"Tag","Digest","Size"}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

/// How far a step is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressDetail {
    /// Bytes done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// Bytes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// Where progress goes. A receiver that is gone cancels the work.
pub type ProgressSink = tokio::sync::mpsc::Sender<Progress>;

/// Credentials for a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// None.
    #[default]
    Anonymous,
    /// User and password.
    Basic {
        /// User.
        username: String,
        /// Password.
        password: String,
    },
    /// A registry token that is used as it is.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// Which manifest of an index is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// `v8`, or empty.
    pub variant: String,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        Self { os: "linux".into(), architecture: crate::config::host_architecture().into(), variant: String::new() }
    }
    /// Reads `os/arch[/variant]`, or a bare `os` or `arch`.
    ///
    /// # Errors
    /// In containerd's words, which clients know.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let normal = |arch: &str| match arch {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            "i386" => "386".to_owned(),
            other => other.to_owned(),
        };
        let system = |os: &str| match os.to_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let of = |os: &str, arch: &str, variant: &str| {
            Ok(Self { os: system(os), architecture: normal(arch), variant: variant.to_owned() })
        };
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if let Some(part) = parts.iter().find(|p| !is_word(p)) {
            return Err(PlatformError::Component { part: (*part).to_owned(), text: text.to_owned() });
        }
        match parts[..] {
            // Any pair is taken as it is; a single word must be known to be one or the other.
            [os] if SYSTEMS.contains(&system(os).as_str()) => Ok(Self { os: system(os), ..Self::host() }),
            [arch] if ARCHITECTURES.contains(&normal(arch).as_str()) => of("linux", arch, ""),
            [os, arch] => of(os, arch, ""),
            [os, arch, variant] => of(os, arch, variant),
            _ => Err(PlatformError::Unknown(text.to_owned())),
        }
    }
}

/// Why a text names no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// A part of it can name nothing.
    #[error(
        "\"{part}\" is an invalid component of \"{text}\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component {
        /// The part.
        part: String,
        /// The whole.
        text: String,
    },
    /// Nobody knows it.
    #[error("\"{0}\": unknown operating system or architecture: invalid argument")]
    Unknown(String),
}

/// Go's names of operating systems.
const SYSTEMS: [&str; 14] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

/// Go's names of architectures.
pub const ARCHITECTURES: [&str; 12] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64le", "riscv64", "s390x"];

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

/// Answer of `GET /distribution/{name}/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionInfo {
    /// Media type of the manifest.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size.
    pub size: u64,
    /// Platforms it serves.
    pub platforms: Vec<Platform>,
}

/// A container's root filesystem, mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rootfs {
    /// The merged tree: what the container gets as `/`.
    pub merged: PathBuf,
    /// What the container wrote.
    pub upper: PathBuf,
    /// Overlayfs' own directory.
    pub work: PathBuf,
    /// Lower directories, topmost first.
    pub lower: Vec<PathBuf>,
}

/// One line of `docker diff`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute path.
    pub path: String,
    /// What happened.
    pub kind: ChangeKind,
}

/// `C`, `A`, `D`, with Docker's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// 0
    Modified = 0,
    /// 1
    Added = 1,
    /// 2
    Deleted = 2,
}

/// What `docker cp` is told about a path (the `X-Docker-Container-Path-Stat` header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// Base name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `st_mode`.
    pub mode: u32,
    /// The same in Go's `os.FileMode` bits, as the header carries it.
    pub go_mode: u32,
    /// Nanoseconds since the epoch.
    pub mtime_unix_nanos: i64,
    /// Where a symbolic link leads, resolved inside the container; empty otherwise.
    pub link_target: String,
}

/// How a tar is unpacked into a container (`PUT /containers/{id}/archive`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// `noOverwriteDirNonDir=1`: a directory may not replace a file, nor a file a directory.
    pub no_overwrite_dir_non_dir: bool,
    /// `copyUIDGID=1`: keep the owners of the tar (they are kept anyway unless `owner` is given).
    pub owner: Option<(u32, u32)>,
}

/// What `commit` is told besides the files.
#[derive(Clone, Debug, Default)]
pub struct CommitSpec {
    /// Container id.
    pub container_id: String,
    /// Image the container was made from (`sha256:…`).
    pub image_id: String,
    /// The container's run configuration; the image's is its base where this says nothing.
    pub config: crate::config::RunConfig,
    /// `--change` instructions.
    pub changes: Vec<String>,
    /// Author.
    pub author: String,
    /// Message.
    pub comment: String,
    /// Command the container ran, for the history.
    pub created_by: String,
    /// Name for the new image.
    pub reference: Option<crate::Reference>,
}

/// Numbers for `docker system df`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all layers, each counted once.
    pub layers_size: u64,
    /// Per image: id, bytes, bytes shared with other images.
    pub images: Vec<ImageUsage>,
}

/// One image in [`Usage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUsage {
    /// Image id.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// Bytes of layers that another image has too.
    pub shared_size: u64,
}

/// Which images a prune takes.
#[derive(Clone, Debug)]
pub struct PruneFilter {
    /// Only images without a tag (Docker's default).
    pub dangling_only: bool,
    /// Only images made before this, nanoseconds since the epoch.
    pub until_unix_nanos: Option<i64>,
    /// `label` filters, `key` or `key=value`; all must fit.
    pub labels: Vec<String>,
    /// `label!` filters; none may fit.
    pub not_labels: Vec<String>,
}

impl Default for PruneFilter {
    fn default() -> Self {
        Self { dangling_only: true, until_unix_nanos: None, labels: Vec::new(), not_labels: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_of_one_word_must_be_a_known_one() {
        for (text, want) in [
            ("arm64", Some("linux/arm64")),
            ("x86_64", Some("linux/amd64")),
            ("linux/arm/v7", Some("linux/arm/v7")),
            ("plan9/mips", Some("plan9/mips")),
            ("foobar", None),
            ("linux/", None),
        ] {
            assert_eq!(Platform::parse(text).ok().map(|p| p.to_string()).as_deref(), want, "{text}");
        }
    }
}
