//! Configs.
mod create;
mod inspect;
mod ls;
mod rm;

use super::{noun, verbs};

verbs! {
    /// What can be done with configs.
    Verb;
    /// Create a config from a file or STDIN
    Create => create::Create,
    /// Display detailed information on one or more configs
    Inspect => inspect::Inspect,
    /// List configs
    #[command(alias = "list")]
    Ls => ls::List,
    /// Remove one or more configs
    #[command(alias = "remove")]
    Rm => rm::Remove,
}
noun!(Config, Verb);
