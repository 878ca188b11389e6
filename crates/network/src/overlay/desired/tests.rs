use super::*;
use model::directory::{EndpointView, NetworkAttrs, PeerView};
use model::{Id, NetworkSubnet, ResolutionMode, TaskId};

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}
fn node(n: u8) -> NodeId {
    NodeId::from_random([n; 17])
}
fn endpoint(service: &ServiceId, n: u8, addr: &str, state: EndpointState) -> (TaskId, EndpointView) {
    let task = TaskId::from_random([addr.bytes().last().unwrap(); 17]);
    let view =
        EndpointView { service: Some(service.clone()), names: vec![], addresses: vec![ip(addr)], node: node(n), state };
    (task, view)
}

/// Nodes 1 (this), 2, 3; a service with tasks on all of them, on one network, which may be ingress.
fn sample(ingress: bool) -> (Directory, LocalState, ServiceId, NetworkId) {
    let service = ServiceId::from_random([40; 17]);
    let network = NetworkId::from_random([50; 17]);
    let peer = |n: u8| {
        (
            node(n),
            PeerView {
                hostname: format!("n{n}"),
                addr: ip(&format!("192.168.0.{n}")),
                alive: true,
                encryption_key: None,
            },
        )
    };
    let ports = vec![
        model::directory::MeshPort { protocol: Protocol::Tcp, published: 4000, target: 8080, host_ip: None },
        model::directory::MeshPort { protocol: Protocol::Sctp, published: 4000, target: 8080, host_ip: None },
    ];
    let view = NetworkView {
        attrs: NetworkAttrs {
            name: "net".into(),
            labels: Default::default(),
            vni: 4097,
            subnets: vec![NetworkSubnet {
                subnet: "10.0.1.0/24".parse().unwrap(),
                range: None,
                gateway: ip("10.0.1.1"),
            }],
            mtu: None,
            encrypted: false,
            internal: false,
            ingress,
        },
        node_addrs: [(node(1), ip("10.0.1.101")), (node(2), ip("10.0.1.102"))].into(),
        services: [(
            service.clone(),
            ServiceView {
                name: "web".into(),
                stack: None,
                balance: Default::default(),
                aliases: vec![],
                vips: vec![ip("10.0.1.2")],
                resolution: ResolutionMode::Vip,
                ports: if ingress { ports } else { vec![] },
            },
        )]
        .into(),
        endpoints: [
            endpoint(&service, 1, "10.0.1.3", EndpointState::Ready),
            endpoint(&service, 2, "10.0.1.4", EndpointState::Draining),
            endpoint(&service, 3, "10.0.1.5", EndpointState::Ready),
            endpoint(&service, 2, "10.0.1.6", EndpointState::Starting),
        ]
        .into(),
    };
    let directory = Directory {
        revision: 7,
        data_path_port: 4789,
        peers: [peer(1), peer(2), peer(3)].into(),
        networks: [(network.clone(), view)].into(),
    };
    let local = LocalState {
        node: Some(node(1)),
        attached: [((network.clone(), ip("10.0.1.3")), (9, [2, 0, 0, 0, 0, 3]))].into(),
        addresses: [ip("192.168.0.1")].into(),
        mtu: 1450,
        seals: false,
    };
    (directory, local, service, network)
}

const REMOTE_2: Endpoint = Endpoint::Remote { node: Ipv4Addr::new(192, 168, 0, 2) };

#[test]
fn every_address_is_where_it_is() {
    let (directory, local, ..) = sample(false);
    let d = desired(&directory, &local);
    let at = |a: &str| d.endpoints.get(&(4097, ip(a))).copied();
    assert_eq!(at("10.0.1.1"), Some(Endpoint::Gateway));
    assert_eq!(at("10.0.1.101"), Some(Endpoint::Gateway));
    assert_eq!(at("10.0.1.102"), Some(REMOTE_2));
    assert_eq!(at("10.0.1.3"), Some(Endpoint::Local { ifindex: 9, mac: [2, 0, 0, 0, 0, 3] }));
    assert_eq!(at("10.0.1.6"), Some(REMOTE_2), "a starting task is addressable");
    assert_eq!(d.peers, [Ipv4Addr::new(192, 168, 0, 2), Ipv4Addr::new(192, 168, 0, 3)].into());
    assert_eq!((d.ingress_vni, d.mtu), (None, 1450));
    assert!(d.mesh.is_empty());
}

#[test]
fn only_ready_tasks_get_new_connections_and_draining_ones_keep_theirs() {
    let (directory, local, ..) = sample(false);
    let d = desired(&directory, &local);
    let mut backends = d.services[&(4097, ip("10.0.1.2"))].backends.clone();
    backends.sort_by_key(|b| b.addr);
    assert_eq!(
        backends,
        [
            Backend { addr: ip("10.0.1.3"), state: BackendState::Ready },
            Backend { addr: ip("10.0.1.4"), state: BackendState::Draining },
            Backend { addr: ip("10.0.1.5"), state: BackendState::Ready },
        ]
    );
}

#[test]
fn a_dead_node_is_masked_everywhere() {
    let (mut directory, local, ..) = sample(false);
    directory.peers.get_mut(&node(3)).unwrap().alive = false;
    directory.peers.remove(&node(2));
    let d = desired(&directory, &local);
    assert!(!d.endpoints.contains_key(&(4097, ip("10.0.1.5"))) && !d.endpoints.contains_key(&(4097, ip("10.0.1.4"))));
    let backends = &d.services[&(4097, ip("10.0.1.2"))].backends;
    assert_eq!(backends, &[Backend { addr: ip("10.0.1.3"), state: BackendState::Ready }]);
}

#[test]
fn a_service_without_a_ready_task_keeps_its_address() {
    let (mut directory, local, _, network) = sample(false);
    directory.networks.get_mut(&network).unwrap().endpoints.clear();
    let d = desired(&directory, &local);
    assert!(d.services[&(4097, ip("10.0.1.2"))].backends.is_empty());
    assert!(d.endpoints.contains_key(&(4097, ip("10.0.1.3"))), "what is attached here is here");
}

#[test]
fn the_mesh_is_the_ingress_networks_alone() {
    let (directory, local, ..) = sample(true);
    let d = desired(&directory, &local);
    assert_eq!(d.ingress_vni, Some(4097));
    assert_eq!(d.mesh.len(), 1, "SCTP is not carried");
    let port = &d.mesh[&(Protocol::Tcp, 4000)];
    assert_eq!((port.target_port, port.backends.len()), (8080, 3));
}

#[test]
fn an_encrypted_network_never_leaves_in_clear() {
    let (mut directory, mut local, _, network) = sample(false);
    directory.networks.get_mut(&network).unwrap().attrs.encrypted = true;
    let far = |d: &Desired| -> BTreeSet<Endpoint> {
        let all = d.endpoints.values().copied();
        all.filter(|e| matches!(e, Endpoint::Remote { .. } | Endpoint::Sealed { .. })).collect()
    };
    let alone = desired(&directory, &local);
    assert!(far(&alone).is_empty() && alone.sealed.contains(&4097));
    assert_eq!(alone.services[&(4097, ip("10.0.1.2"))].backends.len(), 1);
    local.seals = true;
    assert!(far(&desired(&directory, &local)).is_empty(), "nobody else has a key");
    directory.peers.get_mut(&node(3)).unwrap().encryption_key = Some([3; 32]);
    let d = desired(&directory, &local);
    assert_eq!(far(&d), [Endpoint::Sealed { node: Ipv4Addr::new(192, 168, 0, 3) }].into());
    assert_eq!(d.services[&(4097, ip("10.0.1.2"))].backends.len(), 2);
}

#[test]
fn the_same_directory_is_the_same_road() {
    let (directory, local, ..) = sample(true);
    assert_eq!(desired(&directory, &local), desired(&directory.clone(), &local.clone()));
}

#[test]
fn the_service_says_how_it_is_balanced() {
    let (mut directory, local, service, network) = sample(true);
    for (wish, policy) in [
        (BalancePolicy::RoundRobin, Policy::RoundRobin),
        (BalancePolicy::LeastConnections, Policy::LeastConnections),
        (BalancePolicy::Source, Policy::Source),
        (BalancePolicy::Random, Policy::Random),
    ] {
        let view = directory.networks.get_mut(&network).unwrap().services.get_mut(&service).unwrap();
        view.balance = model::Balance { policy: wish, prefer_local: wish == BalancePolicy::Source };
        let d = desired(&directory, &local);
        let (vip, mesh) = (&d.services[&(4097, ip("10.0.1.2"))], &d.mesh[&(Protocol::Tcp, 4000)]);
        assert_eq!((vip.policy, mesh.policy), (policy, policy));
        assert_eq!((vip.prefer_local, mesh.prefer_local), (policy == Policy::Source, policy == Policy::Source));
    }
}
