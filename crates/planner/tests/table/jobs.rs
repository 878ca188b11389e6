use crate::fixture::*;
use model::*;

fn job(max_concurrent: u64, total_completions: u64) -> ServiceSpec {
    ServiceSpec { mode: ServiceMode::ReplicatedJob { max_concurrent, total_completions }, ..web("job", 0) }
}

fn finish_running(swarm: &mut Swarm, service: &ServiceId, state: TaskState) -> usize {
    let running: Vec<_> = swarm.live(service).into_iter().filter(|t| t.status.state == TaskState::Running).collect();
    for task in &running {
        swarm.report(&task.id, state);
    }
    swarm.obey();
    running.len()
}

#[test]
fn a_job_runs_so_many_at_once_until_so_many_have_completed() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(job(2, 5));
    swarm.obey();
    let mut batches = Vec::new();
    loop {
        match finish_running(&mut swarm, &service, TaskState::Complete) {
            0 => break,
            n => batches.push(n),
        }
    }
    assert_eq!(batches, [2, 2, 1]);
    let tasks = swarm.tasks(&service);
    assert_eq!(tasks.len(), 5);
    assert!(tasks.iter().all(|t| t.status.state == TaskState::Complete && t.job_iteration == Some(0)));
    swarm.pass_secs(100);
    assert_eq!(swarm.settle(), 0);
}

#[test]
fn a_failed_run_is_tried_again_and_a_changed_job_runs_anew() {
    let mut swarm = Swarm::new(1);
    let service = swarm.service(job(0, 2));
    swarm.obey();
    assert_eq!(finish_running(&mut swarm, &service, TaskState::Failed), 2);
    assert_eq!(finish_running(&mut swarm, &service, TaskState::Complete), 0, "they wait for the delay");
    swarm.pass_secs(5);
    swarm.obey();
    assert_eq!(finish_running(&mut swarm, &service, TaskState::Complete), 2);
    swarm.update_service(&service, |s| s.task.force_update += 1);
    swarm.obey();
    assert_eq!(swarm.get(&service).job_iteration, 1);
    assert!(swarm.tasks(&service).iter().all(|t| t.job_iteration == Some(1)));
    assert_eq!(finish_running(&mut swarm, &service, TaskState::Complete), 2);
}

#[test]
fn a_global_job_completes_once_on_each_node() {
    let mut swarm = Swarm::new(2);
    let service = swarm.service(ServiceSpec { mode: ServiceMode::GlobalJob, ..web("job", 0) });
    swarm.obey();
    assert_eq!(finish_running(&mut swarm, &service, TaskState::Complete), 2);
    swarm.add_node("n2");
    swarm.obey();
    assert_eq!(finish_running(&mut swarm, &service, TaskState::Complete), 1);
    assert_eq!(swarm.tasks(&service).len(), 3);
}
