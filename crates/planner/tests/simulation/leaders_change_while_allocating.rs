//! A leader that dies in the middle of allocating a hundred tasks leaves nothing twice and nothing out.
use crate::fixture::*;
use model::*;
use std::collections::BTreeSet;

#[test]
fn after_any_transaction() {
    for seed in crate::seeds() {
        for dies_after in 0..4 {
            let mut swarm = Swarm::seeded(5, seed);
            let net = swarm.overlay("net");
            for n in 0..4 {
                let mut spec = web(&format!("s{n}"), 25);
                spec.task.networks = on(&[&net]);
                spec.endpoint = Some(publish(0, 80));
                swarm.service(spec);
            }
            let mut transactions = 0;
            loop {
                // What the dying leader proposed last may be lost or not.
                let plan = swarm.plan();
                if plan.actions.is_empty() {
                    break;
                }
                let dies = transactions == dies_after || swarm.dice.chance(20);
                if !dies || swarm.dice.chance(50) {
                    swarm.tables.apply(plan.actions, swarm.now).expect("no planned transaction is refused");
                }
                if dies {
                    swarm.memory = Default::default();
                }
                transactions += 1;
                assert!(transactions < 1000, "seed {seed}");
            }
            assert_eq!(swarm.tables.tasks().count(), 100, "seed {seed}");
            assert!(swarm.tables.tasks().all(|t| t.status.state == TaskState::Assigned));
            let mut addresses = BTreeSet::new();
            let mut slots = BTreeSet::new();
            for task in swarm.tables.tasks() {
                assert!(slots.insert((task.service.clone(), task.slot)), "seed {seed}: two tasks in one slot");
                for n in &task.networks {
                    assert_eq!(n.addresses.len(), 1);
                    assert!(addresses.insert((n.network.clone(), n.addresses[0])), "seed {seed}: an address twice");
                }
            }
            assert_eq!(addresses.len(), 200);
        }
    }
}
