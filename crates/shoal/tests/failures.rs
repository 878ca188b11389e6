//! Machines that fail in a swarm: cut off, stopped, out of disk, killed while they decide; and one where nothing happens.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const BOSS: &str = "f0";
const ONE: &str = "f1";
const TWO: &str = "f2";
const SOON: Duration = Duration::from_secs(20);
const PATIENTLY: Duration = Duration::from_secs(60);

/// Docker's instants as something that can be compared.
fn instant(text: &str) -> (String, String) {
    let (seconds, fraction) = text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
    (seconds.to_owned(), format!("{fraction:0<9}"))
}

/// Addresses of a name as the machine's task of `seat` has them.
fn names(lab: &TestLab, machine: &str, name: &str) -> BTreeSet<String> {
    let Some(seat) = lab.container(machine, "seat") else { return BTreeSet::new() };
    let text = lab.say(machine, &format!("docker exec {seat} nslookup -type=a {name}.")).out;
    text.lines().filter_map(|l| l.strip_prefix("Address: ")).map(|a| a.trim().to_owned()).collect()
}

/// Waits until so many tasks run on these machines together, none twice, and every machine has the same names for them.
fn all_agree(lab: &TestLab, machines: &[&str], service: &str, wanted: usize) {
    lab.until(&format!("{machines:?} agree about {service}"), SOON, || {
        let running: usize = machines.iter().map(|m| lab.containers(m, service).len()).sum();
        let seen: Vec<BTreeSet<String>> = machines.iter().map(|m| names(lab, m, &format!("tasks.{service}"))).collect();
        if running == wanted && seen.iter().all(|s| s.len() == wanted && *s == seen[0]) {
            Ok(())
        } else {
            Err(format!("{running} run; names: {seen:?}"))
        }
    });
}

#[test]
fn one_of_a_kind_never_runs_twice_and_machines_that_come_back_know_everything() {
    let lab = TestLab::swarm(&[BOSS, ONE, TWO]);
    let all = [BOSS, ONE, TWO];
    lab.on(BOSS, "docker network create -d overlay net");
    let create = |name: &str, options: &str, command: &str| {
        lab.on(
            BOSS,
            &format!("docker service create -d --name {name} --network net --stop-grace-period 1s {options} {IMAGE} {command}"),
        );
    };
    create("seat", "--mode global", "sleep 10000");
    create("web", "--replicas 4", "");
    create("db", "--constraint node.role==worker", "sleep 10000");
    lab.replicas("seat", "3/3", PATIENTLY);
    lab.replicas("web", "4/4", PATIENTLY);
    lab.replicas("db", "1/1", PATIENTLY);
    all_agree(&lab, &all, "web", 4);
    let (lost, other) = if lab.container(ONE, "db").is_some() { (ONE, TWO) } else { (TWO, ONE) };
    let before = lab.container(lost, "db").unwrap();
    let webs = lab.containers(lost, "web");

    // Cut off: it ends the only task of `db` by itself, before the successor starts elsewhere.
    lab.lab().partition(&[lost.to_owned()]).unwrap();
    let cut = Instant::now();
    let after =
        lab.until("the successor runs", SOON, || lab.container(other, "db").ok_or_else(|| "not yet".to_owned()));
    println!("cut off: the successor was seen after {:?}", cut.elapsed());
    let started = lab.on(other, &format!("docker inspect {after} --format '{{{{.State.StartedAt}}}}'"));
    let state =
        lab.on(lost, &format!("docker inspect {before} --format '{{{{.State.Running}}}} {{{{.State.FinishedAt}}}}'"));
    let (running, finished) = state.split_once(' ').unwrap();
    assert_eq!(running, "false", "both run");
    assert!(instant(finished) < instant(&started), "it ended at {finished}, its successor started at {started}");
    assert_eq!(lab.containers(lost, "web"), webs, "what may run twice goes on");
    lab.replicas("web", "4/4", SOON);

    lab.lab().heal(&[lost.to_owned()]).unwrap();
    let healed = Instant::now();
    lab.node_becomes(lost, "Ready", SOON);
    all_agree(&lab, &all, "web", 4);
    println!("healed: all agree after {:?}", healed.elapsed());
    let runs: Vec<_> = all.iter().flat_map(|m| lab.containers(m, "db")).collect();
    assert_eq!(runs, std::slice::from_ref(&after), "the one that came back brings no second one");

    // Its daemon stopped as it stands: nobody waits for it, its only task of `db` has ended all the same, and it does as it
    // is told when it goes on.
    let process = lab.on(other, &format!("docker inspect {after} --format '{{{{.State.Pid}}}}'"));
    assert!(lab.say(other, &format!("test -e /proc/{process}")).ok);
    lab.signal_daemon(other, nix::libc::SIGSTOP);
    lab.node_becomes(other, "Down", SOON);
    lab.until("the successor runs", SOON, || lab.container(lost, "db").map(drop).ok_or_else(|| "not yet".to_owned()));
    assert!(!lab.say(other, &format!("test -e /proc/{process}")).ok, "both run");
    all_agree(&lab, &[BOSS, lost], "web", 4);
    lab.signal_daemon(other, nix::libc::SIGCONT);
    lab.node_becomes(other, "Ready", SOON);
    all_agree(&lab, &all, "web", 4);
    lab.until("the old one has ended", SOON, || {
        let runs: Vec<_> = all.iter().flat_map(|m| lab.containers(m, "db")).collect();
        if runs.len() == 1 { Ok(()) } else { Err(format!("{runs:?}")) }
    });
    lab.on(BOSS, "docker service rm web db seat");
    lab.end();
}

#[test]
fn a_worker_without_room_says_so_and_others_do_its_work() {
    let lab = TestLab::new(&[BOSS, ONE]);
    lab.on(ONE, &format!("docker save {IMAGE} -o /run/image.tar"));
    lab.kill_daemon(ONE);
    lab.on(ONE, "mount -t tmpfs -o size=24m none /var/lib/shoal");
    lab.lab().start(ONE).unwrap();
    lab.on(ONE, "docker load -i /run/image.tar");
    lab.make_swarm();
    let create = |name: &str, options: &str, command: &str| {
        let options = format!("--name {name} --stop-grace-period 1s --restart-delay 500ms {options}");
        lab.on(BOSS, &format!("docker service create -d {options} {IMAGE} {command}"));
    };
    let here = "--constraint node.hostname==f1";
    create("keeps", here, "sleep 10000");
    lab.replicas("keeps", "1/1", PATIENTLY);
    let kept = lab.container(ONE, "keeps");
    let fill = "sh -c 'dd if=/dev/zero of=/big/file bs=64k; sleep 10000'";
    create("filler", &format!("{here} --mount type=volume,source=big,target=/big"), fill);
    lab.until("the disk is full", PATIENTLY, || {
        let left = lab.on(ONE, "df --output=avail /var/lib/shoal | tail -1");
        if left.trim() == "0" { Ok(()) } else { Err(left) }
    });

    create("late", here, "sleep 10000");
    lab.until("the reason is shown", PATIENTLY, || {
        let errors = lab.on(BOSS, "docker service ps --no-trunc --format '{{.Error}}' late");
        if errors.to_lowercase().contains("no space left") { Ok(()) } else { Err(errors) }
    });
    create("anywhere", "--replicas 2", "sleep 10000");
    lab.until("others do the work", PATIENTLY, || {
        let running = lab.containers(BOSS, "anywhere").len();
        if running == 2 { Ok(()) } else { Err(format!("{running} of 2")) }
    });
    let nodes = lab.on(BOSS, "docker node ls --format '{{.Hostname}} {{.Status}}'");
    assert!(nodes.contains("f1 Ready"), "{nodes}");
    assert_eq!(lab.container(ONE, "keeps"), kept, "what ran before runs on");

    // With room again, it works again.
    lab.on(BOSS, "docker service rm filler");
    lab.until("the volume goes", PATIENTLY, || {
        let said = lab.say(ONE, "docker volume rm big");
        if said.ok { Ok(()) } else { Err(said.err) }
    });
    lab.replicas("late", "1/1", PATIENTLY);
    lab.on(BOSS, "docker service rm keeps late anywhere");
    lab.kill_daemon(ONE);
    lab.on(ONE, "umount -l /var/lib/shoal");
    lab.lab().start(ONE).unwrap();
    lab.end();
}

#[test]
fn a_leader_killed_while_it_allocates_gives_nothing_twice() {
    let lab = TestLab::new(&[BOSS, ONE, TWO]);
    let address = lab.address(BOSS);
    lab.on(BOSS, &format!("docker swarm init --advertise-addr {address}"));
    let token = lab.on(BOSS, "docker swarm join-token -q manager");
    for other in [ONE, TWO] {
        lab.on(other, &format!("docker swarm join --token {token} {address}:2377"));
    }
    for machine in [BOSS, ONE, TWO] {
        lab.node_becomes(machine, "Ready", SOON);
    }
    lab.on(BOSS, "docker network create -d overlay net");
    // Addresses are given before places are: no container has to start.
    let nowhere = "--constraint node.labels.nowhere==yes --network net -p 8080";
    lab.on(BOSS, &format!("docker service create -d --name many --replicas 100 {nowhere} {IMAGE}"));
    lab.kill_daemon(BOSS);
    let complete = |machine: &str| {
        lab.until("a hundred tasks with addresses", PATIENTLY, || {
            let ids = lab.say(machine, "docker service ps -q --no-trunc many");
            if !ids.ok || ids.out.lines().count() != 100 {
                return Err(format!("{} tasks {}", ids.out.lines().count(), ids.err));
            }
            let ids = ids.out.replace('\n', " ");
            let format =
                "'{{.Slot}}{{range .NetworksAttachments}} {{.Network.Spec.Name}}={{index .Addresses 0}}{{end}}'";
            let said = lab.say(machine, &format!("docker inspect --type task --format {format} {ids}"));
            let given: Vec<&str> = said.out.lines().flat_map(|l| l.split(' ').skip(1)).collect();
            if given.len() == 200 { Ok(said.out) } else { Err(format!("{} addresses; {}", given.len(), said.err)) }
        })
    };
    let told = complete(ONE);
    let slots: BTreeSet<&str> = told.lines().filter_map(|l| l.split(' ').next()).collect();
    let given: BTreeSet<&str> = told.lines().flat_map(|l| l.split(' ').skip(1)).collect();
    assert_eq!((slots.len(), given.len()), (100, 200), "a slot or an address was given twice: {told}");
    // The one that was killed comes to the same.
    lab.lab().start(BOSS).unwrap();
    lab.node_becomes(BOSS, "Ready", SOON);
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&complete(BOSS)), sorted(&told));
    lab.on(TWO, "docker service rm many");
    lab.end();
}

/// Processor time of a machine's daemon so far. The kernel counts for users in hundredths of a second, on every machine.
fn processor(lab: &TestLab, machine: &str) -> Duration {
    let pid = lab.lab().daemon(machine).unwrap().pid;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|f| f.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_quiet_swarm_is_quiet() {
    /// Of one processor. What spins takes all of it.
    const SHARE_MAX: f64 = 0.25;
    const SPAN: Duration = Duration::from_secs(3);
    let lab = TestLab::new(&[BOSS, ONE, TWO]);
    let address = lab.address(BOSS);
    lab.on(BOSS, &format!("docker swarm init --advertise-addr {address}"));
    for (other, role) in [(ONE, "manager"), (TWO, "worker")] {
        let token = lab.on(BOSS, &format!("docker swarm join-token -q {role}"));
        lab.on(other, &format!("docker swarm join --token {token} {address}:2377"));
        lab.node_becomes(other, "Ready", SOON);
    }
    lab.on(
        BOSS,
        &format!("docker service create -d --name web --mode global -p 8000:8080 --stop-grace-period 1s {IMAGE}"),
    );
    lab.replicas("web", "3/3", PATIENTLY);
    let machines = [BOSS, ONE, TWO];
    lab.until("all are quiet", PATIENTLY, || {
        let (begin, before) = (Instant::now(), machines.map(|m| processor(&lab, m)));
        std::thread::sleep(SPAN);
        let span = begin.elapsed();
        let shares: Vec<f64> = machines
            .iter()
            .zip(before)
            .map(|(m, before)| (processor(&lab, m) - before).as_secs_f64() / span.as_secs_f64())
            .collect();
        println!("shares of one processor: {shares:.3?}");
        if shares.iter().all(|s| *s < SHARE_MAX) { Ok(()) } else { Err(format!("{shares:?}")) }
    });
    lab.on(BOSS, "docker service rm web");
    lab.end();
}

/// What a machine holds: cables and interfaces, sandboxes, containers, and the daemon's open files.
fn holdings(lab: &TestLab) -> [usize; 4] {
    let count = |line: &str| lab.on(BOSS, line).trim().parse().unwrap();
    let pid = lab.lab().daemon(BOSS).unwrap().pid;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    [
        count("ip -o link show | wc -l"),
        count("ls /run/shoal/netns | wc -l"),
        count(
            "ls /var/lib/shoal/containers /var/lib/shoal/images/mounts /run/shoal/runtime /run/shoal/files 2>/dev/null | grep -c .",
        ),
        files,
    ]
}

/// Services with networks, ports and secrets come and go, `SHOAL_ROUNDS` times three (six by default).
#[test]
fn what_came_and_went_leaves_the_machine_as_it_was() {
    const AT_ONCE: usize = 3;
    /// Connections of clients come and go.
    const FILES_MORE_MAX: usize = 10;
    let rounds: usize = std::env::var("SHOAL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let lab = TestLab::swarm(&[BOSS]);
    lab.on(BOSS, "echo hush | docker secret create key -");
    let round = |n: usize| {
        lab.on(BOSS, &format!("docker network create -d overlay own{n} >/dev/null"));
        let options = format!("--secret key --network own{n} --stop-grace-period 1s -p 8080");
        let create = format!("docker service create -d --name s{n}-$i {options} {IMAGE} sleep 10000 >/dev/null");
        lab.on(BOSS, &format!("for i in $(seq {AT_ONCE}); do {create} || exit 1; done"));
        if n.is_multiple_of(2) {
            lab.until("they run", PATIENTLY, || {
                let running = lab.on(BOSS, "docker container ls -q").lines().count();
                if running == AT_ONCE { Ok(()) } else { Err(format!("{running} of {AT_ONCE}")) }
            });
        }
        lab.on(BOSS, "docker service rm $(docker service ls -q) >/dev/null");
        lab.until("all is gone", PATIENTLY, || {
            let said = lab.say(BOSS, &format!("docker network rm own{n}"));
            let left = lab.on(BOSS, "docker container ls -aq");
            if (said.ok || said.err.contains("not found")) && left.is_empty() {
                Ok(())
            } else {
                Err(format!("{said:?} {left}"))
            }
        });
    };
    round(0);
    let before = lab.until("it rests", PATIENTLY, || {
        let (one, two) = (holdings(&lab), holdings(&lab));
        if one == two { Ok(two) } else { Err(format!("{one:?} {two:?}")) }
    });
    (1..=rounds).for_each(round);
    lab.until("it is as it was", PATIENTLY, || {
        let now = holdings(&lab);
        let same = now[..3] == before[..3] && now[3] <= before[3] + FILES_MORE_MAX;
        if same { Ok(()) } else { Err(format!("{before:?} became {now:?}")) }
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.lab().daemon(BOSS).unwrap().pid)).unwrap();
    let memory = status.lines().find(|l| l.starts_with("VmRSS")).unwrap_or_default();
    println!("{} services came and went: {before:?} became {:?}; {memory}", rounds * AT_ONCE, holdings(&lab));
    lab.end();
}
