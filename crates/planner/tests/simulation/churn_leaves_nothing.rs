//! Thousands of services come and go, with networks, ports and tasks that fail: pools, tables and the planner's own memory
//! are as small afterwards as they were before.
use crate::fixture::*;
use model::*;

/// What the tables hold, without what only grows (revisions and times).
fn size(swarm: &Swarm) -> (usize, usize, usize) {
    let addresses = swarm.tables.networks().map(|n| swarm.tables.addresses_of(&n.id).count()).sum();
    (swarm.tables.image().objects.len(), addresses, swarm.memory.entries())
}

#[test]
fn after_five_thousand_services() {
    let mut swarm = Swarm::new(5);
    let net = swarm.overlay("net");
    let one = |swarm: &mut Swarm, n: usize| {
        let mut spec = web(&format!("s{n}"), 1 + swarm.dice.below(3));
        spec.endpoint = Some(publish(0, 80));
        let own = n.is_multiple_of(10).then(|| swarm.overlay(&format!("own{n}")));
        spec.task.networks = on(&[own.as_ref().unwrap_or(&net)]);
        let service = swarm.service(spec);
        swarm.settle();
        match n % 4 {
            // Removed before it ran, while it runs, and after a failure.
            0 => {}
            1 | 2 => swarm.obey(),
            _ => {
                swarm.obey();
                let task = swarm.live(&service)[0].id.clone();
                swarm.report(&task, TaskState::Failed);
                swarm.settle();
            }
        }
        swarm.remove(service);
        swarm.obey();
        if let Some(own) = own {
            swarm.remove(own);
            swarm.settle();
        }
    };
    (0..20).for_each(|n| one(&mut swarm, n));
    let before = size(&swarm);
    (20..5020).for_each(|n| one(&mut swarm, n));
    assert_eq!(size(&swarm), before);
    // The pool gives its lowest subnets again.
    let again = swarm.overlay("again");
    swarm.settle();
    assert_eq!(swarm.tables.network(&again).unwrap().subnets[0].subnet.to_string(), "10.0.2.0/24");
}
