//! Two nodes of a swarm on a switch, by hand-made directories, with real packets.
mod support;

use kernel::netns::NetNs;
use model::directory::{EndpointView, MeshPort, NetworkAttrs, NetworkView, PeerView, ServiceView};
use model::{
    Directory, EndpointState, Id, NetworkId, NetworkSubnet, NodeId, Protocol, ResolutionMode, ServiceId, TaskId,
};
use network::{Attach, GWBRIDGE, OverlayAttach};
use std::collections::{BTreeMap, BTreeSet};
use support::*;

fn node(n: u8) -> NodeId {
    NodeId::from_random([n; 17])
}
fn task(n: u8) -> TaskId {
    TaskId::from_random([n; 17])
}
fn ingress() -> NetworkId {
    NetworkId::from_random([101; 17])
}
fn data() -> NetworkId {
    NetworkId::from_random([102; 17])
}
fn web() -> ServiceId {
    ServiceId::from_random([103; 17])
}

fn attrs(name: &str, vni: u32, subnet: &str, is_ingress: bool) -> NetworkAttrs {
    let subnet: model::Subnet = subnet.parse().unwrap();
    NetworkAttrs {
        name: name.into(),
        labels: BTreeMap::default(),
        vni,
        subnets: vec![NetworkSubnet { subnet, range: None, gateway: subnet.nth(1).unwrap() }],
        mtu: None,
        encrypted: false,
        internal: false,
        ingress: is_ingress,
    }
}

/// Task `n` of `web` on node `on`; task 9 is a client without a service, on node 1.
struct Scene {
    switch: Switch,
    machines: Vec<Machine>,
    directory: Directory,
}

impl Scene {
    fn new() -> Self {
        let switch = Switch::new();
        let machines: Vec<Machine> = [1, 2].map(|n| Machine::new(&switch, n)).into();
        let service = |vip: &str, ports| ServiceView {
            name: "data_web".into(),
            stack: None,
            balance: Default::default(),
            aliases: vec!["web".into()],
            vips: vec![ip(vip)],
            resolution: ResolutionMode::Vip,
            ports,
        };
        let port = |protocol| MeshPort { protocol, published: 4000, target: 8080, host_ip: None };
        let view = |attrs, vip: &str, lb: [&str; 2], ports| NetworkView {
            attrs,
            node_addrs: [(node(1), ip(lb[0])), (node(2), ip(lb[1]))].into(),
            services: [(web(), service(vip, ports))].into(),
            endpoints: BTreeMap::new(),
        };
        let networks = [
            (
                ingress(),
                view(
                    attrs("ingress", 4096, "10.0.0.0/24", true),
                    "10.0.0.100",
                    ["10.0.0.201", "10.0.0.202"],
                    vec![port(Protocol::Tcp), port(Protocol::Udp)],
                ),
            ),
            (
                data(),
                view(attrs("data", 4097, "10.0.1.0/24", false), "10.0.1.100", ["10.0.1.201", "10.0.1.202"], vec![]),
            ),
        ];
        let peer = |n: u8| {
            let addr = ip(&format!("10.88.0.{n}"));
            (node(n), PeerView { hostname: format!("vm{n}"), addr, alive: true, encryption_key: None })
        };
        let directory = Directory {
            revision: 1,
            data_path_port: 4789,
            peers: [peer(1), peer(2)].into(),
            networks: networks.into(),
        };
        for (m, n) in machines.iter().zip(1..) {
            m.block_on(m.net().enter_swarm(node(n), ip(&format!("10.88.0.{n}")), 4789)).unwrap();
        }
        Self { switch, machines, directory }
    }

    /// Attaches container `n` on machine `on` to both networks, as a task of `web` or as a client.
    fn run(&mut self, n: u8, on: u8, service: bool) -> NetNs {
        let m = &self.machines[usize::from(on) - 1];
        let ns = m.sandbox(n);
        for (network, base) in [(ingress(), "10.0.0"), (data(), "10.0.1")] {
            let view = self.directory.networks.get_mut(&network).unwrap();
            let addresses = vec![(ip(&format!("{base}.{n}")), 24)];
            let endpoint = EndpointView {
                service: service.then(web),
                names: vec![format!("web.{n}")],
                addresses: addresses.iter().map(|(a, _)| *a).collect(),
                node: node(on),
                state: EndpointState::Ready,
            };
            view.endpoints.insert(task(n), endpoint);
            let attrs = view.attrs.clone();
            let attach = OverlayAttach { network, task: task(n), addresses, attrs, names: vec![], links: vec![] };
            m.block_on(m.net().connect(&container(n), Attach::Overlay(attach))).unwrap();
        }
        ns
    }

    fn apply(&mut self) {
        self.directory.revision += 1;
        for m in &self.machines {
            let applied = m.block_on(m.net().apply_directory(self.directory.clone())).unwrap();
            assert_eq!(applied, self.directory.revision);
        }
    }

    fn state(&mut self, n: u8, state: EndpointState) {
        for view in self.directory.networks.values_mut() {
            view.endpoints.get_mut(&task(n)).unwrap().state = state;
        }
        self.apply();
    }
}

/// Who answers within so many questions.
fn answers(ns: &NetNs, to: &str, times: usize) -> BTreeSet<String> {
    (0..times)
        .map(|_| ask(ns, to).unwrap_or_else(|e| panic!("{to}: {e}")).split(' ').next().unwrap().to_owned())
        .collect()
}

fn both() -> BTreeSet<String> {
    ["two".to_owned(), "three".to_owned()].into()
}

#[test]
fn a_service_is_reached_by_its_address_and_by_its_port_on_every_node() {
    let mut s = Scene::new();
    let two = s.run(2, 1, true);
    let three = s.run(3, 2, true);
    let client = s.run(9, 1, false);
    s.apply();
    serve(&two, "0.0.0.0:8080", "two");
    serve(&three, "0.0.0.0:8080", "three");

    let e = &s.machines[0].net().endpoints(&container(2));
    let names: Vec<&str> = e.iter().map(|e| e.network_name.as_str()).collect();
    assert_eq!(names, ["ingress", GWBRIDGE, "data"]);
    assert_eq!((e[0].mtu, e[0].interface.as_str(), &e[0].mac_text()[..5]), (1450, "eth0", "02:42"));
    assert_eq!(default_gateway(&two), e[1].gateways);

    // Names.
    assert_eq!(resolve(&client, "web"), [ip("10.0.1.100")]);
    assert_eq!(resolve(&two, "data_web"), [ip("10.0.1.100")]);
    assert_eq!(resolve(&three, "tasks.web").len(), 2);
    assert_eq!(resolve(&client, "web.3"), [ip("10.0.1.3")]);

    // East-west.
    assert_eq!(ask(&client, "10.0.1.2:8080").unwrap(), "two 10.0.1.9", "a neighbour on the node");
    assert_eq!(ask(&client, "10.0.1.3:8080").unwrap(), "three 10.0.1.9", "a neighbour on the other node");
    assert_eq!(answers(&client, "10.0.1.100:8080", 8), both(), "the virtual address");
    assert_eq!(answers(&two, "10.0.1.100:8080", 8), both(), "also from a backend, which reaches itself too");
    // The way out.
    serve(&s.switch.ns, "10.88.0.254:7000", "world");
    assert_eq!(ask(&client, "10.88.0.254:7000").unwrap(), "world 10.88.0.1");

    // The mesh, from elsewhere, on both nodes; the client's address is kept.
    for at in ["10.88.0.1:4000", "10.88.0.2:4000"] {
        assert_eq!(answers(&s.switch.ns, at, 8), both(), "{at}");
        assert!(ask(&s.switch.ns, at).unwrap().ends_with(" 10.88.0.254"));
        assert!(ask_udp(&s.switch.ns, at).unwrap().ends_with(" 10.88.0.254"), "UDP at {at}");
    }
    // … and for clients on the node itself.
    let m = &s.machines[0];
    for at in ["127.0.0.1:4000", "[::1]:4000", "10.88.0.1:4000"] {
        assert_eq!(answers(&m.ns, at, 8), both(), "{at}");
    }
    assert!(ask_udp(&m.ns, "127.0.0.1:4000").is_ok());
    assert!(ask(&client, "172.18.0.1:4000").is_ok(), "a container by its gateway's address");

    // Draining: nothing new. Nobody ready: refused at once.
    s.state(3, EndpointState::Draining);
    assert_eq!(answers(&client, "10.0.1.100:8080", 6), ["two".to_owned()].into());
    assert_eq!(answers(&s.switch.ns, "10.88.0.2:4000", 6), ["two".to_owned()].into());
    s.state(2, EndpointState::Starting);
    let asked = std::time::Instant::now();
    assert!(ask(&client, "10.0.1.100:8080").is_err() && ask(&s.machines[0].ns, "127.0.0.1:4000").is_err());
    assert!(asked.elapsed().as_secs() < 2, "refused, not timed out");
    assert_eq!(ask(&client, "10.0.1.2:8080").unwrap(), "two 10.0.1.9", "a starting task is addressable");
    s.state(2, EndpointState::Ready);
    s.state(3, EndpointState::Ready);

    // A dead node is masked.
    s.directory.peers.get_mut(&node(2)).unwrap().alive = false;
    s.apply();
    assert_eq!(answers(&client, "10.0.1.100:8080", 6), ["two".to_owned()].into());
}

#[test]
fn the_daemon_dies_and_traffic_goes_on() {
    let mut s = Scene::new();
    let two = s.run(2, 1, true);
    let three = s.run(3, 2, true);
    let client = s.run(9, 1, false);
    s.apply();
    serve(&two, "0.0.0.0:8080", "two");
    serve(&three, "0.0.0.0:8080", "three");
    assert_eq!(answers(&client, "10.0.1.100:8080", 8), both());
    let before = s.machines[0].net().endpoints(&container(2));
    let links = s.machines[0].links();
    s.machines[0].kill();
    assert_eq!(answers(&client, "10.0.1.100:8080", 8), both(), "without a daemon");
    assert_eq!(answers(&s.switch.ns, "10.88.0.1:4000", 8), both(), "the mesh without a daemon");
    s.machines[0].start();
    let m = &s.machines[0];
    assert_eq!((m.net().endpoints(&container(2)), m.links()), (before, links));
    assert_eq!(m.net().directory().revision, s.directory.revision, "names are known without a manager");
    assert_eq!(answers(&client, "10.0.1.100:8080", 8), both());
    assert_eq!(answers(&m.ns, "127.0.0.1:4000", 8), both());
    let report = m.block_on(m.net().verify()).unwrap();
    assert_eq!((report.repaired, report.revision), (0, s.directory.revision));
    let other = &s.machines[1];
    assert_eq!(other.block_on(other.net().verify()).unwrap().digest, report.digest);
    let mut old = s.directory.clone();
    old.revision -= 1;
    assert!(m.block_on(m.net().apply_directory(old)).is_err(), "an older revision is refused");
    s.apply();
    assert_eq!(answers(&client, "10.0.1.100:8080", 8), both());
}

#[test]
fn live_connections_are_counted_and_leaving_leaves_nothing() {
    let mut s = Scene::new();
    let bare = {
        let m = Machine::new(&s.switch, 3);
        m.links()
    };
    let two = s.run(2, 1, true);
    let client = s.run(9, 1, false);
    s.apply();
    serve(&two, "0.0.0.0:8080", "two");
    let m = &s.machines[0];
    assert_eq!(m.block_on(m.net().live_connections(&task(2))), 0);
    let held = client.run(|| std::net::TcpStream::connect("10.0.1.100:8080").unwrap()).unwrap();
    eventually("a live connection", || m.block_on(m.net().live_connections(&task(2))) == 1);
    drop(held);
    eventually("it is over", || m.block_on(m.net().live_connections(&task(2))) == 0);

    // Somebody else has the port: told, not fatal, and taken when it is free.
    let view = s.directory.networks.get_mut(&ingress()).unwrap();
    view.services.get_mut(&web()).unwrap().ports.push(MeshPort {
        protocol: Protocol::Tcp,
        published: 4001,
        target: 8080,
        host_ip: None,
    });
    // One that is published at one address only is served there and nowhere else.
    for (published, host_ip) in [(4002, "127.0.0.1"), (4003, "10.88.0.1"), (4004, "10.88.0.77")] {
        let host_ip = Some(host_ip.parse().unwrap());
        let port = MeshPort { protocol: Protocol::Tcp, published, target: 8080, host_ip };
        view.services.get_mut(&web()).unwrap().ports.push(port);
    }
    let thief = m.ns.run(|| std::net::TcpListener::bind("0.0.0.0:4001").unwrap()).unwrap();
    s.apply();
    let m = &s.machines[0];
    assert_eq!(ask(&s.switch.ns, "10.88.0.1:4001").unwrap(), "two 10.88.0.254");
    assert_eq!(m.block_on(m.net().verify()).unwrap().ports_taken, 1);
    drop(thief);
    assert_eq!(m.block_on(m.net().verify()).unwrap().ports_taken, 0);
    assert!(ask(&m.ns, "127.0.0.1:4001").unwrap().starts_with("two "));
    assert!(ask(&m.ns, "127.0.0.1:4002").unwrap().starts_with("two "));
    assert!(ask(&s.switch.ns, "10.88.0.1:4002").is_err());
    assert!(ask(&s.switch.ns, "10.88.0.1:4003").unwrap().starts_with("two "));
    assert!(ask(&m.ns, "127.0.0.1:4003").is_err());
    assert!(ask(&s.switch.ns, "10.88.0.1:4004").is_err(), "the address is not this node's");

    m.block_on(m.net().disconnect(&container(9), "data")).unwrap();
    let left: Vec<_> = m.net().endpoints(&container(9)).into_iter().map(|e| e.network_name).collect();
    assert_eq!(left, ["ingress", GWBRIDGE]);
    m.block_on(m.net().leave_swarm()).unwrap();
    assert!(m.net().endpoints(&container(2)).is_empty(), "{:?}", m.net().endpoints(&container(2)));
    m.block_on(m.net().reap(BTreeSet::new())).unwrap();
    m.block_on(m.net().remove_local(GWBRIDGE)).unwrap();
    let left: Vec<String> = m.links();
    assert_eq!(left, bare);
    assert!(!m.config().exec_dir.join("netns/ingress_sbox").exists());
    assert!(m.ns.run(|| std::net::TcpListener::bind("0.0.0.0:4000").is_ok()).unwrap());
    // And in again.
    m.block_on(m.net().enter_swarm(node(1), ip("10.88.0.1"), 4789)).unwrap();
}

#[test]
fn a_service_is_balanced_as_it_says_and_a_change_disturbs_nobody() {
    let mut s = Scene::new();
    let two = s.run(2, 1, true);
    let three = s.run(3, 2, true);
    let client = s.run(9, 1, false);
    serve(&two, "0.0.0.0:8080", "two");
    serve(&three, "0.0.0.0:8080", "three");
    s.apply();
    let balance = |s: &mut Scene, policy, prefer_local| {
        for view in s.directory.networks.values_mut() {
            view.services.get_mut(&web()).unwrap().balance = model::Balance { policy, prefer_local };
        }
        s.apply();
    };
    assert_eq!(answers(&client, "10.0.1.100:8080", 4), both(), "in turn, unless said otherwise");
    let held = client.run(|| std::net::TcpStream::connect("10.0.1.100:8080").unwrap()).unwrap();
    balance(&mut s, model::BalancePolicy::Source, false);
    assert_eq!(answers(&client, "10.0.1.100:8080", 12).len(), 1);
    assert_eq!(answers(&s.switch.ns, "10.88.0.1:4000", 12).len(), 1);
    balance(&mut s, model::BalancePolicy::Random, true);
    assert_eq!(answers(&client, "10.0.1.100:8080", 12), ["two".to_owned()].into(), "the client's node");
    assert_eq!(answers(&s.switch.ns, "10.88.0.2:4000", 12), ["three".to_owned()].into(), "the entry node");
    balance(&mut s, model::BalancePolicy::RoundRobin, false);
    assert_eq!(answers(&client, "10.0.1.100:8080", 4), both());
    // The connection that was open all the time still is.
    let mut text = String::new();
    held.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
    std::io::Read::read_to_string(&mut &held, &mut text).unwrap();
    assert!(text.ends_with(" 10.0.1.9"), "{text}");
}

#[test]
fn published_ports_are_served_over_ipv6_too_where_tasks_have_none() {
    let mut s = Scene::new();
    for (ns, n) in [(&s.switch.ns, 254u8), (&s.machines[0].ns, 1), (&s.machines[1].ns, 2)] {
        let name = if n == 254 { "switch" } else { "eth0" };
        ns.run(|| std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0")).unwrap().unwrap();
        let n6 = ip(&format!("fd88::{n:x}"));
        let netlink = kernel::netlink::Netlink::open_in(ns).unwrap();
        netlink.add_address(netlink.link(name).unwrap().index, n6, 64).unwrap();
    }
    let two = s.run(2, 1, true);
    let three = s.run(3, 2, true);
    serve(&two, "0.0.0.0:8080", "two");
    serve(&three, "0.0.0.0:8080", "three");
    for m in &s.machines {
        m.block_on(m.net().verify()).unwrap();
    }
    s.apply();
    for at in ["[fd88::1]:4000", "[fd88::2]:4000"] {
        eventually("the address is usable", || ask(&s.switch.ns, at).is_ok());
        assert_eq!(answers(&s.switch.ns, at, 8), both(), "{at}");
        assert!(ask_udp(&s.switch.ns, at).is_ok(), "UDP at {at}");
    }
}

/// Everything that passes a machine's port of the switch while `f` runs.
fn captured(s: &Scene, n: u8, f: impl FnOnce()) -> Vec<u8> {
    let file = s.machines[0].dir.path().join(format!("capture-{n}"));
    let port = format!("p{n}");
    let words = ["-i", &port, "-U", "--immediate-mode", "-w", file.to_str().unwrap()];
    let start = || {
        let mut c = std::process::Command::new("tcpdump");
        c.args(words).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut tcpdump = s.switch.ns.run(start).unwrap();
    // It listens once a ping of ours is in the file.
    eventually("the capture runs", || {
        let ping =
            || std::process::Command::new("ping").args(["-c1", "-W1", &format!("10.88.0.{n}")]).output().unwrap();
        s.switch.ns.run(ping).unwrap();
        std::fs::metadata(&file).is_ok_and(|m| m.len() > 100)
    });
    f();
    let before = std::fs::metadata(&file).unwrap().len();
    // The last packets are in once one that came after them is.
    eventually("the capture is complete", || {
        s.switch
            .ns
            .run(|| std::process::Command::new("ping").args(["-c1", "-W1", &format!("10.88.0.{n}")]).output())
            .unwrap()
            .unwrap();
        std::fs::metadata(&file).unwrap().len() > before
    });
    tcpdump.kill().unwrap();
    tcpdump.wait().unwrap();
    std::fs::read(&file).unwrap()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn an_encrypted_network_carries_nothing_in_clear() {
    let mut s = Scene::new();
    s.directory.networks.get_mut(&data()).unwrap().attrs.encrypted = true;
    for n in [1, 2] {
        let key = s.machines[usize::from(n) - 1].net().encryption_key();
        assert!(key.is_some());
        s.directory.peers.get_mut(&node(n)).unwrap().encryption_key = key;
    }
    let two = s.run(2, 1, true);
    let three = s.run(3, 2, true);
    let client = s.run(9, 1, false);
    serve(&two, "0.0.0.0:8080", "mackerel");
    serve(&three, "0.0.0.0:8080", "mackerel");
    s.apply();
    let mtu: Vec<u32> = s.machines[0].net().endpoints(&container(9)).iter().map(|e| e.mtu).collect();
    assert!(mtu.contains(&1350) && mtu.contains(&1450), "{mtu:?}");

    // In clear on the plain network, to know that the capture would show it …
    let seen = captured(&s, 2, || assert!(ask(&client, "10.0.0.3:8080").unwrap().starts_with("mackerel ")));
    assert!(contains(&seen, "mackerel"));
    // … and not on the encrypted one: by address, by virtual address, TCP and UDP.
    let seen = captured(&s, 2, || {
        assert_eq!(ask(&client, "10.0.1.3:8080").unwrap(), "mackerel 10.0.1.9");
        assert!(ask_udp(&client, "10.0.1.3:8080").is_ok());
        for _ in 0..4 {
            assert!(ask(&client, "10.0.1.100:8080").is_ok());
        }
    });
    assert!(!contains(&seen, "mackerel"));

    // A node that starts again has a new key: nothing until the others know it, everything then.
    s.machines[1].kill();
    s.machines[1].start();
    let key = s.machines[1].net().encryption_key();
    assert_ne!(key, s.directory.peers[&node(2)].encryption_key);
    s.directory.peers.get_mut(&node(2)).unwrap().encryption_key = key;
    s.apply();
    eventually("the new key works", || ask_within(&client, "10.0.1.3:8080", std::time::Duration::from_secs(2)).is_ok());

    // A node without a key gets nothing, and nobody falls back.
    s.directory.peers.get_mut(&node(2)).unwrap().encryption_key = None;
    s.apply();
    let seen = captured(&s, 2, || {
        assert!(refused(&client, "10.0.1.3:8080") && refused(&three, "10.0.1.9:8080"));
        assert_eq!(answers(&client, "10.0.1.100:8080", 4).len(), 1);
    });
    assert!(!contains(&seen, "mackerel"));

    // Without the daemon the way is shut, not open.
    s.directory.peers.get_mut(&node(2)).unwrap().encryption_key = key;
    s.apply();
    eventually("it works again", || ask_within(&client, "10.0.1.3:8080", std::time::Duration::from_secs(2)).is_ok());
    s.machines[0].kill();
    let seen = captured(&s, 2, || assert!(refused(&client, "10.0.1.3:8080")));
    assert!(!contains(&seen, "mackerel"));
    s.machines[0].start();
    let m = &s.machines[0];
    m.block_on(m.net().leave_swarm()).unwrap();
    assert!(!m.links().iter().any(|l| l.starts_with("shoal")));
}
