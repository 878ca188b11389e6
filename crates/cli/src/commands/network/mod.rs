//! Networks.
mod connect;
mod create;
mod inspect;
mod ls;
pub(crate) mod prune;
mod rm;

use super::{noun, verbs};

verbs! {
    /// What can be done with networks.
    Verb;
    /// Connect a container to a network
    Connect => connect::Connect,
    /// Create a network
    Create => create::Create,
    /// Disconnect a container from a network
    Disconnect => connect::Disconnect,
    /// Display detailed information on one or more networks
    Inspect => inspect::Inspect,
    /// List networks
    #[command(alias = "list")]
    Ls => ls::List,
    /// Remove all unused networks
    Prune => prune::Prune,
    /// Remove one or more networks
    #[command(alias = "remove")]
    Rm => rm::Remove,
}
noun!(Network, Verb);
