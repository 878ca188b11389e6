//! A rolling update never takes more than `parallelism` tasks out at a time; start-first takes none out at all.
use crate::fixture::*;
use crate::world::{Faults, World};
use model::*;
use std::time::Duration;

fn roll(seed: u64, order: UpdateOrder) {
    let faults = Faults { lost_status: 20, lost_transaction: 5, new_leader: 2, ..Faults::NONE };
    let mut world = World::new(seed, 4, faults);
    let replicas = 3 + world.swarm.dice.below(8);
    let parallelism = 1 + world.swarm.dice.below(3);
    let net = world.swarm.overlay("a");
    let mut spec = web("web", replicas);
    spec.task.networks = on(&[&net]);
    spec.update = Some(UpdateConfig { parallelism, order, ..Default::default() });
    let service = world.swarm.service(spec);
    world.run(Duration::from_secs(30));
    assert_eq!(world.up(&service), replicas as usize);
    let vips = world.swarm.get(&service).vips.clone();

    world.swarm.update_service(&service, |s| image(s, "web:2"));
    let least = match order {
        UpdateOrder::StopFirst => replicas.saturating_sub(parallelism),
        UpdateOrder::StartFirst => replicas,
    } as usize;
    for _ in 0..3000 {
        world.step();
        let up = world.up(&service);
        assert!(up >= least, "seed {seed} {order:?}: {up} of {replicas} up, {parallelism} at a time");
        let live = world.swarm.live(&service).len() as u64;
        assert!(live <= replicas + parallelism, "seed {seed} {order:?}: {live} tasks of {replicas} live");
        let done = world.swarm.get(&service).update.as_ref().is_some_and(|u| u.state == UpdateState::Completed);
        if done {
            break;
        }
    }
    let row = world.swarm.get(&service);
    assert_eq!(row.update.as_ref().map(|u| u.state), Some(UpdateState::Completed), "seed {seed} {order:?}");
    assert_eq!(row.vips, vips, "the virtual address lives as long as the service");
    assert!(world.swarm.live(&service).iter().all(|t| t.spec.container.as_ref().unwrap().image == "web:2"));
}

#[test]
fn stop_first() {
    crate::seeds().for_each(|seed| roll(seed, UpdateOrder::StopFirst));
}

#[test]
fn start_first() {
    crate::seeds().for_each(|seed| roll(seed, UpdateOrder::StartFirst));
}
