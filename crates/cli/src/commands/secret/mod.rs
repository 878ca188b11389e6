//! Secrets.
mod create;
mod inspect;
mod ls;
mod rm;

use super::{noun, verbs};

verbs! {
    /// What can be done with secrets.
    Verb;
    /// Create a secret from a file or STDIN
    Create => create::Create,
    /// Display detailed information on one or more secrets
    Inspect => inspect::Inspect,
    /// List secrets
    #[command(alias = "list")]
    Ls => ls::List,
    /// Remove one or more secrets
    #[command(alias = "remove")]
    Rm => rm::Remove,
}
noun!(Secret, Verb);
