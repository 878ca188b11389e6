//! The cost of a plan follows the change. The limits are generous (debug builds on small machines); the point is that
//! something quadratic would miss them by far.
use crate::fixture::*;
use model::*;
use std::time::{Duration, Instant};

#[test]
fn one_changed_service_among_thousands_is_planned_alone() {
    let mut swarm = Swarm::new(50);
    for n in 0..2000 {
        swarm.service(web(&format!("s{n}"), 1));
    }
    swarm.settle();
    let one = swarm.service(web("one", 1));
    let begin = Instant::now();
    let plan = swarm.plan();
    let took = begin.elapsed();
    assert_eq!(plan.actions.len(), 1);
    swarm.tables.apply(plan.actions, swarm.now).unwrap();
    assert_eq!(swarm.tasks(&one).len(), 1);
    assert!(took < Duration::from_millis(50), "{took:?}");
}

/// `cargo test --release -p planner -- --ignored --nocapture` prints the numbers.
#[test]
#[ignore = "a measurement, for release builds"]
fn a_hundred_thousand_tasks_on_a_thousand_nodes() {
    for (services, replicas) in [(100, 1000), (10, 10_000), (10_000, 10)] {
        let mut swarm = Swarm::new(0);
        let small = swarm.tables.ingress().unwrap().id.clone();
        swarm.remove(small);
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
