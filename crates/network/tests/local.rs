//! Networks of one machine, with real packets in namespaces of the test's own.
mod support;

use kernel::netlink::{Netlink, VethSpec};
use kernel::netns::NetNs;
use model::Protocol;
use network::{Attach, IpamText, LocalAttach, LocalNetworkSpec, PortBinding, parse_ipam};
use std::net::IpAddr;
use support::*;

fn port(container_port: u16, host_port: u16) -> PortBinding {
    PortBinding { protocol: Protocol::Tcp, container_port, host_ip: None, host_port, host_port_end: 0 }
}

fn on(network: &str) -> LocalAttach {
    LocalAttach { network: network.into(), ..LocalAttach::default() }
}

fn named(name: &str) -> LocalNetworkSpec {
    LocalNetworkSpec { name: name.into(), ..LocalNetworkSpec::default() }
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let c = m.sandbox(1);
    let publish = vec![port(80, 8080), PortBinding { protocol: Protocol::Udp, ..port(80, 8080) }];
    let e = m.connect(1, LocalAttach { publish, ..on("bridge") }).unwrap();
    assert_eq!((e.interface.as_str(), e.mac_text().as_str()), ("eth0", "02:42:ac:11:00:02"));
    assert_eq!(e.addresses, [(ip("172.17.0.2"), 16)]);
    assert_eq!(e.ports.len(), 4, "both families, both protocols: {:?}", e.ports);
    serve(&c, "0.0.0.0:80", "one");

    assert_eq!(ask(&switch.ns, "10.88.0.1:8080").unwrap(), "one 10.88.0.254", "the client's address is kept");
    assert_eq!(ask_udp(&switch.ns, "10.88.0.1:8080").unwrap(), "one 10.88.0.254");
    assert_eq!(ask(&m.ns, "127.0.0.1:8080").unwrap(), "one 172.17.0.1");
    assert!(ask(&m.ns, "10.88.0.1:8080").unwrap().starts_with("one "));
    assert!(ask(&m.ns, "[::1]:8080").unwrap().starts_with("one "), "IPv6 is relayed");
    assert!(ask_udp(&m.ns, "[::1]:8080").unwrap().starts_with("one "));
    assert!(ask(&c, "10.88.0.1:8080").unwrap().starts_with("one "), "hairpin: itself by the machine's address");
    assert!(ask(&c, "172.17.0.1:8080").unwrap().starts_with("one "), "hairpin: by the gateway's");
    let other = m.sandbox(2);
    m.connect(2, on("bridge")).unwrap();
    assert!(ask(&other, "10.88.0.1:8080").unwrap().starts_with("one "), "a neighbour by the machine's address");
    assert_eq!(ask(&other, "172.17.0.2:80").unwrap(), "one 172.17.0.3", "a neighbour directly");

    // Out: masqueraded. In without a published port: no.
    serve(&switch.ns, "10.88.0.254:7000", "world");
    assert_eq!(ask(&other, "10.88.0.254:7000").unwrap(), "world 10.88.0.1");
    Netlink::open_in(&switch.ns)
        .unwrap()
        .add_route(&kernel::netlink::Route {
            dst: (ip("172.17.0.0"), 16),
            gateway: Some(ip("10.88.0.1")),
            index: None,
            metric: None,
            source: None,
        })
        .unwrap();
    assert!(refused(&switch.ns, "172.17.0.2:80"), "not published");

    let taken = m.connect(2, LocalAttach { publish: vec![port(80, 8080)], ..on("bridge") });
    assert!(taken.unwrap_err().message.contains("already exists in network bridge"));
    m.sandbox(3);
    let taken = m.connect(3, LocalAttach { publish: vec![port(80, 8080)], ..on("bridge") }).unwrap_err();
    assert_eq!(taken.kind.status(), 500);
    assert!(
        taken.message.starts_with("driver failed programming external connectivity on endpoint c3 (")
            && taken.message.ends_with("): Bind for 0.0.0.0:8080 failed: port is already allocated"),
        "{}",
        taken.message
    );
    let _other_process = m.ns.run(|| std::net::TcpListener::bind("0.0.0.0:8081").unwrap()).unwrap();
    let taken = m.connect(3, LocalAttach { publish: vec![port(80, 8081)], ..on("bridge") }).unwrap_err();
    assert!(taken.message.ends_with("failed to bind host port for 0.0.0.0:8081: address already in use"), "{taken}");
    let range = PortBinding { host_port_end: 8085, ..port(80, 8080) };
    let e3 = m.connect(3, LocalAttach { publish: vec![range, port(81, 0)], ..on("bridge") }).unwrap();
    assert_eq!(e3.ports[0].host_port, 8082);
    assert!(e3.ports.last().unwrap().host_port >= 32768);

    m.block_on(m.net().disconnect(&container(1), "bridge")).unwrap();
    assert!(refused(&m.ns, "127.0.0.1:8080"));
    assert!(m.ns.run(|| std::net::TcpListener::bind("0.0.0.0:8080").is_ok()).unwrap(), "the port is free again");
}

#[test]
fn a_port_on_one_address_is_on_that_address_only() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let c = m.sandbox(1);
    let publish = vec![PortBinding { host_ip: Some(ip("127.0.0.1")), ..port(80, 8080) }];
    let e = m.connect(1, LocalAttach { publish, ..on("bridge") }).unwrap();
    assert_eq!(e.ports.len(), 1);
    serve(&c, "0.0.0.0:80", "one");
    assert!(ask(&m.ns, "127.0.0.1:8080").is_ok());
    assert!(refused(&m.ns, "10.88.0.1:8080") && refused(&switch.ns, "10.88.0.1:8080"));
}

#[test]
fn bridges_are_apart_and_internal_ones_have_no_way_out() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let [a, b, i, j] = [1, 2, 3, 4].map(|n| m.sandbox(n));
    let net_a = m.block_on(m.net().create_local(named("a"))).unwrap();
    assert_eq!((net_a.interface.clone(), net_a.id.len()), (format!("br-{}", &net_a.id[..12]), 64));
    assert_eq!(net_a.pools[0].subnet.to_string(), "172.18.0.0/16");
    m.block_on(m.net().create_local(named("b"))).unwrap();
    m.block_on(m.net().create_local(LocalNetworkSpec { internal: true, ..named("inside") })).unwrap();
    let icc = ("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned());
    m.block_on(m.net().create_local(LocalNetworkSpec { options: [icc].into(), ..named("quiet") })).unwrap();
    let ea = m.connect(1, on("a")).unwrap();
    let eb = m.connect(2, on("b")).unwrap();
    let ei = m.connect(3, on("inside")).unwrap();
    m.connect(4, on("inside")).unwrap();
    assert_eq!(
        (ea.ipv4().unwrap().to_string(), eb.ipv4().unwrap().to_string()),
        ("172.18.0.2".into(), "172.19.0.2".into())
    );
    for (ns, word) in [(&a, "a"), (&b, "b"), (&i, "i")] {
        serve(ns, "0.0.0.0:80", word);
    }
    serve(&switch.ns, "10.88.0.254:7000", "world");
    assert!(ask(&a, "10.88.0.254:7000").is_ok());
    assert!(refused(&a, "172.19.0.2:80"), "bridges do not hear each other");
    assert!(refused(&i, "10.88.0.254:7000") && default_gateway(&i).is_empty(), "no way out");
    let at_i = format!("{}:80", ei.ipv4().unwrap());
    assert!(ask(&j, &at_i).is_ok(), "inside, they hear each other");
    assert!(ask(&m.ns, &at_i).is_ok(), "the machine hears them");

    let [q, r] = [5, 6].map(|n| m.sandbox(n));
    let eq = m.connect(5, on("quiet")).unwrap();
    m.connect(6, on("quiet")).unwrap();
    serve(&q, "0.0.0.0:80", "q");
    assert!(refused(&r, &format!("{}:80", eq.ipv4().unwrap())), "enable_icc=false");
    assert!(ask(&m.ns, &format!("{}:80", eq.ipv4().unwrap())).is_ok());
}

#[test]
fn containers_are_connected_and_disconnected_live() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let c = m.sandbox(1);
    for name in ["a", "b"] {
        m.block_on(m.net().create_local(named(name))).unwrap();
    }
    let ea = m.connect(1, on("a")).unwrap();
    let eb = m.connect(1, on("b")).unwrap();
    assert_eq!((ea.interface.as_str(), eb.interface.as_str()), ("eth0", "eth1"));
    assert_eq!(default_gateway(&c), ea.gateways);
    m.block_on(m.net().disconnect(&container(1), "a")).unwrap();
    assert_eq!(default_gateway(&c), eb.gateways, "the default route has moved");
    let ea = m.connect(1, LocalAttach { gateway_priority: 1, ..on("a") }).unwrap();
    assert_eq!((ea.interface.as_str(), default_gateway(&c)), ("eth0", ea.gateways.clone()));
    let gone = m.block_on(m.net().disconnect(&container(1), "bridge")).unwrap_err();
    assert!(gone.message.ends_with("is not connected to the network bridge"));
    assert_eq!(m.net().endpoints(&container(1)).len(), 2);
    assert_eq!(m.net().local("a").unwrap().endpoints.len(), 1);
    m.block_on(m.net().remove_sandbox(&container(1))).unwrap();
    m.block_on(m.net().remove_sandbox(&container(1))).unwrap();
    assert!(m.net().endpoints(&container(1)).is_empty());
}

#[test]
fn requests_are_refused_in_dockers_words_and_leave_nothing() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let net = m.net();
    let before = m.links();
    let refusal = |spec| m.block_on(net.create_local(spec)).map(|_| ()).unwrap_err();
    let r = refusal(named("bridge"));
    assert_eq!(
        (r.kind.status(), r.message.as_str()),
        (403, "operation is not permitted on predefined bridge network ")
    );
    let subnet = |s: &'static str, name: &str| LocalNetworkSpec {
        ipam: parse_ipam(&[IpamText { subnet: s, ..IpamText::default() }]).unwrap(),
        ..named(name)
    };
    let r = refusal(subnet("172.17.128.0/24", "x"));
    assert_eq!((r.kind.status(), r.message.as_str()), (403, "Pool overlaps with other one on this address space"));
    assert_eq!(refusal(LocalNetworkSpec { driver: "nonsense".into(), ..named("x") }).kind.status(), 404);
    assert_eq!(m.links(), before);

    let n = m.block_on(net.create_local(subnet("10.5.0.0/24", "x"))).unwrap();
    let r = refusal(named("x"));
    assert_eq!((r.kind.status(), r.message.as_str()), (409, "network with name x already exists"));
    m.sandbox(1);
    m.sandbox(2);
    let fixed = LocalAttach { ipv4: Some("10.5.0.77".parse().unwrap()), ..on(&n.id) };
    let e = m.connect(1, fixed.clone()).unwrap();
    assert_eq!(e.addresses, [(ip("10.5.0.77"), 24)]);
    let r = m.connect(2, fixed).unwrap_err();
    assert_eq!((r.kind.status(), r.message.as_str()), (403, "Address already in use"));
    let outside = LocalAttach { ipv4: Some("10.6.0.1".parse().unwrap()), ..on("x") };
    assert_eq!(m.connect(2, outside).unwrap_err().kind.status(), 400);
    assert_eq!(m.connect(2, on("nowhere")).unwrap_err().message, "network nowhere not found");

    let r = m.block_on(net.remove_local("x")).unwrap_err();
    let id = &e.endpoint_id[..12];
    assert_eq!(
        (r.kind.status(), r.message),
        (403, format!("error while removing network: network x has active endpoints (name:\"c1\" id:\"{id}\")"))
    );
    for name in ["bridge", "host", "none"] {
        let r = m.block_on(net.remove_local(name)).unwrap_err();
        assert_eq!(
            (r.kind.status(), r.message),
            (403, format!("{name} is a pre-defined network and cannot be removed"))
        );
    }
    assert_eq!(m.block_on(net.remove_local("nope")).unwrap_err().message, "network nope not found");
    m.block_on(net.disconnect(&container(1), "x")).unwrap();
    m.block_on(net.remove_local(&n.id[..10])).unwrap();
    assert_eq!(m.links(), before);
    assert_eq!(net.locals().iter().map(|n| n.spec.name.as_str()).collect::<Vec<_>>(), ["bridge", "host", "none"]);
}

#[test]
fn a_restart_of_the_daemon_keeps_everything() {
    let switch = Switch::new();
    let mut m = Machine::new(&switch, 1);
    let c = m.sandbox(1);
    m.block_on(m.net().create_local(named("mine"))).unwrap();
    let before = m.connect(1, LocalAttach { publish: vec![port(80, 8080)], ..on("mine") }).unwrap();
    serve(&c, "0.0.0.0:80", "one");
    assert!(ask(&switch.ns, "10.88.0.1:8080").is_ok());
    let links = m.links();
    m.kill();
    assert!(ask(&switch.ns, "10.88.0.1:8080").is_ok(), "traffic needs no daemon");
    m.start();
    assert_eq!(m.net().endpoints(&container(1)), [before]);
    assert_eq!(m.links(), links);
    assert!(ask(&switch.ns, "10.88.0.1:8080").is_ok());
    assert!(m.ns.run(|| std::net::TcpListener::bind("0.0.0.0:8080").is_err()).unwrap(), "the port is held again");

    // While the daemon is away, somebody tears down the bridge and the rules.
    m.kill();
    let bridge = Netlink::open_in(&m.ns).unwrap();
    let name = links.iter().find(|l| l.starts_with("br-")).unwrap();
    bridge.del_link(name).unwrap();
    let tag = links.iter().find(|l| l.starts_with("vb")).unwrap()[2..6].to_owned();
    let stray = format!("vb{tag}deadbeef");
    let spec = VethSpec { name: &stray, peer: "somebody", ..VethSpec::default() };
    bridge.add_veth(&spec).unwrap();
    bridge.add_veth(&VethSpec { name: "vb0000deadbeef", peer: "else", ..VethSpec::default() }).unwrap();
    nft(&m.ns, &["flush", "ruleset"]);
    // And it was killed while it made a namespace, and while it removed one.
    let kept = m.namespaces();
    NetNs::create_at(&m.netns_dir().join("0123456789ab")).unwrap();
    std::fs::write(m.netns_dir().join("ba9876543210"), "").unwrap();
    m.start();
    assert_eq!(m.namespaces(), kept);
    assert!(ask(&switch.ns, "10.88.0.1:8080").is_ok(), "made again");
    assert!(!m.links().contains(&stray), "nobody owns it");
    assert!(m.links().iter().any(|l| l == "vb0000deadbeef"), "it may be another engine's");
    bridge.del_link("vb0000deadbeef").unwrap();

    m.block_on(m.net().reap(Default::default())).unwrap();
    assert!(!m.links().iter().any(|l| l.starts_with("vb")));
}

#[test]
fn what_somebody_flushes_comes_back() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let c = m.sandbox(1);
    m.connect(1, LocalAttach { publish: vec![port(80, 8080)], ..on("bridge") }).unwrap();
    serve(&c, "0.0.0.0:80", "one");
    assert_eq!(m.block_on(m.net().verify()).unwrap().repaired, 0);
    nft(&m.ns, &["flush", "ruleset"]);
    Netlink::open_in(&m.ns).unwrap().del_link("docker0").unwrap();
    assert!(m.block_on(m.net().verify()).unwrap().repaired >= 3);
    assert!(ask(&switch.ns, "10.88.0.1:8080").is_ok());
    assert_eq!(m.block_on(m.net().verify()).unwrap().repaired, 0);
}

#[test]
fn names_are_served_on_a_users_network() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let (a, _b) = (m.sandbox(1), m.sandbox(2));
    m.block_on(m.net().create_local(named("mine"))).unwrap();
    m.connect(1, on("mine")).unwrap();
    m.connect(2, LocalAttach { names: vec!["db".into()], ..on("mine") }).unwrap();
    let files = m.block_on(m.net().name_files(&container(1))).unwrap();
    assert!(files.resolv_conf.contains("nameserver 127.0.0.11"), "{}", files.resolv_conf);
    assert!(files.hosts.contains("172.18.0.2\thost1"), "{}", files.hosts);
    assert_eq!(files.hostname, "host1\n");
    for name in ["db", "c2", "host2", &container(2)[..12]] {
        assert_eq!(resolve(&a, name), [ip("172.18.0.3")], "{name}");
    }
    m.block_on(m.net().rename(&container(2), "newname")).unwrap();
    assert_eq!((resolve(&a, "newname"), resolve(&a, "c2")), (vec![ip("172.18.0.3")], vec![]));
    m.block_on(m.net().disconnect(&container(2), "mine")).unwrap();
    assert!(resolve(&a, "db").is_empty());
    // A server of the container's own on port 53 does not clash.
    a.run(|| std::net::UdpSocket::bind("0.0.0.0:53").unwrap()).unwrap();
}

#[test]
fn ipv6_networks_work() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let (a, b) = (m.sandbox(1), m.sandbox(2));
    m.block_on(m.net().create_local(LocalNetworkSpec { ipv6: true, ..named("six") })).unwrap();
    let e = m.connect(1, LocalAttach { publish: vec![port(80, 8080)], ..on("six") }).unwrap();
    m.connect(2, on("six")).unwrap();
    let at = format!("[{}]:80", e.ipv6().unwrap());
    serve(&a, "[::]:80", "six");
    assert!(ask(&b, &at).is_ok());
    assert!(ask(&m.ns, "[::1]:8080").is_ok());
    assert!(default_gateway(&a).iter().any(IpAddr::is_ipv6));
}

#[test]
fn host_and_none_are_known() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let spec = |n: u8, kind| network::SandboxSpec { container_id: container(n), kind, ..Default::default() };
    let host = m.block_on(m.net().create_sandbox(spec(1, network::SandboxKind::Host))).unwrap();
    assert!(host.is_none());
    let e = m.block_on(m.net().connect(&container(1), Attach::Local(on("host")))).unwrap();
    assert!(e.interface.is_empty());
    let none = m.block_on(m.net().create_sandbox(spec(2, network::SandboxKind::None))).unwrap();
    assert!(none.unwrap().exists());
    m.block_on(m.net().connect(&container(2), Attach::Local(on("none")))).unwrap();
    assert_eq!(m.net().local("none").unwrap().endpoints.len(), 1);
    let r = m.connect(1, on("bridge")).unwrap_err();
    assert_eq!(
        (r.kind.status(), r.message.as_str()),
        (400, "container cannot be disconnected from host network or connected to host network")
    );
    assert!(m.connect(2, on("bridge")).unwrap_err().message.ends_with("private (none) mode"));
    m.block_on(m.net().remove_sandbox(&container(1))).unwrap();
    m.block_on(m.net().remove_sandbox(&container(2))).unwrap();
}

#[test]
fn a_macvlan_network_makes_containers_neighbours_of_the_machine() {
    let switch = Switch::new();
    let m = Machine::new(&switch, 1);
    let spec = |options: &[(&str, &str)]| LocalNetworkSpec {
        name: "lan".into(),
        driver: "macvlan".into(),
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ipam: vec![model::IpamConfig {
            subnet: Some("10.88.0.0/24".parse().unwrap()),
            range: Some("10.88.0.64/28".parse().unwrap()),
            gateway: Some(ip("10.88.0.254")),
            ..Default::default()
        }],
        ..Default::default()
    };
    let refusal = |options: &[(&str, &str)]| m.block_on(m.net().create_local(spec(options))).unwrap_err().message;
    assert!(refusal(&[("parent", "nosuch")]).contains("invalid parent interface nosuch"));
    assert!(refusal(&[("parent", "eth0"), ("macvlan_mode", "best")]).contains("bridge, private, vepa or passthru"));
    m.block_on(m.net().create_local(spec(&[("parent", "eth0")]))).unwrap();
    let a = m.sandbox(2);
    let b = m.sandbox(3);
    let on = |n| m.connect(n, LocalAttach { network: "lan".into(), ..LocalAttach::default() });
    let info = on(2).unwrap();
    assert_eq!((info.ipv4().unwrap().to_string().as_str(), info.mtu), ("10.88.0.64", 1500));
    assert_eq!(on(3).unwrap().ipv4().unwrap().to_string(), "10.88.0.65");
    assert_eq!(default_gateway(&a), [ip("10.88.0.254")]);
    serve(&a, "0.0.0.0:80", "a");
    // Its own address on the link, from elsewhere and from its neighbour; names; no translation on the way out.
    assert_eq!(ask(&switch.ns, "10.88.0.64:80").unwrap(), "a 10.88.0.254");
    assert_eq!(ask(&b, "10.88.0.64:80").unwrap(), "a 10.88.0.65");
    assert_eq!(resolve(&b, "c2"), [ip("10.88.0.64")]);
    serve(&switch.ns, "10.88.0.254:7000", "world");
    assert_eq!(ask(&b, "10.88.0.254:7000").unwrap(), "world 10.88.0.65");
    // Live, both ways; the machine's own link stays.
    m.block_on(m.net().disconnect(&container(3), "lan")).unwrap();
    assert!(ask(&b, "10.88.0.64:80").is_err());
    on(3).unwrap();
    assert!(ask(&b, "10.88.0.64:80").is_ok());
    let publish = vec![network::PortBinding {
        protocol: model::Protocol::Tcp,
        container_port: 80,
        host_ip: None,
        host_port: 8080,
        host_port_end: 0,
    }];
    m.sandbox(4);
    let wish = LocalAttach { network: "lan".into(), publish, ..LocalAttach::default() };
    assert!(m.connect(4, wish).unwrap_err().message.contains("reached at their own addresses"));
    m.block_on(m.net().reap(Default::default())).unwrap();
    m.block_on(m.net().remove_local("lan")).unwrap();
    assert!(m.links().contains(&"eth0".to_owned()));

    // An address of the second subnet goes by that one's gateway.
    let mut two = spec(&[("parent", "eth0")]);
    two.ipam.push(model::IpamConfig { subnet: Some("10.89.0.0/24".parse().unwrap()), ..Default::default() });
    m.block_on(m.net().create_local(two)).unwrap();
    let far = m.sandbox(7);
    let wish =
        LocalAttach { network: "lan".into(), ipv4: Some("10.89.0.9".parse().unwrap()), ..LocalAttach::default() };
    m.connect(7, wish).unwrap();
    assert_eq!(default_gateway(&far), [ip("10.89.0.1")]);
    m.block_on(m.net().reap(Default::default())).unwrap();
    m.block_on(m.net().remove_local("lan")).unwrap();

    // Without a parent its containers have a wire of their own, which goes with it.
    assert!(refusal(&[("parent", "nosuch.50")]).contains("invalid parent interface nosuch"));
    let (b, c) = (m.sandbox(5), m.sandbox(6));
    let apart = m.block_on(m.net().create_local(spec(&[]))).unwrap();
    assert_eq!(apart.interface, format!("dm-{}", &apart.id[..12]));
    assert!(m.links().contains(&apart.interface));
    let info = on(5).unwrap();
    serve(&b, "0.0.0.0:80", "apart");
    on(6).unwrap();
    assert_eq!(ask(&c, &format!("{}:80", info.ipv4().unwrap())).unwrap(), "apart 10.88.0.65");
    m.block_on(m.net().reap(Default::default())).unwrap();
    m.block_on(m.net().remove_local("lan")).unwrap();
    assert!(!m.links().contains(&apart.interface));
}
