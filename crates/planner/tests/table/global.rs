use crate::fixture::*;
use model::*;

fn agent() -> ServiceSpec {
    ServiceSpec { mode: ServiceMode::Global, ..web("agent", 0) }
}

fn nodes(swarm: &Swarm, service: &ServiceId) -> Vec<String> {
    let mut names: Vec<_> = swarm.live(service).iter().map(|t| swarm.name_of(t.node.as_ref().unwrap())).collect();
    names.sort();
    names
}

#[test]
fn each_fitting_node_has_one_and_new_nodes_get_one() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(agent());
    swarm.obey();
    assert_eq!(nodes(&swarm, &service), ["n0", "n1"]);
    assert!(swarm.tasks(&service).iter().all(|t| t.slot == 0 && t.status.state == TaskState::Running));
    swarm.add_node("n2");
    swarm.obey();
    assert_eq!(nodes(&swarm, &service), ["n0", "n1", "n2"]);
    assert_eq!(swarm.settle(), 0);
}

#[test]
fn drained_and_silent_nodes_lose_theirs_and_get_it_back() {
    let mut swarm = Swarm::new(3);
    let service = swarm.service(agent());
    swarm.obey();
    swarm.change_node("n0", |n| n.spec.availability = Availability::Drain);
    swarm.node_down("n1");
    swarm.obey();
    assert_eq!(nodes(&swarm, &service), ["n2"]);
    swarm.change_node("n0", |n| n.spec.availability = Availability::Active);
    swarm.change_node("n1", |n| n.status.state = NodeState::Ready);
    swarm.obey();
    assert_eq!(nodes(&swarm, &service), ["n0", "n1", "n2"]);
    assert!(swarm.live(&service).iter().all(|t| t.status.state == TaskState::Running));
}

#[test]
fn a_paused_node_keeps_its_task() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(agent());
    swarm.obey();
    swarm.change_node("n0", |n| n.spec.availability = Availability::Pause);
    swarm.obey();
    assert_eq!(nodes(&swarm, &service), ["n0", "n1"]);
}

#[test]
fn constraints_choose_the_nodes_and_a_changed_label_moves_it() {
    let mut swarm = Swarm::new(2);
    swarm.change_node("n1", |n| drop(n.spec.labels.insert("disk".into(), "ssd".into())));
    let mut spec = agent();
    spec.task.placement.constraints = vec!["node.labels.disk == ssd".into()];
    let service = swarm.service(spec);
    swarm.obey();
    assert_eq!(nodes(&swarm, &service), ["n1"]);
    swarm.change_node("n1", |n| n.spec.labels.clear());
    swarm.change_node("n0", |n| drop(n.spec.labels.insert("disk".into(), "SSD".into())));
    swarm.obey();
    assert_eq!(nodes(&swarm, &service), ["n0"]);
}

#[test]
fn a_failed_task_is_restarted_on_its_node() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(agent());
    swarm.obey();
    let task = swarm.live(&service)[0].clone();
    swarm.report(&task.id, TaskState::Failed);
    swarm.settle();
    swarm.pass_secs(5);
    swarm.obey();
    let again = swarm.live(&service).into_iter().find(|t| t.node == task.node).unwrap();
    assert_ne!(again.id, task.id);
    assert_eq!(again.status.state, TaskState::Running);
    assert_eq!(swarm.live(&service).len(), 2);
}

#[test]
fn a_removed_node_leaves_nothing_behind() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(agent());
    swarm.obey();
    let gone = swarm.node("n0").id.clone();
    swarm.node_down("n0");
    swarm.settle();
    swarm.remove(gone.clone());
    swarm.obey();
    assert_eq!(nodes(&swarm, &service), ["n1"]);
    assert!(swarm.tasks(&service).iter().all(|t| t.node.as_ref() != Some(&gone)));
}

#[test]
fn an_update_rolls_from_node_to_node() {
    let mut swarm = Swarm::new(3);
    let service = swarm.service(agent());
    swarm.obey();
    swarm.update_service(&service, |s| image(s, "web:2"));
    swarm.settle();
    let held = swarm.live(&service).iter().filter(|t| t.desired == DesiredState::Ready).count();
    assert_eq!(held, 1);
    for _ in 0..20 {
        swarm.obey();
        swarm.pass_secs(1);
    }
    assert_eq!(swarm.get(&service).update.as_ref().unwrap().state, UpdateState::Completed);
    assert!(swarm.live(&service).iter().all(|t| t.spec.container.as_ref().unwrap().image == "web:2"));
}
