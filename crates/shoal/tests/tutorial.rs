//! The tutorial, whole, as a person types it: two machines, the genuine docker CLI where there is one, real packets.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, LAPTOP, LAPTOP_ADDRESS, TestLab};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const MANAGER: &str = "vm-manager";
const WORKER: &str = "vm-worker1";
const SERVICE: &str = "dataapp_dataservice";
const SOON: Duration = Duration::from_secs(10);
const PATIENTLY: Duration = Duration::from_secs(60);
/// A silent node is marked down after three missed heartbeats; what is left is the time to ask.
const DOWN_WITHIN: Duration = Duration::from_secs(4);

fn compose_file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(name);
    path.canonicalize().unwrap().display().to_string()
}

/// Asks a published web service from somewhere ten times: the containers that answered, each of which saw `client`.
fn answers(lab: &TestLab, from: &str, url: &str, client: Option<&str>) -> BTreeSet<String> {
    let limit = 5 * lab::patience();
    let text = lab.on(from, &format!("for i in $(seq 10); do curl -sS -m {limit} {url}; done"));
    let field = |name: &str| -> Vec<String> {
        text.lines().filter_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned()).collect()
    };
    let containers = field("container ");
    assert_eq!(containers.len(), 10, "{from} asks {url}: {text}");
    if let Some(client) = client {
        let seen: BTreeSet<String> = field("client ").into_iter().collect();
        assert_eq!(seen, [client.to_owned()].into(), "{from} asks {url}");
    }
    containers.into_iter().collect()
}

/// The addresses that a name has inside a container. The dot at its end keeps nslookup from trying a search domain only.
fn look_up(lab: &TestLab, machine: &str, container: &str, name: &str) -> BTreeSet<IpAddr> {
    let text = lab.say(machine, &format!("docker exec {container} nslookup -type=a {name}.")).out;
    text.lines().filter_map(|l| l.strip_prefix("Address: ")?.trim().parse().ok()).collect()
}

fn virtual_addresses(lab: &TestLab, service: &str) -> Vec<String> {
    let format = "'{{range .Endpoint.VirtualIPs}}{{println .Addr}}{{end}}'";
    let text = lab.on(MANAGER, &format!("docker service inspect {service} --format {format}"));
    text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_stack_on_two_machines() {
    let lab = TestLab::swarm(&[MANAGER, WORKER]);
    let (here, there) = (lab.address(MANAGER), lab.address(WORKER));

    one_service(&lab);
    two_services(&lab);
    names_inside(&lab);

    for address in [&here, &there] {
        let replicas = answers(&lab, LAPTOP, &format!("http://{address}:4000/"), Some(LAPTOP_ADDRESS));
        assert!(replicas.len() >= 3, "only {replicas:?} answered on {address}");
        let said = lab.on(LAPTOP, &format!("echo PING | busybox nc {address} 6379"));
        assert_eq!(said, "+PONG", "redis runs on one machine and answers on both");
    }
    for (machine, address) in [(MANAGER, &here), (WORKER, &there)] {
        answers(&lab, machine, "http://127.0.0.1:4000/", None);
        answers(&lab, machine, &format!("http://{address}:4000/"), None);
    }

    lab.refused(MANAGER, "docker network rm dataapp_data-network", "is in use by service");
    lab.on(MANAGER, "docker network rm dataapp_default");
    for machine in [MANAGER, WORKER] {
        lab.until("the unused network is gone everywhere", SOON, || {
            let names = lab.on(machine, "docker network ls -f scope=swarm --format '{{.Name}}'");
            if names.contains("dataapp_default") { Err(names) } else { Ok(()) }
        });
    }

    a_killed_task_goes_unnoticed(&lab, &there);
    scaling_keeps_the_address(&lab);
    plain_containers(&lab);
    nothing_stays_of_a_stack(&lab);
    lab.on(WORKER, "docker swarm leave");
    lab.node_becomes(WORKER, "Down", SOON);
    lab.on(MANAGER, &format!("docker node rm {WORKER}"));
    lab.refused(MANAGER, "docker swarm leave", "You are attempting to leave the swarm on a node that is participating");
    lab.on(MANAGER, "docker swarm leave --force");
    assert_eq!(lab.on(MANAGER, "docker info --format '{{.Swarm.LocalNodeState}}'"), "inactive");
    lab.end();
}

fn one_service(lab: &TestLab) {
    lab.on(MANAGER, &format!("docker stack deploy -c {} dataapp", compose_file("docker-compose.yml")));
    lab.replicas(SERVICE, "5/5", PATIENTLY);
    let listed = lab.on(MANAGER, "docker network ls --format '{{.Name}}'");
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(listed, ["bridge", "dataapp_default", "docker_gwbridge", "host", "ingress", "none"]);
    let inspected = lab.on(MANAGER, "docker network inspect dataapp_default");
    for word in ["lb-dataapp_default", "dataapp_dataservice."] {
        assert!(inspected.contains(word), "{word} is not in {inspected}");
    }
    for machine in [MANAGER, WORKER] {
        assert!(lab.container(machine, SERVICE).is_some(), "{machine} runs none of five replicas");
    }
    answers(lab, LAPTOP, &format!("http://{}:4000/", lab.address(WORKER)), Some(LAPTOP_ADDRESS));
}

fn two_services(lab: &TestLab) {
    lab.on(MANAGER, &format!("docker stack deploy -c {} dataapp", compose_file("docker-compose-redis.yml")));
    lab.replicas("dataapp_redis", "1/1", PATIENTLY);
    let state = format!(
        "docker service inspect {SERVICE} --format '{{{{if .UpdateStatus}}}}{{{{.UpdateStatus.State}}}}{{{{end}}}}'"
    );
    lab.until("the update is complete", PATIENTLY, || match lab.on(MANAGER, &state).as_str() {
        "completed" => Ok(()),
        other => Err(other.to_owned()),
    });
    lab.replicas(SERVICE, "5/5", SOON);
    let tasks = lab.on(MANAGER, "docker service ps dataapp_redis --format '{{.Name}} {{.Node}}'");
    assert_eq!(tasks, format!("dataapp_redis.1 {MANAGER}"));
    let swarm = lab.on(MANAGER, "docker network ls -f scope=swarm --format '{{.Name}}'");
    assert_eq!(swarm.lines().collect::<Vec<_>>(), ["dataapp_data-network", "dataapp_default", "ingress"]);
    assert_eq!(virtual_addresses(lab, SERVICE).len(), 2, "one on ingress, one on data-network");
}

fn names_inside(lab: &TestLab) {
    let container = lab.container(WORKER, SERVICE).unwrap();
    let exec = |line: &str| lab.on(WORKER, &format!("docker container exec {container} {line}"));
    for name in ["dataservice", "redis", "dataapp_redis", "tasks.redis"] {
        let text = exec(&format!("ping -c 2 -W 2 {name}"));
        assert!(text.contains(" 0% packet loss"), "{text}");
    }
    let vip = virtual_addresses(lab, SERVICE);
    let found = look_up(lab, WORKER, &container, "dataservice");
    assert_eq!(found.len(), 1);
    assert!(vip.iter().any(|v| found.iter().all(|a| v.starts_with(&format!("{a}/")))), "{vip:?} {found:?}");
    assert_eq!(look_up(lab, WORKER, &container, "tasks.dataservice").len(), 5);
    let said = exec(r#"sh -c "printf 'SET fish shoal\nGET fish\n' | nc redis 6379""#);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["+OK", "shoal"]);
    let limit = 3 * lab::patience();
    let own = exec(&format!(
        r#"sh -c "for i in 1 2 3 4 5 6 7 8 9 10; do timeout {limit} wget -qO- http://dataservice:8080/; done""#
    ));
    let ids: BTreeSet<&str> = own.lines().filter_map(|l| l.strip_prefix("container ")).collect();
    assert!(ids.len() >= 3, "a replica calls its own service, and now and then itself: {own}");
    let resolver = exec("cat /etc/resolv.conf");
    assert!(resolver.contains("nameserver 127.0.0.11") && resolver.contains("search lab.test"), "{resolver}");
    assert!(!lab.say(WORKER, "ping -c 1 -W 1 dataservice").ok, "names are the containers' own");
}

fn a_killed_task_goes_unnoticed(lab: &TestLab, address: &str) {
    let limit = 3 * lab::patience();
    let script = format!(
        "for i in $(seq 100); do curl -s -m {limit} http://{address}:4000/ >/dev/null && echo ok || echo lost; sleep 0.02; done"
    );
    let clients = lab.begin(LAPTOP, &script);
    let victim = lab.container(WORKER, SERVICE).unwrap();
    lab.on(WORKER, &format!("docker kill {victim}"));
    let output = clients.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lost = text.lines().filter(|l| *l == "lost").count();
    assert_eq!(text.lines().count(), 100);
    // Whoever was inside the killed task.
    assert!(lost <= 1, "{lost} of 100 requests were lost");
    lab.replicas(SERVICE, "5/5", PATIENTLY);
    lab.until("the dead task is out of the names", SOON, || {
        let (alive, now) = (lab.container(MANAGER, SERVICE), task_addresses(lab));
        let found = look_up(lab, MANAGER, &alive.ok_or("no task")?, "tasks.dataservice");
        if found == now && found.len() == 5 { Ok(()) } else { Err(format!("{found:?} instead of {now:?}")) }
    });
    let history = lab.on(MANAGER, &format!("docker service ps {SERVICE} --no-trunc"));
    assert!(history.contains("task: non-zero exit (137)"), "{history}");
}

/// What the containers themselves have on data-network.
fn task_addresses(lab: &TestLab) -> BTreeSet<IpAddr> {
    let format = "'{{with index .NetworkSettings.Networks \"dataapp_data-network\"}}{{.IPAddress}}{{end}}'";
    let of = |machine| {
        let ids = lab.containers(machine, SERVICE).join(" ");
        let text = if ids.is_empty() {
            String::new()
        } else {
            lab.say(machine, &format!("docker inspect {ids} --format {format}")).out
        };
        text.lines().filter_map(|l| l.parse().ok()).collect::<Vec<IpAddr>>()
    };
    [MANAGER, WORKER].into_iter().flat_map(of).collect()
}

fn scaling_keeps_the_address(lab: &TestLab) {
    let before = virtual_addresses(lab, SERVICE);
    let redis = lab.container(MANAGER, "dataapp_redis").unwrap();
    for count in [2, 4, 0] {
        lab.on(MANAGER, &format!("docker service scale --detach {SERVICE}={count}"));
        lab.replicas(SERVICE, &format!("{count}/{count}"), PATIENTLY);
        lab.until("names follow", SOON, || {
            let found = look_up(lab, MANAGER, &redis, "tasks.dataservice");
            if found.len() == count { Ok(()) } else { Err(format!("{found:?}")) }
        });
        assert_eq!(virtual_addresses(lab, SERVICE), before);
        assert_eq!(look_up(lab, MANAGER, &redis, "dataservice").len(), 1, "a name lives as long as its service");
    }
    let refused = lab.say(MANAGER, &format!("docker exec {redis} nc -w 3 dataservice 8080"));
    assert!(refused.err.contains("refused"), "without a ready task a connection is refused at once: {refused:?}");
}

fn plain_containers(lab: &TestLab) {
    let route = lab.on(WORKER, &format!("docker run --rm {IMAGE} ip route"));
    assert!(route.contains("172.17.0.0/16"), "a plain container is on the bridge: {route}");
    let ping = lab.on(WORKER, &format!("docker run --rm {IMAGE} ping -c 1 -W 2 {LAPTOP_ADDRESS}"));
    assert!(ping.contains(" 0% packet loss"), "it reaches the outside: {ping}");
    lab.refused(WORKER, &format!("docker run --rm {IMAGE} ping -c 1 -W 1 dataservice"), "bad address");
}

fn nothing_stays_of_a_stack(lab: &TestLab) {
    lab.on(MANAGER, "docker stack rm dataapp");
    for machine in [MANAGER, WORKER] {
        lab.until("the stack is gone", PATIENTLY, || {
            let left =
                lab.on(machine, "docker network ls -q -f name=dataapp_; docker container ls -aq -f name=dataapp_");
            if left.is_empty() { Ok(()) } else { Err(format!("{machine} still has {left}")) }
        });
    }
    assert!(!lab.say(LAPTOP, &format!("curl -sS -m 3 http://{}:4000/", lab.address(WORKER))).ok);
}

#[test]
fn killing_the_daemons_loses_nothing() {
    let lab = TestLab::swarm(&[MANAGER, WORKER]);
    lab.on(MANAGER, "docker network create -d overlay --attachable talk");
    let service = |name: &str, role: &str, command: &str| {
        lab.on(
            MANAGER,
            &format!(
                "docker service create --detach --name {name} --network talk --constraint node.role=={role} \
                 {IMAGE} {command}"
            ),
        );
        lab.replicas(name, "1/1", PATIENTLY);
    };
    service("echo", "manager", "nc -ll -p 9000 -e /bin/echo-session");
    service("count", "worker", "/bin/counter echo 9000");
    lab.on(WORKER, "mkdir -p /run/gate");
    let ends = "until [ -e /gate/open ]; do usleep 20000; done; echo last words; exit 42";
    let ending = lab.on(WORKER, &format!("docker run -d -v /run/gate:/gate {IMAGE} sh -c '{ends}'"));
    let ending_pid = lab.on(WORKER, &format!("docker inspect {ending} --format '{{{{.State.Pid}}}}'"));
    let (counting, echoing) = (lab.container(WORKER, "count").unwrap(), lab.container(MANAGER, "echo").unwrap());
    let tasks = lab.on(MANAGER, "docker service ps -q --no-trunc count echo");
    let file = lab.disk(WORKER).join("containers").join(&counting).join(format!("{counting}-json.log"));
    let lines = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
    let grows = |what: &str| {
        let before = lines();
        lab.until(what, SOON, || if lines() > before + 10 { Ok(()) } else { Err(format!("{} lines", lines())) });
    };
    grows("the connection carries lines");

    lab.kill_daemon(MANAGER);
    lab.kill_daemon(WORKER);
    grows("the connection carries lines while no daemon runs");
    lab.on(WORKER, "touch /run/gate/open");
    lab.until("the container ends", SOON, || {
        if PathBuf::from(format!("/proc/{ending_pid}")).exists() { Err("it runs".to_owned()) } else { Ok(()) }
    });
    for machine in [MANAGER, WORKER] {
        lab.lab().start(machine).unwrap();
    }
    for machine in [MANAGER, WORKER] {
        lab.node_becomes(machine, "Ready", SOON);
    }

    let state = format!("docker inspect {ending} --format '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}'");
    lab.until("the end that nobody watched is known", SOON, || match lab.on(WORKER, &state).as_str() {
        "exited 42" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert_eq!(lab.on(WORKER, &format!("docker logs {ending}")), "last words");
    grows("the connection carries lines after the restart");
    assert_eq!(lab.container(WORKER, "count"), Some(counting.clone()), "the container lives on");
    assert_eq!(lab.container(MANAGER, "echo"), Some(echoing.clone()), "the container lives on");
    assert_eq!(lab.on(MANAGER, "docker service ps -q --no-trunc count echo"), tasks, "no task was replaced");
    assert_eq!(lab.on(MANAGER, &format!("docker logs {echoing}")), "connected", "one connection all the time");
    let said = lab.on(WORKER, &format!("docker logs {counting}"));
    let expected: Vec<String> = (0..said.lines().count()).map(|n| n.to_string()).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "no log line is lost, none comes twice");
    let more = lab.on(MANAGER, &format!("docker run --rm --network talk {IMAGE} ping -c 1 -W 2 count"));
    assert!(more.contains(" 0% packet loss"), "the restarted daemons go on with their work: {more}");
    lab.end();
}

#[test]
fn a_machine_that_loses_power_is_replaced_and_comes_back() {
    let lab = TestLab::swarm(&[MANAGER, WORKER]);
    lab.on(MANAGER, "docker network create -d overlay net");
    lab.on(
        MANAGER,
        &format!("docker service create --detach --name web --replicas 4 --network net -p 8000:8080 {IMAGE}"),
    );
    lab.on(
        MANAGER,
        &format!(
            "docker service create --detach --name seat --network net --constraint node.role==manager {IMAGE} sleep 1000"
        ),
    );
    lab.replicas("web", "4/4", PATIENTLY);
    lab.replicas("seat", "1/1", PATIENTLY);
    let seat = lab.container(MANAGER, "seat").unwrap();
    let before = look_up(&lab, MANAGER, &seat, "tasks.web");
    let lost = lab.containers(WORKER, "web").len();
    assert!(lost >= 1 && before.len() == 4, "{lost} of {before:?}");

    lab.lab().kill(WORKER).unwrap();
    let took = lab.node_becomes(WORKER, "Down", DOWN_WITHIN);
    println!("noticed after {took:?}");
    lab.until("the names are those of living tasks", SOON, || {
        let (found, alive) = (look_up(&lab, MANAGER, &seat, "tasks.web"), lab.containers(MANAGER, "web").len());
        let dead = found.intersection(&before).count();
        if alive == 4 && found.len() == 4 && dead == 4 - lost {
            Ok(())
        } else {
            Err(format!("{found:?}, of them {dead} from before; {alive} run"))
        }
    });
    let limit = 2 * lab::patience();
    let ask = format!("for i in $(seq 12); do timeout {limit} wget -qO- http://web:8080/ || echo lost; done");
    let said = lab.on(MANAGER, &format!("docker exec {seat} sh -c '{ask}'"));
    let ids: BTreeSet<&str> = said.lines().filter_map(|l| l.strip_prefix("container ")).collect();
    assert!(ids.len() == 4 && !said.contains("lost"), "the virtual address leads to the living only: {said}");
    answers(&lab, LAPTOP, &format!("http://{}:8000/", lab.address(MANAGER)), Some(LAPTOP_ADDRESS));
    lab.replicas("web", "4/4", SOON);

    lab.lab().start(WORKER).unwrap();
    lab.node_becomes(WORKER, "Ready", SOON);
    lab.until("nothing runs twice", SOON, || {
        let left = lab.containers(WORKER, "web");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    lab.on(MANAGER, "docker service scale --detach web=7");
    lab.replicas("web", "7/7", PATIENTLY);
    assert_eq!(lab.containers(WORKER, "web").len(), 3, "the machine that came back has room");
    lab.until("it is in the names and on the road again", SOON, || {
        let found = look_up(&lab, MANAGER, &seat, "tasks.web").len();
        if found == 7 { Ok(()) } else { Err(format!("{found} addresses")) }
    });
    let replicas = answers(&lab, LAPTOP, &format!("http://{}:8000/", lab.address(WORKER)), Some(LAPTOP_ADDRESS));
    assert!(replicas.len() >= 5, "{replicas:?}");
    lab.end();
}

#[test]
fn bad_input_is_refused_in_dockers_words_and_leaves_nothing() {
    let lab = TestLab::new(&[MANAGER, WORKER]);
    let address = lab.address(MANAGER);
    lab.refused(MANAGER, "docker service ls", r#"This node is not a swarm manager. Use "docker swarm init""#);
    lab.on(MANAGER, &format!("docker swarm init --advertise-addr {address}"));
    let token = lab.on(MANAGER, "docker swarm join-token -q worker");
    let mut wrong = token.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == 'a' { 'b' } else { 'a' });
    let join = |token: &str| format!("docker swarm join --token {token} {address}:2377");
    lab.refused(WORKER, &join(&wrong), "A valid join token is necessary to join this cluster");
    lab.refused(WORKER, &join("nonsense"), "invalid join token");
    assert_eq!(lab.on(WORKER, "docker info --format '{{.Swarm.LocalNodeState}}'"), "inactive");
    lab.refused(MANAGER, &join(&token), "This node is already part of a swarm.");

    lab.on(MANAGER, "docker network create -d overlay --subnet 10.9.0.0/24 net");
    lab.on(MANAGER, "docker network create local");
    let create = "docker service create --detach --no-resolve-image --name";
    lab.on(MANAGER, &format!("{create} web --network net -p 4000:8080 {IMAGE}"));
    lab.on(MANAGER, &format!("docker run -d --name taken -p 7000:8080 {IMAGE}"));
    lab.replicas("web", "1/1", PATIENTLY);
    let all = "docker service ls -q; docker network ls -q --no-trunc; docker container ls -aq --no-trunc; docker volume ls -q";
    let before = lab.on(MANAGER, all);
    // The CLI looks for a service's network itself, and up to 20.10 says so in its own words.
    let not_found = |network: &str| {
        let said = lab.say(MANAGER, &format!("docker network inspect {network}-")).err;
        if said.contains("No such network") {
            format!("No such network: {network}")
        } else {
            format!("network {network} not found")
        }
    };
    let (nosuch, local, none) = (not_found("nosuch"), not_found("local"), not_found("none"));
    let refusals = [
        (format!("{create} a --network nosuch {IMAGE}"), nosuch.as_str()),
        (format!("{create} a --network local {IMAGE}"), local.as_str()),
        (format!("{create} a --network none {IMAGE}"), none.as_str()),
        (format!("{create} a -p 4000:80 {IMAGE}"), "port '4000' is already in use by service 'web'"),
        (format!("{create} a --constraint node.colour==red {IMAGE}"), "key 'node.colour' is invalid"),
        (format!("{create} a --constraint node.role {IMAGE}"), "constraint expected one operator from ==, !="),
        (format!("{create} web {IMAGE}"), "name conflicts with an existing object: service web already exists"),
        (format!("{create} not_a..name {IMAGE}"), "name must be valid as a DNS name component"),
        ("docker network create -d overlay net".into(), "network with name net already exists"),
        (
            "docker network create -d overlay --subnet 10.9.0.128/25 b".into(),
            "Pool overlaps with other one on this address space",
        ),
        ("docker network create --subnet 172.17.8.0/24 b".into(), "Pool overlaps with other one on this address space"),
        ("docker network create -d overlay --subnet 10.0.0.1/24 b".into(), "it should be 10.0.0.0/24"),
        ("docker network create bridge".into(), "operation is not permitted on predefined bridge network"),
        ("docker network rm host".into(), "host is a pre-defined network and cannot be removed"),
        ("docker network rm net".into(), "is in use by service"),
        ("docker run --rm nosuch/image true".into(), "Unable to find image 'nosuch/image:latest' locally"),
        (format!("docker run --name taken {IMAGE} true"), r#"Conflict. The container name "/taken" is already in use"#),
        (format!("docker run --rm --network nosuch {IMAGE} true"), "network nosuch not found"),
        (format!("docker run --rm -p 7000:80 {IMAGE} true"), "Bind for 0.0.0.0:7000 failed: port is already allocated"),
        (format!("docker run --rm {IMAGE} /no/such/program"), "no such file or directory"),
        (format!("docker run --rm --network net {IMAGE} true"), "network net not manually attachable"),
        ("docker service inspect nosuch".into(), "no such service: nosuch"),
        ("docker service rm nosuch".into(), "service nosuch not found"),
        ("docker node rm vm-manager".into(), "is a cluster manager and is a member of the raft cluster"),
    ];
    for (line, because) in &refusals {
        lab.refused(MANAGER, line, because);
        assert_eq!(lab.on(MANAGER, all), before, "after {line}");
    }

    for (text, because) in [
        ("services: [\n", "yaml:"),
        ("version: \"3\"\nservices:\n  a:\n    imag: x\n", "Additional property imag is not allowed"),
        ("version: \"3\"\nservices:\n  - a\n", "services must be a mapping"),
        (
            "version: \"3\"\nservices:\n  a:\n    image: x\n    networks: [n]\nnetworks:\n  n:\n    external: true\n",
            r#"network "n" is declared as external, but could not be found"#,
        ),
    ] {
        let line = format!("printf '%s' '{text}' | docker stack deploy -c - bad");
        lab.refused(MANAGER, &line, because);
        assert_eq!(lab.on(MANAGER, all), before, "after {text}");
    }

    // A service whose image is nowhere is made, as Docker makes it; its tasks say why they do not run.
    lab.on(MANAGER, &format!("{create} hollow nosuch/image"));
    lab.until("the task is rejected", PATIENTLY, || {
        let tasks = lab.on(MANAGER, "docker service ps hollow --no-trunc --format '{{.CurrentState}} {{.Error}}'");
        if tasks.contains("Rejected") { Ok(()) } else { Err(tasks) }
    });
    lab.on(MANAGER, "docker service rm hollow");
    lab.until("nothing stays of it", PATIENTLY, || {
        let now = lab.on(MANAGER, all);
        if now == before { Ok(()) } else { Err(now) }
    });
    assert!(answers(&lab, LAPTOP, &format!("http://{address}:4000/"), Some(LAPTOP_ADDRESS)).len() == 1);
    lab.end();
}
