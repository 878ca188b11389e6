//! Images.
pub(crate) mod build;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod load;
pub(crate) mod ls;
pub(crate) mod progress;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rm;
pub(crate) mod save;
pub(crate) mod search;
pub(crate) mod tag;

use super::{noun, verbs};

verbs! {
    /// What can be done with images.
    Verb;
    /// Build an image from a Dockerfile
    Build => build::Build,
    /// Show the history of an image
    History => history::History,
    /// Import the contents from a tarball to create a filesystem image
    Import => import::Import,
    /// Display detailed information on one or more images
    Inspect => inspect::Inspect,
    /// Load an image from a tar archive or STDIN
    Load => load::Load,
    /// List images
    #[command(alias = "list")]
    Ls => ls::List,
    /// Remove unused images
    Prune => prune::Prune,
    /// Download an image from a registry
    Pull => pull::Pull,
    /// Upload an image to a registry
    Push => push::Push,
    /// Remove one or more images
    #[command(alias = "remove")]
    Rm => rm::Remove,
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save => save::Save,
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag => tag::Tag,
}
noun!(Image, Verb);
