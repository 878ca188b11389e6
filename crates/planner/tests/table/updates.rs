use crate::fixture::*;
use model::*;
use std::time::Duration;

fn config(parallelism: u64, order: UpdateOrder, action: FailureAction) -> UpdateConfig {
    UpdateConfig { parallelism, order, failure_action: action, ..Default::default() }
}

fn running(replicas: u64, update: UpdateConfig) -> (Swarm, ServiceId) {
    let mut swarm = Swarm::new(3);
    let service = swarm.service(ServiceSpec { update: Some(update), ..web("web", replicas) });
    swarm.obey();
    (swarm, service)
}

fn images(swarm: &Swarm, service: &ServiceId) -> Vec<String> {
    swarm.live(service).iter().map(|t| t.spec.container.as_ref().unwrap().image.clone()).collect()
}

fn status(swarm: &Swarm, service: &ServiceId) -> (UpdateState, String) {
    let service = swarm.get(service);
    let update = service.update.as_ref().unwrap();
    (update.state, update.message.clone())
}

/// Lets new tasks of an image fail as soon as they start; others obey.
fn fail_image(swarm: &mut Swarm, bad: &str, secs: u64) {
    for _ in 0..secs {
        for _ in 0..8 {
            swarm.settle();
            let todo: Vec<_> = swarm
                .tables
                .tasks()
                .filter_map(|t| Some((t.id.clone(), t.spec.container.clone()?.image, next_step(&swarm.tables, t)?)))
                .collect();
            for (id, image, state) in todo {
                let state = if image == bad && state == TaskState::Running { TaskState::Failed } else { state };
                swarm.report(&id, state);
            }
        }
        swarm.pass_secs(1);
    }
}

#[test]
fn an_update_before_the_first_plan_completes_too() {
    let mut swarm = Swarm::new(3);
    let service = swarm.service(web("web", 2));
    swarm.update_service(&service, |s| image(s, "web:2"));
    swarm.settle();
    assert_eq!(images(&swarm, &service), ["web:2", "web:2"]);
    assert_eq!(status(&swarm, &service), (UpdateState::Updating, "update in progress".into()));
    swarm.obey();
    swarm.pass_secs(6);
    swarm.settle();
    assert_eq!(status(&swarm, &service).0, UpdateState::Completed);
    // A change that needs no successors is no update to wait for.
    swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: 3 });
    swarm.obey();
    assert!(swarm.get(&service).update.is_none());
}

#[test]
fn stop_first_goes_slot_by_slot_and_completes_after_the_monitor() {
    let (mut swarm, service) = running(3, config(1, UpdateOrder::StopFirst, FailureAction::Pause));
    let vips = swarm.get(&service).vips.clone();
    let old = swarm.live(&service);
    swarm.update_service(&service, |s| image(s, "web:2"));
    swarm.settle();
    assert_eq!(status(&swarm, &service), (UpdateState::Updating, "update in progress".into()));
    let stopping: Vec<_> =
        old.iter().filter(|t| swarm.tables.task(&t.id).unwrap().desired == DesiredState::Shutdown).collect();
    assert_eq!(stopping.len(), 1);
    assert_eq!(swarm.live(&service).iter().filter(|t| t.desired == DesiredState::Ready).count(), 1);
    swarm.report(&stopping[0].id, TaskState::Shutdown);
    swarm.settle();
    assert!(swarm.live(&service).iter().all(|t| t.desired == DesiredState::Running));
    swarm.obey();
    assert_eq!(images(&swarm, &service), ["web:2"; 3]);
    assert_eq!(status(&swarm, &service).0, UpdateState::Updating);
    assert_eq!(swarm.wake_at, Some(swarm.now.after(Duration::from_secs(5))));
    swarm.pass_secs(5);
    assert_eq!(status(&swarm, &service), (UpdateState::Completed, "update completed".into()));
    assert!(swarm.get(&service).update.as_ref().unwrap().completed_at.is_some());
    assert_eq!(swarm.get(&service).vips, vips);
    assert_eq!(swarm.settle(), 0);
}

#[test]
fn start_first_keeps_the_old_until_the_new_runs() {
    let (mut swarm, service) = running(2, config(1, UpdateOrder::StartFirst, FailureAction::Pause));
    swarm.update_service(&service, |s| image(s, "web:2"));
    swarm.settle();
    assert_eq!(swarm.live(&service).len(), 3);
    let new = swarm.live(&service).into_iter().find(|t| t.status.state == TaskState::Assigned).unwrap();
    for state in [TaskState::Accepted, TaskState::Preparing, TaskState::Ready, TaskState::Starting] {
        swarm.report(&new.id, state);
        swarm.settle();
        assert_eq!(swarm.live(&service).len(), 3);
    }
    swarm.report(&new.id, TaskState::Running);
    swarm.settle();
    let old = swarm.tasks(&service).into_iter().find(|t| t.slot == new.slot && t.id != new.id).unwrap();
    assert_eq!(old.desired, DesiredState::Shutdown);
    swarm.obey();
    swarm.pass_secs(5);
    assert_eq!(status(&swarm, &service).0, UpdateState::Completed);
    assert_eq!(images(&swarm, &service), ["web:2"; 2]);
}

#[test]
fn start_first_falls_back_where_two_could_never_be_side_by_side() {
    let (mut swarm, service) = running(3, config(0, UpdateOrder::StartFirst, FailureAction::Pause));
    swarm.update_service(&service, |s| s.task.placement.max_replicas = 1);
    swarm.obey();
    assert!(swarm.get(&service).update.is_none(), "a placement that still holds changes live");
    swarm.update_service(&service, |s| image(s, "web:2"));
    swarm.obey();
    swarm.pass_secs(5);
    assert_eq!(status(&swarm, &service).0, UpdateState::Completed);
}

#[test]
fn the_delay_separates_the_groups() {
    let update = UpdateConfig { delay: Duration::from_secs(10), parallelism: 2, ..Default::default() };
    let (mut swarm, service) = running(4, update);
    swarm.update_service(&service, |s| image(s, "web:2"));
    swarm.obey();
    let new = |s: &Swarm| images(s, &service).iter().filter(|i| *i == "web:2").count();
    assert_eq!(new(&swarm), 2);
    swarm.pass_secs(9);
    swarm.obey();
    assert_eq!(new(&swarm), 2);
    swarm.pass_secs(1);
    swarm.obey();
    assert_eq!(new(&swarm), 4);
    swarm.pass_secs(10);
    assert_eq!(status(&swarm, &service).0, UpdateState::Updating);
    swarm.pass_secs(1);
    assert_eq!(status(&swarm, &service).0, UpdateState::Completed);
}

#[test]
fn only_what_a_container_can_see_needs_a_new_task() {
    let mut swarm = Swarm::new(2);
    let (a, b) = (swarm.overlay("a"), swarm.overlay("b"));
    let mut spec = web("web", 2);
    spec.task.networks = on(&[&a]);
    spec.endpoint = Some(publish(8080, 80));
    let service = swarm.service(spec);
    swarm.obey();
    let first = swarm.ids(&swarm.live(&service));
    let live: [fn(&mut ServiceSpec); 6] = [
        |s| s.endpoint.as_mut().unwrap().ports[0].published_port = 8081,
        |s| s.endpoint.as_mut().unwrap().ports.push(PortConfig { target_port: 81, ..Default::default() }),
        |s| s.endpoint = None,
        |s| s.labels.extend([("a".into(), "b".into())]),
        |s| s.task.networks[0].aliases.push("www".into()),
        |s| s.task.placement.constraints.push("node.role == worker".into()),
    ];
    for (n, change) in live.into_iter().enumerate() {
        swarm.update_service(&service, change);
        swarm.obey();
        assert_eq!(swarm.ids(&swarm.live(&service)), first, "change {n}");
        assert!(swarm.get(&service).update.is_none(), "change {n}");
    }
    let rolls: [&dyn Fn(&mut ServiceSpec); 4] = [
        &|s| s.task.force_update += 1,
        &|s| s.task.container.as_mut().unwrap().env.push("A=1".into()),
        &|s| s.task.networks = on(&[&a, &b]),
        &|s| s.task.placement.constraints.push("node.hostname == n0".into()),
    ];
    for (n, change) in rolls.into_iter().enumerate() {
        let before = swarm.ids(&swarm.live(&service));
        swarm.update_service(&service, change);
        for _ in 0..10 {
            swarm.obey();
            swarm.pass_secs(1);
        }
        assert!(swarm.ids(&swarm.live(&service)) != before, "change {n}");
        assert_eq!(status(&swarm, &service).0, UpdateState::Completed, "change {n}");
    }
    assert!(swarm.live(&service).iter().all(|t| t.node.as_ref() == Some(&swarm.node("n0").id)));
}

#[test]
fn too_many_failures_pause_the_update_until_the_user_changes_the_service() {
    let (mut swarm, service) = running(3, config(1, UpdateOrder::StopFirst, FailureAction::Pause));
    swarm.update_service(&service, |s| image(s, "bad"));
    fail_image(&mut swarm, "bad", 30);
    let (state, message) = status(&swarm, &service);
    assert_eq!(state, UpdateState::Paused);
    assert!(message.starts_with("update paused due to failure or early termination of task "), "{message}");
    assert_eq!(images(&swarm, &service).iter().filter(|i| *i == "web:1").count(), 2);
    swarm.update_service(&service, |s| image(s, "web:3"));
    for _ in 0..10 {
        swarm.obey();
        swarm.pass_secs(1);
    }
    assert_eq!(status(&swarm, &service).0, UpdateState::Completed);
    assert_eq!(images(&swarm, &service), ["web:3"; 3]);
}

#[test]
fn a_failing_start_first_update_costs_no_running_task() {
    let (mut swarm, service) = running(3, config(1, UpdateOrder::StartFirst, FailureAction::Pause));
    let old = swarm.ids(&swarm.live(&service));
    swarm.update_service(&service, |s| image(s, "bad"));
    fail_image(&mut swarm, "bad", 30);
    assert_eq!(status(&swarm, &service).0, UpdateState::Paused);
    assert_eq!(swarm.ids(&swarm.live(&service)), old);
}

#[test]
fn a_failing_update_rolls_back_and_a_failing_rollback_pauses() {
    let (mut swarm, service) = running(3, config(1, UpdateOrder::StopFirst, FailureAction::Rollback));
    swarm.update_service(&service, |s| image(s, "bad"));
    fail_image(&mut swarm, "bad", 30);
    assert_eq!(status(&swarm, &service), (UpdateState::RollbackCompleted, "rollback completed".into()));
    assert_eq!(images(&swarm, &service), ["web:1"; 3]);
    assert_eq!(swarm.get(&service).spec.task.container.as_ref().unwrap().image, "web:1");

    // Now the old one fails as well.
    swarm.update_service(&service, |s| image(s, "bad"));
    for _ in 0..100 {
        fail_image(&mut swarm, "bad", 1);
        if status(&swarm, &service).0 != UpdateState::Updating {
            break;
        }
    }
    let (state, message) = status(&swarm, &service);
    assert_eq!(state, UpdateState::RollbackStarted);
    assert!(message.starts_with("update rolled back due to failure or early termination of task "), "{message}");
    fail_image(&mut swarm, "web:1", 30);
    let (state, message) = status(&swarm, &service);
    assert_eq!(state, UpdateState::RollbackPaused);
    assert!(message.starts_with("rollback paused due to failure or early termination of task "), "{message}");
}

#[test]
fn tolerated_failures_let_the_update_go_on() {
    let mut update = config(1, UpdateOrder::StopFirst, FailureAction::Pause);
    update.max_failure_ratio = 0.5;
    let (mut swarm, service) = running(4, update);
    swarm.update_service(&service, |s| image(s, "web:2"));
    swarm.settle();
    let first = swarm.live(&service).into_iter().find(|t| t.desired == DesiredState::Ready).unwrap();
    let mut failed = false;
    for _ in 0..20 {
        swarm.settle();
        if !failed && swarm.tables.task(&first.id).unwrap().status.state == TaskState::Starting {
            swarm.report(&first.id, TaskState::Failed);
            failed = true;
        }
        let todo: Vec<_> =
            swarm.tables.tasks().filter_map(|t| Some((t.id.clone(), next_step(&swarm.tables, t)?))).collect();
        for (id, state) in todo.into_iter().filter(|(id, s)| failed || *id != first.id || *s <= TaskState::Starting) {
            swarm.report(&id, state);
        }
    }
    assert!(failed);
    for _ in 0..20 {
        swarm.obey();
        swarm.pass_secs(1);
    }
    assert_eq!(status(&swarm, &service).0, UpdateState::Completed);
    assert_eq!(images(&swarm, &service), ["web:2"; 4]);
}

#[test]
fn continue_goes_on_whatever_fails() {
    let (mut swarm, service) = running(3, config(1, UpdateOrder::StopFirst, FailureAction::Continue));
    swarm.update_service(&service, |s| image(s, "bad"));
    fail_image(&mut swarm, "bad", 30);
    assert_eq!(images(&swarm, &service), ["bad"; 3]);
    assert_eq!(status(&swarm, &service).0, UpdateState::Completed);
}

#[test]
fn a_rollback_by_hand_uses_the_rollback_settings_and_says_so() {
    let (mut swarm, service) = running(2, UpdateConfig::default());
    swarm.update_service(&service, |s| {
        image(s, "web:2");
        s.rollback = Some(config(0, UpdateOrder::StopFirst, FailureAction::Pause));
    });
    for _ in 0..10 {
        swarm.obey();
        swarm.pass_secs(1);
    }
    let mut row = (*swarm.get(&service)).clone();
    let rollback = row.spec.rollback.clone();
    row.spec = *row.previous_spec.take().unwrap();
    row.spec.rollback = rollback;
    row.update = Some(UpdateStatus {
        state: UpdateState::RollbackStarted,
        started_at: swarm.now,
        completed_at: None,
        message: "manually requested rollback".into(),
    });
    swarm.update(row);
    swarm.settle();
    assert_eq!(swarm.live(&service).iter().filter(|t| t.desired == DesiredState::Ready).count(), 2, "both at once");
    swarm.obey();
    swarm.pass_secs(5);
    assert_eq!(status(&swarm, &service).0, UpdateState::RollbackCompleted);
    assert_eq!(images(&swarm, &service), ["web:1"; 2]);
}

#[test]
fn an_update_goes_on_under_a_new_leader() {
    let (mut swarm, service) = running(4, config(1, UpdateOrder::StopFirst, FailureAction::Pause));
    swarm.update_service(&service, |s| image(s, "web:2"));
    for _ in 0..200 {
        swarm.memory = Default::default();
        swarm.settle();
        let step = swarm.tables.tasks().find_map(|t| Some((t.id.clone(), next_step(&swarm.tables, t)?)));
        match step {
            Some((id, state)) => swarm.report(&id, state),
            None => break,
        }
    }
    swarm.pass_secs(6);
    assert_eq!(status(&swarm, &service).0, UpdateState::Completed);
    assert_eq!(images(&swarm, &service), ["web:2"; 4]);
}

#[test]
fn an_update_of_what_cannot_be_placed_replaces_what_waits() {
    let mut swarm = Swarm::new(1);
    let mut spec = web("web", 2);
    spec.task.placement.constraints = vec!["node.labels.x == y".into()];
    let service = swarm.service(spec);
    swarm.obey();
    assert!(swarm.live(&service).iter().all(|t| t.status.state == TaskState::Pending));
    swarm.update_service(&service, |s| s.task.placement.constraints.clear());
    for _ in 0..10 {
        swarm.obey();
        swarm.pass_secs(1);
    }
    assert!(swarm.live(&service).iter().all(|t| t.status.state == TaskState::Running));
    assert_eq!(swarm.tasks(&service).len(), 2);
}
