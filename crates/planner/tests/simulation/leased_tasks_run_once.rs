//! A task that must not run twice never does: a node that was cut off has stopped it before its successor starts.
//! Checked by the world after each tick.
use crate::fixture::*;
use crate::world::{Faults, World};
use model::*;
use std::time::Duration;

#[test]
fn through_partitions_lost_messages_and_changing_leaders() {
    for seed in crate::seeds() {
        let faults = Faults { cut_off: 3, lost_beat: 10, lost_status: 10, new_leader: 5, clock_set: 5, ..Faults::SOME };
        let mut world = World::new(seed, 4, faults);
        let mut services = Vec::new();
        for n in 0..3 {
            services.push(world.swarm.service(web(&format!("db{n}"), 1)));
        }
        let labels = [(service_labels::FENCE.to_owned(), "always".to_owned())].into();
        services.push(world.swarm.service(ServiceSpec { labels, ..web("always", 4) }));
        world.run(Duration::from_secs(180));
        world.heal();
        assert_eq!(services.iter().map(|s| world.up(s)).collect::<Vec<_>>(), [1, 1, 1, 4], "seed {seed}");
    }
}

/// From the last beat that arrived to the successor that runs: five seconds, with time to start it.
#[test]
fn and_its_successor_runs_within_five_seconds() {
    for (label, replicas, clock) in
        [("auto", 1, 0), ("auto", 3, 0), ("always", 3, 0), ("auto", 1, -600), ("auto", 1, 600)]
    {
        let mut world = World::new(1, 3, Faults::NONE);
        world.pace = (0, 0);
        let labels = [(service_labels::FENCE.to_owned(), label.to_owned())].into();
        let service = world.swarm.service(ServiceSpec { labels, ..web("db", replicas) });
        // The one who leads when it happens has another clock than the one before.
        world.run(Duration::from_secs(5));
        world.set_clock(clock);
        world.run(Duration::from_secs(5));
        let lost = world.swarm.live(&service)[0].clone();
        let node = lost.node.clone().unwrap();
        world.agents.get_mut(&node).unwrap().cut_off_until = Some(world.elapsed + Duration::from_secs(60));
        let begin = world.elapsed;
        let runs = |world: &World| {
            let tasks = world.swarm.live(&service);
            tasks.iter().any(|t| t.slot == lost.slot && t.id != lost.id && t.status.state == TaskState::Running)
        };
        while !runs(&world) {
            world.run(crate::world::TICK);
            assert!(world.elapsed - begin <= Duration::from_secs(5), "{label} {replicas}");
        }
        assert_eq!(world.swarm.tables.node(&node).unwrap().status.state, NodeState::Down);
    }
}
