//! A container of the swarm is talked to from every node, whichever runs it, and a node that died holds nobody up.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::time::{Duration, Instant};

const BOSS: &str = "any-1";
const HOME: &str = "any-2";
const OTHER: &str = "any-3";
const PATIENTLY: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(10);
/// Three missed heartbeats, and time to say so.
const NOTICED_WITHIN: Duration = Duration::from_secs(6);

/// A service with one task on the machine HOME; its container's id.
fn settle(lab: &TestLab, name: &str, options: &str, command: &str) -> String {
    lab.on(
        BOSS,
        &format!(
            "docker service create --detach --name {name} {options} --constraint node.hostname=={HOME} {IMAGE} {command}"
        ),
    );
    lab.replicas(name, "1/1", PATIENTLY);
    lab.container(HOME, name).unwrap()
}

/// The line must end within the limit, whatever it says.
fn ends_within(lab: &TestLab, machine: &str, line: &str, limit: Duration) -> String {
    let began = Instant::now();
    let said = lab.say(machine, line);
    assert!(began.elapsed() < limit, "{machine}$ {line}\ntook {:?}: {said:?}", began.elapsed());
    assert!(!said.ok, "{machine}$ {line}: {said:?}");
    said.err
}

#[test]
fn every_container_of_the_swarm_is_within_reach_of_every_node() {
    let lab = TestLab::swarm(&[BOSS, HOME, OTHER]);
    let web = settle(&lab, "web", "--hostname fish", "/bin/web");
    let name =
        lab.on(HOME, &format!("docker inspect {web} --format '{{{{.Name}}}}'")).trim_start_matches('/').to_owned();
    for machine in [BOSS, OTHER, HOME] {
        let calls =
            if machine == HOME { vec![&web[..], &name] } else { vec![&web[..], &web[..12], &web[..5], &name, "web.1"] };
        for call in calls {
            assert_eq!(lab.on(machine, &format!("docker exec {call} hostname")), "fish", "{machine} calls it {call}");
        }
        talk_with(&lab, machine, &name);
        let task = "docker inspect $(docker service ps -q web) --format '{{.Status.ContainerStatus.ContainerID}}'";
        // Elsewhere this client asks for no tasks.
        if machine == BOSS {
            assert_eq!(lab.on(machine, task), web, "a task's id names the task");
        }
    }
    for machine in [BOSS, OTHER] {
        assert!(lab.on(machine, "docker container ls -q").is_empty(), "what runs elsewhere is not listed here");
        for verb in ["kill", "stop", "rm -f", "pause", "rename -x"] {
            let line = format!(
                "docker {} {name}{}",
                verb.trim_end_matches(" -x"),
                if verb.ends_with("-x") { " x" } else { "" }
            );
            lab.refused(machine, &line, &format!("runs on node {HOME}, and its life is the swarm's"));
        }
        lab.refused(machine, "docker exec nosuch true", "No such container: nosuch");
        lab.refused(machine, "docker logs nosuch", "No such container: nosuch");
    }
    an_overlay_makes_a_plain_container_one_of_the_swarm(&lab);
    lab.on(BOSS, "docker service rm web");
    for machine in [BOSS, OTHER] {
        lab.until("a container that is gone is no more", SOON, || {
            let said = lab.say(machine, &format!("docker exec {web} true"));
            if said.err.contains("No such container") { Ok(()) } else { Err(format!("{said:?}")) }
        });
    }
    lab.end();
}

fn talk_with(lab: &TestLab, machine: &str, name: &str) {
    let on = |line: &str| lab.on(machine, line);
    assert_eq!(on(&format!("docker exec {name} sh -c 'exit 7'; echo $?")), "7");
    assert_eq!(
        on(&format!("printf abc | docker exec -i {name} sh -c 'cat; echo end'")),
        "abcend",
        "stdin ends by itself"
    );
    assert_eq!(on(&format!("head -c 3000000 /dev/zero | docker exec -i {name} sh -c 'sleep 0.2; wc -c'")), "3000000");
    assert_eq!(on(&format!("docker exec {name} sh -c 'head -c 3000000 /dev/zero' | wc -c")), "3000000");
    let both = lab.say(machine, &format!("docker exec {name} sh -c 'echo out; echo err >&2'"));
    assert_eq!((both.out.as_str(), both.err.as_str()), ("out", "err"));
    let tty = format!(
        "stty rows 41 cols 97; docker exec -it {name} sh -c 'read line; stty size; echo got \\$line; tty'; touch /run/said"
    );
    // The terminal's input stays open until its program has ended: its end would be typed too.
    let typed = "rm -f /run/said; printf 'word\\n'; until [ -e /run/said ]; do sleep 0.1; done";
    let screen = on(&format!("({typed}) | timeout 60 script -qec \"{tty}\" /dev/null"));
    for word in ["41 97", "got word", "/dev/pts/"] {
        assert!(screen.contains(word), "{machine}: a terminal, with {word}: {screen}");
    }
    assert_eq!(on(&format!("docker logs {name}")), "serving");
    assert!(on(&format!("docker top {name}")).contains("httpd"));
    let stats = on(&format!("docker stats --no-stream --format '{{{{.Name}}}} {{{{.PIDs}}}}' {name}"));
    assert!(stats.starts_with(name) && !stats.ends_with(" 0"), "{stats}");
    assert_eq!(
        on(&format!("docker inspect {name} --format '{{{{.Config.Hostname}}}} {{{{.State.Status}}}}'")),
        "fish running"
    );
    on(&format!(
        "mkdir -p /tmp/{machine} && echo for {machine} >/tmp/{machine}/note && docker cp /tmp/{machine}/note {name}:/tmp/note"
    ));
    assert_eq!(on(&format!("docker exec {name} cat /tmp/note")), format!("for {machine}"));
    assert_eq!(on(&format!("docker cp {name}:/tmp/note - | tar xO")), format!("for {machine}"));
    lab.refused(machine, &format!("docker cp {name}:/no/such -"), "Could not find the file /no/such");
    assert!(on(&format!("docker diff {name}")).contains("/tmp/note"));
    on(&format!("rm -r /tmp/{machine}"));
}

/// A plain container has a place on an overlay, so the swarm knows where it is; one on a bridge is its machine's own.
fn an_overlay_makes_a_plain_container_one_of_the_swarm(lab: &TestLab) {
    lab.on(BOSS, "docker network create -d overlay --attachable talk");
    lab.on(HOME, &format!("docker run -d --name known --network talk {IMAGE} sleep 1000"));
    lab.on(HOME, &format!("docker run -d --name private {IMAGE} sleep 1000"));
    for machine in [BOSS, OTHER] {
        assert_eq!(lab.on(machine, "echo hi | docker exec -i known cat"), "hi");
        lab.refused(machine, "docker exec private true", "No such container: private");
    }
    lab.on(HOME, "docker rm -f known private");
    lab.on(BOSS, "docker network rm talk");
}

#[test]
fn attached_from_elsewhere() {
    let lab = TestLab::swarm(&[BOSS, HOME, OTHER]);
    let tick = "sh -c 'i=0; while :; do echo tick $i; i=$((i+1)); usleep 100000; done'";
    let ticker = settle(&lab, "ticker", "", tick);
    for machine in [BOSS, OTHER] {
        let seen =
            lab.say(machine, &format!("timeout -s KILL 4 docker attach --no-stdin --sig-proxy=false {ticker}")).out;
        let numbers: Vec<u64> = seen.lines().filter_map(|l| l.strip_prefix("tick ")?.parse().ok()).collect();
        assert!(numbers.len() >= 5, "{machine} sees it live: {seen}");
        assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{machine} misses nothing: {seen}");
        let followed = lab.say(machine, &format!("timeout -s KILL 4 docker logs -f --tail 3 {ticker}")).out;
        assert!(followed.lines().count() >= 5, "{machine} follows: {followed}");
    }
    // Somebody who looks on holds the end of the container, too.
    let waits = lab.begin(OTHER, &format!("docker wait {ticker}"));
    lab.on(HOME, &format!("docker kill {ticker}"));
    let said = waits.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "137");
    lab.end();
}

#[test]
fn a_node_that_died_holds_nobody_up() {
    let lab = TestLab::swarm(&[BOSS, HOME, OTHER]);
    let web = settle(&lab, "web", "", "/bin/web");
    let inside: Vec<_> = [BOSS, OTHER].map(|m| lab.begin(m, &format!("docker exec {web} sleep 1000"))).into();
    let following: Vec<_> = [BOSS, OTHER].map(|m| lab.begin(m, &format!("docker logs -f {web}"))).into();
    lab.until("both are inside", SOON, || {
        let top = lab.on(BOSS, &format!("docker top {web}"));
        if top.matches("sleep 1000").count() == 2 { Ok(()) } else { Err(top) }
    });
    lab.lab().kill(HOME).unwrap();
    let died = Instant::now();
    std::thread::scope(|s| {
        for machine in [BOSS, OTHER] {
            let (lab, web) = (&lab, &web);
            s.spawn(move || ends_within(lab, machine, &format!("docker exec {web} hostname"), NOTICED_WITHIN));
        }
    });
    for child in inside.into_iter().chain(following) {
        child.wait_with_output().unwrap();
        assert!(died.elapsed() < 2 * NOTICED_WITHIN, "a connection to a dead node hung for {:?}", died.elapsed());
    }
    lab.node_becomes(HOME, "Down", SOON);
    for machine in [BOSS, OTHER] {
        for line in ["exec", "logs", "top", "inspect --type container", "stats --no-stream"] {
            let command = if line == "exec" { "hostname" } else { "" };
            let said = ends_within(&lab, machine, &format!("docker {line} {web} {command}"), Duration::from_secs(3));
            assert!(said.contains(&format!("runs on node {HOME}, which is down")), "{machine}: docker {line}: {said}");
        }
    }
    lab.lab().start(HOME).unwrap();
    lab.node_becomes(HOME, "Ready", SOON);
    lab.until("the task is there again, and within reach", PATIENTLY, || {
        let said = lab.say(OTHER, "docker exec web.1 echo back");
        if said.out == "back" { Ok(()) } else { Err(format!("{said:?}")) }
    });
    lab.end();
}

#[test]
fn logs_of_a_service_come_from_all_nodes_in_the_order_of_time() {
    let lab = TestLab::swarm(&[BOSS, HOME, OTHER]);
    let began = lab.on(BOSS, "date +%s");
    let count =
        "sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; echo bad $i >&2; usleep 20000; done; exec sleep 1000'";
    let create = "docker service create --detach --name chorus --replicas 3 --log-driver json-file --log-opt labels=part --container-label part=tenor";
    lab.on(BOSS, &format!("{create} {IMAGE} {count}"));
    lab.replicas("chorus", "3/3", PATIENTLY);
    lab.until("all have said all", SOON, || {
        let text = lab.on(BOSS, "docker service logs --raw chorus 2>/dev/null");
        if text.matches("line 10").count() == 3 { Ok(()) } else { Err(text) }
    });
    for machine in [BOSS, OTHER] {
        let text = lab.on(machine, "docker service logs --raw --timestamps chorus 2>&1");
        let times: Vec<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
        assert!(times.len() == 60 && times.is_sorted(), "{machine}: {text}");
        let apart = lab.say(machine, "docker service logs --raw chorus");
        assert_eq!((apart.out.matches("line ").count(), apart.err.matches("bad ").count()), (30, 30));
        assert_eq!(
            lab.on(machine, "docker service logs --raw --tail 2 chorus 2>&1").lines().count(),
            6,
            "of each task"
        );
    }
    let pretty = lab.on(BOSS, "docker service logs chorus 2>/dev/null");
    for machine in [BOSS, HOME, OTHER] {
        let theirs = |l: &str| l.starts_with("chorus.") && l.contains(&format!("@{machine} "));
        assert!(pretty.lines().any(theirs), "{machine}: {pretty}");
    }
    let task = lab.on(BOSS, "docker service ps -q --no-trunc chorus").lines().next().unwrap().to_owned();
    let whole = lab.on(BOSS, "docker service logs --no-trunc chorus 2>/dev/null");
    assert!(whole.contains(&format!(".{task}@")), "{whole}");
    let detailed = lab.on(BOSS, "docker service logs --details chorus 2>/dev/null");
    assert!(detailed.lines().all(|l| l.contains("| part=tenor line ")), "{detailed}");
    let one = lab.on(BOSS, &format!("docker service logs --raw {task} 2>/dev/null"));
    assert_eq!(one.lines().count(), 10, "one task: {one}");
    let mark =
        lab.on(BOSS, "docker service logs --raw --timestamps chorus 2>/dev/null").lines().nth(20).unwrap().to_owned();
    let later = lab
        .on(BOSS, &format!("docker service logs --raw --since {} chorus 2>/dev/null", mark.split(' ').next().unwrap()));
    assert!((5..=10).contains(&later.lines().count()), "since {mark}: {later}");

    let follower = lab.begin(OTHER, "timeout -s KILL 25 docker service logs -f --raw --tail 0 chorus 2>&1");
    lab.on(BOSS, "docker service scale --detach chorus=4");
    lab.replicas("chorus", "4/4", PATIENTLY);
    lab.lab().kill(HOME).unwrap();
    let asked = Instant::now();
    lab.say(BOSS, "docker service logs --raw chorus");
    assert!(asked.elapsed() < 2 * NOTICED_WITHIN, "a dead node held the logs up for {:?}", asked.elapsed());
    lab.node_becomes(HOME, "Down", SOON);
    let asked = Instant::now();
    let said = lab.say(BOSS, "docker service logs chorus 2>&1");
    assert!(asked.elapsed() < SOON && said.ok, "{:?} {said:?}", asked.elapsed());
    assert!(said.out.contains(&format!("cannot be read on: node {HOME} is down")), "{said:?}");
    let followed = String::from_utf8(follower.wait_with_output().unwrap().stdout).unwrap();
    assert!(followed.matches("line 10").count() >= 1, "the task that came later is followed: {followed}");
    assert!(followed.contains(&format!("node {HOME}")), "the end of a node is told: {followed}");

    lab.on(BOSS, "docker service rm chorus");
    let events = "--filter scope=swarm --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'";
    let until = lab.on(BOSS, "date +%s.%N");
    let told = lab.on(BOSS, &format!("docker events --since {began} --until {until} {events}"));
    for event in
        ["service create chorus", "service update chorus", "service remove chorus", &format!("node update {HOME}")]
    {
        assert!(told.lines().any(|l| l == event), "{event}: {told}");
    }
    lab.lab().start(HOME).unwrap();
    lab.node_becomes(HOME, "Ready", SOON);
    lab.end();
}

#[test]
fn plain_containers_of_any_node_meet_on_an_overlay() {
    let lab = TestLab::swarm(&[BOSS, HOME, OTHER]);
    lab.on(BOSS, "docker network create -d overlay --attachable --subnet 10.77.0.0/24 talk");
    lab.on(BOSS, &format!("docker run -d --name aa --network talk --network-alias alpha {IMAGE} /bin/web"));
    lab.on(HOME, &format!("docker run -d --name bb {IMAGE} /bin/web"));
    lab.on(HOME, "docker network connect --alias beta --alias bee talk bb");
    lab.on(OTHER, &format!("docker run -d --name cc --network talk --ip 10.77.0.50 {IMAGE} /bin/web"));
    let format = "'{{(index .NetworkSettings.Networks \"talk\").IPAddress}}'";
    assert_eq!(lab.on(OTHER, &format!("docker inspect cc --format {format}")), "10.77.0.50");
    for (machine, container, names) in [
        (BOSS, "aa", ["bb", "beta", "bee", "cc"]),
        (HOME, "bb", ["aa", "alpha", "cc", "10.77.0.50"]),
        (OTHER, "cc", ["aa", "alpha", "bb", "bee"]),
    ] {
        for name in names {
            lab.until("they meet by name", SOON, || {
                let said =
                    lab.say(machine, &format!("docker exec {container} timeout 3 wget -qO- http://{name}:8080/"));
                if said.out.contains("container ") { Ok(()) } else { Err(format!("{container} asks {name}: {said:?}")) }
            });
        }
        let members = lab.on(machine, "docker network inspect talk --format '{{range .Containers}}{{.Name}} {{end}}'");
        assert!(members.split(' ').any(|m| m == container), "{machine} shows its own: {members}");
    }
    assert!(lab.on(HOME, "docker exec bb ip -o -4 address").contains("172.17.0."), "it is on its bridge as before");
    lab.on(HOME, "docker network disconnect talk bb");
    lab.until("the name goes with the place", SOON, || {
        let said = lab.say(BOSS, "docker exec aa ping -c 1 -W 1 beta");
        if said.err.contains("bad address") { Ok(()) } else { Err(format!("{said:?}")) }
    });
    lab.on(HOME, "docker network connect --alias again talk bb");
    lab.until("and comes again", SOON, || {
        let said = lab.say(OTHER, "docker exec cc ping -c 1 -W 1 again");
        if said.ok { Ok(()) } else { Err(format!("{said:?}")) }
    });
    lab.refused(BOSS, "docker network rm talk", "is in use by task");
    for (machine, container) in [(BOSS, "aa"), (HOME, "bb"), (OTHER, "cc")] {
        lab.on(machine, &format!("docker rm -f {container}"));
    }
    lab.until("nobody is there any more", SOON, || {
        let said = lab.say(BOSS, "docker network rm talk");
        if said.ok { Ok(()) } else { Err(format!("{said:?}")) }
    });
    lab.end();
}
