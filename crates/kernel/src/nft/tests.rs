//! `nft` prints back what was meant, and packets obey.
use super::*;
use crate::netlink::{Netlink, Route, VethSpec};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

fn printed(ns: &NetNs, arguments: &[&str]) -> String {
    let out = ns.run(|| Command::new("nft").args(arguments).output().unwrap()).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

/// Only chains at the forward hook that drop what they do not know are gates, whoever made them.
#[test]
fn others_that_drop_forwarded_packets_are_found() {
    let ns = NetNs::anonymous().unwrap();
    let nft = Nft::open_in(&ns).unwrap();
    assert_eq!(nft.forward_gates().unwrap(), []);
    for line in [
        "table inet fw { chain through { type filter hook forward priority 0; policy drop; }; \
         chain in { type filter hook input priority 0; policy drop; }; chain free { }; }",
        "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }",
        "table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy accept; }; }",
    ] {
        printed(&ns, &[line]);
    }
    let gate = |family, table: &str, chain: &str| Gate { family, table: table.into(), chain: chain.into() };
    assert_eq!(nft.forward_gates().unwrap(), [gate("inet", "fw", "through"), gate("ip", "filter", "FORWARD")]);
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn base(kind: ChainKind, hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { kind, hook, priority })
}

fn sample(family: Family) -> Table {
    let (net, prefix, host, other) = match family {
        Family::Ipv4 => (ip("172.17.0.0"), 20, ip("172.17.0.2"), ip("10.0.0.9")),
        Family::Ipv6 => (ip("fd00:17::"), 68, ip("fd00:17::2"), ip("fd01::9")),
    };
    let maps = vec![
        PortMap {
            name: "ports".into(),
            with_address: false,
            entries: vec![((None, 6, 8080), (host, 80)), ((None, 17, 5353), (host, 53))],
        },
        PortMap { name: "ports_at".into(), with_address: true, entries: vec![((Some(other), 6, 443), (host, 8443))] },
    ];
    let chains = vec![
        Chain {
            name: "published".into(),
            base: None,
            rules: vec![
                Rule::new([], Verdict::DnatMap("ports_at".into())),
                Rule::new([Match::DestinationIsLocal], Verdict::DnatMap("ports".into())),
                Rule::new([Match::Protocol(6), Match::DestinationPort(9000)], Verdict::Dnat(host, 90)),
            ],
        },
        Chain {
            name: "incoming".into(),
            base: base(ChainKind::Nat, Hook::Prerouting, -100),
            rules: vec![Rule::new([Match::DestinationIsLocal], Verdict::Jump("published".into()))],
        },
        Chain {
            name: "leaving".into(),
            base: base(ChainKind::Nat, Hook::Postrouting, 100),
            rules: vec![
                Rule::new([Match::Source(net, prefix), Match::NotOut("docker0".into())], Verdict::Masquerade),
                Rule::new([Match::CtDnat, Match::Out("docker0".into())], Verdict::Masquerade),
            ],
        },
        Chain {
            name: "between".into(),
            base: base(ChainKind::Filter, Hook::Forward, 0),
            rules: vec![
                Rule::new([Match::CtState(ct_state::ESTABLISHED | ct_state::RELATED)], Verdict::Accept),
                Rule::new([Match::NotIn("docker0".into()), Match::Out("docker0".into())], Verdict::Drop),
                Rule::new([Match::NotSource(host, if host.is_ipv4() { 32 } else { 128 })], Verdict::Return),
            ],
        },
    ];
    Table { family, name: "shoal_test".into(), maps, chains }
}

#[test]
fn nft_prints_what_was_meant() {
    let ns = NetNs::anonymous().unwrap();
    let nft = Nft::open_in(&ns).unwrap();
    nft.replace(&sample(Family::Ipv4)).unwrap();
    let text = printed(&ns, &["list", "table", "ip", "shoal_test"]);
    for expected in [
        "type inet_proto . inet_service : ipv4_addr . inet_service",
        "tcp . 8080 : 172.17.0.2 . 80",
        "udp . 5353 : 172.17.0.2 . 53",
        "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
        "10.0.0.9 . tcp . 443 : 172.17.0.2 . 8443",
        "type nat hook prerouting priority dstnat; policy accept;",
        "fib daddr type local jump published",
        "dnat ip to ip daddr . meta l4proto . th dport map @ports_at",
        "fib daddr type local dnat ip to meta l4proto . th dport map @ports",
        "tcp dport 9000 dnat to 172.17.0.2:90",
        "ip saddr 172.17.0.0/20 oifname != \"docker0\" masquerade",
        "ct status dnat oifname \"docker0\" masquerade",
        "ct state established,related accept",
        "iifname != \"docker0\" oifname \"docker0\" drop",
        "ip saddr != 172.17.0.2 return",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
}

#[test]
fn ipv6_is_the_same_code() {
    let ns = NetNs::anonymous().unwrap();
    let nft = Nft::open_in(&ns).unwrap();
    nft.replace(&sample(Family::Ipv6)).unwrap();
    let text = printed(&ns, &["list", "table", "ip6", "shoal_test"]);
    for expected in [
        "tcp . 8080 : fd00:17::2 . 80",
        "fd01::9 . tcp . 443 : fd00:17::2 . 8443",
        "tcp dport 9000 dnat to [fd00:17::2]:90",
        "ip6 saddr fd00:17::/68 oifname != \"docker0\" masquerade",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
}

#[test]
fn a_table_is_replaced_whole_and_others_are_left_alone() {
    let ns = NetNs::anonymous().unwrap();
    let nft = Nft::open_in(&ns).unwrap();
    printed(&ns, &["add", "table", "ip", "somebody"]);
    let mut table = sample(Family::Ipv4);
    nft.replace(&table).unwrap();
    assert!(nft.is_intact(&table).unwrap());
    table.chains.truncate(2);
    table.maps[0].entries = (1..2000).map(|p| ((None, 6, p), (ip("172.17.0.2"), p))).collect();
    assert!(!nft.is_intact(&table).unwrap());
    nft.replace(&table).unwrap();
    assert!(nft.is_intact(&table).unwrap());
    let text = printed(&ns, &["list", "ruleset"]);
    assert!(!text.contains("leaving") && text.contains("table ip somebody") && text.contains("tcp . 1999 :"));
    printed(&ns, &["flush", "table", "ip", "shoal_test"]);
    assert!(!nft.is_intact(&table).unwrap());
    printed(&ns, &["delete", "table", "ip", "shoal_test"]);
    assert!(!nft.is_intact(&table).unwrap() && !nft.exists(Family::Ipv4, "shoal_test").unwrap());
    nft.remove(Family::Ipv4, "shoal_test").unwrap();
    nft.replace(&table).unwrap();
    nft.remove(Family::Ipv4, "shoal_test").unwrap();
    assert_eq!(printed(&ns, &["list", "ruleset"]).matches("table").count(), 1);
}

#[test]
fn a_refused_batch_changes_nothing_and_names_the_part() {
    let ns = NetNs::anonymous().unwrap();
    let nft = Nft::open_in(&ns).unwrap();
    let good = sample(Family::Ipv4);
    nft.replace(&good).unwrap();
    let mut bad = good.clone();
    bad.chains[1].rules.push(Rule::new([], Verdict::Jump("nowhere".into())));
    let error = nft.replace(&bad).unwrap_err();
    assert!(error.to_string().contains("ip shoal_test (at incoming"), "{error}");
    assert!(nft.is_intact(&good).unwrap());
}

/// client —— router (DNAT, masquerade) —— server
#[test]
fn packets_obey() {
    let [client, router, server] = [(); 3].map(|()| NetNs::anonymous().unwrap());
    let middle = Netlink::open_in(&router).unwrap();
    for (name, far, net) in [("vc", &client, 1), ("vs", &server, 2)] {
        let far_link = Netlink::open_in(far).unwrap();
        let spec = VethSpec { name, peer: "eth0", peer_ns: Some(far), ..VethSpec::default() };
        let near = middle.add_veth(&spec).unwrap();
        let eth0 = far_link.link("eth0").unwrap();
        middle.set_up(near.index).unwrap();
        far_link.set_up(eth0.index).unwrap();
        middle.add_address(near.index, ip(&format!("10.0.{net}.1")), 24).unwrap();
        far_link.add_address(eth0.index, ip(&format!("10.0.{net}.2")), 24).unwrap();
        if net == 1 {
            far_link.add_route(&Route::default_via(ip("10.0.1.1"), eth0.index)).unwrap();
        }
    }
    router.run(|| crate::sysctl::write("net.ipv4.ip_forward", "1").unwrap()).unwrap();
    let to = (ip("10.0.2.2"), 80);
    let table = Table {
        family: Family::Ipv4,
        name: "shoal_test".into(),
        maps: vec![PortMap { name: "ports".into(), with_address: false, entries: vec![((None, 6, 8080), to)] }],
        chains: vec![
            Chain {
                name: "in".into(),
                base: base(ChainKind::Nat, Hook::Prerouting, -100),
                rules: vec![Rule::new([Match::DestinationIsLocal], Verdict::DnatMap("ports".into()))],
            },
            Chain {
                name: "out".into(),
                base: base(ChainKind::Nat, Hook::Postrouting, 100),
                rules: vec![Rule::new([Match::Source(ip("10.0.1.0"), 24)], Verdict::Masquerade)],
            },
        ],
    };
    Nft::open_in(&router).unwrap().replace(&table).unwrap();
    let listener = server.run(|| TcpListener::bind("10.0.2.2:80").unwrap()).unwrap();
    let connect = || TcpStream::connect_timeout(&"10.0.1.1:8080".parse().unwrap(), Duration::from_secs(5));
    let stream = client.run(connect).unwrap().unwrap();
    let (_, from) = listener.accept().unwrap();
    // The server has no route back: only the masquerade makes it answer.
    assert_eq!(from.ip(), ip("10.0.2.1"));
    drop(stream);
}
