//! No task moves backwards. Checked by the world after each tick; here also what agents hold against the tables.
use crate::world::World;

#[test]
fn and_at_rest_tables_and_machines_agree() {
    for seed in crate::seeds() {
        let mut world = World::turmoil(seed);
        world.heal();
        for agent in world.agents.values() {
            for (id, container) in &agent.containers {
                let stored = world.swarm.tables.task(id).expect("a container whose task is gone is removed");
                assert_eq!(stored.status.state, container.state, "seed {seed}: {id}");
            }
        }
    }
}
