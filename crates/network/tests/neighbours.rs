//! Several engines in one network namespace.
mod support;

use kernel::netlink::Netlink;
use model::{Id, IpamConfig, NodeId, Subnet};
use network::{BRIDGE, Config, DefaultBridge, GWBRIDGE, LocalAttach, LocalNetworkSpec, Networks, PortBinding};
use support::*;

fn publish(port: u16) -> Vec<PortBinding> {
    vec![PortBinding {
        protocol: model::Protocol::Tcp,
        container_port: 80,
        host_ip: None,
        host_port: port,
        host_port_end: 0,
    }]
}

/// The subnet around the bridge's own address; containers get theirs from the upper half, if so.
fn subnet(own: &str, prefix: u8, upper: Option<&str>) -> IpamConfig {
    let range = upper.map(|u| Subnet::containing(ip(u), prefix + 1));
    let (subnet, gateway) = (Some(Subnet::containing(ip(own), prefix)), Some(ip(own)));
    IpamConfig { subnet, range, gateway, ..IpamConfig::default() }
}

#[test]
fn two_engines_share_a_namespace_and_nothing_else() {
    let switch = Switch::new();
    let mut first = Machine::new(&switch, 1);
    let mut second = Machine::beside(first.ns.try_clone().unwrap());
    let bridge = |m: &Machine| m.net().local(BRIDGE).unwrap().interface.clone();
    assert_eq!(bridge(&first), "docker0");
    assert!(bridge(&second).starts_with("docker0-"), "{}", bridge(&second));

    let mut inside = Vec::new();
    for (m, n, port) in [(&first, 2, 8002), (&second, 3, 8003)] {
        let ns = m.sandbox(n);
        let wish = LocalAttach { network: BRIDGE.into(), publish: publish(port), ..LocalAttach::default() };
        m.connect(n, wish).unwrap();
        serve(&ns, "0.0.0.0:80", &format!("c{n}"));
        inside.push(ns);
    }
    let both_answer = || {
        for (port, word) in [(8002, "c2 "), (8003, "c3 ")] {
            let said = ask(&switch.ns, &format!("10.88.0.1:{port}")).unwrap();
            assert!(said.starts_with(word), "{said}");
        }
    };
    both_answer();
    // Each repairs its own and counts the other's as none of its business; restarts sweep nobody else's interfaces.
    for m in [&mut first, &mut second] {
        assert_eq!(m.block_on(m.net().verify()).unwrap().repaired, 0);
        m.kill();
        m.start();
        assert_eq!(m.block_on(m.net().verify()).unwrap().repaired, 0);
    }
    both_answer();

    // One port for tunnels is one engine's: the other says whose, and does without until it is free.
    let addr = ip("10.88.0.1");
    let node = |n: u8| NodeId::from_random([n; 17]);
    first.block_on(first.net().enter_swarm(node(1), addr, 4789)).unwrap();
    second.block_on(second.net().enter_swarm(node(2), addr, 4789)).unwrap();
    let why = second.net().tunnels_apart().unwrap();
    assert!(why.contains("UDP port 4789 is in use") && why.contains("--data-path-port"), "{why}");
    second.block_on(second.net().verify()).unwrap();
    assert!(second.net().tunnels_apart().is_some() && first.net().tunnels_apart().is_none());
    first.block_on(first.net().leave_swarm()).unwrap();
    second.block_on(second.net().verify()).unwrap();
    assert_eq!(second.net().tunnels_apart(), None);
    let tunnels = |m: &Machine| m.links().into_iter().filter(|l| l.starts_with("shoal.vx")).collect::<Vec<_>>();
    assert_eq!(tunnels(&second), ["shoal.vxlan"], "the one apart is gone");
    second.block_on(second.net().leave_swarm()).unwrap();
    first.block_on(first.net().enter_swarm(node(1), addr, 4789)).unwrap();
    second.block_on(second.net().enter_swarm(node(2), addr, 4790)).unwrap();
    let links = first.links();
    for name in ["shoal.vxlan", "shoal.vx4790", GWBRIDGE] {
        assert!(links.iter().any(|l| l == name), "{name} is not in {links:?}");
    }
    assert!(links.iter().filter(|l| l.starts_with("docker_gw")).count() == 2, "{links:?}");
    second.block_on(second.net().leave_swarm()).unwrap();
    assert!(first.links().iter().any(|l| l == "shoal.vxlan"));
    both_answer();
}

#[test]
fn what_nobody_uses_is_gone_while_the_daemon_is_away() {
    let switch = Switch::new();
    let mut m = Machine::new(&switch, 1);
    let bridges =
        |m: &Machine| m.links().into_iter().filter(|l| !["lo", "eth0"].contains(&l.as_str())).collect::<Vec<_>>();
    let node = NodeId::from_random([1; 17]);
    m.block_on(m.net().enter_swarm(node, ip("10.88.0.1"), 4789)).unwrap();
    m.sandbox(2);
    m.connect(2, LocalAttach { network: BRIDGE.into(), ..LocalAttach::default() }).unwrap();
    let subnet = m.net().local(BRIDGE).unwrap().pools[0].subnet;
    m.block_on(m.net().rest()).unwrap();
    let left = bridges(&m);
    assert!(left.iter().any(|l| l == "docker0"), "a container is on it: {left:?}");
    assert!(!left.iter().any(|l| l.starts_with("shoal.vx") || l.starts_with(GWBRIDGE)), "{left:?}");
    m.kill();
    m.start();
    let back = bridges(&m);
    assert!(["docker0", "shoal.vxlan", GWBRIDGE].iter().all(|l| back.iter().any(|b| b == l)), "{back:?}");
    m.block_on(m.net().disconnect(&container(2), BRIDGE)).unwrap();
    m.block_on(m.net().rest()).unwrap();
    assert_eq!(m.block_on(m.net().verify()).unwrap().repaired, 0, "nothing is repaired any more");
    assert!(!bridges(&m).iter().any(|l| l == "docker0"), "{:?}", bridges(&m));
    m.kill();
    m.start();
    assert_eq!(m.net().local(BRIDGE).unwrap().pools[0].subnet, subnet);
}

#[test]
fn the_default_bridge_may_be_somebody_elses_or_none() {
    let switch = Switch::new();
    let mut m = Machine::new(&switch, 1);
    let host = Netlink::open_in(&m.ns).unwrap();
    assert!(m.links().contains(&"docker0".to_owned()));
    let restart = |m: &mut Machine, edit: &dyn Fn(&mut network::Config)| {
        m.kill();
        let mut config = m.config();
        edit(&mut config);
        let opened = m.ns.run(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let networks = runtime.block_on(Networks::open(config));
            (runtime, networks)
        });
        let (runtime, networks) = opened.unwrap();
        m.runtime = Some(runtime);
        networks.map(|n| m.networks = Some(n)).map_err(|e| e.to_string())
    };
    restart(&mut m, &|c| c.bridge = DefaultBridge::None).unwrap();
    assert!(m.net().local(BRIDGE).is_err() && !m.links().contains(&"docker0".to_owned()));

    let e = restart(&mut m, &|c| c.bridge = DefaultBridge::Foreign("mine".into())).unwrap_err();
    assert!(e.contains("mine must be created manually"), "{e}");
    let mine = host.add_bridge("mine", None).unwrap().index;
    host.add_address(mine, ip("10.44.0.1"), 24).unwrap();
    host.set_up(mine).unwrap();
    restart(&mut m, &|c| c.bridge = DefaultBridge::Foreign("mine".into())).unwrap();
    let ns = m.sandbox(2);
    let e = m.connect(2, LocalAttach { network: BRIDGE.into(), publish: publish(8002), ..Default::default() }).unwrap();
    assert_eq!((e.ipv4().unwrap().to_string().as_str(), &e.gateways[..]), ("10.44.0.2", &[ip("10.44.0.1")][..]));
    serve(&ns, "0.0.0.0:80", "c2");
    for at in ["127.0.0.1:8002", "10.88.0.1:8002"] {
        assert!(ask(&m.ns, at).unwrap().starts_with("c2 "), "{at}");
    }
    m.block_on(m.net().remove_sandbox(&container(2))).unwrap();

    // Back to our own, with an address of the user's choice; the other bridge stays where it is.
    restart(&mut m, &|c| c.bridge_subnets = vec![subnet("10.45.0.1", 24, None)]).unwrap();
    let own = m.net().local(BRIDGE).unwrap();
    assert_eq!((own.interface.as_str(), own.pools[0].gateway), ("docker0", ip("10.45.0.1")));
    assert!(m.links().contains(&"mine".to_owned()));
    restart(&mut m, &|c| c.bridge_subnets = vec![subnet("10.46.0.1", 24, None)]).unwrap();
    assert_eq!(m.net().local(BRIDGE).unwrap().pools[0].gateway, ip("10.46.0.1"));

    // A part of it only, and IPv6 beside it.
    let both = |c: &mut Config| {
        c.bridge_subnets = vec![subnet("10.46.0.1", 24, Some("10.46.0.128")), subnet("fd46::1", 64, None)];
        c.bridge_ipv6 = true;
    };
    restart(&mut m, &both).unwrap();
    let ns = m.sandbox(3);
    let e = m.connect(3, LocalAttach { network: BRIDGE.into(), publish: publish(8003), ..Default::default() }).unwrap();
    let addresses: Vec<String> = e.addresses.iter().map(|(a, _)| a.to_string()).collect();
    assert_eq!(addresses, ["10.46.0.128", "fd46::2"]);
    serve(&ns, "[::]:80", "c3");
    for at in ["10.46.0.128:80", "[fd46::2]:80", "127.0.0.1:8003"] {
        assert!(ask(&m.ns, at).unwrap().starts_with("c3 "), "{at}");
    }
    m.block_on(m.net().remove_sandbox(&container(3))).unwrap();
    let kept = m.net().local(BRIDGE).unwrap().id.clone();
    restart(&mut m, &both).unwrap();
    assert_eq!(m.net().local(BRIDGE).unwrap().id, kept, "the same wish leaves it as it is");
    restart(&mut m, &|_| {}).unwrap();
    assert!(m.net().local(BRIDGE).unwrap().pools.iter().all(|p| p.range.is_none() && p.subnet.base.is_ipv4()));
    let spec = LocalNetworkSpec { name: "n".into(), ..Default::default() };
    m.block_on(m.net().create_local(spec)).unwrap();
}
