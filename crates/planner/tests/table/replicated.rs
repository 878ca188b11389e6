use crate::fixture::*;
use model::*;
use std::collections::BTreeMap;

fn slots(swarm: &Swarm, service: &ServiceId) -> Vec<u64> {
    swarm.live(service).iter().map(|t| t.slot).collect()
}

#[test]
fn a_service_gets_its_tasks_placed_evenly_and_then_nothing_more_happens() {
    let mut swarm = Swarm::new(3);
    let service = swarm.service(web("web", 6));
    swarm.obey();
    let mut per_node: BTreeMap<NodeId, u64> = BTreeMap::new();
    for task in swarm.tasks(&service) {
        assert_eq!((task.status.state, task.desired), (TaskState::Running, DesiredState::Running));
        assert_eq!(task.service_name, "web");
        *per_node.entry(task.node.clone().unwrap()).or_default() += 1;
    }
    assert_eq!(per_node.into_values().collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(slots(&swarm, &service), [1, 2, 3, 4, 5, 6]);
    assert_eq!(swarm.settle(), 0);
}

#[test]
fn a_new_task_tells_its_steps() {
    let mut swarm = Swarm::new(0);
    let service = swarm.service(web("web", 1));
    swarm.settle();
    let task = swarm.tasks(&service)[0].clone();
    assert_eq!(task.status.state, TaskState::Pending);
    assert_eq!(
        (task.status.message.as_str(), task.status.err.as_str()),
        ("pending task scheduling", "no suitable node")
    );
    swarm.add_node("late");
    swarm.settle();
    let task = swarm.tasks(&service)[0].clone();
    assert_eq!((task.status.message.as_str(), task.status.err.as_str()), ("scheduler assigned task to node", ""));
}

#[test]
fn scaling_down_takes_from_the_fullest_nodes_and_scaling_up_fills_the_lowest_slots() {
    let mut swarm = Swarm::new(1);
    let service = swarm.service(web("web", 4));
    swarm.obey();
    swarm.add_node("n1");
    swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: 6 });
    swarm.obey();
    let on =
        |s: &Swarm, name: &str| s.live(&service).iter().filter(|t| t.node.as_ref() == Some(&s.node(name).id)).count();
    assert_eq!((on(&swarm, "n0"), on(&swarm, "n1")), (4, 2));
    swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: 4 });
    swarm.obey();
    assert_eq!((on(&swarm, "n0"), on(&swarm, "n1")), (2, 2));
    assert_eq!(swarm.tasks(&service).len(), 4, "removed slots leave no history");
    assert_eq!(slots(&swarm, &service), [1, 2, 5, 6]);
    swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: 5 });
    swarm.obey();
    assert_eq!(slots(&swarm, &service), [1, 2, 3, 5, 6]);
    assert!(swarm.get(&service).update.is_none(), "scaling is no update");
}

#[test]
fn scaling_down_takes_what_does_not_run_first() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(web("web", 4));
    swarm.obey();
    let first = swarm.live(&service)[0].clone();
    swarm.report(&first.id, TaskState::Failed);
    swarm.settle();
    swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: 3 });
    swarm.obey();
    assert_eq!(slots(&swarm, &service), [2, 3, 4]);
}

#[test]
fn what_is_stopped_is_draining_from_that_very_revision() {
    let mut swarm = Swarm::new(1);
    let service = swarm.service(web("web", 1));
    swarm.obey();
    swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: 0 });
    swarm.settle();
    let task = swarm.tasks(&service)[0].clone();
    assert_eq!(task.desired, DesiredState::Remove);
    assert_eq!(task.draining_since, Some(task.meta.version));
}

#[test]
fn tasks_of_a_silent_node_are_replaced_at_once_and_nothing_moves_back() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(web("web", 4));
    swarm.obey();
    swarm.node_down("n0");
    swarm.settle();
    let live = swarm.live(&service);
    assert_eq!(live.len(), 4);
    assert!(live.iter().all(|t| t.desired == DesiredState::Running && t.node.as_ref() == Some(&swarm.node("n1").id)));
    swarm.obey();
    let old: Vec<_> = swarm.tasks(&service).into_iter().filter(|t| t.desired == DesiredState::Shutdown).collect();
    assert_eq!(old.len(), 2);
    assert!(old.iter().all(|t| t.status.state == TaskState::Running && t.draining_since.is_some()));
    swarm.change_node("n0", |n| n.status.state = NodeState::Ready);
    swarm.obey();
    assert!(swarm.live(&service).iter().all(|t| t.node.as_ref() == Some(&swarm.node("n1").id)));
    assert!(
        swarm
            .tasks(&service)
            .iter()
            .all(|t| t.desired == DesiredState::Running || t.status.state == TaskState::Shutdown)
    );
}

#[test]
fn a_drained_nodes_tasks_stop_before_their_successors_start() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(web("web", 2));
    swarm.obey();
    swarm.change_node("n0", |n| n.spec.availability = Availability::Drain);
    swarm.settle();
    let old = swarm.tasks(&service).into_iter().find(|t| t.node.as_ref() == Some(&swarm.node("n0").id)).unwrap();
    assert_eq!(old.desired, DesiredState::Shutdown);
    let new = swarm.live(&service).into_iter().find(|t| t.slot == old.slot).unwrap();
    assert_eq!(new.desired, DesiredState::Ready);
    swarm.report(&old.id, TaskState::Shutdown);
    swarm.settle();
    assert_eq!(swarm.tables.task(&new.id).unwrap().desired, DesiredState::Running);
    swarm.obey();
    assert!(swarm.live(&service).iter().all(|t| t.node.as_ref() == Some(&swarm.node("n1").id)));
    // Paused nodes keep what they have and get nothing.
    swarm.change_node("n0", |n| n.spec.availability = Availability::Pause);
    swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: 5 });
    swarm.obey();
    assert!(swarm.live(&service).iter().all(|t| t.node.as_ref() == Some(&swarm.node("n1").id)));
}

#[test]
fn a_service_that_updates_start_first_leaves_a_drained_node_start_first() {
    let mut swarm = Swarm::new(2);
    let update = UpdateConfig { order: UpdateOrder::StartFirst, ..Default::default() };
    let service = swarm.service(ServiceSpec { update: Some(update), ..web("web", 1) });
    swarm.obey();
    let old = swarm.live(&service)[0].clone();
    let name = swarm.name_of(old.node.as_ref().unwrap());
    swarm.change_node(&name, |n| n.spec.availability = Availability::Drain);
    swarm.settle();
    assert_eq!(swarm.live(&service).len(), 2);
    let new = swarm.live(&service).into_iter().find(|t| t.id != old.id).unwrap();
    assert_eq!((new.slot, new.desired), (old.slot, DesiredState::Running));
    for state in [TaskState::Accepted, TaskState::Preparing, TaskState::Ready, TaskState::Starting] {
        swarm.report(&new.id, state);
        swarm.settle();
        assert_eq!(swarm.tables.task(&old.id).unwrap().desired, DesiredState::Running);
    }
    // Taken back before that, the node keeps the old one, and the new one is not needed.
    let kept = swarm.tables.clone();
    swarm.change_node(&name, |n| n.spec.availability = Availability::Active);
    swarm.obey();
    assert_eq!(swarm.ids(&swarm.live(&service)), std::slice::from_ref(&old.id));
    swarm.tables = kept;
    swarm.memory = Default::default();

    swarm.report(&new.id, TaskState::Running);
    swarm.settle();
    assert_eq!(swarm.tables.task(&old.id).unwrap().desired, DesiredState::Shutdown);
    swarm.obey();
    assert_eq!(swarm.ids(&swarm.live(&service)), std::slice::from_ref(&new.id));
}

#[test]
fn the_planner_goes_on_after_its_memory_is_lost() {
    let mut swarm = Swarm::new(3);
    let service = swarm.service(web("web", 5));
    swarm.plan();
    swarm.memory = Default::default();
    swarm.obey();
    swarm.memory = Default::default();
    assert_eq!(swarm.settle(), 0);
    assert_eq!(swarm.live(&service).len(), 5);
}

#[test]
fn a_plan_that_was_not_applied_is_made_again() {
    let mut swarm = Swarm::new(1);
    let service = swarm.service(web("web", 2));
    let lost = swarm.plan();
    assert_eq!(lost.actions.len(), 2);
    // Something else is committed instead.
    swarm.service(web("other", 0));
    swarm.obey();
    assert_eq!(swarm.live(&service).len(), 2);
}
