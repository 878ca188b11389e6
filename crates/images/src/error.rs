//! What can go wrong with images, in Docker's sentences.
use crate::reference::ReferenceError;
use std::{
    io,
    path::{Path, PathBuf},
};

/// What kind of no an [`ImageError`] is; callers map it to an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 404
    NotFound,
    /// 400
    Invalid,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 409
    Conflict,
    /// 501
    Unimplemented,
    /// 503
    Unavailable,
    /// 500
    Internal,
}

/// A failed image operation. `Display` is the sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No image answers to this name or id.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// No tag or digest of this name in the local store (push, save).
    #[error("An image does not exist locally with the tag: {0}")]
    NoSuchTag(String),
    /// No container root filesystem of this id.
    #[error("no root filesystem for container {0}")]
    NoSuchRootfs(String),
    /// A path inside a container's filesystem is missing.
    #[error("Could not find the file {path} in container {container}")]
    NoSuchPath {
        /// Container id.
        container: String,
        /// Path as asked for.
        path: String,
    },
    /// The reference cannot be parsed.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A `--change` instruction or another argument is wrong.
    #[error("{0}")]
    InvalidArgument(String),
    /// A file where a directory is, or the other way round. Docker does not hold that against the client.
    #[error("{0}")]
    Overwrite(String),
    /// A tar stream, manifest or configuration is malformed.
    #[error("{what}: {why}")]
    Malformed {
        /// What was being read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A layer wants to write outside of its tree.
    #[error("unpacking {entry:?}: {why}")]
    HostileLayer {
        /// The entry.
        entry: String,
        /// Why it is refused.
        why: String,
    },
    /// A layer is beyond a limit.
    #[error("layer refused: {what} exceeds the limit of {limit}")]
    LayerLimit {
        /// Which number.
        what: &'static str,
        /// Its limit.
        limit: u64,
    },
    /// Content does not have the digest that was promised.
    #[error("filesystem layer verification failed for digest {expected}: got {actual}")]
    DigestMismatch {
        /// What was promised.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The image is in use or has dependents (Docker's conflict sentence).
    #[error("conflict: {0}")]
    Conflict(String),
    /// More layers than the overlay mount takes.
    #[error("max depth exceeded")]
    MaxDepth,
    /// An entry of the store cannot be read; the rest of the store works.
    #[error("image store entry {path:?} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The registry says no to a pull.
    #[error(
        "pull access denied for {0}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
    )]
    PullDenied(String),
    /// The registry says no to a push.
    #[error("{0}")]
    PushDenied(String),
    /// The registry wants (other) credentials.
    #[error("{0}")]
    Unauthorized(String),
    /// The registry does not know this manifest.
    #[error("manifest for {name} not found: manifest unknown: {detail}")]
    ManifestUnknown {
        /// Familiar reference.
        name: String,
        /// The registry's words.
        detail: String,
    },
    /// The registry does not know the repository.
    #[error("repository {name} not found: name unknown: {detail}")]
    RepositoryUnknown {
        /// Familiar name.
        name: String,
        /// The registry's words.
        detail: String,
    },
    /// No such tag in a repository that is to be pushed.
    #[error("tag does not exist: {0}")]
    TagDoesNotExist(String),
    /// An index holds no manifest for the wanted platform.
    #[error("no matching manifest for {0} in the manifest list entries")]
    NoPlatform(String),
    /// The registry cannot be reached, or failed.
    #[error("{0}")]
    Registry(String),
    /// Not supported, by name.
    #[error("{0}")]
    Unimplemented(String),
    /// The caller went away.
    #[error("operation was cancelled")]
    Cancelled,
    /// The system refused.
    #[error("{what} {path}: {source}")]
    Io {
        /// Verb.
        what: &'static str,
        /// Object.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A worker thread died; a defect of ours.
    #[error("image worker failed: {0}")]
    Worker(String),
}

impl ImageError {
    /// Which HTTP status this deserves.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchImage(_)
            | Self::NoSuchRootfs(_)
            | Self::NoSuchPath { .. }
            | Self::ManifestUnknown { .. }
            | Self::RepositoryUnknown { .. }
            | Self::NoPlatform(_)
            | Self::TagDoesNotExist(_)
            | Self::PullDenied(_) => ErrorKind::NotFound,
            Self::Reference(_) | Self::InvalidArgument(_) => ErrorKind::Invalid,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Unauthorized(_) => ErrorKind::Unauthorized,
            Self::PushDenied(_) => ErrorKind::Forbidden,
            Self::Unimplemented(_) => ErrorKind::Unimplemented,
            Self::NoSuchTag(_) => ErrorKind::NotFound,
            Self::Malformed { .. }
            | Self::HostileLayer { .. }
            | Self::LayerLimit { .. }
            | Self::DigestMismatch { .. }
            | Self::MaxDepth
            | Self::Damaged { .. }
            | Self::Registry(_)
            | Self::Cancelled
            | Self::Overwrite(_)
            | Self::Io { .. }
            | Self::Worker(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Malformed { what: what.into(), why: why.to_string() }
    }
}

/// Names the object of a failed system call.
pub(crate) trait IoContext<T> {
    fn at(self, what: &'static str, path: impl AsRef<Path>) -> Result<T, ImageError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, what: &'static str, path: impl AsRef<Path>) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::Io { what, path: path.as_ref().display().to_string(), source })
    }
}
