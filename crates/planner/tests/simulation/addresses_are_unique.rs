//! No two containers ever have the same address on a network: neither in the tables (which would refuse the
//! transaction) nor on machines that the swarm has lost sight of. Checked by the world after each tick.
use crate::fixture::*;
use crate::world::{Faults, World};
use model::*;
use std::time::Duration;

#[test]
fn in_turmoil() {
    for seed in crate::seeds() {
        World::turmoil(seed);
    }
}

#[test]
fn on_a_network_that_is_nearly_full() {
    for seed in crate::seeds() {
        let mut world = World::new(seed, 3, Faults::SOME);
        let small = world.swarm.network(NetworkSpec {
            name: "small".into(),
            ipv4: true,
            ipam: vec![IpamConfig { subnet: Some("10.200.0.0/28".parse().unwrap()), ..Default::default() }],
            ..Default::default()
        });
        let mut spec = web("web", 8);
        spec.task.networks = on(&[&small]);
        let service = world.swarm.service(spec);
        world.run(Duration::from_secs(60));
        world.swarm.update_service(&service, |s| image(s, "web:2"));
        world.run(Duration::from_secs(60));
        world.heal();
        assert_eq!(world.up(&service), 8, "seed {seed}");
    }
}
