//! A swarm of several managers, on real machines: they come, go and die, and the swarm goes on.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::time::{Duration, Instant};

const ONE: &str = "m1";
const TWO: &str = "m2";
const THREE: &str = "m3";
const WORKER: &str = "w1";
const SOON: Duration = Duration::from_secs(10);
const PATIENTLY: Duration = Duration::from_secs(60);
/// From the death of a leader to the first write that the next one has taken.
const LEADER_WITHIN: Duration = Duration::from_secs(2);

/// `m1 Leader`, `m2 Reachable`, `w1 `: as one machine sees it.
fn seen(lab: &TestLab, from: &str) -> Vec<String> {
    let nodes = lab.say(from, "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'");
    nodes.out.lines().map(|l| l.trim_end().to_owned()).collect()
}

/// Waits until a machine sees exactly this.
#[track_caller]
fn sees(lab: &TestLab, from: &str, wanted: &[&str], limit: Duration) {
    lab.until(&format!("{from} sees {wanted:?}"), limit, || {
        let now = seen(lab, from);
        if now == wanted { Ok(()) } else { Err(format!("{now:?}")) }
    });
}

fn leader(lab: &TestLab, from: &str) -> Option<String> {
    seen(lab, from).iter().find_map(|l| l.strip_suffix(" Leader").map(str::to_owned))
}

fn info(lab: &TestLab, machine: &str, field: &str) -> String {
    lab.on(machine, &format!("docker info --format '{{{{.Swarm.{field}}}}}'"))
}

fn token(lab: &TestLab, role: &str) -> String {
    lab.on(ONE, &format!("docker swarm join-token -q {role}"))
}

/// The first machine begins a swarm, the others join it as managers; all are ready.
fn make_managers(lab: &TestLab, others: &[&str]) {
    let address = lab.address(ONE);
    lab.on(ONE, &format!("docker swarm init --advertise-addr {address}"));
    let token = token(lab, "manager");
    for other in others {
        let said = lab.on(other, &format!("docker swarm join --token {token} {address}:2377"));
        assert_eq!(said, "This node joined a swarm as a manager.");
    }
    for machine in others.iter().chain(&[ONE]) {
        lab.node_becomes(machine, "Ready", SOON);
    }
}

/// The running containers of a service on a machine, to see whether they are still the same.
fn runs(lab: &TestLab, machines: &[&str], service: &str) -> Vec<String> {
    let mut all: Vec<String> = machines.iter().flat_map(|m| lab.containers(m, service)).collect();
    all.sort();
    all
}

#[test]
fn managers_come_and_go() {
    let lab = TestLab::new(&[ONE, TWO, THREE]);
    make_managers(&lab, &[TWO]);
    sees(&lab, TWO, &["m1 Leader", "m2 Reachable"], SOON);
    lab.refused(
        TWO,
        "docker swarm leave",
        "You are attempting to leave the swarm on a node that is participating as a manager. Removing this node leaves 1 managers out of 2. Without a Raft quorum your swarm will be inaccessible. The only way to restore",
    );
    let warned = info(&lab, TWO, "Warnings");
    assert!(warned.contains("Running Swarm in a two-manager configuration"), "{warned}");

    // A worker is promoted, by a follower.
    let joined =
        lab.on(THREE, &format!("docker swarm join --token {} {}:2377", token(&lab, "worker"), lab.address(TWO)));
    assert_eq!(joined, "This node joined a swarm as a worker.");
    lab.on(TWO, &format!("docker service create -d --name web --mode global --stop-grace-period 1s {IMAGE}"));
    lab.replicas("web", "3/3", PATIENTLY);
    let before = runs(&lab, &[ONE, TWO, THREE], "web");
    assert_eq!(lab.on(TWO, "docker node promote m3"), "Node m3 promoted to a manager in the swarm.");
    for machine in [ONE, TWO, THREE] {
        sees(&lab, machine, &["m1 Leader", "m2 Reachable", "m3 Reachable"], SOON);
        assert_eq!(info(&lab, machine, "Managers"), "3");
        assert_eq!(info(&lab, machine, "Nodes"), "3");
        assert_eq!(info(&lab, machine, "ControlAvailable"), "true");
        assert_eq!(info(&lab, machine, "Warnings"), "[]");
    }

    // Whoever is asked answers, and what one has written the others show at once.
    for (n, writer) in [ONE, TWO, THREE].into_iter().enumerate() {
        lab.on(writer, &format!("echo x | docker config create c{n} -"));
        lab.on(writer, &format!("docker network create -d overlay --attachable n{n}"));
        for reader in [ONE, TWO, THREE] {
            lab.on(reader, &format!("docker config inspect c{n}"));
            lab.on(reader, &format!("docker network inspect n{n}"));
        }
        lab.on(writer, &format!("docker run --rm --network n{n} {IMAGE} true"));
    }
    lab.on(THREE, "docker network rm n0 n1 n2");
    lab.refused(TWO, "docker network inspect n0", "network n0 not found");
    let own = lab.on(TWO, "docker node inspect self --format '{{.Description.Hostname}}'");
    assert_eq!(own, TWO);

    // What Docker refuses.
    let id = lab.on(ONE, "docker node inspect m2 --format '{{.ID}}'");
    lab.refused(
        ONE,
        "docker node rm m2",
        &format!("node {id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"),
    );
    lab.refused(
        TWO,
        "docker swarm leave",
        "You are attempting to leave the swarm on a node that is participating as a manager. The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`.",
    );
    lab.refused(THREE, "docker swarm join --token x m1:2377", "This node is already part of a swarm");

    // Demotion: of a follower by itself, and of the leader by the other.
    assert_eq!(lab.on(THREE, "docker node demote m3"), "Manager m3 demoted in the swarm.");
    lab.until("m3 is a worker", SOON, || match info(&lab, THREE, "ControlAvailable").as_str() {
        "false" => Ok(()),
        other => Err(other.to_owned()),
    });
    sees(&lab, THREE, &["m1 Leader", "m2 Reachable", "m3"], SOON);
    lab.on(THREE, "docker service inspect web");
    lab.on(TWO, "docker node demote m1");
    sees(&lab, TWO, &["m1", "m2 Leader", "m3"], SOON);
    lab.until("m1 is a worker", SOON, || match info(&lab, ONE, "ControlAvailable").as_str() {
        "false" => Ok(()),
        other => Err(other.to_owned()),
    });
    lab.refused(TWO, "docker node demote m2", "attempting to demote the last manager of the swarm");
    assert_eq!(runs(&lab, &[ONE, TWO, THREE], "web"), before, "a change of roles touches no task");

    // And back again, several times: what was kept as a manager does not stand in the way.
    lab.on(ONE, "docker node promote m1 m3");
    sees(&lab, TWO, &["m1 Reachable", "m2 Leader", "m3 Reachable"], SOON);
    for _ in 0..2 {
        lab.on(TWO, "docker node demote m3");
        sees(&lab, TWO, &["m1 Reachable", "m2 Leader", "m3"], SOON);
        lab.on(THREE, "docker node promote m3");
        sees(&lab, TWO, &["m1 Reachable", "m2 Leader", "m3 Reachable"], SOON);
    }
    assert_eq!(runs(&lab, &[ONE, TWO, THREE], "web"), before);

    // Leaving by force: the others go on without it, and it may be removed.
    lab.on(TWO, "docker swarm leave --force");
    assert_eq!(info(&lab, TWO, "LocalNodeState"), "inactive");
    lab.until("one of the others leads", SOON, || leader(&lab, ONE).map(drop).ok_or(format!("{:?}", seen(&lab, ONE))));
    lab.on(ONE, "echo x | docker config create after -");
    lab.node_becomes(TWO, "Down", SOON);
    lab.on(THREE, "docker node rm m2");
    assert_eq!(info(&lab, ONE, "Managers"), "2");
    assert_eq!(info(&lab, THREE, "Nodes"), "2");
    lab.on(THREE, "docker service rm web");
    lab.end();
}
