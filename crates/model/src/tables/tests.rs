use super::*;
use crate::{Id, NetworkSpec, NodeRole, NodeSpec, NodeStatus, Subnet};

fn network(n: u8, name: &str, vni: u32) -> Network {
    Network {
        id: NetworkId::from_random([n; 17]),
        meta: Meta::default(),
        spec: NetworkSpec { name: name.into(), ..Default::default() },
        vni,
        subnets: vec![NetworkSubnet {
            subnet: format!("10.0.{n}.0/24").parse::<Subnet>().unwrap(),
            range: None,
            gateway: IpAddr::from([10, 0, n, 1]),
        }],
    }
}

#[test]
fn a_refused_transaction_leaves_nothing_behind() {
    let mut t = Tables::default();
    t.apply(vec![StoreAction::Create(network(1, "a", 4097).into())], Timestamp(1)).unwrap();
    let e = t.apply(
        vec![
            StoreAction::Create(network(2, "b", 4098).into()),
            StoreAction::Remove(NetworkId::from_random([1; 17]).into()),
            StoreAction::Create(network(3, "B", 4099).into()),
        ],
        Timestamp(2),
    );
    assert_eq!(e.unwrap_err(), StoreError::NameConflict { kind: ObjectKind::Network, name: "B".into() });
    assert_eq!(t.revision(), 1);
    assert_eq!(t.networks().count(), 1);
    assert!(t.by_name(ObjectKind::Network, "A").is_some() && t.by_name(ObjectKind::Network, "b").is_none());
    assert_eq!(t.vni_holder(4098), None);
}

#[test]
fn an_update_needs_the_version_it_was_based_on() {
    let mut t = Tables::default();
    t.apply(vec![StoreAction::Create(network(1, "a", 4097).into())], Timestamp(1)).unwrap();
    let stored = (**t.networks().next().unwrap()).clone();
    t.apply(vec![StoreAction::Update(stored.clone().into())], Timestamp(2)).unwrap();
    let e = t.apply(vec![StoreAction::Update(stored.into())], Timestamp(3)).unwrap_err();
    assert!(matches!(e, StoreError::OutOfSequence(_)));
}

#[test]
fn an_image_gives_the_same_tables_back() {
    let mut t = Tables::default();
    t.apply(vec![StoreAction::Create(network(1, "a", 4097).into())], Timestamp(1)).unwrap();
    let back = Tables::from_image(t.image()).unwrap();
    assert_eq!(back.revision(), t.revision());
    assert_eq!(
        back.address_holder(&NetworkId::from_random([1; 17]), IpAddr::from([10, 0, 1, 1])),
        t.address_holder(&NetworkId::from_random([1; 17]), IpAddr::from([10, 0, 1, 1]))
    );
}

#[test]
fn what_changed_is_told_as_far_back_as_it_is_known() {
    let mut t = Tables::default();
    t.apply(vec![StoreAction::Create(network(1, "a", 4097).into())], Timestamp(1)).unwrap();
    t.apply(vec![StoreAction::Create(network(2, "b", 4098).into())], Timestamp(2)).unwrap();
    let since = |t: &Tables, r| t.changed_since(r).map(|c| c.count());
    assert_eq!((since(&t, 0), since(&t, 1), since(&t, 2), since(&t, 3)), (Some(2), Some(1), Some(0), None));
    let back = Tables::from_image(t.image()).unwrap();
    assert_eq!((since(&back, 1), since(&back, 2)), (None, Some(0)));
}

#[test]
fn what_a_node_is_seen_to_be_does_not_outdate_what_a_client_has_read() {
    let mut t = Tables::default();
    let node = Node {
        id: NodeId::from_random([1; 17]),
        meta: Meta::default(),
        spec: NodeSpec::default(),
        description: None,
        status: NodeStatus::default(),
        role: NodeRole::Worker,
        manager: None,
        data_path_addr: None,
        attachments: vec![],
    };
    t.apply(vec![StoreAction::Create(node.into())], Timestamp(1)).unwrap();
    let read = (**t.nodes().next().unwrap()).clone();
    let mut seen = read.clone();
    seen.status.message = "ready".into();
    t.apply(vec![StoreAction::Update(seen.into())], Timestamp(2)).unwrap();
    let now = t.nodes().next().unwrap();
    assert_eq!((now.meta.version, now.meta.updated_at), (read.meta.version, Timestamp(2)));
    let mut wish = (**now).clone();
    wish.spec.labels.insert("a".into(), "b".into());
    t.apply(vec![StoreAction::Update(wish.clone().into())], Timestamp(3)).unwrap();
    assert!(t.nodes().next().unwrap().meta.version > read.meta.version);
    let e = t.apply(vec![StoreAction::Update(wish.into())], Timestamp(4)).unwrap_err();
    assert!(matches!(e, StoreError::OutOfSequence(_)));
}
