//! `config`.
use super::blob::{self, Configs};
use super::{noun, verbs};

verbs! {
    /// What can be done with configs.
    Verb;
    /// Create a config from a file or STDIN
    Create => blob::Create<Configs>,
    /// Display detailed information on one or more configs
    Inspect => blob::Inspect<Configs>,
    /// List configs
    #[command(alias = "list")]
    Ls => blob::List<Configs>,
    /// Remove one or more configs
    #[command(alias = "remove")]
    Rm => blob::Remove<Configs>,
}
noun!(Config, Verb);
