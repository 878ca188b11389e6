//! Updates, scaling, draining of nodes and going back, under load: no request is lost, none is held up.
//!
//! Clients ask at a steady rate on two roads at once: the virtual address from a container, and the published port of a
//! machine without a task from outside. Some open a connection for each request, some keep them for a while, some for as
//! long as the server does.
#![forbid(unsafe_code)]
mod lab;
mod load;

use kernel::netns::NetNs;
use lab::{IMAGE, LAPTOP, TestLab};
use load::{Load, Manner, Record, Summary, build_server, sum_up};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const DOOR: &str = "still-1";
const WORKERS: [&str; 2] = ["still-2", "still-3"];
const PATIENTLY: Duration = Duration::from_secs(120);
const REPLICAS: u32 = 4;
const PER_SECOND: u32 = 50;
const MANNERS: [Manner; 4] = [Manner::Fresh, Manner::Fresh, Manner::KeepAlive(40), Manner::Faithful];
const ROADS: [&str; 2] = ["virtual address", "published port"];
/// The same clients and the same service, in a plain container that nobody touches: what is seen here is the machine's.
const CONTROL: &str = "nothing changes";
/// A connection whose first packet is lost is tried again after a second: nothing may come near.
const NEVER_SO_LONG: Duration = Duration::from_millis(950);

/// Where the clients sit, and whom they ask.
struct Stage {
    lab: TestLab,
    container: NetNs,
    outside: NetNs,
    virtual_address: SocketAddr,
    published: SocketAddr,
    untouched: SocketAddr,
    _seat: Seat,
}

/// A process on the machine without a daemon, to hold its namespace.
struct Seat(std::process::Child);

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stage() -> Stage {
    let lab = TestLab::swarm(&[DOOR, WORKERS[0], WORKERS[1]]);
    let dir = tempfile::tempdir().unwrap();
    build_server(dir.path());
    std::fs::write(dir.path().join("serve"), SERVE).unwrap();
    std::fs::set_permissions(dir.path().join("serve"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for machine in [DOOR, WORKERS[0], WORKERS[1]] {
        for version in ["v1", "v2"] {
            image(&lab, machine, dir.path(), version);
        }
    }
    lab.on(DOOR, "docker network create -d overlay --attachable inside");
    // Ready means that it answers; a task is stopped when its connections have ended, or after two seconds.
    let health = "--health-cmd 'wget -qO- http://127.0.0.1:8080/' --health-interval 5s --health-timeout 4s \
                  --health-start-period 30s --health-start-interval 200ms";
    let update = "--update-parallelism 1 --update-delay 0s --update-monitor 500ms --rollback-monitor 500ms";
    lab.on(
        DOOR,
        &format!(
            "docker service create --detach --no-resolve-image --name steady --replicas {REPLICAS} --network inside \
             -p 8000:8080 --constraint node.role==worker --label shoal.drain-timeout=2s --stop-grace-period 8s \
             {health} {update} steady:v1"
        ),
    );
    lab.replicas("steady", &format!("{REPLICAS}/{REPLICAS}"), PATIENTLY);
    let client = lab.on(DOOR, &format!("docker run -d --name client --network inside {IMAGE} sleep 10000"));
    lab.on(DOOR, "docker run -d --name control --network host steady:v1");
    let pid = lab.on(DOOR, &format!("docker inspect {client} --format '{{{{.State.Pid}}}}'")).parse().unwrap();
    let network = lab.on(DOOR, "docker network inspect inside --format '{{.ID}}'");
    let format = "'{{range .Endpoint.VirtualIPs}}{{println .NetworkID .Addr}}{{end}}'";
    let addresses = lab.on(DOOR, &format!("docker service inspect steady --format {format}"));
    let inside = addresses.lines().find_map(|l| l.strip_prefix(&format!("{network} "))).expect(&addresses);
    let sleeper = lab.lab().command(LAPTOP, "sleep").unwrap().arg("10000").spawn().unwrap();
    let outside = lab_namespace(&sleeper);
    Stage {
        container: NetNs::of_process(pid).unwrap(),
        outside,
        virtual_address: format!("{}:8080", inside.split('/').next().unwrap()).parse().unwrap(),
        published: format!("{}:8000", lab.address(DOOR)).parse().unwrap(),
        untouched: format!("{}:8080", lab.address(DOOR)).parse().unwrap(),
        lab,
        _seat: Seat(sleeper),
    }
}

/// The namespace of a command that was just begun on a machine, once it is there.
fn lab_namespace(child: &std::process::Child) -> NetNs {
    let own = NetNs::current().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let there = NetNs::of_process(child.id() as i32).unwrap();
        if !there.same_as(&own) {
            return there;
        }
        assert!(std::time::Instant::now() < deadline, "the command never came to its machine");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The first process: it passes the wish to end on by a file, and waits for the service.
const SERVE: &str = "#!/bin/sh
trap 'touch /tmp/closing' TERM
/bin/steady &
while kill -0 $! 2>/dev/null; do wait $!; done
";

/// Puts the service into the image that all tests have.
fn image(lab: &TestLab, machine: &str, dir: &Path, version: &str) {
    let container = lab.on(machine, &format!("docker create {IMAGE} true"));
    for program in ["steady", "serve"] {
        lab.on(machine, &format!("docker cp {}/{program} {container}:/bin/{program}", dir.display()));
    }
    let change = format!("--change 'CMD [\"/bin/serve\"]' --change 'ENV VERSION={version}'");
    lab.on(machine, &format!("docker commit {change} {container} steady:{version}"));
    lab.on(machine, &format!("docker rm {container}"));
}

impl Stage {
    fn update(&self, flags: &str, state: &str) {
        self.lab.on(DOOR, &format!("docker service update --detach --no-resolve-image {flags} steady"));
        self.settled(state);
    }

    /// Waits until the update is over and all run.
    fn settled(&self, state: &str) {
        let format = "'{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}'";
        self.lab.until(&format!("the update is {state}"), PATIENTLY, || {
            let now = self.lab.on(DOOR, &format!("docker service inspect steady --format {format}"));
            if now == state { Ok(()) } else { Err(now) }
        });
        self.all_run(REPLICAS);
    }

    fn all_run(&self, wanted: u32) {
        self.lab.replicas("steady", &format!("{wanted}/{wanted}"), PATIENTLY);
        self.lab.until("what was to go is gone", PATIENTLY, || {
            let running: usize = WORKERS.iter().map(|m| self.lab.containers(m, "steady").len()).sum();
            if running == wanted as usize { Ok(()) } else { Err(format!("{running} containers")) }
        });
    }

    fn availability(&self, word: &str) {
        self.lab.on(DOOR, &format!("docker node update --availability {word} {}", WORKERS[1]));
    }
}

#[test]
fn whatever_is_changed_under_load_no_client_notices() {
    let stage = stage();
    let mut load = Load::new();
    load.add(ROADS[0], &stage.container, stage.virtual_address, &MANNERS, PER_SECOND);
    load.add(ROADS[1], &stage.outside, stage.published, &MANNERS, PER_SECOND);
    load.add(CONTROL, &stage.outside, stage.untouched, &MANNERS, PER_SECOND);
    let mut phases: Vec<(&str, Duration)> = Vec::new();
    let mut phase = |name: &'static str, what: &dyn Fn()| {
        phases.push((name, load.elapsed()));
        what();
    };
    phase("nothing", &|| std::thread::sleep(Duration::from_secs(6)));
    phase("update, stop first", &|| stage.update("--update-order stop-first --env-add STEP=1", "completed"));
    phase("update, start first", &|| stage.update("--update-order start-first --env-add STEP=2", "completed"));
    phase("new image", &|| stage.update("--image steady:v2", "completed"));
    phase("rollback", &|| {
        stage.lab.on(DOOR, "docker service rollback --detach steady");
        stage.settled("rollback_completed");
    });
    phase("scale down and up", &|| {
        for count in [REPLICAS / 2, REPLICAS] {
            stage.lab.on(DOOR, &format!("docker service scale --detach steady={count}"));
            stage.all_run(count);
        }
    });
    phase("drain of a node", &|| {
        stage.availability("drain");
        stage.lab.until("the node is empty", PATIENTLY, || {
            let left = stage.lab.containers(WORKERS[1], "steady").len();
            if left == 0 { Ok(()) } else { Err(format!("{left} containers")) }
        });
        stage.all_run(REPLICAS);
        stage.availability("active");
    });
    phase("nothing again", &|| std::thread::sleep(Duration::from_secs(3)));
    phases.push(("", load.elapsed()));
    let records = load.end();
    judge(&phases, &records);
    stage.lab.on(DOOR, "docker rm -f client control");
    stage.lab.on(DOOR, "docker service rm steady");
    let Stage { lab, _seat, container, outside, .. } = stage;
    drop((_seat, container, outside));
    lab.end();
}

/// Prints what happened in each phase, and says what must not have.
fn judge(phases: &[(&str, Duration)], records: &[Record]) {
    let mut faults = Vec::new();
    for two in phases.windows(2) {
        let ((name, from), (_, to)) = (two[0], two[1]);
        let on = |road: &str| sum_up(records.iter().filter(|r| r.road == road && (from..to).contains(&r.at)));
        let noise = on(CONTROL);
        println!("{name}, {:.1} s", (to - from).as_secs_f64());
        for road in [CONTROL, ROADS[0], ROADS[1]] {
            let s = on(road);
            let [p50, p99, most] = s.took;
            println!(
                "  {road:16} {:6} requests, {} errors, p50 {p50:7.2?} p99 {p99:7.2?} most {most:7.2?}, {} answered",
                s.asked,
                s.errors.values().sum::<usize>(),
                s.answered.len()
            );
            faults.extend(s.errors.iter().map(|(e, n)| format!("{road}, {name}: {n} × {e}")));
            faults.extend(held_up(&s, &noise, to - from).into_iter().map(|f| format!("{road}, {name}: {f}")));
            let versions = |v: &str| s.answered.iter().any(|a| a.starts_with(v));
            if matches!(name, "new image" | "rollback") && road != CONTROL && !(versions("v1") && versions("v2")) {
                faults.push(format!("{road}, {name}: not both versions answered: {:?}", s.answered));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether requests took longer than where nothing changes: all this runs on one machine, which starts and stops
/// containers meanwhile.
fn held_up(s: &Summary, noise: &Summary, span: Duration) -> Vec<String> {
    let mut faults = Vec::new();
    let ([_, p99, most], [_, noise_p99, noise_most]) = (s.took, noise.took);
    if p99 > noise_p99 * 2 + Duration::from_millis(40) {
        faults.push(format!("p99 {p99:?}, and {noise_p99:?} where nothing changes"));
    }
    if most >= NEVER_SO_LONG.max(noise_most * 2) {
        faults.push(format!("a request took {most:?}, and no more than {noise_most:?} where nothing changes"));
    }
    // So much for the case that nobody asks: half of what was due is enough on a busy machine.
    let due = span.as_secs_f64() * f64::from(PER_SECOND) * MANNERS.len() as f64;
    if (s.asked as f64) < due / 2.0 {
        faults.push(format!("only {} of {due:.0} requests were sent", s.asked));
    }
    faults
}
