//! ICMP errors reach the sender behind a virtual address or a published port, about the packet that it wrote.
mod world;
use datapath::*;
use kernel::netlink::{Netlink, Route, VethSpec};
use kernel::netns::NetNs;
use model::Protocol;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, UdpSocket};
use world::*;

const NET: u32 = 4097;
const INGRESS: u32 = 4096;

/// One datagram to a closed port: the socket is told.
fn is_refused(ns: &NetNs, to: &str) {
    let e = ask_udp(ns, to, 10).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::ConnectionRefused, "{to}: {e}");
}

#[test]
fn a_closed_udp_port_behind_a_virtual_address_is_told() {
    let mut w = World::new(2);
    let (v4, v6) = (["10.0.1.2", "10.0.1.3", "10.0.1.4"], ["fd00:1::2", "fd00:1::3", "fd00:1::4"]);
    for i in 0..3 {
        w.container(usize::from(i == 2), NET, &[(v4[i], 24), (v6[i], 64)]);
    }
    // One backend each: c0 itself, its neighbour, and c2 on the other node.
    for i in 0..3 {
        w.services.push((NET, ip(&format!("10.0.1.20{i}")), service(&[v4[i]])));
        w.services.push((NET, ip(&format!("fd00:1::20{i}")), service(&[v6[i]])));
    }
    w.apply();
    let c0 = &w.containers[0].ns;
    // A fresh interface may take a moment before it speaks IPv6.
    until("all speak", || v6[1..].iter().all(|a| ping(c0, a)));
    for i in 0..3 {
        is_refused(c0, &format!("10.0.1.20{i}:7000"));
        is_refused(c0, &format!("[fd00:1::20{i}]:7000"));
    }
    is_refused(c0, "10.0.1.3:7000");
    is_refused(c0, "[fd00:1::4]:7000");
    let counters = w.counters();
    assert_eq!((counters[0].errors_translated, counters[0].dropped_internal), (6, 0));
}

/// A backend on node 1, published at 4000 of both nodes, with its way out by a bridge of its own.
fn published() -> World {
    let mut w = World::new(2);
    w.ingress = Some(INGRESS);
    let c = w.container(1, INGRESS, &[("10.0.0.11", 24)]);
    w.exit(c);
    let port = |p| (p, 4000, MeshPort { target_port: 8080, backends: ready(&["10.0.0.11"]), ..MeshPort::default() });
    w.mesh = vec![port(Protocol::Tcp), port(Protocol::Udp)];
    w.apply();
    w
}

#[test]
fn a_closed_udp_port_behind_a_published_one_is_told() {
    let mut w = published();
    is_refused(&w.client, "192.168.77.1:4000");
    is_refused(&w.client, "192.168.77.2:4000");
    let counters = w.counters();
    assert_eq!(counters[0].dropped_internal + counters[1].dropped_internal, 0);
    // Through the other node the error was turned at both.
    assert_eq!((counters[0].errors_translated, counters[1].errors_translated), (1, 2));
}

/// A client behind a router whose last link takes less than everybody believes.
fn far_client(w: &World, mtu: u32) -> (NetNs, NetNs) {
    let (router, far) = (NetNs::anonymous().unwrap(), NetNs::anonymous().unwrap());
    let on_switch = Netlink::open_in(&w.switch).unwrap();
    let bridge = on_switch.link("br").unwrap().index;
    let port = on_switch
        .add_veth(&VethSpec { name: "router", peer: "eth0", peer_ns: Some(&router), ..VethSpec::default() })
        .unwrap();
    on_switch.set_master(port.index, Some(bridge)).unwrap();
    on_switch.set_up(port.index).unwrap();
    let inside = Netlink::open_in(&router).unwrap();
    let eth0 = inside.link("eth0").unwrap().index;
    inside.add_address(eth0, ip("192.168.77.254"), 24).unwrap();
    inside.set_up(eth0).unwrap();
    let link = inside.add_veth(&VethSpec { name: "far", peer: "eth0", peer_ns: Some(&far), ..VethSpec::default() });
    let link = link.unwrap().index;
    inside.add_address(link, ip("10.66.0.1"), 24).unwrap();
    inside.set_mtu(link, mtu).unwrap();
    inside.set_up(link).unwrap();
    router.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap().unwrap();
    let at = Netlink::open_in(&far).unwrap();
    let eth0 = at.link("eth0").unwrap().index;
    at.add_address(eth0, ip("10.66.0.2"), 24).unwrap();
    at.set_up(eth0).unwrap();
    at.add_route(&Route::default_via(ip("10.66.0.1"), eth0)).unwrap();
    for n in &w.nodes {
        let node = Netlink::open_in(&n.ns).unwrap();
        node.add_route(&Route::default_via(ip("192.168.77.254"), node.link("eth0").unwrap().index)).unwrap();
    }
    (router, far)
}

#[test]
fn a_backend_learns_that_its_packets_are_too_large_for_the_clients_path() {
    let mut w = published();
    let (_router, far) = far_client(&w, 1200);
    let listener = w.containers[0].ns.run(|| TcpListener::bind("0.0.0.0:8080").unwrap()).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut s, _)) = listener.accept() {
            let _ = s.write_all(&vec![7; 2_000_000]);
        }
    });
    for node in ["192.168.77.1", "192.168.77.2"] {
        let text = format!("{node}:4000");
        let mut s = far.run(|| std::net::TcpStream::connect(&text).unwrap()).unwrap();
        s.set_read_timeout(Some(WAIT)).unwrap();
        let mut all = Vec::new();
        s.read_to_end(&mut all).unwrap_or_else(|e| panic!("through {node} after {} bytes: {e}", all.len()));
        assert_eq!(all.len(), 2_000_000);
        // What was learnt would hide the next one.
        let flush = || std::process::Command::new("ip").args(["route", "flush", "cache"]).status().unwrap();
        w.containers[0].ns.run(flush).unwrap();
    }
    assert!(w.counters().iter().all(|c| c.errors_translated > 0 && c.dropped_internal == 0));
}

#[test]
fn datagrams_too_large_for_the_clients_path_are_told_to_the_backend() {
    let w = published();
    let (_router, far) = far_client(&w, 1200);
    let server = w.containers[0].ns.run(|| UdpSocket::bind("0.0.0.0:8080").unwrap()).unwrap();
    let client = far.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    server.set_read_timeout(Some(WAIT)).unwrap();
    client.set_read_timeout(Some(WAIT)).unwrap();
    client.send_to(b"x", "192.168.77.1:4000").unwrap();
    let (_, from) = server.recv_from(&mut [0; 10]).unwrap();
    // The first is lost on the way and teaches; later ones come in pieces.
    let mut got = [0; 2000];
    until("a large answer", || {
        server.send_to(&[7; 1400], from).unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        client.recv_from(&mut got).is_ok_and(|(n, _)| n == 1400)
    });
}

#[test]
fn an_idle_connection_is_never_forgotten() {
    let mut w = World::new(2);
    for (node, addr) in [(0, "10.0.1.2"), (1, "10.0.1.3")] {
        let c = w.container(node, NET, &[(addr, 24)]);
        w.serve(c, 8080);
    }
    w.services.push((NET, ip("10.0.1.200"), service(&["10.0.1.3"])));
    w.apply();
    let mut c = connect(&w.containers[0].ns, "10.0.1.200:8080").unwrap();
    c.echo(10).unwrap();
    // As if it had been silent since the machine was started.
    let map = w.nodes[0].pins.join("v3/flows").display().to_string();
    let script = "set -e; bpftool -j map dump pinned \"$0\" | tr '{' '\\n' | sed -n 's/.*\"key\":\\[\\([^]]*\\)\\].*\"value\":\\[\\([^]]*\\)\\].*/\\1 \\2/p' \
         | tr -d '\"' | tr ',' ' ' | while read -r line; do set -- $line; key=; value=; n=0; \
         for b in \"$@\"; do n=$((n+1)); if [ $n -le 44 ]; then key=\"$key $b\"; elif [ $n -le 108 ]; then value=\"$value $b\"; fi; done; \
         bpftool map update pinned \"$0\" key $key value $value 1 0 0 0 0 0 0 0; done";
    let booted = std::fs::read_to_string("/proc/uptime").unwrap();
    let booted: f64 = booted.split(' ').next().unwrap().parse().unwrap();
    // A late acknowledgement may still come in between.
    until("it looks idle", || {
        let done = std::process::Command::new("bash").args(["-c", script, &map]).status().unwrap();
        assert!(done.success());
        let flows = w.on(0, |r| r.flows()).unwrap();
        flows.iter().any(|f| f.idle.as_secs_f64() > booted - 1.0)
    });
    w.on(0, |r| r.verify()).unwrap();
    c.echo(1000).unwrap();
}
