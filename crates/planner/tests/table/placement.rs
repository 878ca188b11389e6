use crate::fixture::*;
use model::*;
use planner::{Constraint, Refusal, explain};
use std::collections::BTreeMap;

fn spread_of(swarm: &Swarm, service: &ServiceId) -> BTreeMap<String, usize> {
    let mut n = BTreeMap::new();
    for task in swarm.live(service).iter().filter_map(|t| t.node.as_ref()) {
        *n.entry(swarm.name_of(task)).or_default() += 1;
    }
    n
}

fn why(swarm: &Swarm, service: &ServiceId) -> Vec<String> {
    let pending = |t: &std::sync::Arc<Task>| t.status.state == TaskState::Pending;
    swarm.tasks(service).into_iter().filter(pending).map(|t| t.status.err.clone()).collect()
}

#[test]
fn constraints_are_read_as_docker_reads_them() {
    let error = |text: &str| text.parse::<Constraint>().unwrap_err().to_string();
    assert_eq!(error("node.role = manager"), "constraint expected one operator from ==, !=");
    assert_eq!(error("node.role"), "constraint expected one operator from ==, !=");
    assert_eq!(error("node.rank == 1"), "key 'node.rank' is invalid");
    assert_eq!(error("!role == x"), "key '!role' is invalid");
    assert_eq!(error("node.role =="), "value '' is invalid");
    assert_eq!(error("node.labels. == x"), "key 'node.labels.' is invalid");
    for good in ["node.role==manager", "node.labels.com.example/zone != eu-1", "engine.labels.os == Ubuntu 24.04"] {
        good.parse::<Constraint>().unwrap();
    }
}

#[test]
fn constraints_hold_as_docker_holds_them() {
    let mut swarm = Swarm::new(1);
    swarm.change_node("n0", |n| {
        n.role = NodeRole::Manager;
        n.spec.labels.insert("Zone".into(), "EU".into());
        n.description.as_mut().unwrap().engine_labels.insert("disk".into(), "ssd".into());
    });
    let node = swarm.node("n0");
    let table = [
        (format!("node.id == {}", node.id.as_str().to_uppercase()), true),
        ("node.hostname == N0".into(), true),
        ("node.hostname != n0".into(), false),
        ("node.role == MANAGER".into(), true),
        ("node.role == worker".into(), false),
        ("node.ip == 172.16.0.1".into(), true),
        ("node.ip == 172.16.0.0/12".into(), true),
        ("node.ip != 10.0.0.0/8".into(), true),
        ("node.ip == nonsense".into(), false),
        ("node.platform.os == linux".into(), true),
        ("node.platform.arch == x86_64".into(), true),
        ("node.platform.arch == amd64".into(), true),
        ("node.labels.Zone == eu".into(), true),
        ("node.labels.missing == x".into(), false),
        ("node.labels.missing != x".into(), true),
        ("engine.labels.disk == ssd".into(), true),
    ];
    for (text, holds) in table {
        assert_eq!(text.parse::<Constraint>().unwrap().holds(&node), holds, "{text}");
    }
}

#[test]
fn each_refusal_has_dockers_words_and_is_kept_as_data() {
    let mut swarm = Swarm::new(3);
    swarm.change_node("n0", |n| n.spec.availability = Availability::Pause);
    let mut spec = web("web", 1);
    spec.task.resources.reservations.memory_bytes = 9 << 30;
    let service = swarm.service(spec);
    swarm.settle();
    assert_eq!(
        why(&swarm, &service),
        ["no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)"]
    );
    let reasons: BTreeMap<_, _> = explain(&swarm.tables, &swarm.tasks(&service)[0])
        .into_iter()
        .map(|(n, r)| (swarm.name_of(&n), r.map(|(kind, _)| kind)))
        .collect();
    assert_eq!(reasons["n0"], Some(Refusal::NotAvailable));
    assert_eq!(reasons["n1"], Some(Refusal::Resources));

    type Change = fn(&mut ServiceSpec);
    let cases: [(Change, &str); 3] = [
        (
            |s| s.task.placement.constraints = vec!["node.role == manager".into()],
            "scheduling constraints not satisfied on 2 nodes",
        ),
        (
            |s| s.task.placement.platforms = vec![Platform { os: "windows".into(), architecture: "amd64".into() }],
            "unsupported platform on 2 nodes",
        ),
        (
            |s| {
                s.task.resources.reservations.generic = vec![GenericResource::Discrete { kind: "gpu".into(), value: 1 }]
            },
            "insufficient resources on 2 nodes",
        ),
    ];
    for (n, (change, text)) in cases.into_iter().enumerate() {
        let mut spec = web(&format!("w{n}"), 1);
        change(&mut spec);
        let service = swarm.service(spec);
        swarm.settle();
        assert_eq!(why(&swarm, &service), [format!("no suitable node ({text}; 1 node not available for new tasks)")]);
    }
}

#[test]
fn host_ports_and_the_limit_per_node_bound_the_tasks() {
    let mut swarm = Swarm::new(2);
    let mut spec = web("web", 3);
    spec.endpoint = Some(publish(80, 80));
    spec.endpoint.as_mut().unwrap().ports[0].publish_mode = PublishMode::Host;
    let service = swarm.service(spec);
    swarm.obey();
    assert_eq!(spread_of(&swarm, &service), [("n0".into(), 1), ("n1".into(), 1)].into());
    assert_eq!(why(&swarm, &service), ["no suitable node (host-mode port already in use on 2 nodes)"]);

    let mut spec = web("few", 5);
    spec.task.placement.max_replicas = 2;
    let few = swarm.service(spec);
    swarm.obey();
    assert_eq!(spread_of(&swarm, &few), [("n0".into(), 2), ("n1".into(), 2)].into());
    assert_eq!(why(&swarm, &few), ["no suitable node (max replicas per node limit exceed)"]);
    swarm.add_node("n2");
    swarm.obey();
    assert!(why(&swarm, &few).is_empty() && why(&swarm, &service).is_empty());
}

#[test]
fn reservations_are_given_back_when_a_task_ends() {
    let mut swarm = Swarm::new(1);
    let mut spec = web("web", 3);
    spec.task.resources.reservations.nano_cpus = 2_000_000_000;
    spec.task.restart = Some(RestartPolicy { condition: RestartCondition::None, ..Default::default() });
    let service = swarm.service(spec);
    swarm.obey();
    assert_eq!(why(&swarm, &service).len(), 1);
    let running = swarm.live(&service).into_iter().find(|t| t.status.state == TaskState::Running).unwrap();
    swarm.report(&running.id, TaskState::Failed);
    swarm.obey();
    assert!(why(&swarm, &service).is_empty());
}

#[test]
fn preferences_spread_over_label_values_first() {
    let mut swarm = Swarm::new(4);
    for (name, zone) in [("n0", "a"), ("n1", "a"), ("n2", "a"), ("n3", "b")] {
        swarm.change_node(name, |n| drop(n.spec.labels.insert("zone".into(), zone.into())));
    }
    let mut spec = web("web", 6);
    spec.task.placement.preferences = vec!["node.labels.zone".into()];
    let service = swarm.service(spec);
    swarm.obey();
    assert_eq!(
        spread_of(&swarm, &service),
        [("n0".into(), 1), ("n1".into(), 1), ("n2".into(), 1), ("n3".into(), 3)].into()
    );
}

#[test]
fn the_fewest_tasks_of_the_service_count_before_the_fewest_tasks() {
    let mut swarm = Swarm::new(2);
    let mut busy = web("busy", 4);
    busy.task.placement.constraints = vec!["node.hostname == n0".into()];
    swarm.service(busy);
    swarm.obey();
    let service = swarm.service(web("web", 4));
    swarm.obey();
    assert_eq!(spread_of(&swarm, &service), [("n0".into(), 2), ("n1".into(), 2)].into());
}

#[test]
fn a_node_where_the_service_keeps_failing_comes_last() {
    let mut swarm = Swarm::new(2);
    let mut spec = web("web", 1);
    spec.task.restart = Some(RestartPolicy { delay: std::time::Duration::ZERO, ..Default::default() });
    let service = swarm.service(spec);
    swarm.obey();
    let bad = swarm.live(&service)[0].node.clone();
    let busy = swarm.service(ServiceSpec { mode: ServiceMode::Replicated { replicas: 9 }, ..web("busy", 9) });
    swarm.update_service(&busy, |s| {
        s.task.placement.constraints = vec![format!("node.id != {}", bad.as_ref().unwrap())];
    });
    swarm.obey();
    for n in 0..6 {
        let task = swarm.live(&service)[0].clone();
        if n < 5 {
            assert_eq!(task.node, bad, "failure {n}");
        } else {
            assert_ne!(task.node, bad);
        }
        swarm.report(&task.id, TaskState::Failed);
        swarm.obey();
    }
}

#[test]
fn a_task_leaves_when_its_node_stops_fitting() {
    let mut swarm = Swarm::new(2);
    swarm.change_node("n0", |n| n.role = NodeRole::Manager);
    let mut spec = web("redis", 1);
    spec.task.placement.constraints = vec!["node.role == manager".into()];
    let service = swarm.service(spec);
    swarm.obey();
    let task = swarm.live(&service)[0].clone();
    swarm.change_node("n0", |n| n.role = NodeRole::Worker);
    swarm.change_node("n1", |n| n.role = NodeRole::Manager);
    swarm.settle();
    let evicted = swarm.tables.task(&task.id).unwrap();
    assert_eq!(evicted.desired, DesiredState::Shutdown);
    assert_eq!(evicted.status.message, "task rejected by constraint enforcer");
    assert_eq!(evicted.status.err, "assigned node no longer meets constraints");
    swarm.obey();
    assert_eq!(spread_of(&swarm, &service), [("n1".into(), 1)].into());
}
