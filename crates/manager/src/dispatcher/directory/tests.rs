use super::*;
use model::{
    Id, IpamConfig, Meta, Network, NetworkSpec, Node, NodeRole, NodeSpec, NodeStatus, StoreAction, Task, TaskId,
    TaskNetwork, TaskState, TaskStatus,
};

/// A small generator, so that a failure can be seen again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn id<I: Id>(kind: u8, n: u64) -> I {
    let mut bytes = [kind; 17];
    bytes[1..9].copy_from_slice(&n.to_be_bytes());
    I::from_random(bytes)
}

fn node(n: u64) -> Node {
    Node {
        id: id(1, n),
        meta: Meta::default(),
        spec: NodeSpec::default(),
        description: None,
        status: NodeStatus { state: NodeState::Ready, ..Default::default() },
        role: NodeRole::Worker,
        manager: None,
        data_path_addr: Some([172, 16, 0, n as u8 + 1].into()),
        attachments: Vec::new(),
    }
}

fn network(n: u64) -> Network {
    let spec = NetworkSpec { name: format!("net{n}"), ipam: vec![IpamConfig::default()], ..Default::default() };
    Network { id: id(2, n), meta: Meta::default(), spec, vni: 4097 + n as u32, subnets: Vec::new() }
}

fn task(n: u64, net: u64, on: u64) -> Task {
    Task {
        id: id::<TaskId>(3, n),
        meta: Meta::default(),
        spec: Default::default(),
        spec_version: 1,
        service: None,
        service_name: "web".into(),
        service_labels: Default::default(),
        slot: n,
        node: Some(id(1, on)),
        status: TaskStatus { state: TaskState::Running, ready: true, ..Default::default() },
        desired: model::DesiredState::Running,
        networks: vec![TaskNetwork {
            network: NetworkTarget::Swarm(id(2, net)),
            addresses: vec![([10, 0, net as u8, n as u8 + 2].into(), 24)],
            aliases: Vec::new(),
            driver_opts: Default::default(),
        }],
        endpoint: Default::default(),
        draining_since: None,
        job_iteration: None,
        leased: false,
        generic: Vec::new(),
    }
}

/// Whatever happens, what a session sends step by step leads to what the tables say as a whole.
#[test]
fn patched_views_and_shared_deltas_are_the_truth() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let mut tables = Tables::default();
        let change = |tables: &mut Tables, actions: Vec<StoreAction>| {
            let _ = tables.apply(actions, Default::default());
        };
        change(&mut tables, (0..4).map(|n| StoreAction::Create(node(n).into())).collect());
        change(&mut tables, (0..3).map(|n| StoreAction::Create(network(n).into())).collect());
        let mut cache = DirectoryCache::default();
        let mut sessions: Vec<(NodeId, Picture, Directory)> = Vec::new();
        for step in 0..200u64 {
            let n = dice.below(20);
            let action = match dice.below(8) {
                0..=2 => StoreAction::Create(task(n, dice.below(3), dice.below(4)).into()),
                3 | 4 => match tables.task(&id(3, n)) {
                    Some(t) => {
                        let mut t = (**t).clone();
                        t.draining_since = Some(step);
                        if dice.below(2) == 0 {
                            t.status.state = TaskState::Failed;
                        }
                        StoreAction::Update(t.into())
                    }
                    None => continue,
                },
                5 => StoreAction::Remove(id::<TaskId>(3, n).into()),
                6 => match tables.network(&id(2, n % 3)) {
                    Some(net) => {
                        let mut net = (**net).clone();
                        net.spec.internal = !net.spec.internal;
                        StoreAction::Update(net.into())
                    }
                    None => continue,
                },
                _ => {
                    let mut row = (**tables.node(&id(1, n % 4)).unwrap()).clone();
                    row.status.state =
                        if row.status.state == NodeState::Ready { NodeState::Down } else { NodeState::Ready };
                    StoreAction::Update(row.into())
                }
            };
            change(&mut tables, vec![action]);
            if sessions.len() < 4 {
                let node: NodeId = id(1, sessions.len() as u64);
                let picture = Picture::of(&mut cache, &tables, &node, &BTreeSet::new());
                let directory = picture.whole();
                sessions.push((node, picture, directory));
            }
            for (node, picture, directory) in &mut sessions {
                // Some sessions lag behind.
                if dice.below(3) == 0 {
                    continue;
                }
                let next = Picture::of(&mut cache, &tables, node, &BTreeSet::new());
                directory.apply(picture.delta(&next, &mut cache)).unwrap();
                *picture = next;
                let ready = |n: &NodeId| tables.node(n).is_some_and(|n| n.status.state == NodeState::Ready);
                assert_eq!(*directory, Directory::for_node(&tables, node, &ready), "seed {seed} step {step}");
            }
        }
    }
}

#[test]
fn a_silent_node_is_masked_within_a_revision() {
    let mut tables = Tables::default();
    let rows: Vec<model::Object> =
        vec![node(0).into(), node(1).into(), network(0).into(), task(0, 0, 0).into(), task(1, 0, 1).into()];
    tables.apply(rows.into_iter().map(StoreAction::Create).collect(), Default::default()).unwrap();
    let mut cache = DirectoryCache::default();
    let before = Picture::of(&mut cache, &tables, &id(1, 0), &BTreeSet::new());
    let mut directory = before.whole();
    assert!(directory.is_alive(&id(1, 1)));
    let masked = BTreeSet::from([id(1, 1), id(1, 0)]);
    let after = Picture::of(&mut cache, &tables, &id(1, 0), &masked);
    assert!(before.differs_in_peers(&after));
    directory.apply(before.delta(&after, &mut cache)).unwrap();
    assert!(!directory.is_alive(&id(1, 1)));
    assert!(directory.is_alive(&id(1, 0)), "a node never masks itself");
    assert_eq!(directory.revision, tables.revision());
}
