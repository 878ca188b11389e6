//! Why a task waits: each node's reason as data, and Docker's sentence about all of them.
use super::filter::{self, Requirements, refuse};
use super::load::NodeLoad;
use model::{Node, NodeId, Tables, Task};
use std::collections::BTreeMap;
use std::fmt;

/// Why one node may not have a task. The order is that of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Down, paused or drained.
    NotAvailable,
    /// Not enough of what is reserved.
    Resources,
    /// No such log driver.
    Plugin,
    /// A placement constraint.
    Constraints,
    /// Not the image's platform.
    Platform,
    /// Another task holds the port.
    HostPort,
    /// Enough tasks of the service already.
    MaxReplicas,
}

impl Refusal {
    /// About one node.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAvailable => "is not available for new tasks: down, paused or drained",
            Self::Resources => "has too little left of what is reserved",
            Self::Plugin => "lacks the log driver",
            Self::Constraints => "does not satisfy a placement constraint",
            Self::Platform => "is of another platform than the image",
            Self::HostPort => "has another task on the host-mode port",
            Self::MaxReplicas => "has its max replicas per node",
        }
    }

    /// Docker's words for `n` nodes.
    fn text(self, n: usize) -> String {
        let nodes = if n == 1 { "1 node".to_owned() } else { format!("{n} nodes") };
        match self {
            Self::NotAvailable => format!("{nodes} not available for new tasks"),
            Self::Resources => format!("insufficient resources on {nodes}"),
            Self::Plugin => format!("missing plugin on {nodes}"),
            Self::Constraints => format!("scheduling constraints not satisfied on {nodes}"),
            Self::Platform => format!("unsupported platform on {nodes}"),
            Self::HostPort => format!("host-mode port already in use on {nodes}"),
            Self::MaxReplicas => "max replicas per node limit exceed".to_owned(),
        }
    }
}

/// The reasons of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(BTreeMap<NodeId, Refusal>);

impl Refusals {
    pub(crate) fn add(&mut self, node: &NodeId, why: Refusal) {
        self.0.insert(node.clone(), why);
    }
    /// Node by node.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, Refusal)> {
        self.0.iter().map(|(n, r)| (n, *r))
    }
}

impl fmt::Display for Refusals {
    /// `no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)`: most nodes first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<Refusal, usize> = BTreeMap::new();
        for why in self.0.values() {
            *counts.entry(*why).or_default() += 1;
        }
        let mut sorted: Vec<_> = counts.into_iter().collect();
        sorted.sort_by_key(|(why, n)| (std::cmp::Reverse(*n), *why));
        let texts: Vec<_> = sorted.into_iter().map(|(why, n)| why.text(n)).collect();
        if texts.is_empty() {
            f.write_str("no suitable node")
        } else {
            write!(f, "no suitable node ({})", texts.join("; "))
        }
    }
}

/// Which nodes a waiting task could have now (`None`), and why not the others: the kind of reason, and a sentence with
/// what is asked and what is there.
pub fn explain(tables: &Tables, task: &Task) -> Vec<(NodeId, Option<(Refusal, String)>)> {
    let requirements = Requirements::of(task);
    let one = |node: &std::sync::Arc<Node>| {
        let mut load = NodeLoad::default();
        tables.tasks_on_node(&node.id).filter(|t| t.id != task.id).for_each(|t| load.add(t));
        let why = refuse(&requirements, node, &load);
        (node.id.clone(), why.map(|why| (why, filter::explain(&requirements, node, &load, why))))
    };
    // A task that is tied to a node has no other.
    match &task.node {
        Some(id) => tables.node(id).map(one).into_iter().collect(),
        None => tables.nodes().map(one).collect(),
    }
}

/// The first few nodes with their reasons: `n1: is drained; n2: 4 CPUs asked, 1 CPUs of 4 CPUs free; and 3 more`.
pub(crate) fn node_by_node<'n>(
    requirements: &Requirements,
    refusals: &Refusals,
    node: impl Fn(&NodeId) -> Option<(&'n Node, &'n NodeLoad)>,
) -> String {
    const NODES_MAX: usize = 5;
    let mut texts = Vec::new();
    for (id, why) in refusals.iter().take(NODES_MAX) {
        let Some((node, load)) = node(id) else { continue };
        let name = node.description.as_ref().map(|d| d.hostname.as_str()).filter(|h| !h.is_empty());
        let name = name.unwrap_or(id.as_str());
        texts.push(format!("{name}: {}", filter::explain(requirements, node, load, why)));
    }
    if refusals.0.len() > NODES_MAX {
        texts.push(format!("and {} more", refusals.0.len() - NODES_MAX));
    }
    texts.join("; ")
}
