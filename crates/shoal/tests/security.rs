//! What docs/security.md promises and only real machines can show: where secrets lie, and what a worker may do.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::time::Duration;

const BOSS: &str = "s0";
const WORKER: &str = "s1";
const SOON: Duration = Duration::from_secs(20);
const PATIENTLY: Duration = Duration::from_secs(60);
const SECRET: &str = "correct-horse-battery-staple";

/// Files below a directory of a machine in which the secret can be read.
fn readable(lab: &TestLab, machine: &str, dir: &str) -> String {
    lab.say(machine, &format!("grep -rlF {SECRET} {dir} 2>/dev/null")).out
}

#[test]
fn secrets_lie_in_memory_of_the_nodes_that_use_them_and_nowhere_else() {
    let lab = TestLab::swarm(&[BOSS, WORKER]);
    lab.on(BOSS, &format!("printf %s {SECRET} | docker secret create key -"));
    lab.on(
        BOSS,
        &format!(
            "docker service create -d --name web --secret key --constraint node.hostname=={WORKER} --stop-grace-period 1s {IMAGE}"
        ),
    );
    lab.replicas("web", "1/1", PATIENTLY);
    let container = lab.container(WORKER, "web").unwrap();
    assert_eq!(lab.on(WORKER, &format!("docker exec {container} cat /run/secrets/key")), SECRET);
    let kind = lab.on(WORKER, &format!("docker exec {container} stat -f -c %T /run/secrets/key"));
    assert_eq!(kind, "tmpfs");
    assert_ne!(readable(&lab, WORKER, "/run/shoal"), "", "this is how it would be found");
    for (machine, dir) in [(BOSS, "/var/lib/shoal"), (BOSS, "/run/shoal"), (WORKER, "/var/lib/shoal")] {
        assert_eq!(readable(&lab, machine, dir), "", "{machine} {dir}");
    }
    for line in ["docker secret inspect key", &format!("docker inspect {container}"), "docker service inspect web"] {
        assert!(!lab.on(WORKER, line).contains(SECRET), "{line}");
    }
    // Not even what the daemon has logged.
    for machine in [BOSS, WORKER] {
        assert!(!std::fs::read_to_string(lab.lab().log(machine)).unwrap_or_default().contains(SECRET), "{machine}");
    }
    lab.on(BOSS, "docker service rm web");
    lab.until("it is gone with the task", SOON, || match readable(&lab, WORKER, "/run/shoal").as_str() {
        "" => Ok(()),
        left => Err(left.to_owned()),
    });
    lab.end();
}

#[test]
fn what_clients_of_a_worker_may_do_is_the_swarms_to_say() {
    let lab = TestLab::swarm(&[BOSS, WORKER]);
    lab.on(BOSS, "docker network create -d overlay --attachable net");
    // As on a manager, unless the swarm says otherwise.
    let create = |name: &str| format!("docker service create -d --name {name} --stop-grace-period 1s {IMAGE}");
    lab.on(WORKER, &create("one"));
    lab.replicas("one", "1/1", PATIENTLY);
    lab.on(WORKER, "docker swarm join-token -q manager");

    lab.refused(BOSS, "shoal swarm update --workers some", "is not one of full, read and off");
    lab.on(BOSS, "shoal swarm update --workers read");
    assert_eq!(lab.on(WORKER, "docker service ls --format '{{.Name}}'"), "one");
    lab.on(WORKER, "docker service logs one");
    let only_look = "workers of this swarm may only look at it (shoal.workers=read)";
    for line in [
        create("two").as_str(),
        "docker service rm one",
        "docker swarm join-token worker",
        "docker node update --availability drain s0",
        "docker network create -d overlay other",
    ] {
        lab.refused(WORKER, line, only_look);
    }
    if let Some(task) = lab.container(BOSS, "one") {
        assert!(!lab.say(WORKER, &format!("docker exec {task} true")).ok, "no way into a container of another node");
    }

    lab.on(BOSS, "shoal swarm update --workers off");
    for line in ["docker service ls", create("two").as_str()] {
        lab.refused(
            WORKER,
            line,
            "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state.",
        );
    }
    // Its own work is not touched by that, nor are its plain containers.
    assert_eq!(lab.on(WORKER, &format!("docker run --rm --network net {IMAGE} echo attached")), "attached");
    lab.on(BOSS, "docker service scale -d one=4");
    lab.replicas("one", "4/4", PATIENTLY);

    lab.on(BOSS, "shoal swarm update --workers full");
    lab.on(WORKER, "docker service rm one");
    lab.end();
}
