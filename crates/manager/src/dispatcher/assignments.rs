//! Which work a node shall know of: everything first, then what changed.
use model::{Config, ConfigId, DesiredState, NetworkTarget, NodeId, Secret, SecretId, Tables, Task, TaskId, TaskState};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::agent::{Assignment, Assignments};

/// What a session has sent so far.
#[derive(Default)]
pub struct Sent {
    sequence: u64,
    tasks: BTreeMap<TaskId, (Arc<Task>, Option<u64>)>,
    secrets: BTreeMap<SecretId, Arc<Secret>>,
    configs: BTreeMap<ConfigId, Arc<Config>>,
}

impl Sent {
    /// What must be sent to make the node know what `tables` say; `None` when it knows.
    pub fn next(&mut self, tables: &Tables, node: &NodeId) -> Option<Assignments> {
        let mut out = Assignments::default();
        let mut tasks = BTreeMap::new();
        let mut secrets: BTreeMap<SecretId, Arc<Secret>> = BTreeMap::new();
        let mut configs: BTreeMap<ConfigId, Arc<Config>> = BTreeMap::new();
        for task in tables.tasks_on_node(node).filter(|t| t.status.state >= TaskState::Assigned) {
            let before = self.tasks.remove(&task.id);
            let stop_after = stop_after(task, before.as_ref().and_then(|(_, after)| *after));
            let same = before.as_ref().is_some_and(|(old, after)| {
                *after == stop_after && (Arc::ptr_eq(old, task) || same_but_for_status(old, task))
            });
            if !same {
                let assignment = Assignment { task: (**task).clone(), stop_after };
                out.tasks.insert(task.id.clone(), Some(assignment));
            }
            tasks.insert(task.id.clone(), (task.clone(), stop_after));
            if !task.status.state.is_terminal()
                && let Some(c) = &task.spec.container
            {
                secrets.extend(c.secrets.iter().filter_map(|r| Some((r.id.clone(), tables.secret(&r.id)?.clone()))));
                configs.extend(c.configs.iter().filter_map(|r| Some((r.id.clone(), tables.config(&r.id)?.clone()))));
            }
        }
        // What is left was sent once and is no longer on the node.
        out.tasks.extend(std::mem::take(&mut self.tasks).into_keys().map(|id| (id, None)));
        out.secrets = difference(&self.secrets, &secrets);
        out.configs = difference(&self.configs, &configs);
        (self.tasks, self.secrets, self.configs) = (tasks, secrets, configs);
        if self.sequence > 0 && out.tasks.is_empty() && out.secrets.is_empty() && out.configs.is_empty() {
            return None;
        }
        self.sequence += 1;
        out.sequence = self.sequence;
        Some(out)
    }
}

/// The node told the status itself; it need not hear it again.
fn same_but_for_status(old: &Task, new: &Task) -> bool {
    let Task { id, meta: _, spec, spec_version, service, service_name, service_labels, slot, node, .. } = old;
    let Task { desired, networks, endpoint, draining_since, job_iteration, leased, generic, status, .. } = old;
    *id == new.id
        && *spec == new.spec
        && *spec_version == new.spec_version
        && *service == new.service
        && *service_name == new.service_name
        && *service_labels == new.service_labels
        && *slot == new.slot
        && *node == new.node
        && *desired == new.desired
        && *networks == new.networks
        && *endpoint == new.endpoint
        && *draining_since == new.draining_since
        && *job_iteration == new.job_iteration
        && *leased == new.leased
        && *generic == new.generic
        // Orphaned is the managers' word, so the node must hear it.
        && (status.state == new.status.state || new.status.state != TaskState::Orphaned)
}

/// The barrier for stopping a task that others may still send connections to: the revision at which its endpoint began
/// to drain. Once said, it stays.
fn stop_after(task: &Task, said: Option<u64>) -> Option<u64> {
    let on_overlay =
        task.networks.iter().any(|n| matches!(n.network, NetworkTarget::Swarm(_)) && !n.addresses.is_empty());
    if task.desired < DesiredState::Shutdown || task.status.state.is_terminal() || !on_overlay {
        return None;
    }
    Some(task.draining_since.or(said).unwrap_or(task.meta.version))
}

fn difference<K: Ord + Clone, V: PartialEq + Clone>(
    old: &BTreeMap<K, Arc<V>>,
    new: &BTreeMap<K, Arc<V>>,
) -> BTreeMap<K, Option<V>> {
    let gone = old.keys().filter(|k| !new.contains_key(*k)).map(|k| (k.clone(), None));
    let same = |k: &K, v: &Arc<V>| old.get(k).is_some_and(|o| Arc::ptr_eq(o, v) || o == v);
    let fresh = new.iter().filter(|(k, v)| !same(k, v)).map(|(k, v)| (k.clone(), Some((**v).clone())));
    gone.chain(fresh).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ContainerSpec, Id, SecretReference, SecretSpec, StoreAction, TaskSpec, TaskStatus};

    #[test]
    fn full_first_then_only_what_changed_with_the_secrets_that_are_used() {
        let node = NodeId::from_random([1; 17]);
        let secret = |n: u8| Secret {
            id: SecretId::from_random([n; 17]),
            meta: Default::default(),
            spec: SecretSpec { name: format!("s{n}"), data: vec![n], ..Default::default() },
        };
        let uses = SecretReference { id: secret(1).id, name: "s1".into(), file: None };
        let container = ContainerSpec { secrets: vec![uses], ..Default::default() };
        let task = Task {
            id: TaskId::from_random([9; 17]),
            meta: Default::default(),
            spec: TaskSpec { container: Some(container), ..Default::default() },
            spec_version: 1,
            service: None,
            service_name: "web".into(),
            service_labels: Default::default(),
            slot: 1,
            node: Some(node.clone()),
            status: TaskStatus { state: TaskState::Assigned, ..Default::default() },
            desired: DesiredState::Running,
            networks: Vec::new(),
            endpoint: Default::default(),
            draining_since: None,
            job_iteration: None,
            leased: false,
            generic: Vec::new(),
        };
        let mut tables = Tables::default();
        let mut sent = Sent::default();
        let apply = |tables: &mut Tables, a: StoreAction| tables.apply(vec![a], Default::default()).map(drop).unwrap();
        let first = sent.next(&tables, &node).unwrap();
        assert_eq!((first.sequence, first.tasks.len()), (1, 0), "the first set is sent even when it is empty");
        for o in [secret(1).into(), secret(2).into(), model::Object::from(task.clone())] {
            apply(&mut tables, StoreAction::Create(o));
        }
        let next = sent.next(&tables, &node).unwrap();
        assert_eq!((next.sequence, next.tasks.len(), next.secrets.len()), (2, 1, 1));
        assert!(sent.next(&tables, &node).is_none());

        let mut running = (**tables.task(&task.id).unwrap()).clone();
        running.status.state = TaskState::Running;
        apply(&mut tables, StoreAction::Update(running.into()));
        assert!(sent.next(&tables, &node).is_none(), "the node told that itself");

        let mut ended = (**tables.task(&task.id).unwrap()).clone();
        ended.status.state = TaskState::Failed;
        ended.desired = DesiredState::Shutdown;
        apply(&mut tables, StoreAction::Update(ended.into()));
        let next = sent.next(&tables, &node).unwrap();
        assert_eq!(next.secrets.get(&secret(1).id), Some(&None), "an ended task needs no secret");
        assert!(next.tasks[&task.id].is_some());

        apply(&mut tables, StoreAction::Remove(task.id.clone().into()));
        assert_eq!(sent.next(&tables, &node).unwrap().tasks[&task.id], None);
    }
}
