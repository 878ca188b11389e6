//! A task that must not run twice is replaced only when its lost node has certainly stopped it; others at once.
use crate::fixture::*;
use model::*;
use std::time::Duration;

fn on_lost_node(spec: ServiceSpec) -> (Swarm, ServiceId, TaskId) {
    let mut swarm = Swarm::new(3);
    let service = swarm.service(spec);
    swarm.obey();
    let old = swarm.live(&service)[0].clone();
    let name = swarm.name_of(old.node.as_ref().unwrap());
    swarm.node_down(&name);
    swarm.settle();
    (swarm, service, old.id.clone())
}

fn successors(swarm: &Swarm, service: &ServiceId, old: &TaskId) -> Vec<DesiredState> {
    let slot = swarm.tables.task(old).unwrap().slot;
    swarm.live(service).iter().filter(|t| t.slot == slot).map(|t| t.desired).collect()
}

#[test]
fn a_single_replica_waits_at_ready_until_the_lease_is_over() {
    let (mut swarm, service, old) = on_lost_node(web("db", 1));
    assert!(swarm.tables.task(&old).unwrap().leased);
    assert_eq!(successors(&swarm, &service, &old), [DesiredState::Ready], "prepared at once");
    swarm.pass(lease::replace_after() - Duration::from_millis(1));
    assert_eq!(successors(&swarm, &service, &old), [DesiredState::Ready]);
    swarm.pass(Duration::from_millis(1));
    assert_eq!(successors(&swarm, &service, &old), [DesiredState::Running]);
}

#[test]
fn one_of_many_is_replaced_at_once() {
    let (swarm, service, old) = on_lost_node(web("web", 3));
    assert!(!swarm.tables.task(&old).unwrap().leased);
    assert_eq!(successors(&swarm, &service, &old), [DesiredState::Running]);
}

#[test]
fn the_label_decides() {
    for (word, replicas, held) in [("always", 3, true), ("never", 1, false), ("auto", 1, true)] {
        let labels = [(service_labels::FENCE.to_owned(), word.to_owned())].into();
        let (swarm, service, old) = on_lost_node(ServiceSpec { labels, ..web("web", replicas) });
        let state = if held { DesiredState::Ready } else { DesiredState::Running };
        assert_eq!(successors(&swarm, &service, &old), [state], "{word}");
    }
}

#[test]
fn a_leader_with_another_clock_waits_all_the_same() {
    for ahead in [0, 600] {
        let (mut swarm, service, old) = on_lost_node(web("db", 1));
        swarm.memory = Default::default();
        swarm.now = if ahead > 0 {
            swarm.now.after(Duration::from_secs(ahead))
        } else {
            Timestamp(swarm.now.0 - 600_000_000_000)
        };
        swarm.settle();
        assert_eq!(successors(&swarm, &service, &old), [DesiredState::Ready]);
        swarm.pass(lease::replace_after());
        assert_eq!(successors(&swarm, &service, &old), [DesiredState::Running]);
    }
}

#[test]
fn a_clock_that_is_set_meanwhile_shortens_nothing() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let (mut swarm, service, old) = on_lost_node(web("db", 1));
    swarm.pass(lease::replace_after() / 2);
    swarm.now = swarm.now.after(YEAR);
    swarm.settle();
    assert_eq!(successors(&swarm, &service, &old), [DesiredState::Ready], "half the time has passed");
    assert_eq!(swarm.wake_at, Some(swarm.now.after(lease::replace_after() / 2)));
    swarm.pass(lease::replace_after() / 2);
    assert_eq!(successors(&swarm, &service, &old), [DesiredState::Running]);
    assert_eq!(swarm.tables.task(&old).unwrap().status.state, TaskState::Running, "a year's leap is no day's silence");
    swarm.pass(lease::ORPHAN_AFTER);
    assert_eq!(swarm.tables.task(&old).unwrap().status.state, TaskState::Orphaned);
}

#[test]
fn a_node_removed_by_force_gets_the_time_of_a_lease_whoever_leads() {
    for (leads_anew, ahead) in [(false, 0), (false, 600), (true, 0), (true, 600)] {
        let mut swarm = Swarm::new(3);
        let service = swarm.service(web("db", 1));
        swarm.obey();
        let old = swarm.live(&service)[0].clone();
        swarm.remove(old.node.clone().unwrap());
        swarm.settle();
        assert_eq!(swarm.tables.task(&old.id).unwrap().status.state, TaskState::Orphaned);
        swarm.now = swarm.now.after(Duration::from_secs(ahead));
        if leads_anew {
            swarm.memory = Default::default();
        }
        swarm.settle();
        swarm.pass(lease::ended_after() - Duration::from_millis(1));
        assert_eq!(successors(&swarm, &service, &old.id), [DesiredState::Ready], "{leads_anew} {ahead}");
        swarm.pass(Duration::from_millis(1));
        assert_eq!(successors(&swarm, &service, &old.id), [DesiredState::Running], "{leads_anew} {ahead}");
    }
}

#[test]
fn living_tasks_follow_the_number_of_replicas_and_lost_ones_keep_what_they_were_told() {
    let mut swarm = Swarm::new(3);
    let service = swarm.service(web("web", 2));
    swarm.obey();
    let scale = |swarm: &mut Swarm, n: u64| {
        swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: n });
        swarm.obey();
    };
    scale(&mut swarm, 1);
    assert!(swarm.live(&service).iter().all(|t| t.leased));
    scale(&mut swarm, 2);
    assert!(swarm.live(&service).iter().all(|t| !t.leased));
    let lost = swarm.live(&service)[0].clone();
    let name = swarm.name_of(lost.node.as_ref().unwrap());
    swarm.node_down(&name);
    scale(&mut swarm, 1);
    assert!(!swarm.tables.task(&lost.id).unwrap().leased, "its node could not hear of it");
}

#[test]
fn addresses_of_a_lost_task_are_kept_while_it_may_still_run() {
    for (replicas, kept) in [(1, false), (2, true)] {
        let mut swarm = Swarm::new(3);
        let net = swarm.overlay("net");
        let mut spec = web("web", replicas);
        spec.task.networks = on(&[&net]);
        let service = swarm.service(spec);
        swarm.obey();
        let lost = swarm.live(&service)[0].clone();
        let name = swarm.name_of(lost.node.as_ref().unwrap());
        swarm.node_down(&name);
        swarm.remove(service.clone());
        swarm.obey();
        swarm.pass_secs(61);
        assert_eq!(swarm.tables.task(&lost.id).is_some(), kept, "{replicas}");
        let (addr, _) = lost.networks[0].addresses[0];
        assert_eq!(swarm.tables.address_holder(&net, addr).is_some(), kept);
        swarm.pass(lease::ORPHAN_AFTER);
        swarm.settle();
        assert_eq!(swarm.tables.address_holder(&net, addr), None);
    }
}
