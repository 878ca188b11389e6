//! What changes in the store, as Docker's events of scope `swarm`.
use cluster::Store;
use model::tables::Change;
use model::{ManagerStatus, Node, Object, Service};
use node::events::Events;
use tokio::sync::broadcast::error::RecvError;
use wire::engine::Map;

/// Tells every change until the store ends.
pub async fn follow(store: Store, events: Events) {
    let mut commits = store.watch();
    loop {
        match commits.recv().await {
            Ok(commit) => {
                for change in commit.changes.iter() {
                    tell(&events, change);
                }
            }
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "changes of the swarm are not told as events"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn tell(events: &Events, change: &Change) {
    let Some(object) = change.new.as_ref().or(change.old.as_ref()) else { return };
    let (typ, name) = match object {
        Object::Node(n) => {
            let hostname = n.description.as_ref().map(|d| d.hostname.clone()).unwrap_or_default();
            ("node", hostname)
        }
        Object::Service(s) => ("service", s.spec.name.clone()),
        Object::Network(n) => ("network", n.spec.name.clone()),
        Object::Secret(s) => ("secret", s.spec.name.clone()),
        Object::Config(c) => ("config", c.spec.name.clone()),
        // Docker tells nothing of tasks and of the cluster's own row.
        Object::Task(_) | Object::Cluster(_) => return,
    };
    let action = match (&change.old, &change.new) {
        (None, Some(_)) => "create",
        (Some(_), None) => "remove",
        _ => "update",
    };
    let mut attributes: Map = [("name".to_owned(), name)].into();
    match (&change.old, &change.new) {
        (Some(Object::Service(old)), Some(Object::Service(new))) => service_changes(old, new, &mut attributes),
        (Some(Object::Node(old)), Some(Object::Node(new))) => {
            node_changes(old, new, &mut attributes);
            if attributes.len() == 1 && old.spec == new.spec {
                return;
            }
        }
        (Some(old), Some(new)) if network_only_grew(old, new) => return,
        _ => {}
    }
    events.tell_scoped(typ, action, object.reference().id(), attributes, "swarm");
}

/// The allocator's own change of a network is no user's update.
fn network_only_grew(old: &Object, new: &Object) -> bool {
    matches!((old, new), (Object::Network(a), Object::Network(b)) if a.spec == b.spec)
}

fn differ(attributes: &mut Map, key: &str, old: String, new: String) {
    if old != new {
        attributes.insert(format!("{key}.old"), old);
        attributes.insert(format!("{key}.new"), new);
    }
}

fn service_changes(old: &Service, new: &Service, attributes: &mut Map) {
    let image = |s: &Service| s.spec.task.container.as_ref().map(|c| c.image.clone()).unwrap_or_default();
    let replicas = |s: &Service| match s.spec.mode {
        model::ServiceMode::Replicated { replicas } => replicas.to_string(),
        _ => String::new(),
    };
    let state = |s: &Service| s.update.as_ref().map(|u| u.state.as_str().to_owned()).unwrap_or_default();
    differ(attributes, "image", image(old), image(new));
    differ(attributes, "replicas", replicas(old), replicas(new));
    differ(attributes, "updatestate", state(old), state(new));
}

fn node_changes(old: &Node, new: &Node, attributes: &mut Map) {
    let availability = |n: &Node| format!("{:?}", n.spec.availability).to_lowercase();
    let role = |n: &Node| format!("{:?}", n.role).to_lowercase();
    differ(attributes, "state", old.status.state.as_str().into(), new.status.state.as_str().into());
    differ(attributes, "availability", availability(old), availability(new));
    differ(attributes, "role", role(old), role(new));
    // A node that becomes a manager, or no longer is one, is told by its role.
    if let (Some(old), Some(new)) = (&old.manager, &new.manager) {
        let reachability = |m: &ManagerStatus| if m.reachable { "reachable" } else { "unreachable" }.to_owned();
        differ(attributes, "leader", old.leader.to_string(), new.leader.to_string());
        differ(attributes, "reachability", reachability(old), reachability(new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Id, Meta, NodeId, NodeRole, NodeSpec, NodeState, NodeStatus, Timestamp};

    fn manager(leader: bool, reachable: bool) -> Node {
        Node {
            id: NodeId::from_random([1; 17]),
            meta: Meta::default(),
            spec: NodeSpec::default(),
            description: None,
            status: NodeStatus { state: NodeState::Ready, ..Default::default() },
            role: NodeRole::Manager,
            manager: Some(ManagerStatus { raft_id: 1, addr: ([10, 0, 0, 1], 2377).into(), leader, reachable }),
            data_path_addr: None,
            attachments: Vec::new(),
        }
    }

    #[test]
    fn what_changed_of_a_node_is_told_in_dockers_words() {
        let (events, now) = (Events::new(Timestamp::default), manager(false, true));
        let worker = Node { role: NodeRole::Worker, manager: None, ..now.clone() };
        let down = Node { status: NodeStatus { state: NodeState::Down, ..Default::default() }, ..worker.clone() };
        let table = [
            (now.clone(), now.clone(), vec![]),
            (now.clone(), manager(true, true), vec!["leader.new=true", "leader.old=false"]),
            (now.clone(), manager(false, false), vec!["reachability.new=unreachable", "reachability.old=reachable"]),
            (now, worker.clone(), vec!["role.new=worker", "role.old=manager"]),
            (worker, down, vec!["state.new=down", "state.old=ready"]),
        ];
        for (old, new, wanted) in table {
            let mut live = events.since(None).1;
            tell(&events, &Change { old: Some(old.into()), new: Some(new.into()) });
            let told = live.try_recv().map(|e| e.actor.attributes).unwrap_or_default();
            let told: Vec<String> =
                told.iter().filter(|(k, _)| *k != "name").map(|(k, v)| format!("{k}={v}")).collect();
            assert_eq!(told, wanted);
        }
    }
}
