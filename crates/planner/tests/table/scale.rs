//! The cost of a plan follows the change. The limits are generous (debug builds on small machines); the point is that
//! something quadratic would miss them by far. `examples/scale.rs` measures the same at full size.
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
    // The best of a few: another test may hold the processor during any one of them.
    let mut best = Duration::MAX;
    for n in 0..5 {
        let one = swarm.service(web(&format!("one{n}"), 1));
        let begin = Instant::now();
        let plan = swarm.plan();
        best = best.min(begin.elapsed());
        assert_eq!(plan.actions.len(), 1);
        swarm.tables.apply(plan.actions, swarm.now).unwrap();
        assert_eq!(swarm.tasks(&one).len(), 1);
        swarm.settle();
    }
    assert!(best < Duration::from_millis(50), "{best:?}");
}

#[test]
fn a_large_service_is_placed_evenly() {
    let mut swarm = Swarm::new(0);
    for n in 0..200 {
        swarm.add_node(&format!("n{n}"));
    }
    let big = swarm.service(web("big", 4000));
    swarm.settle();
    let mut per_node = std::collections::BTreeMap::new();
    for task in swarm.tasks(&big) {
        assert!(task.status.state >= TaskState::Assigned, "{:?}", task.status);
        *per_node.entry(task.node.clone()).or_insert(0) += 1;
    }
    assert_eq!(per_node.len(), 200);
    assert!(per_node.values().all(|&n| n == 20), "{per_node:?}");
}
