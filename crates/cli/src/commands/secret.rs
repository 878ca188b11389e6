//! `secret`.
use super::blob::{self, Secrets};
use super::{noun, verbs};

verbs! {
    /// What can be done with secrets.
    Verb;
    /// Create a secret from a file or STDIN
    Create => blob::Create<Secrets>,
    /// Display detailed information on one or more secrets
    Inspect => blob::Inspect<Secrets>,
    /// List secrets
    #[command(alias = "list")]
    Ls => blob::List<Secrets>,
    /// Remove one or more secrets
    #[command(alias = "remove")]
    Rm => blob::Remove<Secrets>,
}
noun!(Secret, Verb);
