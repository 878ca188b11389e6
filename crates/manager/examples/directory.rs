//! How long a change of one endpoint takes to reach a hundred nodes: a manager on real TLS, a hundred sessions on loopback, a
//! thousand services on one overlay. `cargo run --release -p manager --example directory` (or `cargo xtask scale`).
#[path = "../tests/support/mod.rs"]
#[allow(missing_docs)]
mod support;

use model::{
    ContainerSpec, NetworkAttachmentConfig, NetworkSpec, NetworkTarget, ServiceMode, ServiceSpec, Subnet, TaskSpec,
    TaskState,
};
use std::time::{Duration, Instant};
use support::{Worker, eventually, swarm};

const NODES: usize = 100;
const SERVICES: usize = 1000;
const CHANGES: usize = 50;
const LONG: Duration = Duration::from_secs(300);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!("machine load: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    let (_dir, manager) = swarm().await;
    let mut workers = Vec::new();
    for n in 0..NODES {
        let mut worker = Worker::join(&manager, &format!("w{n}")).await;
        worker.work(true).await.unwrap();
        workers.push(worker);
    }
    let control = manager.control();
    let ipam = model::IpamConfig { subnet: "10.200.0.0/16".parse::<Subnet>().ok(), ..Default::default() };
    let net = control.create_network(NetworkSpec { name: "one".into(), ipam: vec![ipam], ..Default::default() });
    let net = net.await.unwrap();
    // A task on each node, so that all of them take part in the network.
    let spec = |name: &str, mode: ServiceMode| ServiceSpec {
        name: name.into(),
        mode,
        task: TaskSpec {
            container: Some(ContainerSpec { image: "web:1".into(), ..Default::default() }),
            networks: vec![NetworkAttachmentConfig {
                target: NetworkTarget::Predefined("one".into()),
                aliases: Vec::new(),
                driver_opts: Default::default(),
                addresses: Vec::new(),
            }],
            ..Default::default()
        },
        ..Default::default()
    };
    let begin = Instant::now();
    control.create_service(spec("everywhere", ServiceMode::Global)).await.unwrap();
    for n in 0..SERVICES {
        control.create_service(spec(&format!("s{n}"), ServiceMode::Replicated { replicas: 1 })).await.unwrap();
    }
    let all = SERVICES + NODES;
    let running = || manager.store().tables().tasks().filter(|t| t.status.state == TaskState::Running).count();
    eventually("all run", LONG, || running() >= all).await;
    let shown = |w: &Worker, n: usize| {
        w.seen.lock().unwrap().directory.networks.get(&net).is_some_and(|v| v.endpoints.len() >= n)
    };
    eventually("all nodes show all", LONG, || workers.iter().all(|w| shown(w, all))).await;
    println!("{SERVICES} services on one overlay, {NODES} nodes: all shown everywhere in {:.1?}", begin.elapsed());

    let mut took = Vec::new();
    for n in 0..CHANGES {
        let id = control.create_service(spec(&format!("late{n}"), ServiceMode::Replicated { replicas: 1 })).await;
        let id = id.unwrap();
        // From the moment at which the truth says that it takes connections.
        let ready = || {
            let t = manager.store().tables();
            t.tasks_of_service(&id).find(|t| t.status.state == TaskState::Running).map(|t| t.id.clone())
        };
        let task = loop {
            if let Some(task) = ready() {
                break task;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        };
        let begin = Instant::now();
        let mut waiting: Vec<&Worker> = workers.iter().collect();
        while !waiting.is_empty() {
            waiting.retain(|w| {
                let seen = w.seen.lock().unwrap();
                let endpoint = seen.directory.networks.get(&net).and_then(|v| v.endpoints.get(&task));
                let there = endpoint.is_some_and(|e| e.state == model::EndpointState::Ready);
                if there {
                    took.push(begin.elapsed());
                }
                !there
            });
            assert!(begin.elapsed() < Duration::from_secs(20), "a node never shows the endpoint");
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "an endpoint's change visible on {NODES} nodes: p50 {:.1?}, p99 {:.1?}, longest {:.1?} ({} sightings)",
        at(0.5),
        at(0.99),
        at(1.0),
        took.len()
    );
    manager.demolish().await;
}
