//! Once things are quiet, every node's directory, built from deltas, is the truth.
use crate::world::World;
use model::Directory;

#[test]
fn after_turmoil() {
    for seed in crate::seeds() {
        let mut world = World::turmoil(seed);
        world.heal();
        for (id, agent) in &world.agents {
            let truth = Directory::for_node(&world.swarm.tables, id, &|_| true);
            assert_eq!(agent.directory, truth, "seed {seed}: {id}");
        }
    }
}
