//! Managers' clocks are minutes apart: whoever leads, what shall take seconds takes seconds.
use crate::fixture::*;
use crate::world::{Faults, TICK, World};
use model::*;
use std::time::Duration;

/// The default restart delay is five seconds; a clock that is caught up with is a fifth slower.
const AGAIN_WITHIN: Duration = Duration::from_secs(9);

#[test]
fn and_a_failed_task_runs_again_in_seconds() {
    for seed in crate::seeds() {
        let mut world = World::new(seed, 3, Faults { clocks_differ: true, ..Faults::NONE });
        world.pace = (0, 2);
        let service = world.swarm.service(web("web", 4));
        world.run(Duration::from_secs(10));
        assert_eq!(world.up(&service), 4, "seed {seed}");
        for round in 0..20 {
            let task = world.swarm.live(&service)[round % 4].clone();
            let agent = world.agents.get_mut(task.node.as_ref().unwrap()).unwrap();
            agent.containers.get_mut(&task.id).unwrap().state = TaskState::Failed;
            world.run(TICK);
            assert_eq!(world.up(&service), 3, "seed {seed} round {round}");
            let begin = world.elapsed;
            while world.up(&service) < 4 {
                // Others lead while its successor waits.
                if (world.elapsed - begin).as_millis().is_multiple_of(1500) {
                    world.new_leader();
                }
                world.run(TICK);
                assert!(world.elapsed - begin < AGAIN_WITHIN, "seed {seed} round {round}");
            }
        }
    }
}

#[test]
fn and_an_update_goes_on_and_is_watched() {
    for seed in crate::seeds() {
        let mut world = World::new(seed, 3, Faults { clocks_differ: true, ..Faults::NONE });
        world.pace = (0, 2);
        let mut spec = web("web", 4);
        let monitor = Duration::from_secs(5);
        spec.update = Some(UpdateConfig { parallelism: 1, monitor, ..Default::default() });
        let service = world.swarm.service(spec);
        world.run(Duration::from_secs(10));
        world.set_clock(600);
        world.swarm.update_service(&service, |s| image(s, "web:2"));
        world.run(Duration::from_secs(2));
        world.set_clock(-600);
        world.swarm.memory = Default::default();
        let begin = world.elapsed;
        let state = |world: &World| world.swarm.get(&service).update.as_ref().map(|u| u.state);
        while state(&world) != Some(UpdateState::Completed) {
            world.run(TICK);
            assert!(world.elapsed - begin < Duration::from_secs(60), "seed {seed}: {:?}", state(&world));
        }
        assert_eq!(world.up(&service), 4, "seed {seed}");
    }
}
