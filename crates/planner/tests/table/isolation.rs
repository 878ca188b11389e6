//! A record that the planner cannot handle harms only itself, and says why.
use crate::fixture::*;
use model::*;

fn all_placed(swarm: &Swarm, service: &ServiceId, n: usize) -> bool {
    let live = swarm.live(service);
    live.len() == n && live.iter().all(|t| t.status.state >= TaskState::Assigned)
}

/// A row as no door would let it in: it shows a defect in the arithmetic of subnets.
fn hostile_network(swarm: &mut Swarm) -> NetworkId {
    let id: NetworkId = swarm.dice.id();
    let subnet = Subnet { base: [10, 66, 0, 0].into(), prefix: 40 };
    swarm.create(Network {
        id: id.clone(),
        meta: Meta::default(),
        spec: NetworkSpec { name: "hostile".into(), ipv4: true, ..Default::default() },
        vni: 70_000,
        subnets: vec![NetworkSubnet { subnet, range: None, gateway: [10, 66, 0, 1].into() }],
    });
    id
}

#[test]
#[cfg(debug_assertions)]
fn a_panic_is_the_services_own() {
    let mut swarm = Swarm::new(2);
    let hostile = hostile_network(&mut swarm);
    let mut others = vec![swarm.service(web("before", 2))];
    let mut spec = web("bad", 2);
    spec.task.networks = on(&[&hostile]);
    let bad = swarm.service(spec);
    for n in 0..5 {
        others.push(swarm.service(web(&format!("after{n}"), 2)));
    }
    swarm.obey();
    assert!(others.iter().all(|s| all_placed(&swarm, s, 2)));
    let shown = swarm.get(&bad).update.clone().expect("a reason");
    assert_eq!(shown.state, UpdateState::Paused);
    assert!(shown.message.contains("the planner cannot handle it: attempt to"), "{}", shown.message);
    // Others come and go as before.
    swarm.update_service(&others[0], |s| image(s, "web:2"));
    for _ in 0..20 {
        swarm.obey();
        swarm.pass_secs(1);
    }
    assert_eq!(swarm.get(&others[0]).update.as_ref().unwrap().state, UpdateState::Completed);
    // Its user's change is tried at once.
    swarm.update_service(&bad, |s| s.task.networks.clear());
    swarm.obey();
    assert!(all_placed(&swarm, &bad, 2));
    assert!(!swarm.get(&bad).update.as_ref().is_some_and(|u| u.message.contains("cannot handle")));
}

#[test]
fn what_the_tables_refuse_is_found_and_left_aside() {
    let mut swarm = Swarm::new(2);
    let mut services: Vec<_> = (0..6).map(|n| swarm.service(web(&format!("s{n}"), 3))).collect();
    let cursed = services.remove(2);
    let mut refusals = 0;
    let mut quiet = false;
    for _ in 0..500 {
        let plan = swarm.plan();
        if plan.actions.is_empty() {
            quiet = true;
            break;
        }
        let touches = |a: &StoreAction| match a {
            StoreAction::Create(Object::Task(t)) | StoreAction::Update(Object::Task(t)) => {
                t.service.as_ref() == Some(&cursed)
            }
            _ => false,
        };
        if plan.actions.iter().any(touches) {
            refusals += 1;
            swarm.memory.plan_refused("address 10.0.0.9 is held by somebody");
        } else {
            swarm.tables.apply(plan.actions, swarm.now).unwrap();
        }
    }
    assert!(quiet, "the planner comes to rest");
    assert!(refusals <= 3, "{refusals}");
    assert!(services.iter().all(|s| all_placed(&swarm, s, 3)));
    let shown = swarm.get(&cursed).update.clone().unwrap().message;
    assert!(shown.ends_with("refuse what is planned for it: address 10.0.0.9 is held by somebody"), "{shown}");
    // After a while it is tried again, and now nothing stands in its way.
    swarm.pass_secs(61);
    swarm.obey();
    assert!(all_placed(&swarm, &cursed, 3));
    assert_eq!(swarm.get(&cursed).update, None);
}
