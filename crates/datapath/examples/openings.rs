//! New connections per second of CPU time by address and through a virtual address, in turns, so that what else the machine does
//! meets both alike: the median of the ratios of neighbours. `cc -O2 -static -o /tmp/load xtask/bench/load.c;
//! cargo run -p datapath --example openings -- /tmp/load [pairs] [seconds]`; needs root.
#[path = "../tests/world/mod.rs"]
mod world;
use kernel::netns::NetNs;
use std::io::Read;
use std::process::{Command, Stdio};
use world::*;

const NET: u32 = 4097;

/// CPU time that a process has had.
fn cpu_ns(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Connections per second of CPU time, of client and server together: what others use does not count.
fn per_cpu_second(client: &NetNs, server: u32, load: &str, to: &str, seconds: &str) -> f64 {
    let words = ["-n", "-20", load, "-c", "1", "connect", to, "9000", seconds, "32"];
    let before = cpu_ns(server);
    let start = || Command::new("nice").args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = client.run(start).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let state = format!("/proc/{}/stat", child.id());
    until("its end", || std::fs::read_to_string(&state).unwrap().contains(") Z "));
    let used = cpu_ns(child.id()) + cpu_ns(server) - before;
    child.wait().unwrap();
    let number = text.split("\"done\":").nth(1).and_then(|t| t.trim_start().split([',', '}']).next());
    let done: f64 = number.and_then(|n| n.trim().parse().ok()).unwrap_or_else(|| panic!("the load said {text:?}"));
    done / used * 1e9
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let mut args = std::env::args().skip(1);
    let load = args.next().expect("the load program");
    let pairs: usize = args.next().map_or(20, |n| n.parse().expect("a number"));
    let seconds = args.next().unwrap_or("0.3".into());
    let mut w = World::new(2);
    for (node, addr) in [(0, "10.0.1.2"), (1, "10.0.1.4")] {
        w.container(node, NET, &[(addr, 24)]);
    }
    w.services.push((NET, ip("10.0.1.200"), service(&["10.0.1.4"])));
    w.apply();
    let serve =
        || Command::new("nice").args(["-n", "-20", &load, "-c", "1", "serve", "9000"]).stdin(Stdio::null()).spawn();
    let mut server = w.containers[1].ns.run(serve).unwrap().unwrap();
    let client = &w.containers[0].ns;
    let (mut direct, mut balanced, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    until("the server answers", || client.run(|| std::net::TcpStream::connect("10.0.1.4:9000").is_ok()).unwrap());
    for i in 0..pairs {
        let mut pair = [("10.0.1.4", 0.0), ("10.0.1.200", 0.0)];
        // Who goes first changes, too.
        for k in [i % 2, 1 - i % 2] {
            pair[k].1 = per_cpu_second(client, server.id(), &load, pair[k].0, &seconds);
        }
        direct.push(pair[0].1);
        balanced.push(pair[1].1);
        ratios.push(pair[1].1 / pair[0].1);
    }
    let (low, high) = (ratios.iter().copied().fold(f64::MAX, f64::min), ratios.iter().copied().fold(0.0, f64::max));
    println!(
        "per CPU second: direct {:.0}, virtual address {:.0}, median ratio {:.3} ({low:.2}–{high:.2}) of {pairs} pairs",
        median(direct),
        median(balanced),
        median(ratios)
    );
    let _ = server.kill();
    let _ = server.wait();
}
