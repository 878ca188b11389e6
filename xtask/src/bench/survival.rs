//! Three managers of each engine: what grows, what is lost, and how soon the rest knows.
use super::api::Api;
use super::engine::{Engine, IMAGE, NETWORK, Wanted, filter, spec, wait, wait_every};
use super::figures::{Better, Figure, Of};
use super::stand::Stand;
use super::{Bench, ground, lives, peer};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// What of this module can be asked for.
pub const KEYS: [&str; 5] = ["scale", "propagation", "services", "failure", "leader"];

const SERVICES: usize = 100;
const SERVICES_QUICK: usize = 10;
const WATCHER: &str = "watcher";
const FAST: Duration = Duration::from_millis(10);

/// Three nodes, all of them managers; each can be killed as if its machine had lost its power, and started again.
struct Trio {
    stands: Vec<Stand>,
    engine: Engine,
}

impl Trio {
    fn raise(of: Of, seats: [usize; 3], work: &Path, daemon: &[&str], archive: &[u8]) -> Result<Self> {
        let (mut stands, mut nodes) = (Vec::new(), Vec::new());
        for seat in seats {
            let mut stand = Stand::new(seat, &format!("trio-{seat}"), work, daemon)?;
            nodes.push(stand.start()?.0);
            stands.push(stand);
        }
        let engine = Engine { of, nodes, balances: false };
        engine.form_of_managers(archive).with_context(|| format!("{of:?}: its swarm"))?;
        Ok(Self { stands, engine })
    }

    /// Which node leads.
    fn leader(&self) -> Result<usize> {
        let nodes = self.engine.manager().get("/nodes")?;
        let leads = |n: &&Value| n["ManagerStatus"]["Leader"] == true;
        let name = nodes.as_array().into_iter().flatten().find(leads).map(|n| n["Description"]["Hostname"].clone());
        let name = name.context("no leader")?;
        self.engine.nodes.iter().position(|n| name == n.name.as_str()).context("an unknown leader")
    }

    /// The node whose door is used stays: another one is taken for what is to be lost.
    fn mend(&mut self, node: usize) -> Result<()> {
        let (again, _) = self.stands[node].start()?;
        self.engine.nodes[node] = again;
        self.engine.all_ready(&self.engine.nodes[(node + 1) % 3].api)?;
        // What is under way after a failure shall not disturb the next measurement.
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    }
}

/// All that was asked for, of Shoal in three namespaces and, with a peer, of dockerd in three others.
pub fn figures(bench: &Bench, seats: [usize; 6], work: &Path, archive: &[u8], with_peer: bool) -> Result<Vec<Figure>> {
    eprintln!("… three managers each");
    let mut trios = Vec::new();
    let [a, b, c, d, e, f] = seats;
    if with_peer {
        trios.push(Trio::raise(Of::Docker, [d, e, f], work, &peer::DOCKERD, archive)?);
    }
    let shoal = bench.binary.display().to_string();
    trios.push(Trio::raise(Of::Shoal, [a, b, c], work, &[&shoal, "daemon"], archive)?);
    let mut all = Vec::new();
    if bench.wants("services") {
        all.push(services(bench, &trios));
    }
    if bench.wants("scale") {
        all.push(each(bench, &mut trios, "scale", "From `service scale` to all running, 10 to 50", "s", |t, n| {
            scale(t, n)
        }));
    }
    if bench.wants("propagation") {
        let title = "From a container's start to its name resolving and its port answering on another node";
        all.push(each(bench, &mut trios, "propagation", title, "ms", propagation));
    }
    if bench.wants("failure") {
        let title = "From a node's end (no leader) to all six tasks running on the others";
        all.push(each(bench, &mut trios, "failure", title, "s", failure));
    }
    if bench.wants("leader") {
        let title = "From the leader's end to the first service accepted by another manager";
        all.push(each(bench, &mut trios, "leader", title, "s", leader));
    }
    Ok(all)
}

/// One row for each engine, by rounds.
fn each(
    bench: &Bench,
    trios: &mut [Trio],
    key: &'static str,
    title: &str,
    unit: &'static str,
    measure: impl Fn(&mut Trio, usize) -> Result<f64>,
) -> Figure {
    bench.begin(title);
    let mut figure = Figure::new(key, title, unit, Better::Lower);
    for round in 0..bench.rounds() {
        for trio in trios.iter_mut() {
            let value = measure(trio, round);
            figure.add("three managers", trio.engine.of, value);
        }
    }
    bench.end(figure)
}

fn wanted<'a>(name: &'a str, replicas: u32, on: Option<&'a str>) -> Wanted<'a> {
    Wanted { name, replicas, on, by_name_only: true, published: false, cpu: None }
}

fn scale(trio: &mut Trio, round: usize) -> Result<f64> {
    let engine = &trio.engine;
    let service = engine.create(&wanted(&format!("scale-{round}"), 10, None))?;
    let took = (|| {
        engine.running(&service, 10, FAST)?;
        std::thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        engine.scale(&service, 50)?;
        engine.running(&service, 50, Duration::from_millis(50))?;
        Ok(began.elapsed().as_secs_f64())
    })();
    engine.remove(&service)?;
    took
}

/// A container on the first node asks for a name until it is known, and then connects; the task comes up on the second.
fn propagation(trio: &mut Trio, round: usize) -> Result<f64> {
    let engine = &trio.engine;
    let (here, there) = (&engine.nodes[0], &engine.nodes[1]);
    let name = format!("spread-{round}");
    let empty = Value::Null;
    let watcher = json!({
        "Image": IMAGE, "Cmd": ["/bin/load", "until", "127.0.0.11", name, ground::PORT, "60"],
        "HostConfig": { "NetworkMode": NETWORK },
    });
    let made = here.api.post(&format!("/containers/create?name={WATCHER}"), &watcher)?;
    let watcher = made["Id"].as_str().context("a container without an id")?.to_owned();
    let took = (|| {
        here.api.post(&format!("/containers/{watcher}/start"), &empty)?;
        let service = engine.create(&wanted(&name, 1, Some(&there.name)))?;
        let seen = (|| {
            engine.running(&service, 1, FAST)?;
            here.api.post(&format!("/containers/{watcher}/wait"), &empty)?;
            let (_, said) = here.api.logs(&watcher)?;
            let said: Value =
                serde_json::from_str(said.trim()).with_context(|| format!("the watcher said {said:?}"))?;
            let reached = said["reached"].as_u64().filter(|t| *t > 0).context("it was never reached")?;
            Ok(reached as f64 - started_at(&there.api, &service)?)
        })();
        engine.remove(&service)?;
        seen
    })();
    here.api.delete(&format!("/containers/{watcher}?force=1"))?;
    took.map(|ns: f64| ns / 1e6)
}

/// When the only container of a service on a node was started, in nanoseconds of the wall clock.
fn started_at(api: &Api, service: &str) -> Result<f64> {
    let label = filter("label", &format!("com.docker.swarm.service.id={service}"));
    let listed = api.get(&format!("/containers/json?filters={label}"))?;
    let id = listed[0]["Id"].as_str().context("the task has no container")?;
    let shown = api.get(&format!("/containers/{id}/json"))?;
    let text = shown["State"]["StartedAt"].as_str().context("no start")?;
    let date = crate::program::output(Path::new("/"), &["date", "-d", text, "+%s%N"])?;
    Ok(date.trim().parse()?)
}

fn failure(trio: &mut Trio, round: usize) -> Result<f64> {
    // The door stays, and so does the leader.
    let leader = trio.leader()?;
    let victim = (1..3).find(|n| *n != leader).context("nobody to lose")?;
    let service = trio.engine.create(&wanted(&format!("loss-{round}"), 6, None))?;
    let took = (|| {
        let engine = &trio.engine;
        engine.running(&service, 6, FAST)?;
        std::thread::sleep(Duration::from_secs(2));
        let path = format!("/tasks?filters={}", filter("service", &service));
        let lost = engine.manager().get("/nodes")?;
        let is_victim = |n: &&Value| n["Description"]["Hostname"] == engine.nodes[victim].name.as_str();
        let lost =
            lost.as_array().into_iter().flatten().find(is_victim).map(|n| n["ID"].clone()).context("no such node")?;
        let began = Instant::now();
        trio.stands[victim].stop();
        wait_every(FAST, "all six on the others", || {
            let tasks = trio.engine.manager().get(&path)?;
            let runs =
                |t: &&Value| t["Status"]["State"] == "running" && t["DesiredState"] == "running" && t["NodeID"] != lost;
            Ok((tasks.as_array().into_iter().flatten().filter(runs).count() >= 6).then_some(()))
        })?;
        Ok(began.elapsed().as_secs_f64())
    })();
    trio.mend(victim)?;
    trio.engine.remove(&service)?;
    took
}

fn leader(trio: &mut Trio, round: usize) -> Result<f64> {
    let lost = trio.leader()?;
    let other = (lost + 1) % 3;
    let mut name = String::new();
    let mut attempt = 0;
    let began = Instant::now();
    trio.stands[lost].stop();
    let made = wait_every(FAST, "a service accepted", || {
        attempt += 1;
        name = format!("after-{round}-{attempt}");
        let asked = trio.engine.nodes[other].api.post("/services/create", &spec(&wanted(&name, 1, None))?);
        Ok(asked.ok())
    });
    let took = began.elapsed().as_secs_f64();
    trio.mend(lost)?;
    let made = made?;
    let Some(id) = made["ID"].as_str() else { bail!("a service without an id") };
    trio.engine.remove(id)?;
    Ok(took)
}

/// What a manager holds whose swarm has many services, with their tasks on the other nodes.
fn services(bench: &Bench, trios: &[Trio]) -> Figure {
    let count = if bench.options.quick { SERVICES_QUICK } else { SERVICES };
    let title = format!("A manager's daemon, {count} services with a task each on the other nodes");
    bench.begin(&title);
    let mut figure = Figure::new("services", &title, "MB", Better::Lower);
    for trio in trios {
        let engine = &trio.engine;
        let mut made = Vec::new();
        let filled = (|| {
            for n in 0..count {
                made.push(engine.create(&wanted(&format!("many-{n}"), 1, Some(&engine.nodes[1 + n % 2].name)))?);
            }
            wait("all services running", || {
                let tasks = engine.manager().get("/tasks")?;
                let runs = |t: &&Value| t["Status"]["State"] == "running";
                Ok((tasks.as_array().into_iter().flatten().filter(runs).count() >= count).then_some(()))
            })
        })();
        match filled {
            Ok(()) => {
                lives::add_daemon(&mut figure, &Engine { nodes: vec![engine.nodes[0].clone()], ..engine.clone() })
            }
            Err(e) => figure.add("proportional (PSS)", engine.of, Err(e)),
        }
        for service in made {
            if let Err(e) = engine.remove(&service) {
                println!("  ({e:#})");
            }
        }
    }
    bench.end(figure)
}
