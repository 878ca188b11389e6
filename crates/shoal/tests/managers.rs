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
/// The same when its machine loses its power and closes no connection. As fast, but for what a busy machine adds when all
/// that was under way to it has to be asked again.
const POWER_LOST_WITHIN: Duration = Duration::from_secs(3);

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

/// Writes until a manager has taken it; how long that took.
#[track_caller]
fn first_write(lab: &TestLab, on: &[&str], name: &str, since: Instant) -> Duration {
    let mut n = 0;
    lab.until("a write is accepted", SOON, || {
        n += 1;
        let said = lab.say(on[n % on.len()], &format!("echo x | docker config create {name}-{n} -"));
        if said.ok { Ok(()) } else { Err(said.err) }
    });
    since.elapsed()
}

fn signal_daemon(lab: &TestLab, machine: &str, signal: i32) {
    let daemon = lab.lab().daemon(machine).unwrap();
    kernel::process::PidFd::open_started(daemon.pid, daemon.started).unwrap().signal(signal).unwrap();
}

/// The state of a node as another machine sees it.
fn becomes(lab: &TestLab, from: &str, node: &str, status: &str, limit: Duration) {
    lab.until(&format!("{from} sees {node} {status}"), limit, || {
        let nodes = lab.say(from, "docker node ls --format '{{.Hostname}} {{.Status}}'");
        if nodes.out.lines().any(|l| l == format!("{node} {status}")) { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
}

#[test]
fn leaders_die_and_work_goes_on() {
    let lab = TestLab::new(&[ONE, TWO, THREE, WORKER]);
    make_managers(&lab, &[TWO, THREE]);
    lab.on(WORKER, &format!("docker swarm join --token {} {}:2377", token(&lab, "worker"), lab.address(ONE)));
    lab.node_becomes(WORKER, "Ready", SOON);
    lab.on(ONE, &format!("docker service create -d --name web --mode global --stop-grace-period 1s {IMAGE}"));
    lab.replicas("web", "4/4", PATIENTLY);
    let all = [ONE, TWO, THREE, WORKER];
    let before = runs(&lab, &all, "web");
    sees(&lab, WORKER, &["m1 Leader", "m2 Reachable", "m3 Reachable", "w1"], SOON);

    // The daemon of the leader is killed, and comes back as a follower. Who writes all the while through the others sees
    // no error: what was under way is asked of the next leader (and is there already if the first one had done it).
    let write = "for i in $(seq 40); do echo x | docker config create STEADY$i - || docker config inspect STEADY$i || exit 1; done";
    let writers = [TWO, WORKER].map(|m| lab.begin(m, &write.replace("STEADY", &format!("steady-{m}-"))));
    lab.until("they write", SOON, || {
        let written = lab.say(ONE, "docker config ls --format '{{.Name}}'").out;
        if [TWO, WORKER].iter().all(|m| written.contains(&format!("steady-{m}-3"))) { Ok(()) } else { Err(written) }
    });
    let killed = Instant::now();
    lab.kill_daemon(ONE);
    let took = first_write(&lab, &[TWO, THREE, WORKER], "killed", killed);
    println!("leader killed: first write after {took:?}");
    assert!(took < LEADER_WITHIN, "{took:?}");
    lab.lab().start(ONE).unwrap();
    becomes(&lab, TWO, ONE, "Ready", SOON);
    for writer in writers {
        let ended = writer.wait_with_output().unwrap();
        assert!(ended.status.success(), "a write was lost with the leader: {}", String::from_utf8_lossy(&ended.stdout));
    }
    for machine in all {
        lab.until("all are there again", SOON, || {
            let now = seen(&lab, machine);
            let leaders = now.iter().filter(|l| l.ends_with(" Leader")).count();
            let reachable = now.iter().filter(|l| l.ends_with(" Reachable")).count();
            if (leaders, reachable) == (1, 2) { Ok(()) } else { Err(format!("{machine}: {now:?}")) }
        });
    }
    assert_eq!(runs(&lab, &all, "web"), before, "tasks do not notice who leads");

    // The leader is stopped for a while. Nobody takes it for dead but the other managers, and its word counts no more.
    let led = leader(&lab, ONE).unwrap();
    let others: Vec<&str> = all.into_iter().filter(|m| *m != led).collect();
    let stopped = Instant::now();
    signal_daemon(&lab, &led, nix::libc::SIGSTOP);
    let took = first_write(&lab, &others, "stopped", stopped);
    println!("leader stopped: first write after {took:?}");
    assert!(took < LEADER_WITHIN, "{took:?}");
    assert_ne!(leader(&lab, others[0]), Some(led.clone()), "who has voted for another shows that one");
    lab.until("it is shown as unreachable", SOON, || {
        let now = seen(&lab, others[0]);
        if now.iter().any(|l| *l == format!("{led} Unreachable")) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    for node in others.iter().filter(|m| **m != led) {
        let state = lab.on(others[0], &format!("docker node inspect {node} --format '{{{{.Status.State}}}}'"));
        assert_eq!(state, "ready", "{node} has found the new leader in time");
    }
    signal_daemon(&lab, &led, nix::libc::SIGCONT);
    becomes(&lab, others[0], &led, "Ready", SOON);
    lab.until("it knows what was decided without it", SOON, || {
        let written = lab.say(&led, "docker config ls --format '{{.Name}}'").out;
        if written.contains("stopped-") { Ok(()) } else { Err(written) }
    });
    let other_tasks = |lab: &TestLab| runs(lab, &others, "web");
    let kept: Vec<String> = other_tasks(&lab);
    assert!(kept.iter().all(|c| before.contains(c)), "{kept:?} are not all of {before:?}");
    lab.replicas("web", "4/4", PATIENTLY);

    // A leader that is cut off decides nothing, and takes up what the others have decided.
    let led = leader(&lab, ONE).unwrap();
    let others: Vec<&str> = all.into_iter().filter(|m| *m != led).collect();
    let cut = Instant::now();
    lab.lab().partition(std::slice::from_ref(&led)).unwrap();
    let took = first_write(&lab, &others, "cut", cut);
    println!("leader cut off: first write after {took:?}");
    assert!(took < LEADER_WITHIN, "{took:?}");
    lab.refused(&led, "echo x | docker config create lonely -", "The swarm does not have a leader");
    lab.lab().heal(std::slice::from_ref(&led)).unwrap();
    becomes(&lab, others[0], &led, "Ready", SOON);
    // Until it has found the new leader it shows what it knew.
    let written = lab.until("it knows what was decided without it", SOON, || {
        let written = lab.say(&led, "docker config ls --format '{{.Name}}'").out;
        if written.contains("cut-") { Ok(written) } else { Err(written) }
    });
    assert!(!written.contains("lonely"), "{written}");
    lab.replicas("web", "4/4", PATIENTLY);

    // The leader's machine loses its power.
    let led = leader(&lab, ONE).unwrap();
    let others: Vec<&str> = all.into_iter().filter(|m| *m != led).collect();
    let died = Instant::now();
    lab.lab().kill(&led).unwrap();
    let took = first_write(&lab, &others, "power", died);
    println!("leader without power: first write after {took:?}");
    assert!(took < POWER_LOST_WITHIN, "{took:?}");
    becomes(&lab, others[0], &led, "Down", SOON);
    lab.lab().start(&led).unwrap();
    becomes(&lab, others[0], &led, "Ready", SOON);

    // All at once.
    for machine in all {
        lab.lab().kill(machine).unwrap();
    }
    for machine in all {
        lab.lab().start(machine).unwrap();
    }
    for machine in all {
        becomes(&lab, THREE, machine, "Ready", PATIENTLY);
    }
    lab.until("four replicas run again", PATIENTLY, || {
        let now = runs(&lab, &all, "web").len();
        if now == 4 { Ok(()) } else { Err(format!("{now}")) }
    });
    let written = lab.on(TWO, "docker config ls --format '{{.Name}}'");
    assert!(["killed-", "stopped-", "cut-", "power-"].iter().all(|n| written.contains(n)), "{written}");
    lab.end();
}

/// Waits until as many managers are reachable, with one that leads; who that is.
#[track_caller]
fn settled(lab: &TestLab, from: &str, managers: usize) -> String {
    lab.until(&format!("{from} sees {managers} managers"), PATIENTLY, || {
        let now = seen(lab, from);
        let reachable = now.iter().filter(|l| l.ends_with(" Reachable")).count();
        let mut leaders = now.iter().filter_map(|l| l.strip_suffix(" Leader"));
        match (leaders.next(), leaders.next()) {
            (Some(leader), None) if reachable + 1 == managers => Ok(leader.to_owned()),
            _ => Err(format!("{now:?}")),
        }
    })
}

#[test]
fn five_managers_lose_two_leaders_and_are_replaced_one_by_one() {
    let all = ["m1", "m2", "m3", "m4", "m5"];
    let lab = TestLab::new(&all);
    make_managers(&lab, &[TWO, THREE]);
    let address = lab.address(ONE);
    let worker = token(&lab, "worker");
    for machine in ["m4", "m5"] {
        lab.on(machine, &format!("docker swarm join --token {worker} {address}:2377"));
    }
    lab.on(THREE, "docker node promote m4 m5");
    settled(&lab, "m5", 5);
    lab.on("m4", &format!("docker service create -d --name web --mode global --stop-grace-period 1s {IMAGE}"));
    lab.replicas("web", "5/5", PATIENTLY);

    // Two leaders in a row lose their power: three of five still decide, two do not.
    let mut left: Vec<&str> = all.to_vec();
    let mut lost = Vec::new();
    for round in ["first", "second"] {
        let led = settled(&lab, left[0], left.len());
        left.retain(|m| *m != led);
        let died = Instant::now();
        lab.lab().kill(&led).unwrap();
        let took = first_write(&lab, &left, round, died);
        println!("{round} of five leaders lost: first write after {took:?}");
        lost.push(led);
        lab.until("the others know who leads", SOON, || {
            leader(&lab, left[0]).filter(|l| left.contains(&l.as_str())).map(drop).ok_or("nobody".to_owned())
        });
        // The lost ones are still listed among five.
        let unreachable = || seen(&lab, left[0]).iter().filter(|l| l.ends_with(" Unreachable")).count();
        lab.until("the lost are unreachable", SOON, || {
            let now = unreachable();
            if now == lost.len() { Ok(()) } else { Err(now.to_string()) }
        });
        left.sort_unstable();
        if round == "first" {
            continue;
        }
        let third = leader(&lab, left[0]).unwrap();
        let rest: Vec<&str> = left.iter().copied().filter(|m| *m != third).collect();
        signal_daemon(&lab, &third, nix::libc::SIGSTOP);
        lab.until("two of five decide nothing", SOON, || {
            let said = lab.say(rest[0], "echo x | docker config create never -");
            if said.err.contains("The swarm does not have a leader") { Ok(()) } else { Err(format!("{said:?}")) }
        });
        signal_daemon(&lab, &third, nix::libc::SIGCONT);
        first_write(&lab, &rest, "third", Instant::now());
    }
    for machine in &lost {
        lab.lab().start(machine).unwrap();
    }
    settled(&lab, left[0], 5);

    // The three that began it go, one after the other, whoever of them leads. What was decided stays.
    for machine in [ONE, TWO, THREE] {
        lab.on("m5", &format!("docker node demote {machine}"));
        lab.until("it is a worker", SOON, || match info(&lab, machine, "ControlAvailable").as_str() {
            "false" => Ok(()),
            other => Err(other.to_owned()),
        });
        lab.on(machine, "docker swarm leave");
        becomes(&lab, "m5", machine, "Down", SOON);
        lab.on("m4", &format!("docker node rm {machine}"));
    }
    settled(&lab, "m5", 2);
    let manager = lab.on("m5", "docker swarm join-token -q manager");
    assert_eq!(lab.on("m4", "docker swarm join-token -q manager"), manager);
    let said = lab.on(ONE, &format!("docker swarm join --token {manager} {}:2377", lab.address("m5")));
    assert_eq!(said, "This node joined a swarm as a manager.");
    settled(&lab, ONE, 3);
    let written = lab.on(ONE, "docker config ls --format '{{.Name}}'");
    assert!(["first-", "second-", "third-"].iter().all(|n| written.contains(n)), "{written}");
    lab.replicas_seen_by("m4", "web", "3/3", PATIENTLY);
    lab.on("m4", "docker service rm web");
    lab.end();
}

#[test]
fn a_swarm_is_had_back() {
    let lab = TestLab::new(&[ONE, TWO, THREE]);
    make_managers(&lab, &[TWO, THREE]);
    lab.on(ONE, "docker swarm update --snapshot-interval 50");
    lab.on(ONE, &format!("docker service create -d --name web --mode global --stop-grace-period 1s {IMAGE}"));
    lab.replicas("web", "3/3", PATIENTLY);

    // One manager is away while the log is cut behind it: it catches up by a snapshot.
    lab.lab().kill(THREE).unwrap();
    lab.on(ONE, "for i in $(seq 150); do echo $i | docker config create away$i - > /dev/null || exit 1; done");
    lab.lab().start(THREE).unwrap();
    becomes(&lab, ONE, THREE, "Ready", SOON);
    lab.until("m3 knows everything", SOON, || {
        let count = lab.say(THREE, "docker config ls -q | wc -l").out;
        if count == "150" { Ok(()) } else { Err(count) }
    });

    // A backup, by a follower. What is written after it is not in it.
    let file = lab.disk(TWO).join("backup");
    lab.on(TWO, "shoal swarm backup /var/lib/shoal/backup");
    lab.refused(TWO, "shoal swarm backup /var/lib/shoal/backup", "cannot write");
    lab.on(ONE, "echo x | docker config create later -");

    // Two of three are lost for good. The third goes on alone, and its task does not notice.
    let kept = runs(&lab, &[ONE], "web");
    lab.lab().kill(TWO).unwrap();
    lab.lab().kill(THREE).unwrap();
    lab.until("nothing is decided any more", SOON, || {
        let said = lab.say(ONE, "echo x | docker config create never -");
        if said.err.contains("The swarm does not have a leader") { Ok(()) } else { Err(format!("{said:?}")) }
    });
    lab.refused(ONE, "docker swarm leave", "Doing so may lose the consensus of your cluster.");
    lab.on(ONE, "docker swarm init --force-new-cluster");
    sees(&lab, ONE, &["m1 Leader", "m2", "m3"], SOON);
    lab.on(ONE, "docker config inspect later");
    assert_eq!(runs(&lab, &[ONE], "web"), kept, "what runs here runs on");
    // The others come back as workers, by themselves.
    for machine in [TWO, THREE] {
        lab.lab().start(machine).unwrap();
        becomes(&lab, ONE, machine, "Ready", PATIENTLY);
        lab.until("it is a worker", SOON, || match info(&lab, machine, "ControlAvailable").as_str() {
            "false" => Ok(()),
            other => Err(other.to_owned()),
        });
    }
    lab.on(TWO, "docker node promote m2");
    sees(&lab, ONE, &["m1 Leader", "m2 Reachable", "m3"], SOON);

    // All is lost but the backup.
    let saved = std::fs::read(&file).unwrap();
    for machine in [THREE, TWO, ONE] {
        lab.on(machine, "docker swarm leave --force");
    }
    std::fs::write(lab.disk(TWO).join("broken"), &saved[..saved.len() / 2]).unwrap();
    lab.refused(TWO, "shoal swarm restore /var/lib/shoal/broken", "the backup cannot be used");
    assert_eq!(info(&lab, TWO, "LocalNodeState"), "inactive");
    let said = lab.on(TWO, "shoal swarm restore /var/lib/shoal/backup");
    assert!(said.contains("is now its only manager"), "{said}");
    lab.refused(TWO, "shoal swarm restore /var/lib/shoal/backup", "This node is already part of a swarm");
    lab.until("it leads", SOON, || if leader(&lab, TWO).as_deref() == Some(TWO) { Ok(()) } else { Err(String::new()) });
    assert_eq!(lab.on(TWO, "docker config ls -q | wc -l"), "150");
    lab.until("its task runs again", PATIENTLY, || {
        let now = runs(&lab, &[TWO], "web").len();
        if now == 1 { Ok(()) } else { Err(format!("{now}")) }
    });
    // Machines join it with the token that they knew.
    let token = lab.on(TWO, "docker swarm join-token -q worker");
    lab.on(THREE, &format!("docker swarm join --token {token} {}:2377", lab.address(TWO)));
    lab.on(TWO, "docker service rm web");
    lab.end();
}

#[test]
fn keys_and_certificates_change_hands() {
    let lab = TestLab::new(&[ONE, TWO, WORKER]);
    make_managers(&lab, &[TWO]);
    let (worker, manager) = (token(&lab, "worker"), token(&lab, "manager"));
    let address = lab.address(ONE);

    // Join tokens: the old one is worth nothing, the other role's stays.
    let fresh = lab.on(TWO, "docker swarm join-token -q --rotate worker");
    assert_ne!(fresh, worker);
    assert_eq!(token(&lab, "manager"), manager);
    lab.refused(
        WORKER,
        &format!("docker swarm join --token {worker} {address}:2377"),
        "A valid join token is necessary to join this cluster",
    );
    lab.on(WORKER, &format!("docker swarm join --token {fresh} {address}:2377"));
    lab.node_becomes(WORKER, "Ready", SOON);
    lab.on(ONE, "docker swarm join-token -q --rotate manager");
    assert_ne!(token(&lab, "manager"), manager);
    lab.on(ONE, "printf hush | docker secret create whisper -");
    lab.on(
        ONE,
        &format!("docker service create -d --name web --mode global --secret whisper --stop-grace-period 1s {IMAGE}"),
    );
    lab.replicas("web", "3/3", PATIENTLY);

    // Nothing of the swarm lies open on a manager's disk.
    let open = |machine: &str, words: &str| lab.say(machine, &format!("grep -rlF -e {words} /var/lib/shoal/swarm")).out;
    for machine in [ONE, TWO] {
        assert_eq!(open(machine, "hush"), "", "the secret is on the disk of {machine}");
        assert_eq!(open(machine, "'PRIVATE KEY'"), "/var/lib/shoal/swarm/certificates/swarm-node.key");
    }
    lab.refused(WORKER, "shoal swarm backup /tmp/x", "This node is not a swarm manager");
    lab.refused(WORKER, "docker swarm unlock-key", "");

    // The lock.
    let keys = |machine: &str| lab.on(machine, "cat /var/lib/shoal/swarm/keys.json");
    lab.refused(ONE, "docker swarm unlock-key", "no unlock key is set");
    let said = lab.on(ONE, "docker swarm update --autolock");
    assert!(said.contains("SWMKEY-1-"), "{said}");
    let key = lab.on(TWO, "docker swarm unlock-key -q");
    assert!(said.contains(&key));
    for machine in [ONE, TWO] {
        lab.until("its keys are locked", SOON, || match open(machine, "'PRIVATE KEY'").as_str() {
            "" => Ok(()),
            found => Err(found.to_owned()),
        });
        // The certificate's key is sealed first; this is what decides.
        lab.until("the lock is shut", SOON, || match keys(machine) {
            shut if shut.contains(r#""locked":true"#) => Ok(()),
            open => Err(open),
        });
    }
    lab.refused(ONE, "printf %s SWMKEY-1-x | docker swarm unlock", "swarm is not locked");
    lab.lab().kill(TWO).unwrap();
    lab.lab().start(TWO).unwrap();
    assert_eq!(info(&lab, TWO, "LocalNodeState"), "locked");
    let locked = "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" to unlock it.";
    lab.refused(TWO, "docker node ls", locked);
    lab.refused(TWO, "docker swarm leave", "Swarm is encrypted and locked. Please unlock it first or use `--force`");
    let other = "SWMKEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    lab.refused(
        TWO,
        &format!("echo {other} | docker swarm unlock"),
        "swarm could not be unlocked: invalid key provided",
    );
    lab.on(TWO, &format!("echo {key} | docker swarm unlock"));
    becomes(&lab, TWO, TWO, "Ready", PATIENTLY);
    sees(&lab, TWO, &["m1 Leader", "m2 Reachable", "w1"], SOON);
    let before = keys(TWO);
    let next = lab.on(TWO, "docker swarm unlock-key -q --rotate");
    assert_ne!(next, key);
    lab.until("m2 has the new lock", SOON, || match keys(TWO) {
        now if now != before => Ok(()),
        same => Err(same),
    });
    lab.on(ONE, "echo x | docker config create both-know -");
    lab.lab().kill(TWO).unwrap();
    lab.lab().start(TWO).unwrap();
    lab.refused(TWO, &format!("echo {key} | docker swarm unlock"), "invalid key provided");
    lab.on(TWO, &format!("echo {next} | docker swarm unlock"));
    becomes(&lab, TWO, TWO, "Ready", PATIENTLY);
    lab.on(TWO, "docker swarm update --autolock=false");
    lab.until("the keys are open again", SOON, || match open(TWO, "'PRIVATE KEY'").as_str() {
        "" => Err("locked".into()),
        _ => Ok(()),
    });

    // The root, while everybody works.
    let root = lab.on(ONE, "docker swarm ca");
    let before = runs(&lab, &[ONE, WORKER], "web");
    lab.refused(
        ONE,
        "docker swarm update --external-ca protocol=cfssl,url=https://ca.test",
        "external certificate authority",
    );
    let said = lab.on(TWO, "docker swarm ca --rotate");
    assert!(said.contains("BEGIN CERTIFICATE") && said != root, "{said}");
    let now = lab.on(ONE, "docker swarm ca");
    assert_ne!(now, root);
    for machine in [ONE, TWO, WORKER] {
        lab.until("it trusts the new root alone", SOON, || {
            let path = "/var/lib/shoal/swarm/certificates/swarm-root-ca.crt";
            let trusted = lab.on(machine, &format!("cat {path}"));
            if trusted.trim() == now.trim() { Ok(()) } else { Err(trusted) }
        });
    }
    // A root that a person gives. Its key is shown to nobody.
    let (given, key) = cluster::ca::RootCa::generate().unwrap();
    let (other, _) = cluster::ca::RootCa::generate().unwrap();
    for (name, text) in [("own.crt", given.cert_pem()), ("own.key", &key), ("other.crt", other.cert_pem())] {
        std::fs::write(lab.disk(TWO).join(name), text).unwrap();
    }
    let rotate =
        |cert: &str| format!("cd /var/lib/shoal && docker swarm ca --rotate --ca-cert {cert} --ca-key own.key");
    lab.refused(TWO, &rotate("other.crt"), "the private key is not that of the certificate");
    let said = lab.on(TWO, &rotate("own.crt"));
    assert!(said.contains(given.cert_pem().trim()), "{said}");
    let now = lab.on(ONE, "docker swarm ca");
    assert_eq!(now.trim(), given.cert_pem().trim());
    for machine in [ONE, TWO, WORKER] {
        lab.until("it trusts the given root alone", SOON, || {
            let trusted = lab.on(machine, "cat /var/lib/shoal/swarm/certificates/swarm-root-ca.crt");
            if trusted.trim() == now.trim() { Ok(()) } else { Err(trusted) }
        });
    }
    let line = key.lines().nth(1).unwrap();
    assert!(!lab.on(ONE, "docker system info --format '{{json .Swarm}}'").contains(line));
    lab.on(ONE, "docker swarm update --task-history-limit 4");
    lab.refused(
        WORKER,
        &format!("docker swarm join --token {fresh} {address}:2377"),
        "This node is already part of a swarm",
    );
    for machine in [ONE, TWO, WORKER] {
        lab.kill_daemon(machine);
        lab.lab().start(machine).unwrap();
    }
    for machine in [ONE, TWO, WORKER] {
        becomes(&lab, TWO, machine, "Ready", PATIENTLY);
    }
    assert_eq!(runs(&lab, &[ONE, WORKER], "web"), before);

    // A removed node is refused at once, also on the connection that it has.
    lab.on(ONE, "docker node rm --force w1");
    lab.until("w1 knows", SOON, || match info(&lab, WORKER, "LocalNodeState").as_str() {
        "error" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert!(!lab.say(WORKER, "docker node ls").ok);
    lab.on(WORKER, "docker swarm leave --force");
    lab.refused(
        WORKER,
        &format!("docker swarm join --token {fresh} {address}:2377"),
        "remote CA does not match fingerprint",
    );
    let token = token(&lab, "worker");
    lab.on(WORKER, &format!("docker swarm join --token {token} {address}:2377"));
    lab.on(ONE, "docker service rm web");
    lab.end();
}

#[test]
fn machines_with_new_addresses_come_back() {
    let lab = TestLab::new(&[ONE, TWO, THREE, WORKER]);
    make_managers(&lab, &[TWO, THREE]);
    lab.on(WORKER, &format!("docker swarm join --token {} {}:2377", token(&lab, "worker"), lab.address(ONE)));
    lab.node_becomes(WORKER, "Ready", SOON);
    lab.on(ONE, "docker network create -d overlay --attachable talk");
    lab.on(
        ONE,
        &format!("docker service create -d --name web --mode global --network talk --stop-grace-period 1s {IMAGE}"),
    );
    lab.replicas("web", "4/4", PATIENTLY);
    let readdress = |machine: &str, new: &str| {
        let old = lab.address(machine);
        let device = lab.on(machine, &format!("ip -o -4 addr show | grep -w {old} | cut -d' ' -f2"));
        lab.on(machine, &format!("ip addr del {old}/24 dev {device} && ip addr add {new}/24 dev {device}"));
    };
    let has = |node: &str, field: &str, new: &str| {
        lab.until(&format!("{node} is at {new}"), Duration::from_secs(30), || {
            let now = lab.say(ONE, &format!("docker node inspect {node} --format '{{{{{field}}}}}'"));
            if now.out == new { Ok(()) } else { Err(format!("{now:?}")) }
        });
    };
    // A worker, while it runs; then a manager that follows; then the leader; and a manager that is off meanwhile.
    readdress(WORKER, "192.168.99.201");
    has(WORKER, ".Status.Addr", "192.168.99.201");
    readdress(THREE, "192.168.99.203");
    has(THREE, ".ManagerStatus.Addr", "192.168.99.203:2377");
    let led = leader(&lab, ONE).unwrap();
    assert_eq!(led, ONE);
    readdress(TWO, "192.168.99.202");
    lab.kill_daemon(TWO);
    lab.lab().start(TWO).unwrap();
    has(TWO, ".ManagerStatus.Addr", "192.168.99.202:2377");
    readdress(ONE, "192.168.99.204");
    has(ONE, ".ManagerStatus.Addr", "192.168.99.204:2377");
    for machine in [ONE, TWO, THREE, WORKER] {
        becomes(&lab, TWO, machine, "Ready", PATIENTLY);
    }
    lab.until("all managers answer each other", PATIENTLY, || {
        let now = seen(&lab, TWO);
        let leaders = now.iter().filter(|l| l.ends_with(" Leader")).count();
        let reachable = now.iter().filter(|l| l.ends_with(" Reachable")).count();
        if (leaders, reachable) == (1, 2) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    // Packets find the way too.
    lab.replicas_seen_by(TWO, "web", "4/4", PATIENTLY);
    let from = lab.container(WORKER, "web").unwrap();
    lab.until("every task is reached from the worker", PATIENTLY, || {
        let names = lab.say(WORKER, &format!("docker exec {from} nslookup -type=a tasks.web."));
        let addresses: Vec<&str> =
            names.out.lines().filter_map(|l| l.strip_prefix("Address: ")).map(str::trim).collect();
        let silent: Vec<&&str> = addresses
            .iter()
            .filter(|a| !lab.say(WORKER, &format!("docker exec {from} ping -c 1 -W 1 {a}")).ok)
            .collect();
        if addresses.len() == 4 && silent.is_empty() { Ok(()) } else { Err(format!("{addresses:?} {silent:?}")) }
    });
    lab.on(TWO, "docker service rm web");
    lab.end();
}
