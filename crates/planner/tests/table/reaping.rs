use crate::fixture::*;
use model::*;

#[test]
fn a_removed_service_takes_its_tasks_along_as_they_end() {
    let mut swarm = Swarm::new(1);
    let net = swarm.overlay("a");
    let mut spec = web("web", 3);
    spec.task.networks = on(&[&net]);
    spec.endpoint = Some(publish(80, 80));
    let service = swarm.service(spec);
    swarm.obey();
    swarm.remove(service.clone());
    swarm.settle();
    assert!(swarm.tasks(&service).iter().all(|t| t.desired == DesiredState::Remove && t.draining_since.is_some()));
    assert_eq!(swarm.tasks(&service).len(), 3, "they are still running");
    swarm.obey();
    assert!(swarm.tasks(&service).is_empty());
    assert_eq!(swarm.tables.addresses_of(&net).count(), 1);
}

#[test]
fn tasks_that_no_node_has_seen_go_at_once() {
    let mut swarm = Swarm::new(0);
    let service = swarm.service(web("web", 3));
    swarm.settle();
    swarm.remove(service.clone());
    swarm.settle();
    assert!(swarm.tasks(&service).is_empty());
}

#[test]
fn tasks_of_a_dead_node_do_not_haunt() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(web("web", 2));
    let kept = swarm.service(web("kept", 2));
    swarm.obey();
    swarm.node_down("n0");
    swarm.obey();
    swarm.remove(service.clone());
    swarm.obey();
    assert_eq!(swarm.tasks(&service).len(), 1);
    swarm.pass_secs(60);
    assert!(swarm.tasks(&service).is_empty(), "the node has fenced itself by now");

    let ghost = swarm.tasks(&kept).into_iter().find(|t| t.desired == DesiredState::Shutdown).unwrap();
    assert_eq!(ghost.status.state, TaskState::Running);
    swarm.pass_secs(24 * 3600);
    assert_eq!(swarm.tables.task(&ghost.id).unwrap().status.state, TaskState::Orphaned);
}

#[test]
fn tasks_of_a_removed_node_are_orphans() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(web("web", 2));
    swarm.obey();
    let node = swarm.node("n0").id.clone();
    swarm.node_down("n0");
    swarm.settle();
    swarm.remove(node.clone());
    swarm.obey();
    let orphan = swarm.tasks(&service).into_iter().find(|t| t.node.as_ref() == Some(&node)).unwrap();
    assert_eq!(orphan.status.state, TaskState::Orphaned);
    assert_eq!(orphan.status.message, "Task belonged to a node that has been deleted");
    assert_eq!(swarm.live(&service).len(), 2);
}
