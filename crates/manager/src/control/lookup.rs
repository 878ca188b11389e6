//! By full id, then exact name, then prefix of the id.
use super::Control;
use model::{Config, Network, Node, ObjectKind, ObjectRef, Secret, Service, Tables, Task};
use std::sync::Arc;
use wire::Refusal;

impl Control {
    /// A service.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when several match.
    pub fn find_service(&self, wanted: &str) -> Result<Arc<Service>, Refusal> {
        service(&self.tables(), wanted)
    }
    /// A node, also by hostname.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when several match.
    pub fn find_node(&self, wanted: &str) -> Result<Arc<Node>, Refusal> {
        self.node_of(&self.tables(), wanted)
    }

    pub(super) fn node_of(&self, tables: &Tables, wanted: &str) -> Result<Arc<Node>, Refusal> {
        node(tables, if wanted == "self" { self.own.as_str() } else { wanted })
    }

    /// A task, also by its whole name.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when several match.
    pub fn find_task(&self, wanted: &str) -> Result<Arc<Task>, Refusal> {
        task(&self.tables(), wanted)
    }
    /// A swarm network.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when several match.
    pub fn find_network(&self, wanted: &str) -> Result<Arc<Network>, Refusal> {
        network(&self.tables(), wanted)
    }
    /// A secret.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when several match.
    pub fn find_secret(&self, wanted: &str) -> Result<Arc<Secret>, Refusal> {
        secret(&self.tables(), wanted)
    }
    /// A config.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when several match.
    pub fn find_config(&self, wanted: &str) -> Result<Arc<Config>, Refusal> {
        config(&self.tables(), wanted)
    }
}

/// Id first, then name, then prefix.
fn find<'a, T>(
    kind: &str,
    wanted: &str,
    all: impl Iterator<Item = &'a Arc<T>> + Clone,
    id: impl Fn(&T) -> &str,
    name: impl Fn(&T, &str) -> bool,
) -> Result<Arc<T>, Refusal>
where
    T: 'a,
{
    if let Some(exact) = all.clone().find(|o| id(o) == wanted) {
        return Ok(exact.clone());
    }
    let tests: [&dyn Fn(&T) -> bool; 2] = [&|o| name(o, wanted), &|o| !wanted.is_empty() && id(o).starts_with(wanted)];
    for (test, based_on) in tests.into_iter().zip(["name", "ID prefix"]) {
        let matches: Vec<&Arc<T>> = all.clone().filter(|o| test(o)).collect();
        match matches.as_slice() {
            [] => {}
            [one] => return Ok((*one).clone()),
            more => {
                let basis = if kind == "network" { format!(" based on {based_on}") } else { String::new() };
                let text = format!("{kind} {wanted} is ambiguous ({} matches found{basis})", more.len());
                return Err(Refusal::invalid(text));
            }
        }
    }
    Err(Refusal::not_found(format!("{kind} {wanted} not found")))
}

pub(super) fn service(tables: &Tables, wanted: &str) -> Result<Arc<Service>, Refusal> {
    // Names are unique without regard to case; a look-up by name is exact.
    if let Some(ObjectRef::Service(id)) = tables.by_name(ObjectKind::Service, wanted)
        && let Some(s) = tables.service(id).filter(|s| s.spec.name == wanted)
        && wanted.len() != 25
    {
        return Ok(s.clone());
    }
    let all: Vec<&Arc<Service>> = tables.services().collect();
    find("service", wanted, all.into_iter(), |s| s.id.as_str(), |s, w| s.spec.name == w)
}

pub(super) fn node(tables: &Tables, wanted: &str) -> Result<Arc<Node>, Refusal> {
    let all: Vec<&Arc<Node>> = tables.nodes().collect();
    let named = |n: &Node, w: &str| {
        n.spec.name == w && !w.is_empty() || n.description.as_ref().is_some_and(|d| d.hostname == w)
    };
    find("node", wanted, all.into_iter(), |n| n.id.as_str(), named)
}

pub(super) fn task(tables: &Tables, wanted: &str) -> Result<Arc<Task>, Refusal> {
    if let Some(t) = wanted.parse().ok().and_then(|id| tables.task(&id)) {
        return Ok(t.clone());
    }
    let all: Vec<&Arc<Task>> = tables.tasks().collect();
    find("task", wanted, all.into_iter(), |t| t.id.as_str(), |t, w| t.container_name() == w)
}

pub(super) fn network(tables: &Tables, wanted: &str) -> Result<Arc<Network>, Refusal> {
    let all: Vec<&Arc<Network>> = tables.networks().collect();
    find("network", wanted, all.into_iter(), |n| n.id.as_str(), |n, w| n.spec.name == w)
}

pub(super) fn secret(tables: &Tables, wanted: &str) -> Result<Arc<Secret>, Refusal> {
    let all: Vec<&Arc<Secret>> = tables.secrets().collect();
    find("secret", wanted, all.into_iter(), |s| s.id.as_str(), |s, w| s.spec.name == w)
}

pub(super) fn config(tables: &Tables, wanted: &str) -> Result<Arc<Config>, Refusal> {
    let all: Vec<&Arc<Config>> = tables.configs().collect();
    find("config", wanted, all.into_iter(), |c| c.id.as_str(), |c, w| c.spec.name == w)
}
