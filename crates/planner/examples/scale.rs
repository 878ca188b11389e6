//! How long the leader thinks about a hundred thousand tasks on a thousand nodes:
//! `cargo run --release -p planner --example scale`.
#[path = "../tests/fixture/mod.rs"]
#[allow(missing_docs)]
mod fixture;

use fixture::*;
use model::*;
use std::time::{Duration, Instant};

/// Wall and processor time of this thread: on a busy machine only the second says something.
#[derive(Clone, Copy, Default)]
struct Spent {
    wall: Duration,
    processor: Duration,
}

impl Spent {
    fn of<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let (begin, processor) = (Instant::now(), processor_time());
        let value = f();
        self.wall += begin.elapsed();
        self.processor += processor_time().saturating_sub(processor);
        value
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} s (processor {:.3} s)", self.wall.as_secs_f64(), self.processor.as_secs_f64())
    }
}

fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default())
}

fn main() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("machine load: {}", load.trim());
    for (services, replicas) in [(1, 100_000), (10, 10_000), (100, 1000), (10_000, 10)] {
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
        let (mut planning, mut applying) = (Spent::default(), Spent::default());
        let mut longest = Duration::ZERO;
        loop {
            let before = planning.wall;
            let plan = planning.of(|| swarm.plan());
            longest = longest.max(planning.wall - before);
            if plan.actions.is_empty() {
                break;
            }
            applying.of(|| swarm.tables.apply(plan.actions, swarm.now).unwrap());
        }
        assert_eq!(swarm.tables.tasks().filter(|t| t.status.state == TaskState::Assigned).count(), 100_000);
        println!("{services} x {replicas}: planned in {planning}, longest {longest:.1?}, applied in {applying}");
        let mut one = Spent::default();
        swarm.service(web("one", 1));
        one.of(|| assert_eq!(swarm.plan().actions.len(), 1));
        println!("  one more service: {one}");
        swarm.settle();
        let changed = swarm.tables.services().next().unwrap().id.clone();
        swarm.update_service(&changed, |s| image(s, "web:2"));
        let mut one = Spent::default();
        let actions = one.of(|| swarm.plan().actions.len());
        println!("  one service changed ({actions} actions): {one}");
    }
}
