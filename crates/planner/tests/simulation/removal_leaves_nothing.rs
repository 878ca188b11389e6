//! A removed service leaves no task and no address, also when its nodes were away while it was removed.
use crate::world::World;
use model::*;

#[test]
fn after_turmoil() {
    for seed in crate::seeds() {
        let mut world = World::turmoil(seed);
        let services: Vec<_> = world.swarm.tables.services().map(|s| s.id.clone()).collect();
        for service in services {
            world.swarm.remove(service);
        }
        world.heal();
        assert_eq!(world.swarm.tables.tasks().count(), 0, "seed {seed}");
        for network in world.swarm.tables.networks() {
            for (addr, holder) in world.swarm.tables.addresses_of(&network.id) {
                let stays = match holder {
                    ObjectRef::Network(_) => true,
                    ObjectRef::Node(_) => network.spec.ingress,
                    _ => false,
                };
                assert!(stays, "seed {seed}: {} {addr} {holder:?}", network.spec.name);
            }
        }
        assert!(world.agents.values().all(|a| a.containers.is_empty()), "seed {seed}");
    }
}
