//! How long the leader thinks about a hundred thousand tasks on a thousand nodes:
//! `cargo run --release -p planner --example scale`.
#[path = "../tests/fixture/mod.rs"]
#[allow(missing_docs)]
mod fixture;

use fixture::*;
use model::*;
use std::time::{Duration, Instant};

fn main() {
    for (services, replicas) in [(100, 1000), (10, 10_000), (10_000, 10)] {
        let mut swarm = Swarm::new(0);
        // The routing mesh's small subnet would not hold them; nothing is published here.
        let ingress = swarm.tables.ingress().unwrap().id.clone();
        swarm.remove(ingress);
        for n in 0..1000 {
            swarm.add_node(&format!("n{n}"));
        }
        for n in 0..services {
            swarm.service(web(&format!("s{n}"), replicas));
        }
        let (mut planning, mut applying, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        loop {
            let begin = Instant::now();
            let plan = swarm.plan();
            planning += begin.elapsed();
            longest = longest.max(begin.elapsed());
            if plan.actions.is_empty() {
                break;
            }
            let begin = Instant::now();
            swarm.tables.apply(plan.actions, swarm.now).unwrap();
            applying += begin.elapsed();
        }
        assert_eq!(swarm.tables.tasks().filter(|t| t.status.state == TaskState::Assigned).count(), 100_000);
        println!("{services} x {replicas}: planned in {planning:?} (longest {longest:?}), applied in {applying:?}");
        swarm.service(web("one", 1));
        let begin = Instant::now();
        assert_eq!(swarm.plan().actions.len(), 1);
        println!("one more service: {:?}", begin.elapsed());
    }
}
