//! Liveness: once the mishaps end, every service has what it asks for, on its newest spec, and nobody plans for ever.
use crate::world::World;
use model::*;
use std::time::Duration;

#[test]
fn after_turmoil() {
    for seed in crate::seeds() {
        let mut world = World::turmoil(seed);
        world.heal();
        world.run(Duration::from_secs(120));
        for service in world.swarm.tables.services() {
            let wanted = match service.spec.mode {
                ServiceMode::Replicated { replicas } => replicas as usize,
                _ => world.agents.len(),
            };
            let image = |t: &Task| t.spec.container.as_ref().map(|c| c.image.clone());
            let state = service.update.as_ref().map(|u| u.state);
            assert_eq!(world.up(&service.id), wanted, "seed {seed}: {} {state:?}", service.spec.name);
            for task in world.swarm.live(&service.id) {
                assert_eq!(image(&task), service.spec.task.container.as_ref().map(|c| c.image.clone()), "seed {seed}");
            }
            assert!(!matches!(state, Some(UpdateState::Updating)), "seed {seed}: {}", service.spec.name);
        }
        assert_eq!(world.swarm.settle(), 0);
        world.swarm.memory = Default::default();
        assert_eq!(world.swarm.settle(), 0, "a new leader finds nothing to do");
    }
}
