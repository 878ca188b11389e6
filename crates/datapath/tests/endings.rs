//! How flows end: by closing, by reset, and not by falling silent half-way.
mod world;
use datapath::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use world::*;

const NET: u32 = 4097;
const VIP: &str = "10.0.1.200";

/// c0 on node 0; c1 on node 1 is the only backend of the virtual address.
fn pair() -> World {
    let mut w = World::new(2);
    for (node, addr) in [(0, "10.0.1.2"), (1, "10.0.1.3")] {
        let c = w.container(node, NET, &[(addr, 24)]);
        w.serve(c, 8080);
    }
    w.services.push((NET, ip(VIP), service(&["10.0.1.3"])));
    w.apply();
    w
}

/// Entries of a node's flow table, answers included.
fn entries(w: &World, node: usize) -> usize {
    let map = w.nodes[node].pins.join("v3/flows");
    let out = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(map).output().unwrap();
    String::from_utf8(out.stdout).unwrap().matches("\"key\":").count()
}

#[test]
fn a_closed_connection_leaves_no_entry_on_either_node() {
    let mut w = pair();
    for to in [VIP, "10.0.1.3"] {
        let mut c = connect(&w.containers[0].ns, &format!("{to}:8080")).unwrap();
        c.echo(1000).unwrap();
        assert!(entries(&w, 1) > 0);
        // The client closes first, then the server, and the client's last acknowledgement is carried too: the server
        // would otherwise ask again and be refused.
        drop(c);
        until("nothing is left", || entries(&w, 0) + entries(&w, 1) == 0);
    }
    let retries = |ns: &kernel::netns::NetNs| {
        let text = ns.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
        let tcp: Vec<&str> = text.lines().filter(|l| l.starts_with("Tcp:")).collect();
        let at = tcp[0].split(' ').position(|w| w == "OutRsts").unwrap();
        tcp[1].split(' ').nth(at).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(w.containers.iter().map(|c| retries(&c.ns)).sum::<u64>(), 0, "nobody was reset");
    assert_eq!(w.counters()[0].refused_no_flow, 0);
}

#[test]
fn a_reset_takes_the_entries_at_once() {
    let w = pair();
    for to in [VIP, "10.0.1.3"] {
        let to = format!("{to}:8080");
        let stream = w.containers[0].ns.run(|| TcpStream::connect(&to).unwrap()).unwrap();
        // A socket that is closed with unread bytes resets: wait for the server's greeting to lie there.
        until("the greeting", || stream.peek(&mut [0; 1]).is_ok_and(|n| n == 1));
        drop(stream);
        until("nothing is left", || entries(&w, 0) + entries(&w, 1) == 0);
    }
}

#[test]
fn a_half_closed_connection_goes_on_for_the_other_half() {
    let w = pair();
    let listener = w.containers[1].ns.run(|| TcpListener::bind("10.0.1.3:9000").unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        let mut s = listener.accept().unwrap().0;
        let mut all = Vec::new();
        s.read_to_end(&mut all).unwrap();
        for _ in 0..50 {
            s.write_all(&[7; 100_000]).unwrap();
        }
        all.len()
    });
    let mut c = w.containers[0].ns.run(|| TcpStream::connect((VIP, 9000)).unwrap()).unwrap();
    c.set_read_timeout(Some(WAIT)).unwrap();
    c.write_all(&[1; 1000]).unwrap();
    c.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    c.read_to_end(&mut all).unwrap();
    assert_eq!((server.join().unwrap(), all.len()), (1000, 5_000_000));
    drop(c);
    until("nothing is left", || entries(&w, 0) + entries(&w, 1) == 0);
}

#[test]
fn a_balanced_address_gives_places_back() {
    let mut w = World::new(1);
    for addr in ["10.0.1.2", "10.0.1.3", "10.0.1.4"] {
        let c = w.container(0, NET, &[(addr, 24)]);
        w.serve(c, 8080);
    }
    let s = Service { policy: Policy::LeastConnections, ..service(&["10.0.1.3", "10.0.1.4"]) };
    w.services.push((NET, ip(VIP), s));
    w.apply();
    let c0 = &w.containers[0].ns;
    // Connections that end (half by closing, half by reset) must not weigh on anybody.
    for i in 0..40 {
        let stream = c0.run(|| TcpStream::connect((VIP, 8080)).unwrap()).unwrap();
        until("the greeting", || stream.peek(&mut [0; 1]).is_ok_and(|n| n == 1));
        if i % 2 == 0 {
            let _ = (&stream).read(&mut [0; 100]);
        }
        drop(stream);
    }
    until("nothing is left", || entries(&w, 0) == 0);
    let map = w.nodes[0].pins.join("v3/slots");
    let out = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(map).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let lives: Vec<i64> =
        text.split("\"live\":").skip(1).map(|t| t.split('}').next().unwrap().parse().unwrap()).collect();
    assert!(!lives.is_empty() && lives.iter().all(|n| *n == 0), "{:?}", lives.iter().filter(|n| **n != 0).count());
}
