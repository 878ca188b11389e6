//! How fast the road is next to a plain veth, bridge and VXLAN overlay, between two nodes and within one. Everything
//! happens in namespaces of its own. `cargo run --release -p datapath --example speed [seconds] [rounds]`; needs root
//! and iperf3.
#[path = "../tests/world/mod.rs"]
mod world;
use kernel::netns::NetNs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use world::*;

const NET: u32 = 4097;

fn sh(ns: &NetNs, script: &str) {
    ns.run(|| assert!(Command::new("sh").args(["-ec", script]).status().unwrap().success(), "{script}")).unwrap();
}

/// The same shape without the road: a bridge and a VXLAN device with a fixed remote on each node.
struct Plain {
    containers: Vec<NetNs>,
}

fn plain(w: &World) -> Plain {
    let mut containers = Vec::new();
    for (i, node) in w.nodes.iter().enumerate() {
        let (own, other) = (node.addr, w.nodes[1 - i].addr);
        sh(
            &node.ns,
            &format!(
                "ip link add pbr type bridge; ip link set pbr up; \
                 ip link add pvx type vxlan id 77 dstport 4790 local {own} remote {other} dev eth0; \
                 ip link set pvx mtu 1450 master pbr up"
            ),
        );
        for _ in 0..2 {
            let n = containers.len();
            let ns = NetNs::anonymous().unwrap();
            let host = kernel::netlink::Netlink::open_in(&node.ns).unwrap();
            let name = format!("p{n}");
            host.add_veth(&kernel::netlink::VethSpec {
                name: &name,
                peer: "eth0",
                peer_ns: Some(&ns),
                mtu: Some(1450),
                ..Default::default()
            })
            .unwrap();
            sh(&node.ns, &format!("ip link set {name} master pbr up"));
            sh(&ns, &format!("ip addr add 10.9.0.{}/24 dev eth0; ip link set eth0 up", n + 2));
            containers.push(ns);
        }
    }
    Plain { containers }
}

fn gbits(client: &NetNs, to: &str, seconds: u32) -> f64 {
    let out = client
        .run(|| Command::new("iperf3").args(["-J", "-c", to, "-t", &seconds.to_string()]).output().unwrap().stdout)
        .unwrap();
    let text = String::from_utf8_lossy(&out);
    let end = text.split("\"sum_received\"").nth(1).expect("iperf3's summary");
    let bits = end.split("\"bits_per_second\":").nth(1).unwrap().trim_start().split([',', '\n']).next().unwrap();
    bits.trim().parse::<f64>().unwrap() / 1e9
}

fn round_trip_us(client: &NetNs, to: &str, seconds: u32) -> f64 {
    let mut c = connect(client, to).unwrap();
    let (end, mut times) = (Instant::now() + Duration::from_secs(seconds.into()), Vec::new());
    let mut byte = [0];
    while Instant::now() < end {
        let start = Instant::now();
        c.stream.write_all(&byte).unwrap();
        c.stream.read_exact(&mut byte).unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// Each case has a port of its own and few enough connections: a client port that waits out its time at the server would
/// measure the wait.
fn connections_per_second(client: &NetNs, to: &str) -> f64 {
    const CONNECTIONS: u32 = 2000;
    let to: std::net::SocketAddr = to.parse().unwrap();
    client
        .run(|| {
            let start = Instant::now();
            for _ in 0..CONNECTIONS {
                let mut s = TcpStream::connect_timeout(&to, WAIT).unwrap();
                let _ = s.read(&mut [0; 64]);
                let _ = s.read(&mut [0; 64]);
            }
            f64::from(CONNECTIONS) / start.elapsed().as_secs_f64()
        })
        .unwrap()
}

/// Accepts, says a word and closes, as fast as it can.
fn greet(listener: std::net::TcpListener) {
    std::thread::spawn(move || {
        for s in listener.incoming() {
            let _ = s.and_then(|mut s| s.write_all(b"x"));
        }
    });
}

fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u32>().expect("a number"));
    let (seconds, rounds) = (args.next().unwrap_or(2), args.next().unwrap_or(3));
    let mut w = World::new(2);
    for (node, addr) in [(0, "10.0.1.2"), (0, "10.0.1.3"), (1, "10.0.1.4"), (1, "10.0.1.5")] {
        let c = w.container(node, NET, &[(addr, 24)]);
        w.serve(c, 8080);
    }
    w.services.push((NET, ip("10.0.1.200"), service(&["10.0.1.4"])));
    w.services.push((NET, ip("10.0.1.201"), service(&["10.0.1.3"])));
    w.ingress = Some(NET);
    let port = datapath::MeshPort { target_port: 8080, backends: ready(&["10.0.1.4"]), ..Default::default() };
    w.mesh.push((model::Protocol::Tcp, 4000, port));
    w.apply();
    let plain = plain(&w);
    let stop = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
    for ns in &plain.containers {
        let l = ns.run(|| std::net::TcpListener::bind("0.0.0.0:8080").unwrap()).unwrap();
        serve_tcp(l, "plain".into(), stop.clone());
    }
    for ns in w.containers.iter().map(|c| &c.ns).chain(&plain.containers) {
        for case in 0..6 {
            greet(ns.run(|| std::net::TcpListener::bind(("0.0.0.0", 9000 + case)).unwrap()).unwrap());
        }
    }
    let mut servers = Vec::new();
    for ns in w.containers.iter().map(|c| &c.ns).chain(&plain.containers) {
        let quiet = || Command::new("iperf3").arg("-s").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        servers.push(ns.run(quiet).unwrap());
    }
    std::thread::sleep(Duration::from_millis(500));
    let ours = &w.containers[0].ns;
    let theirs = &plain.containers[0];
    let cases: [(&str, &NetNs, &str); 6] = [
        ("plain, two nodes", theirs, "10.9.0.4"),
        ("road, two nodes", ours, "10.0.1.4"),
        ("road, two nodes, VIP", ours, "10.0.1.200"),
        ("plain, one node", theirs, "10.9.0.3"),
        ("road, one node", ours, "10.0.1.3"),
        ("road, one node, VIP", ours, "10.0.1.201"),
    ];
    println!("{:24} {:>10} {:>10} {:>10}", "", "Gbit/s", "RTT us", "conn/s");
    let mut all = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for (i, (_, client, to)) in cases.into_iter().enumerate() {
            let (g, r, c) = (
                gbits(client, to, seconds),
                round_trip_us(client, &format!("{to}:8080"), seconds),
                connections_per_second(client, &format!("{to}:{}", 9000 + i)),
            );
            all[i].push([g, r, c]);
        }
    }
    for ((name, ..), results) in cases.iter().zip(&all) {
        let median = |k: usize| {
            let mut v: Vec<f64> = results.iter().map(|r| r[k]).collect();
            v.sort_by(f64::total_cmp);
            v[v.len() / 2]
        };
        println!("{name:24} {:10.2} {:10.1} {:10.0}", median(0), median(1), median(2));
    }
    for mut s in servers {
        let _ = s.kill();
        let _ = s.wait();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
}
