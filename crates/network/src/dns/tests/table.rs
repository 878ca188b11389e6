//! Exact names → exact addresses.
use super::super::table::Reverse;
use super::*;

fn find(table: &NameTable, name: &str) -> Option<Vec<String>> {
    find_as(table, name, None)
}

fn find_as(table: &NameTable, name: &str, stack: Option<&str>) -> Option<Vec<String>> {
    let record = table.find(&everywhere(), name)?;
    Some(record.addresses(stack).map(|(a, _)| a.to_string()).collect())
}

fn some(addresses: &[&str]) -> Option<Vec<String>> {
    Some(addresses.iter().map(|a| (*a).to_owned()).collect())
}

#[test]
fn services_tasks_and_containers_by_all_their_names() {
    let t = sample();
    for name in ["shop_web", "web", "web.shop_net", "shop_web.shop_net"] {
        assert_eq!(find(&t, name), some(&["10.0.1.2"]), "{name}");
    }
    for name in ["tasks.web", "tasks.shop_web", "tasks.web.shop_net"] {
        assert_eq!(find(&t, name), some(&["10.0.1.11", "10.0.1.12"]), "{name}");
    }
    assert_eq!(find(&t, "shop_web.3.ghi"), some(&["10.0.1.13"]), "a starting task has its own name");
    assert_eq!(find(&t, "0123456789ab"), some(&["10.0.1.11"]));
    assert_eq!(find(&t, "lonely.shop_net"), some(&["10.0.1.31"]));
    assert_eq!(find(&t, "alias.with.dots"), some(&["10.0.1.31"]));
    assert_eq!(find(&t, "alias.with.dots.shop_net"), some(&["10.0.1.31"]));
    assert_eq!(find(&t, "rr"), some(&["10.0.1.21", "10.0.1.22"]));
    assert_eq!(find(&t, "tasks.rr"), some(&["10.0.1.21", "10.0.1.22"]));
    assert_eq!(find(&t, "db.bridge0"), some(&["172.20.0.2", "fd00::2"]));
    for unknown in ["nobody", "web.bridge0", "db.shop_net", "web.ingress", "shop_web.1.abc.ingress", "", "."] {
        assert_eq!(find(&t, unknown), None, "{unknown}");
    }
}

#[test]
fn only_the_askers_networks_count() {
    let t = sample();
    assert!(t.find(&everywhere()[1..], "web").is_none());
    assert!(t.find(&[], "web").is_none());
    assert!(t.find(&everywhere()[2..], "db").is_some());
}

#[test]
fn a_stack_gets_its_own_service_for_a_shared_alias() {
    let t = sample();
    assert_eq!(find_as(&t, "shared", Some("shop")), some(&["10.0.1.2"]));
    assert_eq!(find_as(&t, "shared", Some("other")), some(&["10.0.1.3"]));
    assert_eq!(find_as(&t, "shared", Some("third")), some(&["10.0.1.2", "10.0.1.3"]));
    assert_eq!(find(&t, "shared"), some(&["10.0.1.2", "10.0.1.3"]));
}

#[test]
fn a_service_keeps_its_name_without_any_ready_task() {
    let mut d = directory();
    d.networks.get_mut(&id::<NetworkId>(2)).unwrap().endpoints.clear();
    let t = NameTable::build(&d, &[].into(), &[]);
    assert_eq!(find(&t, "web"), some(&["10.0.1.2"]));
    assert_eq!(find(&t, "tasks.web"), some(&[]), "known, but nobody: an empty answer, not one from outside");
    assert_eq!(find(&t, "rr"), some(&[]));
}

#[test]
fn a_dead_nodes_endpoints_are_left_out_and_draining_ones_are_no_longer_offered() {
    let mut d = directory();
    let by_mask = NameTable::build(&d, &[id::<NodeId>(2)].into(), &[]);
    assert_eq!(find(&by_mask, "tasks.web"), some(&["10.0.1.11"]));
    assert_eq!(find(&by_mask, "shop_web.2.def"), some(&[]));
    d.peers.get_mut(&id::<NodeId>(2)).unwrap().alive = false;
    let by_directory = NameTable::build(&d, &[].into(), &[]);
    assert_eq!(find(&by_directory, "rr"), some(&["10.0.1.21"]));
    let mut d = directory();
    let shop = d.networks.get_mut(&id::<NetworkId>(2)).unwrap();
    shop.endpoints.get_mut(&id::<TaskId>(1)).unwrap().state = EndpointState::Draining;
    let t = NameTable::build(&d, &[].into(), &[]);
    assert_eq!(find(&t, "tasks.web"), some(&["10.0.1.12"]));
    assert_eq!(find(&t, "shop_web.1.abc"), some(&["10.0.1.11"]), "its own name stays while it lives");
}

#[test]
fn addresses_lead_back_to_names() {
    let t = sample();
    let back = |addr: &str| match t.reverse(&everywhere(), ip(addr)) {
        Reverse::Names(n) => n.iter().map(|n| n.to_string()).collect(),
        other => vec![format!("{other:?}")],
    };
    assert_eq!(back("10.0.1.11"), ["shop_web.1.abc.shop_net"]);
    assert_eq!(back("10.0.1.2"), ["shop_web.shop_net"]);
    assert_eq!(back("fd00::2"), ["db.bridge0"]);
    assert_eq!(back("10.0.1.200"), ["Nobody"]);
    assert_eq!(back("8.8.8.8"), ["Foreign"]);
    assert_eq!(back("10.0.0.11"), ["Foreign"], "nothing is registered on ingress");
}
