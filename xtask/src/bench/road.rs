//! Data paths: bytes, round trips and new connections across two machines, and names.
use super::engine::{Engine, PUBLISHED, Wanted};
use super::figures::{Better, Figure, Of};
use super::ground::{self, PATHS, PORT};
use super::{Bench, NO_BALANCER};
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

const CLIENT: &str = "bench-client";
const SERVER: &str = "bench-server";
/// Connections, or questions, that are on their way at a time.
const FLYING: &str = "32";

/// An engine with its client and its server in place.
pub struct Stage<'a> {
    engine: &'a Engine,
    /// The client's container on the first node.
    client: String,
    /// The server's own address.
    direct: String,
    /// The service's, if it can work here.
    vip: Option<String>,
    services: Vec<String>,
}

impl<'a> Stage<'a> {
    /// A client on the first node, a server on the second.
    pub fn set(bench: &Bench, engine: &'a Engine) -> Result<Self> {
        let cpu = Some(bench.cpu.as_str());
        let wanted = |name, node: usize, published| Wanted {
            name,
            replicas: 1,
            on: Some(&engine.nodes[node].name),
            by_name_only: !engine.balances,
            published: published && engine.balances,
            cpu,
        };
        let mut services = Vec::new();
        for (name, node) in [(CLIENT, 0), (SERVER, 1)] {
            services.push(engine.create(&wanted(name, node, node == 1))?);
        }
        engine.running(&services[0], 1, Duration::from_millis(50))?;
        let tasks = engine.running(&services[1], 1, Duration::from_millis(50))?;
        let attachments = tasks[0]["NetworksAttachments"].as_array().cloned().unwrap_or_default();
        let ours = attachments.iter().find(|a| a["Network"]["Spec"]["Name"] == super::engine::NETWORK);
        let direct = bare(ours.and_then(|a| a["Addresses"][0].as_str()).context("the server has no address")?);
        let service = engine.manager().get(&format!("/services/{}", services[1]))?;
        let network = ours.and_then(|a| a["Network"]["ID"].as_str()).unwrap_or_default();
        let vips = service["Endpoint"]["VirtualIPs"].as_array().cloned().unwrap_or_default();
        let vip = vips.iter().find(|v| v["NetworkID"] == network).and_then(|v| v["Addr"].as_str()).map(bare);
        let label = format!("%7B%22label%22:%5B%22com.docker.swarm.service.id={}%22%5D%7D", services[0]);
        let listed = engine.nodes[0].api.get(&format!("/containers/json?filters={label}"))?;
        let client = listed[0]["Id"].as_str().context("the client's container is not listed")?.to_owned();
        Ok(Self { engine, client, direct, vip: vip.filter(|_| engine.balances), services })
    }

    /// Takes both away.
    pub fn clear(self) -> Result<()> {
        self.services.iter().try_for_each(|s| self.engine.remove(s))
    }

    fn load(&self, cpu: Option<&str>, words: &[&str]) -> Result<Value> {
        let pinned = cpu.map_or_else(Vec::new, |c| vec!["-c", c]);
        let all: Vec<&str> = ["/bin/load"].into_iter().chain(pinned).chain(words.iter().copied()).collect();
        measured(&self.engine.nodes[0].api.exec(&self.client, &all)?)
    }
}

/// Without the prefix length.
fn bare(address: &str) -> String {
    address.split('/').next().unwrap_or(address).to_owned()
}

fn measured(text: &str) -> Result<Value> {
    serde_json::from_str(text.trim()).with_context(|| format!("the load said {text:?}"))
}

fn number(value: &Value, key: &str) -> Result<f64> {
    if value["failed"].as_f64().unwrap_or(0.0) > value["done"].as_f64().unwrap_or(0.0) / 1000.0 {
        anyhow::bail!("{} of {} failed", value["failed"], value["done"]);
    }
    value[key].as_f64().filter(|v| *v > 0.0).with_context(|| format!("nothing measured: {value}"))
}

fn in_namespace(bench: &Bench, namespace: &str, cpu: Option<&str>, words: &[&str]) -> Result<Value> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(&bench.load);
    run(command, cpu, words)
}

fn run(mut command: Command, cpu: Option<&str>, words: &[&str]) -> Result<Value> {
    if let Some(cpu) = cpu {
        command.args(["-c", cpu]);
    }
    let out = command.args(words).stdin(Stdio::null()).output()?;
    if !out.status.success() {
        anyhow::bail!("{}", String::from_utf8_lossy(&out.stderr).trim());
    }
    measured(&String::from_utf8_lossy(&out.stdout))
}

/// How one data path figure is taken.
struct Kind {
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
    verb: &'static str,
    flying: bool,
    field: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        key: "throughput",
        title: "One TCP stream across two machines",
        unit: "Gbit/s",
        better: Better::Higher,
        verb: "stream",
        flying: false,
        field: "gbit_per_second",
    },
    Kind {
        key: "round-trip",
        title: "TCP round trip of one byte across two machines, p50",
        unit: "µs",
        better: Better::Lower,
        verb: "rr",
        flying: false,
        field: "p50_us",
    },
    Kind {
        key: "connections",
        title: "New TCP connections with one request each across two machines, 32 at a time",
        unit: "per s",
        better: Better::Higher,
        verb: "connect",
        flying: true,
        field: "per_second",
    },
];

/// Throughput, round trips, new connections: every path in every round, on one CPU.
pub fn paths(bench: &Bench, stages: &[Stage<'_>]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for kind in KINDS.iter().filter(|k| bench.wants(k.key)) {
        bench.begin(kind.title);
        let mut figure = Figure::new(kind.key, kind.title, kind.unit, kind.better);
        let cpu = Some(bench.cpu.as_str());
        let seconds = bench.seconds();
        for _ in 0..bench.path_rounds() {
            let words = |to: &str| -> Vec<String> {
                let flying = kind.flying.then_some(FLYING);
                [kind.verb, to, PORT, seconds].into_iter().chain(flying).map(str::to_owned).collect()
            };
            for path in PATHS {
                let words = words(path.to);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let value = in_namespace(bench, path.from, cpu, &words).and_then(|v| number(&v, kind.field));
                figure.add(path.name, Of::Kernel, value);
            }
            for stage in stages {
                for (name, to) in
                    [("overlay, direct", Some(&stage.direct)), ("overlay, virtual IP", stage.vip.as_ref())]
                {
                    let Some(to) = to else { continue };
                    let words = words(to);
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    let value = stage.load(cpu, &words).and_then(|v| number(&v, kind.field));
                    figure.add(name, stage.engine.of, value);
                }
            }
        }
        without_balancer(&mut figure, stages, "overlay, virtual IP");
        figures.push(bench.end(figure));
    }
    figures
}

fn without_balancer(figure: &mut Figure, stages: &[Stage<'_>], name: &str) {
    if stages.iter().any(|s| s.engine.of == Of::Docker && !s.engine.balances) {
        figure.rows.push(super::figures::Row::without(name, Of::Docker, NO_BALANCER));
    }
}

/// A published port, asked for from outside the swarm, at the node that has the task and at the one that has not.
pub fn mesh(bench: &Bench, stages: &[Stage<'_>], laptop: impl Fn() -> Command) -> Figure {
    let title = "New TCP connections to a published port from outside, 32 at a time";
    bench.begin(title);
    let mut figure = Figure::new("mesh", title, "per s", Better::Higher);
    let (cpu, port) = (Some(bench.cpu.as_str()), PUBLISHED.to_string());
    for _ in 0..bench.path_rounds() {
        let words = ["connect", PATHS[0].to, PORT, bench.seconds(), FLYING];
        let value = in_namespace(bench, PATHS[0].from, cpu, &words).and_then(|v| number(&v, "per_second"));
        figure.add(PATHS[0].name, Of::Kernel, value);
        for stage in stages.iter().filter(|s| s.engine.balances) {
            for (name, node) in [("mesh, the task is there", 1), ("mesh, the task is elsewhere", 0)] {
                let words = ["connect", &stage.engine.nodes[node].address, &port, bench.seconds(), FLYING];
                let from = if stage.engine.of == Of::Shoal {
                    let mut command = laptop();
                    command.arg(&bench.load);
                    run(command, cpu, &words)
                } else {
                    in_namespace(bench, PATHS[0].from, cpu, &words)
                };
                figure.add(name, stage.engine.of, from.and_then(|v| number(&v, "per_second")));
            }
        }
    }
    without_balancer(&mut figure, stages, "mesh");
    bench.end(figure)
}

/// Questions for a service's name at 127.0.0.11; beside an echo in the same kind of place. Not on one CPU: the answers
/// come from another process, and more than one may answer.
pub fn names(bench: &Bench, stages: &[Stage<'_>]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (flying, unit, better, field, title) in [
        (FLYING, "per s", Better::Higher, "per_second", "Questions for a service's name, 32 at a time"),
        ("1", "µs", Better::Lower, "p50_us", "One question for a service's name, p50"),
    ] {
        bench.begin(title);
        let mut figure = Figure::new("dns", title, unit, better);
        for _ in 0..bench.path_rounds() {
            let echo = ["echo", PATHS[0].to, PORT, bench.seconds(), flying];
            // In the server's own namespace, over its loopback.
            let value = in_namespace(bench, &ground::namespace(2), None, &echo).and_then(|v| number(&v, field));
            figure.add("UDP echo on the loopback", Of::Kernel, value);
            for stage in stages {
                let words = ["dns", "127.0.0.11", SERVER, bench.seconds(), flying];
                let value = stage.load(None, &words).and_then(|v| number(&v, field));
                figure.add("service name", stage.engine.of, value);
            }
        }
        figures.push(bench.end(figure));
    }
    figures
}
