//! An update never hangs for ever: a task that does not come up in time pauses it (or rolls it back), by name and reason.
use crate::fixture::*;
use model::*;
use std::time::Duration;

fn labelled(deadline: &str, action: FailureAction) -> ServiceSpec {
    ServiceSpec {
        update: Some(UpdateConfig { failure_action: action, ..Default::default() }),
        labels: [(service_labels::PROGRESS_DEADLINE.to_owned(), deadline.to_owned())].into(),
        ..web("web", 2)
    }
}

fn started(spec: ServiceSpec) -> (Swarm, ServiceId) {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(spec);
    swarm.obey();
    (swarm, service)
}

fn nowhere(spec: &mut ServiceSpec) {
    image(spec, "web:2");
    spec.task.placement.constraints = vec!["node.labels.disk == fast".into()];
}

fn status(swarm: &Swarm, service: &ServiceId) -> UpdateStatus {
    swarm.get(service).update.clone().unwrap()
}

#[test]
fn what_cannot_be_placed_pauses_the_update_with_its_reason() {
    let (mut swarm, service) = started(labelled("30s", FailureAction::Pause));
    swarm.update_service(&service, nowhere);
    swarm.obey();
    swarm.pass_secs(29);
    assert_eq!(status(&swarm, &service).state, UpdateState::Updating);
    assert!(swarm.wake_at.is_some_and(|at| at <= swarm.now.after(Duration::from_secs(1))), "{:?}", swarm.wake_at);
    swarm.pass_secs(1);
    let s = status(&swarm, &service);
    assert_eq!(s.state, UpdateState::Paused);
    let waiting = swarm.live(&service).into_iter().find(|t| t.status.state == TaskState::Pending).unwrap();
    assert_eq!(
        s.message,
        format!(
            "update paused because nothing came up within 30 s: task {} is pending: no suitable node (scheduling constraints not satisfied on 2 nodes)",
            waiting.container_name()
        )
    );
    // The other replica goes on running what it ran.
    assert_eq!(swarm.live(&service).iter().filter(|t| t.status.state == TaskState::Running).count(), 1);
}

#[test]
fn what_never_becomes_healthy_is_rolled_back_if_that_is_asked_for() {
    let (mut swarm, service) = started(labelled("1m", FailureAction::Rollback));
    swarm.update_service(&service, |s| image(s, "web:2"));
    for _ in 0..61 {
        swarm.settle();
        // A task whose health check never holds stays at starting.
        for _ in 0..6 {
            let todo: Vec<_> = swarm
                .tables
                .tasks()
                .filter_map(|t| Some((t.clone(), next_step(&swarm.tables, t)?)))
                .filter(|(t, s)| {
                    *s != TaskState::Running || t.spec.container.as_ref().is_some_and(|c| c.image == "web:1")
                })
                .collect();
            todo.iter().for_each(|(t, s)| swarm.report(&t.id, *s));
            swarm.settle();
        }
        swarm.pass_secs(1);
    }
    let s = status(&swarm, &service);
    assert!(s.message.contains("is starting"), "{s:?}");
    assert_eq!(s.state, UpdateState::RollbackStarted);
    for _ in 0..30 {
        swarm.obey();
        swarm.pass_secs(1);
    }
    assert_eq!(status(&swarm, &service).state, UpdateState::RollbackCompleted);
    assert!(swarm.live(&service).iter().all(|t| t.spec.container.as_ref().unwrap().image == "web:1"));
}

#[test]
fn continue_goes_on_and_says_what_it_waits_for() {
    let (mut swarm, service) = started(labelled("30s", FailureAction::Continue));
    swarm.update_service(&service, nowhere);
    swarm.obey();
    swarm.pass_secs(30);
    let s = status(&swarm, &service);
    assert_eq!(s.state, UpdateState::Updating);
    assert!(s.message.contains("no suitable node"), "{s:?}");
    swarm.change_node("n0", |n| drop(n.spec.labels.insert("disk".into(), "fast".into())));
    for _ in 0..20 {
        swarm.obey();
        swarm.pass_secs(1);
    }
    assert_eq!(status(&swarm, &service).state, UpdateState::Completed);
}

#[test]
fn zero_waits_for_ever_and_ten_minutes_are_the_default() {
    for (deadline, state) in [("0", UpdateState::Updating), ("", UpdateState::Paused)] {
        let mut spec = labelled(deadline, FailureAction::Pause);
        if deadline.is_empty() {
            spec.labels.clear();
        }
        let (mut swarm, service) = started(spec);
        swarm.update_service(&service, nowhere);
        swarm.obey();
        swarm.pass_secs(599);
        assert_eq!(status(&swarm, &service).state, UpdateState::Updating);
        swarm.pass_secs(1);
        assert_eq!(status(&swarm, &service).state, state, "{deadline:?}");
    }
}

#[test]
fn a_new_leader_keeps_the_deadline() {
    let (mut swarm, service) = started(labelled("30s", FailureAction::Pause));
    swarm.update_service(&service, nowhere);
    swarm.obey();
    swarm.pass_secs(15);
    swarm.memory = Default::default();
    swarm.pass_secs(15);
    assert_eq!(status(&swarm, &service).state, UpdateState::Paused);
}
