//! How many placements three managers commit per second: the real planner places a hundred thousand tasks, each plan is one
//! transaction, on real files. The managers reach each other in memory; what the network adds is latency.
//! `cargo run --release -p manager --example placements` (or `cargo xtask scale`).
#[path = "../../cluster/tests/support/mod.rs"]
#[allow(missing_docs)]
mod support;

use model::*;
use planner::{PlannerMemory, Random};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Wires, leads, member, open};

const TASKS: u64 = 20_000;
const NODES: u32 = 1000;

struct Dice;

impl Random for Dice {
    fn id_bytes(&mut self) -> [u8; 17] {
        rand::random()
    }
    fn number(&mut self) -> u64 {
        rand::random()
    }
}

fn fresh<I: Id>() -> I {
    I::from_random(rand::random())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!("machine load: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    for managers in [1, 3] {
        measure(managers).await;
    }
}

async fn measure(managers: u64) {
    let dir = tempfile::tempdir().unwrap();
    let wires: Arc<Wires> = Arc::default();
    let store = open(dir.path(), 1, "m1", &wires).await;
    store.raft().initialize(member("m1")).await.unwrap();
    assert!(leads(&store, Duration::from_secs(5)).await);
    for n in 2..=managers {
        open(dir.path(), n, &format!("m{n}"), &wires).await;
        store.raft().add_voter(n, member(&format!("m{n}"))).await.unwrap();
    }
    let nodes: Vec<StoreAction> = (0..NODES).map(|n| StoreAction::Create(node(n).into())).collect();
    store.update(|_| Ok::<_, Infallible>((nodes, ()))).await.unwrap();
    let services = (0..TASKS / 100).map(|n| StoreAction::Create(service(n).into())).collect();
    store.update(|_| Ok::<_, Infallible>((services, ()))).await.unwrap();
    let mut memory = PlannerMemory::default();
    let mut transactions = 0;
    let begin = Instant::now();
    loop {
        let quiet = store.update(|tables| {
            let plan = planner::plan(tables, store.moment(), &mut Dice, &mut memory);
            let quiet = plan.actions.is_empty();
            Ok::<_, Infallible>((plan.actions, quiet))
        });
        if quiet.await.unwrap() {
            break;
        }
        transactions += 1;
    }
    let took = begin.elapsed();
    let placed = store.tables().tasks().filter(|t| t.status.state == TaskState::Assigned).count();
    assert_eq!(placed as u64, TASKS);
    println!(
        "{managers} manager(s): {placed} placements committed in {:.2} s = {:.0} per second ({transactions} transactions)",
        took.as_secs_f64(),
        placed as f64 / took.as_secs_f64()
    );
    store.shutdown().await;
    let others: Vec<_> = wires.stores.lock().unwrap().drain().map(|(_, s)| s).collect();
    for other in others {
        other.shutdown().await;
    }
}

fn node(n: u32) -> Node {
    Node {
        id: fresh(),
        meta: Meta::default(),
        spec: NodeSpec::default(),
        description: Some(NodeDescription { hostname: format!("n{n}"), ..Default::default() }),
        status: NodeStatus { state: NodeState::Ready, ..Default::default() },
        role: NodeRole::Worker,
        manager: None,
        data_path_addr: Some(std::net::Ipv4Addr::from(0xac10_0001 + n).into()),
        attachments: Vec::new(),
    }
}

fn service(n: u64) -> Service {
    Service {
        id: fresh(),
        meta: Meta::default(),
        spec: ServiceSpec {
            name: format!("s{n}"),
            mode: ServiceMode::Replicated { replicas: 100 },
            task: TaskSpec {
                container: Some(ContainerSpec { image: "web:1".into(), ..Default::default() }),
                ..Default::default()
            },
            ..Default::default()
        },
        spec_version: 0,
        previous_spec: None,
        ports: Vec::new(),
        vips: Vec::new(),
        update: None,
        job_iteration: 0,
        job_last_execution: Timestamp::default(),
    }
}
