//! Published ports: from outside, through any node, with the client's address kept.
mod world;
use datapath::*;
use model::Protocol;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::time::Instant;
use world::*;

const INGRESS: u32 = 4096;

/// c0 on node 0, c1 on node 1, both on ingress and with a way out of their own; 4000 → 8080.
fn two(backends: &[&str]) -> World {
    let mut w = World::new(2);
    w.ingress = Some(INGRESS);
    for (node, addr) in [(0, "10.0.0.10"), (1, "10.0.0.11")] {
        let c = w.container(node, INGRESS, &[(addr, 24)]);
        w.exit(c);
        w.serve(c, 8080);
    }
    publish(&mut w, backends);
    w
}

fn publish(w: &mut World, backends: &[&str]) {
    let port = |p| (p, 4000, MeshPort { target_port: 8080, backends: ready(backends), ..MeshPort::default() });
    w.mesh = vec![port(Protocol::Tcp), port(Protocol::Udp)];
    w.apply();
}

const NODE0: &str = "192.168.77.1:4000";
const NODE1: &str = "192.168.77.2:4000";

#[test]
fn a_local_backend_sees_the_client() {
    let mut w = two(&["10.0.0.10"]);
    let mut c = connect(&w.client, NODE0).unwrap();
    assert_eq!((c.server.as_str(), c.seen_as.as_str()), ("c0", "192.168.77.100"));
    c.echo(8 << 20).unwrap();
    assert_eq!(ask_udp(&w.client, NODE0, 100).unwrap(), ("c0".into(), "192.168.77.100".into()));
    assert_eq!(ask_udp(&w.client, NODE0, 4000).unwrap().0, "c0", "fragments");
    assert_eq!(w.on(0, |r| r.live_connections(INGRESS, ip("10.0.0.10"))).unwrap(), 3);
}

#[test]
fn a_remote_backend_sees_the_client() {
    let mut w = two(&["10.0.0.11"]);
    let mut c = connect(&w.client, NODE0).unwrap();
    assert_eq!((c.server.as_str(), c.seen_as.as_str()), ("c1", "192.168.77.100"));
    c.echo(8 << 20).unwrap();
    assert_eq!(ask_udp(&w.client, NODE0, 100).unwrap(), ("c1".into(), "192.168.77.100".into()));
    assert_eq!(ask_udp(&w.client, NODE0, 4000).unwrap().0, "c1", "fragments");
    assert_eq!(w.on(1, |r| r.live_connections(INGRESS, ip("10.0.0.11"))).unwrap(), 3);
    let size = w.containers[1]
        .ns
        .run(|| std::process::Command::new("ss").args(["-tin", "state", "established"]).output().unwrap())
        .unwrap();
    let size = String::from_utf8(size.stdout).unwrap();
    let mss: u32 = size.split("mss:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(mss <= 1410, "segments fit the tunnel: {size}");
    drop(c);
    // (UDP stays live for ten seconds.)
    until("closed", || w.on(1, |r| r.live_connections(INGRESS, ip("10.0.0.11"))).unwrap() == 2);
    until("closed", || w.on(0, |r| r.live_connections(INGRESS, ip("10.0.0.11"))).unwrap() == 2);
}

#[test]
fn the_answer_may_leave_by_the_ingress_interface() {
    let mut w = World::new(2);
    w.ingress = Some(INGRESS);
    for (node, addr) in [(0, "10.0.0.10"), (1, "10.0.0.11")] {
        let c = w.container(node, INGRESS, &[(addr, 24)]);
        w.default_route_by_overlay(c, "10.0.0.1");
        w.serve(c, 8080);
    }
    for backend in ["10.0.0.10", "10.0.0.11"] {
        publish(&mut w, &[backend]);
        let mut c = connect(&w.client, NODE0).unwrap();
        assert_eq!(c.seen_as, "192.168.77.100");
        c.echo(1 << 20).unwrap();
        assert_eq!(ask_udp(&w.client, NODE0, 100).unwrap().1, "192.168.77.100");
    }
    assert!(ping(&w.containers[0].ns, "10.0.0.1"), "the gateway answers");
}

#[test]
fn every_node_serves_and_all_backends_are_used() {
    let w = two(&["10.0.0.10", "10.0.0.11"]);
    for node in [NODE0, NODE1] {
        let mut servers = BTreeMap::new();
        for _ in 0..40 {
            let mut c = connect(&w.client, node).unwrap();
            c.echo(100).unwrap();
            assert_eq!(c.seen_as, "192.168.77.100");
            *servers.entry(c.server).or_insert(0) += 1;
        }
        assert_eq!(servers.len(), 2, "{servers:?}");
    }
}

#[test]
fn the_same_client_port_through_two_nodes_does_not_clash() {
    let w = two(&["10.0.0.11"]);
    let socket = w.client.run(|| UdpSocket::bind("0.0.0.0:7777").unwrap()).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let mut buffer = [0; 100];
    for to in [NODE0, NODE1, NODE0, NODE1] {
        socket.send_to(b"x", to).unwrap();
        let (n, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from.to_string(), to);
        assert!(buffer[..n].starts_with(b"c1 192.168.77.100"));
    }
}

#[test]
fn without_a_backend_it_is_refused_at_once() {
    let w = two(&[]);
    let start = Instant::now();
    assert_eq!(connect(&w.client, NODE0).err().unwrap().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask_udp(&w.client, NODE0, 5).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(start.elapsed().as_millis() < 500);
}

#[test]
fn a_removed_backend_resets_its_connections() {
    let mut w = two(&["10.0.0.11"]);
    let mut c = connect(&w.client, NODE0).unwrap();
    c.echo(10).unwrap();
    publish(&mut w, &["10.0.0.10"]);
    // The reset may have come already, for a late acknowledgement: then the write tells it.
    let told = c.stream.write_all(b"x").and_then(|()| c.stream.read(&mut [0; 10]));
    assert_eq!(told.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(connect(&w.client, NODE0).unwrap().server, "c0");
}

#[test]
fn other_traffic_of_the_node_passes() {
    let w = two(&["10.0.0.11"]);
    assert!(ping(&w.client, "192.168.77.1"));
    assert_eq!(connect(&w.client, "192.168.77.1:4001").err().unwrap().kind(), ErrorKind::ConnectionRefused);
    // And out of the container, by its exit, to the bridge's address on the node.
    assert!(ping(&w.containers[0].ns, "172.18.0.1"));
}

#[test]
fn a_published_port_over_ipv6() {
    use kernel::netlink::{Netlink, Route};
    let mut w = World::new(2);
    w.ingress = Some(INGRESS);
    for (i, ns) in [&w.nodes[0].ns, &w.nodes[1].ns, &w.client].into_iter().enumerate() {
        ns.run(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0")).unwrap().unwrap();
        let n = Netlink::open_in(ns).unwrap();
        n.add_address(n.link("eth0").unwrap().index, ip(&format!("fd77::{}", i + 1)), 64).unwrap();
    }
    for (node, addr) in [(0, "fd00::10"), (1, "fd00::11")] {
        let c = w.container(node, INGRESS, &[(addr, 64)]);
        let inside = Netlink::open_in(&w.containers[c].ns).unwrap();
        let eth0 = inside.link("eth0").unwrap().index;
        inside.add_route(&Route::default_via(ip("fd00::1"), eth0)).unwrap();
        w.serve(c, 8080);
    }
    for backend in ["fd00::10", "fd00::11"] {
        let port = MeshPort { target_port: 8080, backends: ready(&[backend]), ..MeshPort::default() };
        w.mesh = vec![(Protocol::Tcp, 4000, port.clone()), (Protocol::Udp, 4000, port)];
        for i in 0..2 {
            let mut d = w.desired(i);
            d.local_addresses.insert(ip(&format!("fd77::{}", i + 1)));
            d.endpoints.insert((INGRESS, ip("fd00::1")), Endpoint::Gateway);
            w.on(i, |r| r.apply(&d)).unwrap();
        }
        // Duplicate detection may still hold the address for a moment.
        until("reachable", || connect(&w.client, "[fd77::1]:4000").is_ok());
        let mut c = connect(&w.client, "[fd77::1]:4000").unwrap();
        assert_eq!(c.seen_as, "fd77::3");
        c.echo(4 << 20).unwrap();
        assert_eq!(ask_udp(&w.client, "[fd77::1]:4000", 100).unwrap().1, "fd77::3");
    }
}
