//! Lives of containers: services that come up, one container from start to end, and what they hold meanwhile.
use super::Bench;
use super::engine::{Engine, IMAGE, Wanted};
use super::figures::{Better, Figure, Of};
use super::memory;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::time::{Duration, Instant};

const MEGABYTE: f64 = 1e6;
const SETTLE: Duration = Duration::from_secs(5);

/// From `service create` to all tasks running, and from `service rm` to the last container gone.
pub fn services(bench: &Bench, engines: &[&Engine]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for replicas in [1, 10, 50] {
        let title = format!("From `service create` to all running, {replicas} on an overlay network");
        bench.begin(&title);
        let mut up = Figure::new("create", &title, "s", Better::Lower);
        let title = format!("From `service rm` to no container left, {replicas} on an overlay network");
        let mut down = Figure::new("create", &title, "s", Better::Lower);
        for round in 0..bench.rounds() {
            for engine in engines {
                match one_service(engine, &format!("bench-{replicas}-{round}"), replicas) {
                    Ok((created, removed)) => {
                        up.add("names only", engine.of, Ok(created));
                        down.add("names only", engine.of, Ok(removed));
                    }
                    Err(e) => up.add("names only", engine.of, Err(e)),
                }
            }
        }
        figures.extend([bench.end(up), down]);
    }
    figures
}

fn wanted(name: &str, replicas: u32) -> Wanted<'_> {
    Wanted { name, replicas, on: None, by_name_only: true, published: false, cpu: None }
}

fn one_service(engine: &Engine, name: &str, replicas: u32) -> Result<(f64, f64)> {
    let poll = Duration::from_millis(if replicas < 20 { 10 } else { 50 });
    let began = Instant::now();
    let service = engine.create(&wanted(name, replicas))?;
    let up = engine.running(&service, replicas, poll);
    let created = began.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    engine.remove(&service)?;
    up?;
    let removed = began.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(500));
    Ok((created, removed))
}

/// A container that does nothing: by the command line, and by the API alone.
pub fn runs(bench: &Bench, engines: &[&Engine]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for network in ["none", "bridge"] {
        let title = format!("`run --rm --network {network}` of a program that does nothing");
        bench.begin(&title);
        let mut cli = Figure::new("run", &title, "ms", Better::Lower);
        let title = format!("The same by the API: create, start, wait, remove ({network})");
        let mut api = Figure::new("run", &title, "ms", Better::Lower);
        for _ in 0..bench.rounds() * 5 {
            for engine in engines {
                cli.add("command line", engine.of, by_command_line(bench, engine, network));
                api.add("API", engine.of, by_api(engine, network));
            }
        }
        figures.extend([bench.end(cli), api]);
    }
    figures
}

fn by_command_line(bench: &Bench, engine: &Engine, network: &str) -> Result<f64> {
    let mut command = engine.docker(0, &bench.binary);
    command.args(["run", "--rm", "--network", network, IMAGE, "/bin/load", "true"]);
    let began = Instant::now();
    let out = command.output()?;
    let took = began.elapsed();
    if !out.status.success() {
        bail!("{}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(took.as_secs_f64() * 1e3)
}

fn by_api(engine: &Engine, network: &str) -> Result<f64> {
    let api = engine.manager();
    let began = Instant::now();
    let spec = json!({ "Image": IMAGE, "Cmd": ["/bin/load", "true"], "HostConfig": { "NetworkMode": network } });
    let made = api.post("/containers/create", &spec)?;
    let id = made["Id"].as_str().context("a container without an id")?;
    let empty = serde_json::Value::Null;
    api.post(&format!("/containers/{id}/start"), &empty)?;
    api.post(&format!("/containers/{id}/wait"), &empty)?;
    api.delete(&format!("/containers/{id}"))?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// What the daemons hold with nothing to do and with 50 containers, and what each container adds beside its own.
pub fn memory(bench: &Bench, engines: &[&Engine]) -> Vec<Figure> {
    const CONTAINERS: u32 = 50;
    bench.begin("Memory");
    let figure = |title: &str| Figure::new("memory", title, "MB", Better::Lower);
    let mut idle = figure("A node's daemon, idle (dockerd with its containerd)");
    let mut busy = figure("A node's daemon with 25 containers");
    let mut each = figure("Beside each container: its shim");
    for engine in engines {
        add_daemon(&mut idle, engine);
        let service = match engine.create(&wanted("bench-memory", CONTAINERS)) {
            Ok(service) => service,
            Err(e) => {
                each.add("proportional (PSS)", engine.of, Err(e));
                continue;
            }
        };
        let up = engine.running(&service, CONTAINERS, Duration::from_millis(100));
        add_daemon(&mut busy, engine);
        let shims = memory::of(engine).get("shim").copied().unwrap_or_default();
        let value = |v: f64| match &up {
            Ok(_) if shims.processes > 0 => Ok(v / shims.processes as f64 / MEGABYTE),
            Ok(_) => Err(no_process()),
            Err(e) => Err(anyhow::anyhow!("{e:#}")),
        };
        each.add("proportional (PSS)", engine.of, value(shims.pss));
        each.add("private", engine.of, value(shims.private));
        if let Err(e) = engine.remove(&service) {
            println!("  ({e:#})");
        }
    }
    for f in [&mut idle, &mut busy, &mut each] {
        f.rows.sort_by_key(|r| (r.of == Of::Shoal, r.name != "proportional (PSS)"));
    }
    vec![bench.end(idle), busy, each]
}

/// Adds what a node's daemon holds, once it has come to rest.
pub fn add_daemon(figure: &mut Figure, engine: &Engine) {
    std::thread::sleep(SETTLE);
    let nodes = engine.nodes.len() as f64;
    let held = memory::of(engine).get("daemon").copied().unwrap_or_default();
    let value = |v: f64| if held.processes > 0 { Ok(v / nodes / MEGABYTE) } else { Err(no_process()) };
    figure.add("proportional (PSS)", engine.of, value(held.pss));
    figure.add("private", engine.of, value(held.private));
}

fn no_process() -> anyhow::Error {
    anyhow::anyhow!("no process of it was found")
}
