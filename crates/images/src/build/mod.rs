//! What a build does with trees: reading its context, copying into a layer, making the next image, finding one that was
//! made the same way before.
//!
//! Nothing of a context is trusted: it is unpacked below a directory of its own, every path in it is resolved below
//! that, and so is every path in an image.
pub(crate) mod cache;
pub(crate) mod context;
mod copy;
mod owner;
pub(crate) mod pad;
pub(crate) mod sources;
pub(crate) mod squash;
pub(crate) mod step;

pub use context::Context;

use crate::{config::RunConfig, types::Platform};

/// Where `COPY` and `ADD` read.
#[derive(Clone, Debug)]
pub enum SourceTree {
    /// The build context.
    Context(Context),
    /// An image, by id.
    Image(String),
    /// `FROM scratch`: nothing.
    Nothing,
}

/// One thing that is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is in its tree, without leading slash; empty: the tree itself.
    pub path: String,
    /// `file:…` or `dir:…`: changes with its content, names, modes and links, not with its times.
    pub hash: String,
}

/// `COPY` or `ADD`, with everything looked up.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What, and from where.
    pub parts: Vec<Part>,
    /// Where to: absolute; a slash at the end means a directory.
    pub destination: String,
    /// `user[:group]`; empty: root.
    pub chown: String,
    /// Keep the owners that the tree has (`--from` without `--chown`).
    pub keep_owners: bool,
}

/// Things from one tree.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where from.
    pub from: SourceTree,
    /// What.
    pub found: Vec<Found>,
    /// Unpack archives (`ADD` from the context).
    pub extract: bool,
}

/// What a step changes in the file system.
#[derive(Clone, Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// What a container wrote.
    Container(String),
    /// Files.
    Copy(Copy),
    /// A directory is made if it is missing.
    Directory(String),
}

/// From one image to the next.
#[derive(Clone, Debug)]
pub struct BuildStep {
    /// Image that this one is made on; none: `FROM scratch`.
    pub parent: Option<String>,
    /// For `FROM scratch`.
    pub platform: Platform,
    /// Files.
    pub change: Change,
    /// Configuration of the new image.
    pub config: RunConfig,
    /// The configuration of the container that would make it: what the cache goes by.
    pub container_config: RunConfig,
    /// `MAINTAINER`.
    pub author: String,
}

impl BuildStep {
    /// What the history tells.
    fn created_by(&self) -> String {
        created_by(&self.container_config)
    }
}

fn created_by(container_config: &RunConfig) -> String {
    container_config.cmd.as_deref().unwrap_or_default().join(" ")
}
