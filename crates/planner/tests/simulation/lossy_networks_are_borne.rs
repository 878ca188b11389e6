//! One message of ten is lost, of every kind: everything runs, rolls and settles all the same, and nobody is taken for dead.
use crate::fixture::*;
use crate::world::{Faults, World};
use model::*;
use std::time::Duration;

#[test]
fn at_ten_percent() {
    for seed in crate::seeds() {
        let faults = Faults { lost_status: 10, lost_beat: 10, lost_order: 10, lost_transaction: 10, ..Faults::NONE };
        let mut world = World::new(seed, 4, faults);
        let net = world.swarm.overlay("net");
        let database = world.swarm.service(web("db", 1));
        let mut spec = web("web", 8);
        spec.task.networks = on(&[&net]);
        spec.endpoint = Some(publish(0, 80));
        spec.update = Some(UpdateConfig { parallelism: 2, ..Default::default() });
        let service = world.swarm.service(spec);
        world.run(Duration::from_secs(30));
        let first = world.swarm.live(&database)[0].id.clone();
        assert_eq!((world.up(&database), world.up(&service)), (1, 8), "seed {seed}");
        for round in 0..3 {
            world.swarm.update_service(&service, |s| image(s, &format!("web:{round}")));
            for _ in 0..60 {
                world.run(Duration::from_secs(1));
                let ready = world.swarm.tables.nodes().filter(|n| n.status.state == NodeState::Ready).count();
                assert_eq!(ready, 4, "seed {seed}: a node that answers is taken for dead");
            }
            let state = world.swarm.get(&service).update.as_ref().map(|u| u.state);
            assert_eq!((world.up(&service), state), (8, Some(UpdateState::Completed)), "seed {seed} round {round}");
        }
        assert_eq!(
            world.swarm.live(&database)[0].id,
            first,
            "seed {seed}: a task that nothing happened to was replaced"
        );
        world.faults = Faults::NONE;
        world.run(Duration::from_secs(5));
        for (id, agent) in &world.agents {
            assert_eq!(agent.directory, Directory::for_node(&world.swarm.tables, id, &|_| true), "seed {seed}");
        }
    }
}
