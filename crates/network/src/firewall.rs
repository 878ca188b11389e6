//! The nftables tables that the networks of this machine amount to. Pure: networks and ports in, tables out.
//!
//! Per bridge: what leaves is masqueraded; what comes from elsewhere gets in only as the answer to something, or
//! through a published port; internal networks have no way at all; bridges do not hear each other.
use crate::endpoint::BoundPort;
use crate::local::LocalNetwork;
use kernel::nft::{Base, Chain, ChainKind, Family, Hook, Match, PortMap, Rule, Table, Verdict, ct_state};
use model::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A published port and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    /// On the machine.
    pub port: BoundPort,
    /// In the container.
    pub to: IpAddr,
}

/// IP protocol number.
pub fn protocol_number(p: Protocol) -> u8 {
    match p {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// Both tables.
pub fn tables<'a>(
    name: &str,
    networks: impl Iterator<Item = &'a LocalNetwork> + Clone,
    ports: &[Forward],
) -> [Table; 2] {
    [Family::Ipv4, Family::Ipv6].map(|family| table(family, name, networks.clone(), ports))
}

fn table<'a>(family: Family, name: &str, networks: impl Iterator<Item = &'a LocalNetwork>, ports: &[Forward]) -> Table {
    let mut raw = Vec::new();
    let mut leaving = Vec::new();
    let mut between = vec![Rule::new([Match::CtState(ct_state::ESTABLISHED | ct_state::RELATED)], Verdict::Accept)];
    for n in networks.filter(|n| n.is_bridge()) {
        let bridge = || n.interface.clone();
        if family == Family::Ipv4 {
            // route_localnet lets 127.0.0.1 out to the bridge; nothing on the bridge may come in by it.
            let loopback = Match::Destination(Ipv4Addr::new(127, 0, 0, 0).into(), 8);
            raw.push(Rule::new([Match::In(bridge()), loopback], Verdict::Drop));
            let from_self = Match::Source(Ipv4Addr::new(127, 0, 0, 0).into(), 8);
            leaving.push(Rule::new([from_self, Match::Out(bridge())], Verdict::Masquerade));
        }
        for pool in n.pools.iter().filter(|p| family.is_of(p.subnet.base)) {
            let own = || Match::Source(pool.subnet.base, pool.subnet.prefix);
            if n.masquerades() {
                leaving.push(Rule::new([own(), Match::NotOut(bridge())], Verdict::Masquerade));
            }
            // A container that asks the machine for a port of its own network: the answer must come back this way.
            leaving.push(Rule::new([Match::CtDnat, own(), Match::Out(bridge())], Verdict::Masquerade));
        }
        if n.spec.internal {
            between.push(Rule::new([Match::In(bridge()), Match::NotOut(bridge())], Verdict::Drop));
            between.push(Rule::new([Match::NotIn(bridge()), Match::Out(bridge())], Verdict::Drop));
            continue;
        }
        between.push(Rule::new([Match::CtDnat, Match::Out(bridge())], Verdict::Accept));
        if !n.icc() {
            between.push(Rule::new([Match::In(bridge()), Match::Out(bridge())], Verdict::Drop));
        }
        between.push(Rule::new([Match::NotIn(bridge()), Match::Out(bridge())], Verdict::Drop));
    }
    let base = |kind, hook, priority| Some(Base { kind, hook, priority });
    let published = || vec![Rule::new([], Verdict::Jump("published".into()))];
    let mut redirect = vec![
        Rule::new([Match::DestinationIsLocal], Verdict::DnatMap("ports_at".into())),
        Rule::new([Match::DestinationIsLocal], Verdict::DnatMap("ports".into())),
    ];
    if family == Family::Ipv6 {
        // There is no route_localnet: connections to ::1 reach the socket that holds the port, which relays them.
        redirect.insert(0, Rule::new([Match::Destination(Ipv6Addr::LOCALHOST.into(), 128)], Verdict::Return));
    }
    let chain = |name: &str, base, rules| Chain { name: name.into(), base, rules };
    Table {
        family,
        name: name.to_owned(),
        maps: port_maps(family, ports),
        chains: vec![
            chain("published", None, redirect),
            chain("guard", base(ChainKind::Filter, Hook::Prerouting, -300), raw),
            chain("incoming", base(ChainKind::Nat, Hook::Prerouting, -100), published()),
            chain("own", base(ChainKind::Nat, Hook::Output, -100), published()),
            chain("between", base(ChainKind::Filter, Hook::Forward, 0), between),
            chain("leaving", base(ChainKind::Nat, Hook::Postrouting, 100), leaving),
        ],
    }
}

fn port_maps(family: Family, ports: &[Forward]) -> Vec<PortMap> {
    let mut any = PortMap { name: "ports".into(), with_address: false, entries: Vec::new() };
    let mut at = PortMap { name: "ports_at".into(), with_address: true, entries: Vec::new() };
    for f in ports.iter().filter(|f| family.is_of(f.to) && family.is_of(f.port.host_ip)) {
        let addr = Some(f.port.host_ip).filter(|a| !a.is_unspecified());
        let map = if addr.is_some() { &mut at } else { &mut any };
        let key = (addr, protocol_number(f.port.protocol), f.port.host_port);
        if !map.entries.iter().any(|(k, _)| *k == key) {
            map.entries.push((key, (f.to, f.port.container_port)));
        }
    }
    vec![any, at]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{LocalNetworkSpec, Pool};

    fn network(name: &str, subnet: &str, internal: bool) -> LocalNetwork {
        let subnet: model::Subnet = subnet.parse().unwrap();
        let spec =
            LocalNetworkSpec { name: name.into(), driver: "bridge".into(), internal, ..LocalNetworkSpec::default() };
        LocalNetwork {
            id: name.into(),
            created: model::Timestamp::default(),
            spec,
            pools: vec![Pool { subnet, range: None, gateway: subnet.nth(1).unwrap(), reserved: Default::default() }],
            interface: format!("br-{name}"),
            endpoints: Default::default(),
        }
    }

    fn rules<'t>(t: &'t Table, chain: &str) -> &'t [Rule] {
        &t.chains.iter().find(|c| c.name == chain).unwrap().rules
    }

    #[test]
    fn an_internal_network_is_neither_masqueraded_nor_forwarded() {
        let all = [network("in", "10.1.0.0/24", true), network("out", "10.2.0.0/24", false)];
        let [v4, _] = tables("t", all.iter(), &[]);
        let masquerades = |addr: &str| {
            let source = Match::Source(addr.parse().unwrap(), 24);
            rules(&v4, "leaving")
                .iter()
                .any(|r| r.matches.contains(&source) && matches!(r.matches.last(), Some(Match::NotOut(_))))
        };
        assert!(masquerades("10.2.0.0") && !masquerades("10.1.0.0"));
        let accepted = Rule::new([Match::CtDnat, Match::Out("br-in".into())], Verdict::Accept);
        assert!(!rules(&v4, "between").contains(&accepted));
        let shut = Rule::new([Match::In("br-in".into()), Match::NotOut("br-in".into())], Verdict::Drop);
        assert!(rules(&v4, "between").contains(&shut));
    }

    #[test]
    fn a_port_is_in_the_map_of_its_family_and_address() {
        let forward = |host: &str, to: &str| Forward {
            port: BoundPort {
                protocol: Protocol::Tcp,
                container_port: 80,
                host_ip: host.parse().unwrap(),
                host_port: 8080,
            },
            to: to.parse().unwrap(),
        };
        // An IPv6 port that leads to an IPv4 container is the relay's alone.
        let ports = [
            forward("0.0.0.0", "10.2.0.2"),
            forward("::", "10.2.0.2"),
            forward("10.88.0.1", "10.2.0.3"),
            forward("::", "fd00::2"),
        ];
        let [v4, v6] = tables("t", [].iter(), &ports);
        let keys = |t: &Table, i: usize| t.maps[i].entries.iter().map(|(_, to)| to.0.to_string()).collect::<Vec<_>>();
        assert_eq!((keys(&v4, 0), keys(&v4, 1)), (vec!["10.2.0.2".to_owned()], vec!["10.2.0.3".to_owned()]));
        assert_eq!((keys(&v6, 0), keys(&v6, 1)), (vec!["fd00::2".to_owned()], vec![]));
    }
}
