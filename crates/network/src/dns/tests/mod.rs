//! The name service, from the table to the wire; `hickory-proto` is the oracle for the format.
mod live;
mod table;
mod wire;

use super::{LocalEndpoint, LocalNames, NameTable};
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RecordType};
use model::directory::NetworkAttrs;
use model::{
    Directory, EndpointState, EndpointView, Id, NetworkId, NetworkSubnet, NetworkView, NodeId, PeerView,
    ResolutionMode, ServiceId, ServiceView, Subnet, TaskId,
};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

fn id<T: Id>(n: u8) -> T {
    T::from_random([n; 17])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two nodes, `ingress` (1), `shop_net` (2) with services, and a bridge.
fn directory() -> Directory {
    let mut d = Directory { revision: 7, ..Directory::default() };
    for n in [1, 2] {
        let peer = PeerView { hostname: format!("node{n}"), addr: ip("192.0.2.1"), alive: true, encryption_key: None };
        d.peers.insert(id(n), peer);
    }
    let mut shop = network("shop_net", "10.0.1.0/24");
    shop.services.insert(id(1), service("shop_web", &["web", "Shared"], "10.0.1.2", Some("shop")));
    shop.services.insert(id(2), service("other_api", &["shared"], "10.0.1.3", Some("other")));
    let rr = ServiceView { resolution: ResolutionMode::DnsRr, vips: vec![], ..service("rr", &[], "10.0.1.9", None) };
    shop.services.insert(id(3), rr);
    shop.endpoints.insert(id(1), endpoint(Some(id(1)), &["shop_web.1.abc", "0123456789ab"], "10.0.1.11", 1));
    shop.endpoints.insert(id(2), endpoint(Some(id(1)), &["shop_web.2.def", "web"], "10.0.1.12", 2));
    let starting =
        EndpointView { state: EndpointState::Starting, ..endpoint(Some(id(1)), &["shop_web.3.ghi"], "10.0.1.13", 2) };
    shop.endpoints.insert(id(3), starting);
    shop.endpoints.insert(id(4), endpoint(Some(id(3)), &["rr.1.x"], "10.0.1.21", 1));
    shop.endpoints.insert(id(5), endpoint(Some(id(3)), &["rr.2.y"], "10.0.1.22", 2));
    shop.endpoints.insert(id(6), endpoint(None, &["Lonely", "fedcba987654", "alias.with.dots"], "10.0.1.31", 1));
    d.networks.insert(id(2), shop);
    let mut ingress = network("ingress", "10.0.0.0/24");
    ingress.attrs.ingress = true;
    ingress.services.insert(id(1), service("shop_web", &[], "10.0.0.5", None));
    ingress.endpoints.insert(id(1), endpoint(Some(id(1)), &["shop_web.1.abc"], "10.0.0.11", 1));
    d.networks.insert(id(1), ingress);
    d
}

fn network(name: &str, subnet: &str) -> NetworkView {
    let subnet = Subnet::from_str(subnet).unwrap();
    NetworkView {
        attrs: NetworkAttrs {
            name: name.into(),
            labels: [].into(),
            vni: 4097,
            subnets: vec![NetworkSubnet { subnet, range: None, gateway: subnet.base }],
            mtu: None,
            encrypted: false,
            internal: false,
            ingress: false,
        },
        node_addrs: [].into(),
        services: [].into(),
        endpoints: [].into(),
    }
}

fn service(name: &str, aliases: &[&str], vip: &str, stack: Option<&str>) -> ServiceView {
    ServiceView {
        name: name.into(),
        aliases: aliases.iter().map(|a| (*a).into()).collect(),
        vips: vec![ip(vip)],
        resolution: ResolutionMode::Vip,
        ports: vec![],
        stack: stack.map(Into::into),
        balance: Default::default(),
    }
}

fn endpoint(service: Option<ServiceId>, names: &[&str], addr: &str, node: u8) -> EndpointView {
    EndpointView {
        service,
        names: names.iter().map(|n| (*n).into()).collect(),
        addresses: vec![ip(addr)],
        node: id::<NodeId>(node),
        state: EndpointState::Ready,
    }
}

fn bridge() -> LocalNames {
    LocalNames {
        id: "b".repeat(64),
        name: "Bridge0".into(),
        subnets: vec![Subnet::from_str("172.20.0.0/16").unwrap()],
        endpoints: vec![LocalEndpoint {
            names: vec!["db".into(), "aaaabbbbcccc".into()],
            addresses: vec![ip("172.20.0.2"), ip("fd00::2")],
        }],
    }
}

fn sample() -> NameTable {
    NameTable::build(&directory(), &[].into(), &[bridge()])
}

/// The overlay, ingress, the bridge.
fn everywhere() -> Vec<Arc<str>> {
    vec![id::<NetworkId>(2).as_str().into(), id::<NetworkId>(1).as_str().into(), "b".repeat(64).as_str().into()]
}

fn question(name: &str, kind: RecordType, edns: Option<u16>) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(size) = edns {
        let mut e = Edns::new();
        e.set_max_payload(size);
        message.set_edns(e);
    }
    message.to_vec().unwrap()
}

fn addresses(answer: &Message) -> Vec<IpAddr> {
    answer.answers.iter().filter_map(|r| r.data.ip_addr()).collect()
}
