//! Real sockets, in a namespace of the test's own.
use super::super::lookup::Scope;
use super::super::{DnsServer, Upstream};
use super::*;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, Record, rdata};
use kernel::netns::NetNs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PORT: u16 = 10_053;
const SERVER: &str = "127.0.0.11:10053";

struct Lab {
    ns: NetNs,
    server: DnsServer,
    runtime: tokio::runtime::Runtime,
}

fn lab(scope: Scope) -> Lab {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = DnsServer::new(PORT, runtime.handle().clone());
    server.publish(Arc::new(sample()));
    let ns = NetNs::anonymous().unwrap();
    server.attach("box", &ns, scope).unwrap();
    Lab { ns, server, runtime }
}

fn over_udp(ns: &NetNs, query: &[u8]) -> Message {
    let answer = ns.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(query, SERVER).unwrap();
        let mut answer = vec![0; 4096];
        let length = socket.recv(&mut answer).expect("an answer within 5 s");
        answer.truncate(length);
        answer
    });
    Message::from_vec(&answer.unwrap()).unwrap()
}

fn over_tcp(ns: &NetNs, queries: &[Vec<u8>]) -> Vec<Message> {
    ns.run(|| {
        let mut stream = TcpStream::connect(SERVER).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let one = |query: &Vec<u8>| {
            stream.write_all(&(query.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(query).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer).unwrap();
            Message::from_vec(&answer).unwrap()
        };
        queries.iter().map(one).collect()
    })
    .unwrap()
}

/// A resolver on the loopback of this process's namespace that answers with 192.0.2.`last`, and counts.
fn upstream(lab: &Lab, last: u8, code: ResponseCode) -> (Upstream, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let socket = lab.runtime.block_on(tokio::net::UdpSocket::bind("127.0.0.1:0")).unwrap();
    let addr = socket.local_addr().unwrap();
    lab.runtime.spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut m = Message::from_vec(&buffer[..length]).unwrap().into_response();
            m.metadata.response_code = code;
            if code == ResponseCode::NoError {
                let name = m.queries[0].name().clone();
                m.add_answer(Record::from_rdata(name, 60, RData::A(rdata::A::new(192, 0, 2, last))));
            }
            socket.send_to(&m.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (Upstream { addr, inside: false }, asked)
}

fn scope() -> Scope {
    Scope { networks: everywhere(), ..Scope::default() }
}

#[test]
fn names_are_answered_inside_over_udp_and_tcp_and_follow_the_table() {
    let lab = lab(scope());
    let web = question("web.", RecordType::A, None);
    assert_eq!(addresses(&over_udp(&lab.ns, &web)), [ip("10.0.1.2")]);
    let tcp = over_tcp(&lab.ns, &[web.clone(), question("db.", RecordType::AAAA, None)]);
    assert_eq!((addresses(&tcp[0]), addresses(&tcp[1])), (vec![ip("10.0.1.2")], vec![ip("fd00::2")]));
    let mut d = directory();
    let shop = d.networks.get_mut(&id::<NetworkId>(2)).unwrap();
    shop.services.get_mut(&id::<ServiceId>(1)).unwrap().vips = vec![ip("10.0.1.99")];
    lab.server.publish(Arc::new(NameTable::build(&d, &[].into(), &[])));
    assert_eq!(addresses(&over_udp(&lab.ns, &web)), [ip("10.0.1.99")]);
    lab.server.set_scope("box", Scope::default()).unwrap();
    assert_eq!(over_udp(&lab.ns, &web).metadata.response_code, ResponseCode::NXDomain);
    lab.server.attach("box", &lab.ns, scope()).unwrap();
    assert_eq!(addresses(&over_udp(&lab.ns, &web)), [ip("10.0.1.99")]);
    lab.server.detach("box");
    assert!(lab.server.set_scope("box", scope()).is_err());
    let deadline = Instant::now() + Duration::from_secs(5);
    let closed = || lab.ns.run(|| TcpStream::connect(SERVER).is_err()).unwrap();
    while !closed() {
        assert!(Instant::now() < deadline, "a detached resolver still listens");
    }
}

#[test]
fn the_rest_is_relayed_and_remembered() {
    let lab = lab(scope());
    let (good, asked) = upstream(&lab, 7, ResponseCode::NoError);
    lab.server.set_scope("box", Scope { upstreams: vec![good], ..scope() }).unwrap();
    for name in ["example.org.", "EXAMPLE.org."] {
        let m = over_udp(&lab.ns, &question(name, RecordType::A, None));
        assert_eq!((m.metadata.id, addresses(&m)), (0x1234, vec![ip("192.0.2.7")]));
        assert_eq!(m.queries[0].name().to_ascii(), name);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the second answer came from the cache");
}

#[test]
fn a_silent_upstream_and_one_that_fails_cost_little() {
    let lab = lab(scope());
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = Upstream { addr: silent.local_addr().unwrap(), inside: false };
    let (failing, _) = upstream(&lab, 0, ResponseCode::ServFail);
    let (good, _) = upstream(&lab, 8, ResponseCode::NoError);
    lab.server.set_scope("box", Scope { upstreams: vec![silent, failing, good], ..scope() }).unwrap();
    let start = Instant::now();
    let m = over_udp(&lab.ns, &question("example.org.", RecordType::A, None));
    assert_eq!(addresses(&m), [ip("192.0.2.8")]);
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[test]
fn dead_upstreams_end_in_servfail_and_soon_where_they_refuse() {
    let lab = lab(scope());
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap();
    let refused = Upstream { addr: closed.local_addr().unwrap(), inside: false };
    drop(closed);
    lab.server.set_scope("box", Scope { upstreams: vec![refused], ..scope() }).unwrap();
    let start = Instant::now();
    let m = over_udp(&lab.ns, &question("example.org.", RecordType::A, None));
    assert_eq!(m.metadata.response_code, ResponseCode::ServFail);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let hole_at = Upstream { addr: hole.local_addr().unwrap(), inside: false };
    lab.server.set_scope("box", Scope { upstreams: vec![hole_at], ..scope() }).unwrap();
    let m = over_udp(&lab.ns, &question("example.org.", RecordType::A, None));
    assert_eq!(m.metadata.response_code, ResponseCode::ServFail);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn the_containers_own_resolver_is_asked_from_inside() {
    let lab = lab(scope());
    let inside: SocketAddr = "127.0.0.1:5301".parse().unwrap();
    let socket = lab.ns.run(|| UdpSocket::bind(inside).unwrap()).unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let m = Message::from_vec(&buffer[..length]).unwrap().into_response();
        socket.send_to(&m.to_vec().unwrap(), from).unwrap();
    });
    let own = Upstream { addr: inside, inside: true };
    lab.server.set_scope("box", Scope { upstreams: vec![own], ..scope() }).unwrap();
    let m = over_udp(&lab.ns, &question("example.org.", RecordType::A, None));
    assert_eq!(m.metadata.response_code, ResponseCode::NoError);
    thread.join().unwrap();
}
