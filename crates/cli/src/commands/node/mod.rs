//! Nodes.
mod inspect;
mod ls;
mod ps;
mod rm;
mod update;

use super::{noun, verbs};

verbs! {
    /// What can be done with nodes.
    Verb;
    /// Demote one or more nodes from manager in the swarm
    Demote => update::Demote,
    /// Display detailed information on one or more nodes
    Inspect => inspect::Inspect,
    /// List nodes in the swarm
    #[command(alias = "list")]
    Ls => ls::List,
    /// Promote one or more nodes to manager in the swarm
    Promote => update::Promote,
    /// List tasks running on one or more nodes, defaults to current node
    Ps => ps::Tasks,
    /// Remove one or more nodes from the swarm
    #[command(alias = "remove")]
    Rm => rm::Remove,
    /// Update a node
    Update => update::Update,
}
noun!(Node, Verb);
