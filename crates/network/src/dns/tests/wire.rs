//! Packets in, packets out.
use super::super::lookup::{Desk, Outcome, Scope};
use super::super::{Upstream, packet};
use super::*;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, Record, rdata};
use proptest::prelude::*;

fn scope() -> Scope {
    Scope { networks: everywhere(), upstreams: vec![Upstream::of_host(ip("192.0.2.53"))], ..Scope::default() }
}

fn ask(scope: &Scope, packet: &[u8]) -> (Outcome, Option<Message>) {
    let mut desk = Desk::default();
    let outcome = desk.handle(&sample(), scope, packet, None);
    (outcome, (outcome == Outcome::Reply).then(|| Message::from_vec(&desk.out).unwrap()))
}

fn reply(scope: &Scope, name: &str, kind: RecordType) -> Message {
    ask(scope, &question(name, kind, None)).1.unwrap_or_else(|| panic!("{name} {kind} got no answer"))
}

#[test]
fn an_address_is_answered_in_the_askers_spelling() {
    let m = reply(&scope(), "WeB.", RecordType::A);
    assert_eq!((m.metadata.id, m.metadata.response_code), (0x1234, ResponseCode::NoError));
    assert!(m.metadata.recursion_available && m.metadata.recursion_desired);
    assert_eq!(m.queries[0].name().to_ascii(), "WeB.");
    assert_eq!(addresses(&m), [ip("10.0.1.2")]);
    assert_eq!(m.answers[0].ttl, super::super::table::VIRTUAL_TTL);
    assert_eq!(addresses(&reply(&scope(), "db.", RecordType::AAAA)), [ip("fd00::2")]);
    assert_eq!(reply(&scope(), "db.", RecordType::ANY).answers.len(), 2);
}

#[test]
fn a_known_name_has_an_empty_answer_for_every_other_type() {
    for kind in [RecordType::AAAA, RecordType::MX, RecordType::HTTPS, RecordType::TXT] {
        let m = reply(&scope(), "web.", kind);
        assert_eq!((m.metadata.response_code, m.answers.len()), (ResponseCode::NoError, 0), "{kind}");
    }
}

#[test]
fn pointers() {
    let m = reply(&scope(), "11.1.0.10.in-addr.arpa.", RecordType::PTR);
    let RData::PTR(rdata::PTR(name)) = &m.answers[0].data else { panic!("{m:?}") };
    assert_eq!(name.to_ascii(), "shop_web.1.abc.shop_net.");
    let m = reply(&scope(), "99.1.0.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(m.metadata.response_code, ResponseCode::NXDomain);
    let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
    assert_eq!(reply(&scope(), v6, RecordType::PTR).answers.len(), 1);
    assert_eq!(ask(&scope(), &question("8.8.8.8.in-addr.arpa.", RecordType::PTR, None)).0, Outcome::Forward);
}

#[test]
fn what_is_not_ours_is_handed_on_unless_there_is_nobody_to_hand_it_to() {
    let outside = question("example.org.", RecordType::A, None);
    assert_eq!(ask(&scope(), &outside).0, Outcome::Forward);
    for closed in [Scope { internal_only: true, ..scope() }, Scope { upstreams: vec![], ..scope() }] {
        assert_eq!(reply(&closed, "example.org.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
        assert_eq!(reply(&closed, "nobody.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    }
    let own_ndots = Scope { ndots_set: true, ..scope() };
    assert_eq!(reply(&own_ndots, "nobody.", RecordType::A).metadata.response_code, ResponseCode::NoError);
    assert_eq!(ask(&own_ndots, &outside).0, Outcome::Forward);
}

#[test]
fn a_private_alias_goes_before_what_others_call_so_and_is_nobody_elses() {
    let shop: Arc<str> = id::<NetworkId>(2).as_str().into();
    let links = [("bar", "lonely"), ("web", "rr"), ("late", "not-yet")];
    let links = links
        .map(|(alias, to)| (alias.to_owned(), vec![("elsewhere".into(), to.to_owned()), (shop.clone(), to.to_owned())]))
        .into();
    let linked = Scope { links, ..scope() };
    assert_eq!(addresses(&reply(&linked, "BAR.", RecordType::A)), [ip("10.0.1.31")]);
    assert_eq!(addresses(&reply(&linked, "web.", RecordType::A)).len(), 2);
    assert_eq!(ask(&linked, &question("late.", RecordType::A, None)).0, Outcome::Forward, "nobody has the name yet");
    assert_eq!(ask(&scope(), &question("bar.", RecordType::A, None)).0, Outcome::Forward);
}

#[test]
fn several_addresses_take_turns() {
    let (table, scope) = (sample(), scope());
    let mut desk = Desk::default();
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..4 {
        desk.handle(&table, &scope, &question("tasks.web.", RecordType::A, None), None);
        firsts.insert(addresses(&Message::from_vec(&desk.out).unwrap())[0]);
    }
    assert_eq!(firsts.len(), 2);
}

#[test]
fn too_many_addresses_are_cut_to_what_the_client_takes() {
    let mut local = bridge();
    local.endpoints[0].addresses = (0..200).map(|n| ip(&format!("172.20.1.{n}"))).collect();
    let table = NameTable::build(&Directory::default(), &[].into(), &[local]);
    let ask = |edns, limit| {
        let mut desk = Desk::default();
        desk.handle(&table, &scope(), &question("db.", RecordType::A, edns), limit);
        (desk.out.len(), Message::from_vec(&desk.out).unwrap())
    };
    let (length, m) = ask(None, None);
    assert!(length <= 512 && m.metadata.truncation && m.answers.len() == 30, "{length} {}", m.answers.len());
    let (length, m) = ask(Some(1232), None);
    assert!(length <= 1232 && m.metadata.truncation && m.edns.is_some(), "{length}");
    let (_, m) = ask(Some(4096), None);
    assert!(!m.metadata.truncation && m.answers.len() == 200);
    let (_, m) = ask(None, Some(65535));
    assert!(!m.metadata.truncation && m.answers.len() == 200);
}

#[test]
fn what_is_no_question_is_refused_or_ignored() {
    let mut q = question("web.", RecordType::A, None);
    q[2] |= 0x80;
    assert_eq!(ask(&scope(), &q).0, Outcome::Ignore, "an answer");
    assert_eq!(ask(&scope(), &q[..7]).0, Outcome::Ignore, "no header");
    let code = |packet: &[u8]| ask(&scope(), packet).1.unwrap().metadata.response_code;
    let q = question("web.", RecordType::A, None);
    assert_eq!(code(&q[..q.len() - 2]), ResponseCode::FormErr);
    let mut two = q.clone();
    two[5] = 2;
    assert_eq!(code(&two), ResponseCode::FormErr);
    let mut update = q.clone();
    update[2] = 5 << 3;
    assert_eq!(code(&update), ResponseCode::NotImp);
    let mut chaos = q.clone();
    let end = chaos.len();
    chaos[end - 1] = 3;
    assert_eq!(code(&chaos), ResponseCode::Refused);
    let mut looping = q;
    looping[12] = 0xC0;
    looping[13] = 12;
    assert_eq!(code(&looping), ResponseCode::FormErr);
}

#[test]
fn the_lifetime_of_an_answer_is_its_least_ttl_and_shrinks_with_age() {
    let mut m = Message::from_vec(&question("example.org.", RecordType::A, Some(1232))).unwrap().into_response();
    let name = Name::from_ascii("example.org.").unwrap();
    for (ttl, last) in [(300, 1), (40, 2)] {
        m.add_answer(Record::from_rdata(name.clone(), ttl, RData::A(rdata::A::new(192, 0, 2, last))));
    }
    let mut bytes = m.to_vec().unwrap();
    let (ttl, places) = packet::lifetime(&bytes).unwrap();
    assert_eq!((ttl, places.len()), (40, 2));
    packet::grow_older(&mut bytes, &places, 15);
    let ttls: Vec<u32> = Message::from_vec(&bytes).unwrap().answers.iter().map(|r| r.ttl).collect();
    assert_eq!(ttls, [285, 25]);
    let mut cut = bytes.clone();
    packet::truncate(&mut cut);
    let cut = Message::from_vec(&cut).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.queries.len() == 1);
    assert!(packet::answers(&question("EXAMPLE.org.", RecordType::A, None), &bytes));
    assert!(!packet::answers(&question("example.com.", RecordType::A, None), &bytes));
}

fn exercise(bytes: &[u8]) {
    for limit in [None, Some(12), Some(65535)] {
        let mut desk = Desk::default();
        if desk.handle(&sample(), &scope(), bytes, limit) == Outcome::Reply {
            Message::from_vec(&desk.out).expect("what we send can be read");
        }
        desk.refuse(bytes, packet::Code::ServFail);
    }
    let mut copy = bytes.to_vec();
    packet::truncate(&mut copy);
    if let Some((_, places)) = packet::lifetime(bytes) {
        packet::grow_older(&mut copy, &places, 9);
    }
    packet::answers(bytes, bytes);
    packet::code_of(bytes);
    packet::is_truncated(bytes);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        exercise(&bytes);
    }

    #[test]
    fn no_damage_to_a_question_makes_it_panic(
        at in 0usize..60, value: u8, cut in 0usize..70, name in "[a-zA-Z0-9_.-]{0,40}", edns: Option<u16>,
    ) {
        let name = if Name::from_ascii(&name).is_ok() { name } else { "web.".into() };
        let mut bytes = question(&name, RecordType::A, edns);
        if let Some(b) = bytes.get_mut(at) {
            *b = value;
        }
        bytes.truncate(bytes.len().max(cut) - cut.min(bytes.len()));
        exercise(&bytes);
    }
}
