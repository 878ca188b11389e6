use crate::fixture::*;
use model::*;
use std::time::Duration;

fn policy(condition: RestartCondition, max_attempts: u64, window: u64) -> RestartPolicy {
    RestartPolicy { condition, max_attempts, window: Some(Duration::from_secs(window)), delay: Duration::from_secs(5) }
}

fn one(policy: Option<RestartPolicy>) -> (Swarm, ServiceId) {
    let mut swarm = Swarm::new(1);
    let mut spec = web("web", 1);
    spec.task.restart = policy;
    let service = swarm.service(spec);
    swarm.obey();
    (swarm, service)
}

fn end(swarm: &mut Swarm, service: &ServiceId, state: TaskState) {
    let task = swarm.live(service)[0].clone();
    swarm.report(&task.id, state);
    swarm.settle();
}

#[test]
fn a_failed_task_is_restarted_after_the_delay() {
    let (mut swarm, service) = one(None);
    let failed_at = swarm.now;
    end(&mut swarm, &service, TaskState::Failed);
    let next = swarm.live(&service)[0].clone();
    assert_eq!((next.desired, next.slot), (DesiredState::Ready, 1));
    assert_eq!(swarm.wake_at, Some(failed_at.after(Duration::from_secs(5))));
    swarm.pass_secs(4);
    assert_eq!(swarm.live(&service)[0].desired, DesiredState::Ready);
    swarm.pass_secs(1);
    assert_eq!(swarm.live(&service)[0].desired, DesiredState::Running);
    let old = swarm.tasks(&service).into_iter().find(|t| t.id != next.id).unwrap();
    assert_eq!((old.status.state, old.desired, old.draining_since), (TaskState::Failed, DesiredState::Shutdown, None));
}

#[test]
fn the_condition_decides() {
    use RestartCondition::*;
    for (condition, state, restarts) in [
        (Any, TaskState::Complete, true),
        (Any, TaskState::Failed, true),
        (OnFailure, TaskState::Complete, false),
        (OnFailure, TaskState::Failed, true),
        (OnFailure, TaskState::Rejected, true),
        (None, TaskState::Complete, false),
        (None, TaskState::Failed, false),
    ] {
        let (mut swarm, service) = one(Some(policy(condition, 0, 0)));
        if state == TaskState::Rejected {
            swarm.update_service(&service, |s| s.task.force_update += 1);
            swarm.settle();
        }
        end(&mut swarm, &service, state);
        assert_eq!(swarm.live(&service).len(), usize::from(restarts), "{condition:?} {state:?}");
        swarm.memory = Default::default();
        swarm.pass_secs(60);
        assert_eq!(swarm.live(&service).len(), usize::from(restarts), "{condition:?} {state:?} later");
    }
}

#[test]
fn attempts_are_limited_and_as_many_tasks_are_kept_as_that_needs() {
    let (mut swarm, service) = one(Some(policy(RestartCondition::Any, 2, 0)));
    for run in 0..3 {
        assert_eq!(swarm.live(&service).len(), 1, "run {run}");
        end(&mut swarm, &service, TaskState::Failed);
        swarm.memory = Default::default();
        swarm.pass_secs(5);
        swarm.obey();
    }
    assert_eq!(swarm.live(&service).len(), 0);
    assert_eq!(swarm.tasks(&service).len(), 3);
    // A changed service starts counting anew.
    swarm.update_service(&service, |s| image(s, "web:2"));
    swarm.obey();
    assert_eq!(swarm.live(&service).len(), 1);
}

#[test]
fn attempts_count_within_the_window() {
    let (mut swarm, service) = one(Some(policy(RestartCondition::Any, 1, 60)));
    for _ in 0..6 {
        swarm.pass_secs(61);
        end(&mut swarm, &service, TaskState::Failed);
        swarm.pass_secs(5);
        swarm.obey();
        assert_eq!(swarm.live(&service).len(), 1);
    }
    end(&mut swarm, &service, TaskState::Failed);
    assert_eq!(swarm.live(&service).len(), 0, "twice within the window");
}

#[test]
fn a_lost_task_is_replaced_whatever_the_policy() {
    let (mut swarm, service) = one(Some(policy(RestartCondition::None, 0, 0)));
    swarm.add_node("n1");
    swarm.node_down("n0");
    swarm.obey();
    swarm.pass(lease::replace_after());
    swarm.obey();
    let live = swarm.live(&service);
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].status.state, TaskState::Running);
}

#[test]
fn history_is_cut_to_five_tasks_per_slot() {
    let (mut swarm, service) = one(None);
    for _ in 0..8 {
        end(&mut swarm, &service, TaskState::Failed);
        swarm.pass_secs(5);
        swarm.obey();
    }
    assert_eq!(swarm.tasks(&service).len(), 5);
    assert_eq!(swarm.live(&service).len(), 1);
}
