use crate::fixture::*;
use model::*;
use planner::{AllocationError, allocate_network, allocate_service};
use std::net::IpAddr;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn ingress_has_the_first_subnet_and_identifier_and_user_networks_the_next() {
    let mut swarm = Swarm::new(2);
    let a = swarm.overlay("a");
    let b = swarm.overlay("b");
    swarm.settle();
    let shown = |id: &NetworkId| {
        let n = swarm.tables.network(id).unwrap();
        (n.vni, n.subnets[0].subnet.to_string(), n.subnets[0].gateway.to_string())
    };
    let ingress = swarm.tables.ingress().unwrap().id.clone();
    assert_eq!(shown(&ingress), (4096, "10.0.0.0/24".into(), "10.0.0.1".into()));
    let mut both = [shown(&a), shown(&b)];
    both.sort();
    assert_eq!(both[0], (4097, "10.0.1.0/24".into(), "10.0.1.1".into()));
    assert_eq!(both[1], (4098, "10.0.2.0/24".into(), "10.0.2.1".into()));
    let lbs: Vec<_> = ["n0", "n1"].iter().map(|n| swarm.node(n).attachments[0].addr).collect();
    assert!(lbs.contains(&addr("10.0.0.2")) && lbs.contains(&addr("10.0.0.3")), "{lbs:?}");
}

#[test]
fn a_subnet_keeps_clear_of_networks_and_of_what_machines_route() {
    let mut swarm = Swarm::new(1);
    swarm.change_node("n0", |n| {
        n.description.as_mut().unwrap().routes =
            vec!["0.0.0.0/0".parse().unwrap(), "10.0.0.0/16".parse().unwrap(), "10.1.0.0/24".parse().unwrap()];
    });
    let a = swarm.overlay("a");
    swarm.settle();
    assert_eq!(swarm.tables.network(&a).unwrap().subnets[0].subnet.to_string(), "10.1.1.0/24");

    let mut asked = Network {
        id: swarm.dice.id(),
        meta: Meta::default(),
        spec: NetworkSpec {
            name: "asked".into(),
            ipv4: true,
            ipam: vec![IpamConfig { subnet: Some("10.1.0.0/16".parse().unwrap()), ..Default::default() }],
            ..Default::default()
        },
        vni: 0,
        subnets: Vec::new(),
    };
    let refused = allocate_network(&swarm.tables, &mut asked).unwrap_err();
    assert_eq!(refused.to_string(), "Pool overlaps with other one on this address space");
    assert_eq!((asked.vni, asked.subnets.len()), (0, 0));
    asked.spec.ipam[0].subnet = Some("10.2.0.0/16".parse().unwrap());
    asked.spec.ipam[0].gateway = Some(addr("10.2.0.9"));
    allocate_network(&swarm.tables, &mut asked).unwrap();
    assert_eq!(asked.subnets[0].gateway, addr("10.2.0.9"));
    assert_eq!(asked.vni, 4098);
}

#[test]
fn a_network_with_ipv6_gets_a_subnet_of_each_family_and_so_do_its_tasks() {
    let mut swarm = Swarm::new(1);
    let dual = swarm.network(NetworkSpec { name: "dual".into(), ipv4: true, ipv6: true, ..Default::default() });
    let mut spec = web("web", 1);
    spec.task.networks = on(&[&dual]);
    let service = swarm.service(spec);
    swarm.settle();
    let network = swarm.tables.network(&dual).unwrap();
    assert_eq!(network.subnets.len(), 2);
    assert_eq!(network.subnets[1].subnet.prefix, 64);
    assert!(network.subnets[1].subnet.base.to_string().starts_with("fd"));
    assert_eq!(swarm.get(&service).vips.len(), 2);
    assert_eq!(swarm.tasks(&service)[0].networks[0].addresses.len(), 2);
}

#[test]
fn vips_come_ingress_first_and_stay_through_changes_of_ports_and_networks() {
    let mut swarm = Swarm::new(1);
    let (a, b) = (swarm.overlay("a"), swarm.overlay("b"));
    let ingress = swarm.tables.ingress().unwrap().id.clone();
    let mut spec = web("web", 1);
    spec.task.networks = on(&[&a]);
    spec.endpoint = Some(publish(8080, 80));
    let service = swarm.service(spec);
    swarm.settle();
    let before = swarm.get(&service).vips.clone();
    assert_eq!(before.iter().map(|v| v.network.clone()).collect::<Vec<_>>(), [ingress.clone(), a.clone()]);
    let task = swarm.tasks(&service)[0].clone();
    assert_eq!(
        task.networks.iter().map(|n| n.network.clone()).collect::<Vec<_>>(),
        [NetworkTarget::Swarm(ingress), NetworkTarget::Swarm(a.clone())]
    );

    swarm.update_service(&service, |s| s.task.networks = on(&[&a, &b]));
    swarm.settle();
    let after = swarm.get(&service).vips.clone();
    assert_eq!(after[..2], before[..]);
    assert_eq!(after[2].network, b);

    swarm.update_service(&service, |s| s.endpoint = None);
    swarm.settle();
    assert_eq!(swarm.get(&service).vips, [before[1].clone(), after[2].clone()]);
    swarm.update_service(&service, |s| {
        s.endpoint = Some(EndpointSpec { mode: ResolutionMode::DnsRr, ports: Vec::new() });
    });
    swarm.settle();
    assert!(swarm.get(&service).vips.is_empty());
}

#[test]
fn ports_are_chosen_from_30000_and_stay_and_taken_ones_are_refused_by_name() {
    let mut swarm = Swarm::new(1);
    let mut spec = web("x", 1);
    spec.endpoint = Some(publish(8080, 80));
    spec.endpoint.as_mut().unwrap().ports.push(PortConfig { target_port: 81, ..Default::default() });
    let x = swarm.service(spec);
    swarm.settle();
    let ports = |s: &Swarm| s.get(&x).ports.iter().map(|p| p.published_port).collect::<Vec<_>>();
    assert_eq!(ports(&swarm), [8080, 30000]);
    swarm.update_service(&x, |s| {
        s.endpoint.as_mut().unwrap().ports.insert(0, PortConfig { target_port: 9, ..Default::default() })
    });
    swarm.settle();
    assert_eq!(ports(&swarm), [30001, 8080, 30000]);

    let mut y = (*swarm.get(&x)).clone();
    y.id = swarm.dice.id();
    y.spec = web("y", 1);
    y.spec.endpoint = Some(publish(8080, 80));
    (y.ports, y.vips) = Default::default();
    let refused = allocate_service(&swarm.tables, &mut y).unwrap_err();
    assert_eq!(refused.to_string(), format!("port '8080' is already in use by service 'x' ({x}) as an ingress port"));
    y.spec.endpoint.as_mut().unwrap().ports[0].protocol = Protocol::Udp;
    allocate_service(&swarm.tables, &mut y).unwrap();
    let twice = y.spec.endpoint.as_ref().unwrap().ports[0].clone();
    y.spec.endpoint.as_mut().unwrap().ports.push(twice);
    assert_eq!(allocate_service(&swarm.tables, &mut y), Err(AllocationError::PortTwice));
}

#[test]
fn a_full_network_says_so_and_goes_on_when_something_leaves() {
    let mut swarm = Swarm::new(1);
    let small = swarm.network(NetworkSpec {
        name: "small".into(),
        ipv4: true,
        ipam: vec![IpamConfig { subnet: Some("10.9.0.0/29".parse().unwrap()), ..Default::default() }],
        ..Default::default()
    });
    let mut spec = web("web", 5);
    spec.task.networks = on(&[&small]);
    let service = swarm.service(spec);
    swarm.settle();
    // Six usable: the gateway, the virtual address and four tasks (or three and the node's own).
    let waiting: Vec<_> = swarm.tasks(&service).into_iter().filter(|t| t.status.state == TaskState::New).collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].status.err, "network small: no free address (6 of 6 in use)");
    assert_eq!(swarm.settle(), 0);
    let other = swarm.service(web("other", 1));
    swarm.settle();
    assert_eq!(swarm.tasks(&other)[0].status.state, TaskState::Assigned, "nobody else waits");
    swarm.update_service(&service, |s| s.mode = ServiceMode::Replicated { replicas: 3 });
    swarm.obey();
    assert_eq!(swarm.live(&service).len(), 3);
    assert!(swarm.live(&service).iter().all(|t| t.status.state == TaskState::Running));
    assert!(swarm.node("n0").attachments.iter().any(|a| a.network == small), "the node has room for its own now");
}

#[test]
fn a_released_address_rests_until_the_others_have_been_given() {
    let mut swarm = Swarm::new(1);
    let a = swarm.overlay("a");
    let mut spec = web("web", 1);
    spec.task.networks = on(&[&a]);
    spec.task.restart = Some(RestartPolicy { delay: std::time::Duration::ZERO, ..Default::default() });
    let service = swarm.service(spec);
    let mut seen = Vec::new();
    for _ in 0..20 {
        swarm.obey();
        let task = swarm.live(&service)[0].clone();
        let addr = task.networks[0].addresses[0].0;
        assert!(!seen.contains(&addr), "{addr} was given again at once");
        seen.push(addr);
        swarm.report(&task.id, TaskState::Failed);
    }
}

#[test]
fn ranges_and_reserved_addresses_are_respected() {
    let mut swarm = Swarm::new(1);
    let a = swarm.network(NetworkSpec {
        name: "a".into(),
        ipv4: true,
        ipam: vec![IpamConfig {
            subnet: Some("10.9.0.0/24".parse().unwrap()),
            range: Some("10.9.0.128/29".parse().unwrap()),
            gateway: Some(addr("10.9.0.254")),
            reserved: [("printer".to_owned(), addr("10.9.0.129"))].into(),
        }],
        ..Default::default()
    });
    let mut spec = web("web", 4);
    spec.task.networks = on(&[&a]);
    let service = swarm.service(spec);
    swarm.obey();
    let mut given: Vec<_> = swarm.tables.addresses_of(&a).map(|(a, _)| a.to_string()).collect();
    given.sort();
    let wanted = ["10.9.0.128", "10.9.0.130", "10.9.0.131", "10.9.0.132", "10.9.0.133", "10.9.0.134", "10.9.0.254"];
    assert_eq!(given, wanted);
    assert_eq!(swarm.get(&service).vips[0].prefix, 24);
}

#[test]
fn a_node_has_an_address_on_a_network_only_while_it_has_a_task_there() {
    let mut swarm = Swarm::new(1);
    let a = swarm.overlay("a");
    let mut spec = web("web", 1);
    spec.task.networks = on(&[&a]);
    let service = swarm.service(spec);
    swarm.settle();
    let there = |s: &Swarm| s.node("n0").attachments.iter().filter(|x| x.network == a).count();
    assert_eq!(there(&swarm), 1);
    swarm.remove(service);
    swarm.obey();
    assert_eq!(there(&swarm), 0);
    assert_eq!(swarm.tables.tasks().count(), 0);
    assert_eq!(swarm.tables.addresses_of(&a).count(), 1, "only the gateway");
}

#[test]
fn a_plain_containers_attachment_gets_its_address_and_goes_when_it_has_ended() {
    let mut swarm = Swarm::new(1);
    let a = swarm.overlay("a");
    let node = swarm.node("n0").id.clone();
    swarm.change_node("n0", |n| n.spec.availability = Availability::Drain);
    let id: TaskId = swarm.dice.id();
    swarm.create(Task {
        id: id.clone(),
        meta: Meta::default(),
        spec: TaskSpec {
            attachment: Some(AttachmentSpec { container_id: "c".repeat(64), names: vec!["box".into()] }),
            networks: vec![NetworkAttachmentConfig { addresses: vec![addr("10.0.1.77")], ..on(&[&a]).remove(0) }],
            ..Default::default()
        },
        spec_version: 0,
        service: None,
        service_name: String::new(),
        service_labels: Labels::new(),
        slot: 0,
        node: Some(node),
        status: TaskStatus::default(),
        desired: DesiredState::Running,
        networks: Vec::new(),
        endpoint: EndpointSpec::default(),
        draining_since: None,
        job_iteration: None,
        leased: false,
        generic: Vec::new(),
    });
    swarm.settle();
    let task = swarm.tables.task(&id).unwrap();
    assert_eq!(task.status.state, TaskState::Assigned);
    assert_eq!(task.networks[0].addresses, [(addr("10.0.1.77"), 24)]);
    swarm.report(&id, TaskState::Shutdown);
    swarm.settle();
    assert!(swarm.tables.task(&id).is_none());
}
