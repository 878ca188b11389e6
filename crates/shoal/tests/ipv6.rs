//! An overlay of both families: addresses, names, the virtual address, a published port.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, LAPTOP, TestLab};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

const MANAGER: &str = "vm-manager";
const WORKER: &str = "vm-worker1";
const PATIENTLY: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(10);
const REQUESTS: usize = 10;

#[test]
fn an_overlay_speaks_both_families() {
    let lab = TestLab::swarm(&[MANAGER, WORKER]);
    for (machine, host) in [(LAPTOP, 2), (MANAGER, 100), (WORKER, 101)] {
        lab.on(machine, &format!("ip -6 address add fd99::{host}/64 dev eth0 nodad"));
    }
    let create = "docker network create -d overlay --attachable";
    lab.on(MANAGER, &format!("{create} --ipv6 --subnet 10.66.0.0/24 --subnet fd66::/64 six"));
    let shown = "{{.EnableIPv4}} {{.EnableIPv6}}{{range .IPAM.Config}} {{.Subnet}} {{.Gateway}}{{end}}";
    let shows = |network: &str| lab.on(MANAGER, &format!("docker network inspect {network} --format '{shown}'"));
    assert_eq!(shows("six"), "true true 10.66.0.0/24 10.66.0.1 fd66::/64 fd66::1");
    lab.refused(MANAGER, &format!("{create} --ipv6 --subnet fd66::/80 seven"), "Pool overlaps with other one");
    lab.on(MANAGER, &format!("{create} --subnet 10.67.0.0/24 --subnet fd67::/64 seven"));
    assert_eq!(
        shows("seven"),
        "true true 10.67.0.0/24 10.67.0.1 fd67::/64 fd67::1",
        "a subnet says as much as the flag"
    );

    // The web service of the other tests listens on IPv4 only.
    let serve = r#"sh -c "trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait""#;
    let service = "docker service create --detach --name web --network six -p 8080:8080 --replicas 4";
    lab.on(MANAGER, &format!("{service} {IMAGE} {serve}"));
    lab.replicas("web", "4/4", PATIENTLY);
    let format = "'{{range .Endpoint.VirtualIPs}}{{println .Addr}}{{end}}'";
    let text = lab.on(MANAGER, &format!("docker service inspect web --format {format}"));
    let six: Vec<&str> = text.lines().filter_map(|l| l.strip_suffix("/64")).collect();
    assert!(six.len() == 1 && text.lines().any(|l| l.starts_with("10.66.0.")), "{text}");
    let virtual_address: Ipv6Addr = six[0].parse().unwrap();

    for machine in [MANAGER, WORKER] {
        lab.on(machine, &format!("docker run -d --name client --network six {IMAGE} sleep 10000"));
        lab.until("names are there", SOON, || {
            let tasks = look_up(&lab, machine, "tasks.web");
            if tasks.len() == 4 { Ok(()) } else { Err(format!("{tasks:?}")) }
        });
        assert_eq!(look_up(&lab, machine, "web"), [virtual_address.into()].into());
        assert_eq!(look_up(&lab, machine, "tasks.web"), own_addresses(&lab));
        let exec = |line: &str| lab.on(machine, &format!("docker exec client {line}"));
        let name = exec(&format!("nslookup -type=ptr {}", reverse(virtual_address)));
        assert!(name.contains("name = web.six"), "{name}");
        let pinged = exec("ping -6 -c 2 -W 2 web");
        assert!(pinged.contains(&format!("({virtual_address})")) && pinged.contains(" 0% packet loss"), "{pinged}");
        let request = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {virtual_address} 8080");
        let said = exec(&format!("sh -c \"for i in \\$(seq {REQUESTS}); do {request}; done\""));
        let own =
            lab.on(machine, "docker inspect client --format '{{.NetworkSettings.Networks.six.GlobalIPv6Address}}'");
        assert!(replicas(&said, Some(&format!("[{own}]"))) >= 3, "{said}");
    }

    for address in ["[fd99::100]", "[fd99::101]"] {
        let ask = format!("for i in $(seq {REQUESTS}); do curl -gsS -m 5 http://{address}:8080/; done");
        let said = lab.on(LAPTOP, &ask);
        assert!(replicas(&said, None) >= 3, "{address}: {said}");
    }
    for machine in [MANAGER, WORKER] {
        assert_eq!(replicas(&lab.on(machine, "curl -gsS -m 5 http://[::1]:8080/"), None), 1);
    }

    lab.on(MANAGER, "docker service scale --detach web=0");
    lab.replicas("web", "0/0", PATIENTLY);
    for machine in [MANAGER, WORKER] {
        lab.until("a connection is refused at once", SOON, || {
            let said = lab.say(machine, &format!("docker exec client nc -w 3 {virtual_address} 8080"));
            if said.err.contains("refused") { Ok(()) } else { Err(format!("{said:?}")) }
        });
        assert_eq!(look_up(&lab, machine, "web"), [virtual_address.into()].into(), "it lives as long as its service");
    }
    lab.end();
}

/// How many containers answered; all requests were answered, and each container saw `client`.
fn replicas(said: &str, client: Option<&str>) -> usize {
    let field = |name: &str| said.lines().filter_map(|l| l.strip_prefix(name)).map(str::trim).collect::<Vec<_>>();
    let (containers, clients) = (field("container "), field("client "));
    assert!(containers.len() == REQUESTS || containers.len() == 1, "{said}");
    assert!(client.is_none_or(|wanted| clients.iter().all(|c| *c == wanted)), "not all from {client:?}: {said}");
    containers.into_iter().collect::<BTreeSet<_>>().len()
}

/// The IPv6 addresses that a name has on the network of `client`.
fn look_up(lab: &TestLab, machine: &str, name: &str) -> BTreeSet<IpAddr> {
    let text = lab.say(machine, &format!("docker exec client nslookup -type=aaaa {name}.")).out;
    text.lines().filter_map(|l| l.strip_prefix("Address: ")?.trim().parse().ok()).collect()
}

/// Those that the service's containers say they have.
fn own_addresses(lab: &TestLab) -> BTreeSet<IpAddr> {
    let format = "'{{.NetworkSettings.Networks.six.GlobalIPv6Address}}'";
    let of = |machine| {
        let ids = lab.containers(machine, "web").join(" ");
        let text = lab.on(machine, &format!("docker inspect {ids} --format {format}"));
        text.lines().filter_map(|l| l.parse().ok()).collect::<Vec<IpAddr>>()
    };
    [MANAGER, WORKER].into_iter().flat_map(of).collect()
}

fn reverse(address: Ipv6Addr) -> String {
    let digits: Vec<String> =
        address.octets().iter().flat_map(|o| [o >> 4, o & 15]).map(|d| format!("{d:x}")).collect();
    format!("{}.ip6.arpa", digits.into_iter().rev().collect::<Vec<_>>().join("."))
}
