//! A node that was cut off for three quarters of an hour, while everything else changed, equals the truth five seconds
//! after it is back.
use crate::fixture::*;
use crate::world::{Faults, World};
use model::*;
use std::time::Duration;

#[test]
fn of_45_minutes() {
    for seed in crate::seeds().take(1) {
        let mut world = World::new(seed, 4, Faults::NONE);
        let networks: Vec<_> = ["a", "b"].iter().map(|n| world.swarm.overlay(n)).collect();
        for (name, replicas) in [("db", 1), ("web", 6), ("gone", 5)] {
            let mut spec = web(name, replicas);
            spec.task.networks = on(&networks.iter().collect::<Vec<_>>());
            world.swarm.service(spec);
        }
        world.run(Duration::from_secs(20));
        let id = world.swarm.node("n1").id.clone();
        let until = world.elapsed + Duration::from_secs(45 * 60);
        world.agents.get_mut(&id).unwrap().cut_off_until = Some(until);
        let gone = world.swarm.tables.services().find(|s| s.spec.name == "gone").unwrap().id.clone();
        world.run(Duration::from_secs(60));
        world.swarm.remove(gone.clone());
        for n in 0..26 {
            world.user(&networks);
            if n % 5 == 0 {
                world.new_leader();
            }
            world.run(Duration::from_secs(100));
        }
        assert_eq!(world.swarm.node("n1").status.state, NodeState::Down);
        let still: Vec<_> = world.agents[&id].containers.values().filter(|c| !c.state.is_terminal()).collect();
        assert!(still.iter().all(|c| !c.task.leased), "seed {seed}: what is leased was stopped long ago");
        while world.agents[&id].cut_off_until.is_some() {
            world.run(crate::world::TICK);
        }
        world.pace = (0, 2);
        world.run(Duration::from_secs(5));
        assert_eq!(world.swarm.node("n1").status.state, NodeState::Ready);
        let agent = &world.agents[&id];
        assert_eq!(agent.directory, Directory::for_node(&world.swarm.tables, &id, &|_| true), "seed {seed}");
        for (task, c) in &agent.containers {
            let stored = world.swarm.tables.task(task).expect("a container whose task is gone is removed");
            assert_eq!(stored.status.state, c.state, "seed {seed}: {task}");
            assert!(stored.desired.wants_to_run() || c.state.is_terminal(), "seed {seed}: {task} still runs");
        }
        assert_eq!(world.swarm.tasks(&gone), [], "seed {seed}");
    }
}
