//! Volumes.
mod create;
mod inspect;
mod ls;
pub(crate) mod prune;
mod rm;

use super::{noun, verbs};

verbs! {
    /// What can be done with volumes.
    Verb;
    /// Create a volume
    Create => create::Create,
    /// Display detailed information on one or more volumes
    Inspect => inspect::Inspect,
    /// List volumes
    #[command(alias = "list")]
    Ls => ls::List,
    /// Remove unused local volumes
    Prune => prune::Prune,
    /// Remove one or more volumes
    #[command(alias = "remove")]
    Rm => rm::Remove,
}
noun!(Volume, Verb);
