//! Restart, repair, clean-up, refusals to start, and the resolver's redirect.
mod world;
use datapath::*;
use kernel::netlink::Netlink;
use kernel::netns::NetNs;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use world::*;

const NET: u32 = 4097;

fn pair() -> World {
    let mut w = World::new(2);
    for (node, addr) in [(0, "10.0.1.2"), (1, "10.0.1.3")] {
        let c = w.container(node, NET, &[(addr, 24)]);
        w.serve(c, 8080);
    }
    w.services.push((NET, ip("10.0.1.200"), service(&["10.0.1.3"])));
    w.apply();
    w
}

#[test]
fn traffic_goes_on_without_a_process_and_after_its_return() {
    let mut w = pair();
    let mut old = connect(&w.containers[0].ns, "10.0.1.200:8080").unwrap();
    old.echo(100).unwrap();
    for n in &mut w.nodes {
        n.road = None;
    }
    old.echo(100_000).unwrap();
    assert_eq!(connect(&w.containers[0].ns, "10.0.1.200:8080").unwrap().server, "c1");
    w.open(0);
    w.open(1);
    old.echo(100_000).unwrap();
    let d = w.desired(0);
    assert_eq!(w.on(0, |r| r.apply(&d)).unwrap().changes, 0, "everything was still there");
    assert_eq!(w.on(0, |r| r.attached_ports()).unwrap(), [w.containers[0].ifindex]);
    // Attaching again, as a restarted daemon would.
    let port = Port { ifindex: w.containers[0].ifindex, vni: NET, addresses: vec![ip("10.0.1.2")] };
    w.on(0, |r| r.attach_port(&port)).unwrap();
    old.echo(100_000).unwrap();
    // And changes after a restart find what was written before it.
    w.services[0].2.backends = ready(&["10.0.1.2"]);
    w.apply();
    assert!(old.echo(1).is_err(), "its backend is gone");
}

#[test]
fn damage_is_found_and_repaired() {
    let mut w = pair();
    assert_eq!(w.on(0, |r| r.verify()).unwrap(), 0);
    let pins = w.nodes[0].pins.join("v3");
    for map in ["endpoints", "services", "backends", "peers"] {
        let path = pins.join(map);
        let keys = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(&path).output().unwrap();
        let text = String::from_utf8(keys.stdout).unwrap();
        let first = text.split("\"key\":[").nth(1).unwrap().split(']').next().unwrap();
        let bytes: Vec<String> = first.split(',').map(|b| b.trim_matches('"').to_owned()).collect();
        let gone = Command::new("bpftool")
            .args(["map", "delete", "pinned"])
            .arg(&path)
            .args(["key", "hex"])
            .args(bytes.iter().map(|b| b.trim_start_matches("0x")))
            .status()
            .unwrap();
        assert!(gone.success(), "{map}");
    }
    assert!(w.on(0, |r| r.verify()).unwrap() >= 3);
    assert_eq!(w.on(0, |r| r.verify()).unwrap(), 0);
    assert_eq!(connect(&w.containers[0].ns, "10.0.1.200:8080").unwrap().server, "c1");
}

#[test]
fn a_vanished_interface_is_let_go_and_its_number_reused() {
    let mut w = pair();
    let ifindex = w.containers[0].ifindex;
    w.nodes[0].road = None;
    let host = Netlink::open_in(&w.nodes[0].ns).unwrap();
    host.del_link_index(ifindex).unwrap();
    w.open(0);
    assert!(w.on(0, |r| r.attached_ports()).unwrap().is_empty());
    w.on(0, |r| r.detach_port(ifindex)).unwrap();
}

#[test]
fn cleaning_up_leaves_nothing() {
    let mut w = pair();
    let pins = w.nodes[0].pins.clone();
    let road = w.nodes[0].road.take().unwrap();
    w.nodes[0].ns.run(|| road.close_and_remove()).unwrap().unwrap();
    assert!(!kernel::bpffs::is_bpffs(&pins), "unmounted");
    assert_eq!(std::fs::read_dir(&pins).unwrap().count(), 0);
    let host = Netlink::open_in(&w.nodes[0].ns).unwrap();
    assert!(host.link_by_name(TUNNEL_DEVICE).unwrap().is_none());
    let left = w.nodes[0].ns.run(|| Command::new("bpftool").args(["-j", "net", "show"]).output().unwrap()).unwrap();
    let left = String::from_utf8(left.stdout).unwrap();
    assert!(!left.contains("from_"), "{left}");
}

#[test]
fn another_vxlan_device_on_the_port_is_named() {
    let mut w = World::new(1);
    let road = w.nodes[0].road.take().unwrap();
    w.nodes[0].ns.run(|| road.close_and_remove()).unwrap().unwrap();
    let host = Netlink::open_in(&w.nodes[0].ns).unwrap();
    let other = host.add_vxlan_external("theirs", 4789).unwrap();
    host.set_up(other.index).unwrap();
    let config = w.config(0);
    let e = w.nodes[0].ns.run(|| Datapath::open(config)).unwrap().unwrap_err().to_string();
    assert!(e.contains("4789") && e.contains("theirs"), "{e}");
}

#[test]
fn two_roads_in_one_namespace_need_two_ports() {
    let mut w = World::new(1);
    let mut config = w.config(0);
    config.pin_dir = format!("{}-second", config.pin_dir.display()).into();
    config.mark = kernel::netlink::Mark::new(&config.pin_dir);
    let (pins, mark) = (config.pin_dir.clone(), config.mark.clone());
    let ns = w.nodes[0].ns.try_clone().unwrap();
    let e = ns.run(|| Datapath::open(config.clone())).unwrap().unwrap_err().to_string();
    assert!(e.contains("UDP port 4789") && e.contains(&w.nodes[0].pins.display().to_string()), "{e}");
    let names = || -> Vec<String> {
        let links = Netlink::open_in(&ns).unwrap().links().unwrap();
        links.into_iter().filter(is_tunnel).map(|l| l.name).collect()
    };
    config.tunnel_port = 4790;
    let second = ns.run(|| Datapath::open(config)).unwrap().unwrap();
    assert_eq!(names(), ["shoal.vxlan", "shoal.vx4790"]);
    ns.run(|| second.close_and_remove()).unwrap().unwrap();
    assert_eq!(names(), ["shoal.vxlan"]);
    ns.run(|| Datapath::remove_leftovers(&pins, &mark)).unwrap().unwrap();
    assert_eq!(names(), ["shoal.vxlan"], "what is another's stays");
    let _ = std::fs::remove_dir(&pins);
    // An engine whose data is gone has no claim any more.
    w.nodes[0].road = None;
    let old = w.nodes[0].pins.clone();
    ns.run(|| {
        let n = Netlink::open().unwrap();
        let link = n.link("shoal.vxlan").unwrap();
        n.set_alias(link.index, "shoal /nonexistent/engine").unwrap();
    })
    .unwrap();
    w.open(0);
    assert!(old.exists());
}

#[test]
fn strangers_and_forged_sources_are_dropped() {
    let mut w = pair();
    w.containers[0]
        .ns
        .run(|| {
            let n = Netlink::open().unwrap();
            n.add_address(n.link("eth0").unwrap().index, ip("10.0.1.77"), 32).unwrap();
            let socket = UdpSocket::bind("10.0.1.77:0").unwrap();
            socket.send_to(b"x", "10.0.1.3:8080").unwrap();
        })
        .unwrap();
    until("forged", || w.counters()[0].dropped_spoofed_source > 0);
    let mut d = w.desired(1);
    d.peers.clear();
    w.on(1, |r| r.apply(&d)).unwrap();
    assert!(!ping(&w.containers[0].ns, "10.0.1.3"));
    assert!(w.counters()[1].dropped_unknown_peer > 0);
}

#[test]
fn what_shall_be_encrypted_is_not_taken_in_clear() {
    let mut w = pair();
    assert!(ping(&w.containers[0].ns, "10.0.1.3"));
    let mut d = w.desired(1);
    d.sealed.insert(NET);
    w.on(1, |r| r.apply(&d)).unwrap();
    assert!(!ping(&w.containers[0].ns, "10.0.1.3"));
    assert!(connect(&w.containers[0].ns, "10.0.1.200:8080").is_err());
    assert!(w.counters()[1].dropped_in_clear > 1);
}

#[test]
fn events_tell_of_flows_and_drops() {
    let mut w = pair();
    let _held = connect(&w.containers[0].ns, "10.0.1.200:8080").unwrap();
    let events = w.on(0, |r| r.take_events(100));
    let opened = events.iter().find(|e| e.reason == "flows_opened").expect("an event");
    assert_eq!((opened.destination, opened.vni), ((ip("10.0.1.200"), 8080), Some(NET)));
    assert_eq!(opened.backend, Some((ip("10.0.1.3"), 8080)));
    let flows = w.on(0, |r| r.flows()).unwrap();
    assert!(flows.iter().any(|f| f.called == (ip("10.0.1.200"), 8080) && f.backend == (ip("10.0.1.3"), 8080)));
}

#[test]
fn the_resolver_is_reached_at_port_53_and_nobody_elses_server_is() {
    let mut w = World::new(1);
    let ns = NetNs::anonymous().unwrap();
    w.on(0, |r| r.attach_dns_redirect(&ns)).unwrap();
    w.on(0, |r| r.attach_dns_redirect(&ns)).unwrap();
    let stop = Arc::default();
    ns.run(|| {
        serve_udp(UdpSocket::bind(("127.0.0.11", DNS_PORT)).unwrap(), "resolver".into(), Arc::clone(&stop));
        serve_tcp(TcpListener::bind(("127.0.0.11", DNS_PORT)).unwrap(), "resolver".into(), Arc::clone(&stop));
        serve_udp(UdpSocket::bind(("0.0.0.0", 53)).unwrap(), "own".into(), Arc::clone(&stop));
        serve_tcp(TcpListener::bind(("0.0.0.0", 53)).unwrap(), "own".into(), Arc::clone(&stop));
    })
    .unwrap();
    for (to, who) in [("127.0.0.11:53", "resolver"), ("127.0.0.1:53", "own")] {
        assert_eq!(ask_udp(&ns, to, 500).unwrap().0, who);
        let mut c = connect(&ns, to).unwrap();
        assert_eq!(c.server, who);
        c.echo(200_000).unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
}

#[test]
fn hundreds_of_backends_change_under_load() {
    let mut w = pair();
    let many: Vec<String> = (0..500).map(|i| format!("10.0.{}.{}", 2 + i / 250, i % 250 + 1)).collect();
    w.services.push((NET, ip("10.0.1.201"), service(&many.iter().map(String::as_str).collect::<Vec<_>>())));
    w.apply();
    let (a, b) = (service(&["10.0.1.2", "10.0.1.3"]), service(&["10.0.1.3"]));
    let ns = w.containers[0].ns.try_clone().unwrap();
    std::thread::scope(|s| {
        let load = s.spawn(move || (0..150).filter(|_| connect(&ns, "10.0.1.200:8080").is_err()).count());
        let mut i = 0;
        while !load.is_finished() {
            i += 1;
            // A backend that stays ready throughout must never be missed; the other drains, comes and goes.
            let mut next = if i % 2 == 0 { a.clone() } else { b.clone() };
            if i % 2 == 1 {
                next.backends.push(Backend { addr: ip("10.0.1.2"), state: BackendState::Draining });
            }
            w.services[0].2 = next;
            w.apply();
        }
        assert_eq!(load.join().unwrap(), 0, "connections failed during {i} changes");
    });
    assert_eq!(w.counters()[0].dropped_internal, 0);
    w.services.pop();
    w.apply();
    assert_eq!(w.on(0, |r| r.verify()).unwrap(), 0);
}
