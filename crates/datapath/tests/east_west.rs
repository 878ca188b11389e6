//! Between containers: by address and by virtual address.
mod world;
use datapath::*;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::time::Instant;
use world::*;

const NET: u32 = 4097;
const VIP: &str = "10.0.1.200";

/// c0, c1 on node 0; c2, c3 on node 1; all serve at 8080.
fn four() -> World {
    let mut w = World::new(2);
    for (node, addr) in [(0, "10.0.1.2"), (0, "10.0.1.3"), (1, "10.0.1.4"), (1, "10.0.1.5")] {
        let c = w.container(node, NET, &[(addr, 24)]);
        w.serve(c, 8080);
    }
    w.apply();
    w
}

#[test]
fn containers_reach_each_other_by_address() {
    let mut w = four();
    let c0 = &w.containers[0].ns;
    for (to, server) in [("10.0.1.3", "c1"), ("10.0.1.4", "c2")] {
        assert!(ping(c0, to), "ping {to}");
        let mut c = connect(c0, &format!("{to}:8080")).unwrap();
        assert_eq!((c.server.as_str(), c.seen_as.as_str()), (server, "10.0.1.2"));
        c.echo(8 << 20).unwrap();
        assert_eq!(ask_udp(c0, &format!("{to}:8080"), 100).unwrap(), (server.into(), "10.0.1.2".into()));
        // Fragmented on the overlay.
        assert_eq!(ask_udp(c0, &format!("{to}:8080"), 9000).unwrap().0, server);
    }
    assert!(!ping(c0, "10.0.1.77"), "nobody has this address");
    let counters = w.counters();
    assert!(counters[0].dropped_unknown_destination > 0);
    assert_eq!(counters[0].dropped_internal + counters[1].dropped_internal, 0);
}

#[test]
fn a_virtual_address_spreads_over_ready_backends() {
    let mut w = four();
    w.services.push((NET, ip(VIP), service(&["10.0.1.3", "10.0.1.4", "10.0.1.5"])));
    w.apply();
    let c0 = &w.containers[0].ns;
    assert!(ping(c0, VIP));
    let mut servers = BTreeMap::new();
    for _ in 0..60 {
        let c = connect(c0, &format!("{VIP}:8080")).unwrap();
        assert_eq!(c.seen_as, "10.0.1.2");
        *servers.entry(c.server).or_insert(0) += 1;
    }
    assert_eq!(servers.len(), 3, "{servers:?}");
    let mut servers = BTreeMap::new();
    for _ in 0..60 {
        *servers.entry(ask_udp(c0, &format!("{VIP}:8080"), 10).unwrap().0).or_insert(0) += 1;
    }
    assert_eq!(servers.len(), 3, "{servers:?}");
    let mut c = connect(c0, &format!("{VIP}:8080")).unwrap();
    c.echo(8 << 20).unwrap();
    assert_eq!(ask_udp(c0, &format!("{VIP}:8080"), 5000).unwrap().1, "10.0.1.2", "fragments follow their flow");
    assert_eq!(w.counters()[0].ports_moved, 0);
}

#[test]
fn round_robin_takes_turns() {
    let mut w = four();
    let s = Service { policy: Policy::RoundRobin, ..service(&["10.0.1.3", "10.0.1.4", "10.0.1.5"]) };
    w.services.push((NET, ip(VIP), s));
    w.apply();
    let mut servers = BTreeMap::new();
    for _ in 0..30 {
        *servers.entry(connect(&w.containers[0].ns, &format!("{VIP}:8080")).unwrap().server).or_insert(0) += 1;
    }
    // Two processors may take the same turn.
    assert!(servers.values().all(|n| (7..=13).contains(n)), "{servers:?}");
}

#[test]
fn least_connections_source_and_prefer_local() {
    let mut w = four();
    let all = ["10.0.1.3", "10.0.1.4", "10.0.1.5"];
    w.services.push((NET, ip(VIP), Service { policy: Policy::LeastConnections, ..service(&all) }));
    w.services.push((NET, ip("10.0.1.201"), Service { policy: Policy::Source, ..service(&all) }));
    w.services.push((NET, ip("10.0.1.202"), Service { prefer_local: true, ..service(&all) }));
    w.apply();
    let c0 = &w.containers[0].ns;
    let mut held = Vec::new();
    let mut servers = BTreeMap::new();
    for _ in 0..30 {
        let c = connect(c0, &format!("{VIP}:8080")).unwrap();
        *servers.entry(c.server.clone()).or_insert(0) += 1;
        held.push(c);
    }
    assert!(servers.values().all(|n| (7..=13).contains(n)), "{servers:?}");
    let first = connect(c0, "10.0.1.201:8080").unwrap().server;
    for _ in 0..10 {
        assert_eq!(connect(c0, "10.0.1.201:8080").unwrap().server, first);
        assert_eq!(connect(c0, "10.0.1.202:8080").unwrap().server, "c1");
    }
}

#[test]
fn a_container_reaches_itself_through_its_service() {
    let mut w = four();
    w.services.push((NET, ip(VIP), service(&["10.0.1.2"])));
    w.apply();
    let c0 = &w.containers[0].ns;
    let mut c = connect(c0, &format!("{VIP}:8080")).unwrap();
    assert_eq!((c.server.as_str(), c.seen_as.as_str()), ("c0", VIP));
    c.echo(1 << 20).unwrap();
    assert_eq!(ask_udp(c0, &format!("{VIP}:8080"), 10).unwrap().0, "c0");
}

#[test]
fn without_a_backend_it_is_refused_at_once() {
    let mut w = four();
    w.services.push((NET, ip(VIP), service(&[])));
    w.apply();
    let c0 = &w.containers[0].ns;
    let start = Instant::now();
    assert_eq!(connect(c0, &format!("{VIP}:8080")).err().unwrap().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask_udp(c0, &format!("{VIP}:8080"), 10).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
    assert!(!ping(c0, VIP));
    assert_eq!(w.counters()[0].refused_no_backend, 3);
}

#[test]
fn draining_keeps_live_flows_and_removal_resets_them() {
    let mut w = four();
    w.services.push((NET, ip(VIP), service(&["10.0.1.4"])));
    w.apply();
    let mut old = connect(&w.containers[0].ns, &format!("{VIP}:8080")).unwrap();
    old.echo(10).unwrap();
    let udp = w.containers[0].ns.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    udp.connect(format!("{VIP}:8080")).unwrap();
    assert_eq!(ask_with(&udp, 10).unwrap().0, "c2");
    assert_eq!(w.on(1, |r| r.live_connections(NET, ip("10.0.1.4"))).unwrap(), 1, "seen at the backend's node");
    assert_eq!(w.on(0, |r| r.live_connections(NET, ip("10.0.1.4"))).unwrap(), 2, "seen at the client's node");

    let draining = Backend { addr: ip("10.0.1.4"), state: BackendState::Draining };
    w.services[0].2.backends = ready(&["10.0.1.5"]);
    w.services[0].2.backends.push(draining);
    w.apply();
    old.echo(1000).unwrap();
    assert_eq!(ask_with(&udp, 10).unwrap().0, "c2");
    for _ in 0..10 {
        assert_eq!(connect(&w.containers[0].ns, &format!("{VIP}:8080")).unwrap().server, "c3");
    }

    w.services[0].2.backends.pop();
    w.apply();
    // The reset may have come already, for a late acknowledgement: then the write tells it.
    let told = old.stream.write_all(b"x").and_then(|()| old.stream.read(&mut [0; 10]));
    assert_eq!(told.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask_with(&udp, 10).unwrap().0, "c3", "UDP is balanced anew");
    drop(old);
    assert_eq!(w.counters()[0].backend_gone, 1);
}

#[test]
fn closed_connections_are_not_live() {
    let mut w = four();
    w.services.push((NET, ip(VIP), service(&["10.0.1.4"])));
    w.apply();
    let mut c = connect(&w.containers[0].ns, &format!("{VIP}:8080")).unwrap();
    c.echo(10).unwrap();
    let direct = connect(&w.containers[1].ns, "10.0.1.4:8080").unwrap();
    assert_eq!(w.on(1, |r| r.live_connections(NET, ip("10.0.1.4"))).unwrap(), 2);
    drop(c);
    until("one is closed", || w.on(1, |r| r.live_connections(NET, ip("10.0.1.4"))).unwrap() == 1);
    drop(direct);
    until("both are closed", || w.on(1, |r| r.live_connections(NET, ip("10.0.1.4"))).unwrap() == 0);
    assert_eq!(w.on(0, |r| r.live_connections(NET, ip("10.0.1.4"))).unwrap(), 0);
}

#[test]
fn the_same_subnet_in_two_networks_is_no_conflict() {
    let mut w = World::new(2);
    let a = w.container(0, 4097, &[("10.0.1.2", 24)]);
    let b = w.container(1, 4097, &[("10.0.1.3", 24)]);
    let x = w.container(0, 4098, &[("10.0.1.2", 24)]);
    let y = w.container(1, 4098, &[("10.0.1.3", 24)]);
    w.serve(b, 80);
    w.serve(y, 80);
    w.services.push((4097, ip(VIP), service(&["10.0.1.3"])));
    w.services.push((4098, ip(VIP), service(&["10.0.1.3"])));
    w.apply();
    for to in ["10.0.1.3:80", "10.0.1.200:80"] {
        assert_eq!(connect(&w.containers[a].ns, to).unwrap().server, "c1");
        assert_eq!(connect(&w.containers[x].ns, to).unwrap().server, "c3");
    }
}

#[test]
fn two_services_on_one_backend_keep_their_answers_apart() {
    let mut w = four();
    w.services.push((NET, ip(VIP), service(&["10.0.1.4"])));
    w.services.push((NET, ip("10.0.1.201"), service(&["10.0.1.4"])));
    w.apply();
    let socket = w.containers[0].ns.run(|| std::net::UdpSocket::bind("0.0.0.0:5555").unwrap()).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let mut buffer = [0; 100];
    for to in [VIP, "10.0.1.201", VIP, "10.0.1.201"] {
        socket.send_to(b"x", format!("{to}:8080")).unwrap();
        let (_, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from.to_string(), format!("{to}:8080"));
    }
    assert_eq!(w.counters()[0].ports_moved, 1);
}

#[test]
fn ipv6_by_address_and_by_service() {
    let mut w = World::new(2);
    for (node, addr) in [(0, "fd00:1::2"), (0, "fd00:1::3"), (1, "fd00:1::4")] {
        let c = w.container(node, NET, &[(addr, 64)]);
        w.serve(c, 8080);
    }
    w.services.push((NET, ip("fd00:1::c8"), service(&["fd00:1::3", "fd00:1::4", "fd00:1::2"])));
    w.services.push((NET, ip("fd00:1::c9"), service(&[])));
    w.apply();
    let c0 = &w.containers[0].ns;
    for to in ["fd00:1::3", "fd00:1::4"] {
        assert!(ping(c0, to));
        connect(c0, &format!("[{to}]:8080")).unwrap().echo(4 << 20).unwrap();
        ask_udp(c0, &format!("[{to}]:8080"), 5000).unwrap();
    }
    assert!(ping(c0, "fd00:1::c8"));
    let mut servers = BTreeMap::new();
    for _ in 0..40 {
        let mut c = connect(c0, "[fd00:1::c8]:8080").unwrap();
        c.echo(5000).unwrap();
        *servers.entry(c.server).or_insert(0) += 1;
        ask_udp(c0, "[fd00:1::c8]:8080", 3000).unwrap();
    }
    assert_eq!(servers.len(), 3);
    assert_eq!(connect(c0, "[fd00:1::c9]:8080").err().unwrap().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask_udp(c0, "[fd00:1::c9]:8080", 5).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn one_client_port_by_address_and_by_service_at_once() {
    let mut w = four();
    w.services.push((NET, ip(VIP), service(&["10.0.1.3"])));
    w.apply();
    let c0 = &w.containers[0].ns;
    // The kernel gives one local port to connections with different destinations; here it has no other.
    c0.run(|| std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000")).unwrap().unwrap();
    let mut by_service = connect(c0, &format!("{VIP}:8080")).unwrap();
    let mut by_address = connect(c0, "10.0.1.3:8080").unwrap();
    for c in [&mut by_service, &mut by_address] {
        c.echo(1000).unwrap();
        assert_eq!(c.stream.local_addr().unwrap().port(), 40000);
    }
    by_service.echo(1000).unwrap();
    assert_eq!(w.counters()[0].ports_moved, 1);
}
