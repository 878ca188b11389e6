//! Images: references, the content store, layers, load, save, import, commit, pull, push, the steps of a build,
//! and the root filesystems of containers.
//!
//! [`Images`] is the handle everybody uses; its blocking work runs on tokio's blocking threads. A layer is unpacked
//! once, in overlayfs' own format, under its diff id, and shared by every container; its tar is not kept but can be
//! put together again byte by byte (`layer::recipe`), which is how `save` and `push` honour the digests.
#![forbid(unsafe_code)]

mod archive;
pub mod build;
pub mod config;
pub mod digest;
pub mod download;
pub mod error;
mod handle;
pub mod instructions;
mod layer;
pub mod reference;
mod registry;
mod rootfs;
mod store;
pub mod types;

pub use config::{Empty, Healthcheck, History, ImageConfig, RunConfig};
pub use error::{ErrorKind, ImageError};
pub use handle::Images;
pub use layer::Limits;
pub use reference::{AnyReference, Reference, ReferenceError};
pub use registry::RegistrySettings;
pub use registry::search::Found;
pub use types::*;
