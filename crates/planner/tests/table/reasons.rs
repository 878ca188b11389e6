//! Every task that waits says why, in words and node by node.
use crate::fixture::*;
use model::*;

fn waiting(swarm: &Swarm, service: &ServiceId) -> TaskStatus {
    swarm.live(service).into_iter().find(|t| t.status.state < TaskState::Assigned).unwrap().status.clone()
}

#[test]
fn each_node_has_its_own() {
    let mut swarm = Swarm::new(4);
    swarm.change_node("n0", |n| n.spec.availability = Availability::Drain);
    swarm.node_down("n1");
    swarm.change_node("n2", |n| drop(n.spec.labels.insert("disk".into(), "slow".into())));
    swarm.change_node("n3", |n| drop(n.spec.labels.insert("disk".into(), "fast".into())));
    let mut spec = web("db", 2);
    spec.task.placement.constraints = vec!["node.labels.disk == fast".into()];
    spec.task.resources.reservations.memory_bytes = 5 << 30;
    let service = swarm.service(spec);
    swarm.obey();
    let status = waiting(&swarm, &service);
    assert_eq!(
        status.err,
        "no suitable node (2 nodes not available for new tasks; insufficient resources on 1 node; scheduling constraints not satisfied on 1 node)"
    );
    let says = |text: &str| assert!(status.message.contains(text), "{text:?} is not in {:?}", status.message);
    assert!(status.message.starts_with("pending task scheduling: "));
    says("n0: is drained");
    says("n1: is down");
    says("n2: does not meet node.labels.disk == fast");
    says("n3: 5120 MiB asked, 3072 MiB of 8192 MiB free");
}

#[test]
fn ports_kinds_and_limits_are_named() {
    let mut swarm = Swarm::new(1);
    swarm.change_node("n0", |n| {
        let d = n.description.as_mut().unwrap();
        d.resources.generic = vec![GenericResource::Discrete { kind: "gpu".into(), value: 1 }];
    });
    let host = |spec: &mut ServiceSpec| {
        let mut endpoint = publish(8080, 80);
        endpoint.ports[0].publish_mode = PublishMode::Host;
        spec.endpoint = Some(endpoint);
    };
    let gpu = |spec: &mut ServiceSpec| {
        spec.task.resources.reservations.generic = vec![GenericResource::Discrete { kind: "gpu".into(), value: 1 }];
    };
    type Change<'a> = &'a dyn Fn(&mut ServiceSpec);
    let cases: [(&str, Change<'_>, &str); 4] = [
        ("port", &host, "n0: port 8080/tcp is taken by another task"),
        ("gpu", &gpu, "n0: 1 gpu asked, 0 of 1 free"),
        ("max", &|s| s.task.placement.max_replicas = 1, "n0: has 1 of at most 1 tasks of the service"),
        (
            "arm",
            &|s| s.task.placement.platforms = vec![Platform { os: "linux".into(), architecture: "arm64".into() }],
            "n0: is linux/amd64, which the image is not made for",
        ),
    ];
    for (name, change, text) in cases {
        let mut spec = web(name, 2);
        change(&mut spec);
        let service = swarm.service(spec);
        swarm.obey();
        let message = waiting(&swarm, &service).message;
        assert!(message.ends_with(text), "{name}: {message:?}");
    }
}

#[test]
fn named_resources_are_given_by_name_and_only_once() {
    let mut swarm = Swarm::new(1);
    let named = |value: &str| GenericResource::Named { kind: "gpu".into(), value: value.into() };
    swarm.change_node("n0", |n| {
        n.description.as_mut().unwrap().resources.generic =
            vec![named("a"), named("b"), named("c"), GenericResource::Discrete { kind: "ssd".into(), value: 5 }];
    });
    let asks = |gpus: i64| {
        vec![
            GenericResource::Discrete { kind: "gpu".into(), value: gpus },
            GenericResource::Discrete { kind: "ssd".into(), value: 2 },
        ]
    };
    let ssd = GenericResource::Discrete { kind: "ssd".into(), value: 2 };
    let mut spec = web("one", 1);
    spec.task.resources.reservations.generic = asks(2);
    let one = swarm.service(spec);
    swarm.obey();
    assert_eq!(swarm.live(&one)[0].generic, [named("a"), named("b"), ssd.clone()]);
    let mut spec = web("two", 2);
    spec.task.resources.reservations.generic = asks(1);
    let two = swarm.service(spec);
    swarm.obey();
    let given: Vec<_> = swarm.live(&two).iter().map(|t| t.generic.clone()).filter(|g| !g.is_empty()).collect();
    assert_eq!(given, [vec![named("c"), ssd]]);
    swarm.remove(one);
    swarm.obey();
    assert!(swarm.live(&two).iter().all(|t| t.generic.len() == 2));
}

#[test]
fn an_ingress_network_of_the_users_own_gets_every_node() {
    let mut swarm = Swarm::new(2);
    let old = swarm.tables.ingress().unwrap().id.clone();
    for name in ["n0", "n1"] {
        swarm.change_node(name, |n| n.attachments.clear());
    }
    swarm.remove(old);
    swarm.settle();
    swarm.network(NetworkSpec {
        name: "mesh".into(),
        ingress: true,
        ipv4: true,
        ipam: vec![IpamConfig { subnet: Some("10.77.0.0/16".parse().unwrap()), ..Default::default() }],
        ..Default::default()
    });
    let service = swarm.service(ServiceSpec { endpoint: Some(publish(8080, 80)), ..web("web", 1) });
    swarm.obey();
    for name in ["n0", "n1"] {
        assert_eq!(swarm.node(name).attachments.len(), 1);
        assert!(swarm.node(name).attachments[0].addr.to_string().starts_with("10.77."));
    }
    assert!(swarm.live(&service)[0].networks[0].addresses[0].0.to_string().starts_with("10.77."));
}
