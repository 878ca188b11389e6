//! `cargo xtask bench`: Shoal beside the bare kernel and, where dockerd is installed, beside Docker Swarm, in one run
//! on one machine. Everything happens in namespaces without an uplink, and goes when it is done.
mod api;
mod engine;
mod figures;
mod goals;
mod ground;
mod lab;
mod lives;
mod lone;
mod memory;
mod peer;
mod priority;
mod road;
mod stand;
mod survival;

use crate::{prerequisites, program};
use anyhow::{Context, Result, bail};
use engine::Engine;
use figures::Figure;
use priority::{Clock, Priority};
use serde_json::json;
use std::cell::Cell;
use std::path::{Path, PathBuf};

const NO_BALANCER: &str = "not possible on this kernel (no IPVS)";
/// On a disk: both engines keep their data below it.
const WORK: &str = "/var/lib/shoal-bench";
/// What two nodes of each engine are needed for.
const SWARM: [&str; 8] = ["throughput", "round-trip", "connections", "mesh", "dns", "create", "run", "memory"];
const NAMES: [&str; 19] = [
    "throughput",
    "round-trip",
    "connections",
    "mesh",
    "dns",
    "create",
    "run",
    "memory",
    "start",
    "alone",
    "parallel",
    "exec",
    "load",
    "logs",
    "scale",
    "propagation",
    "services",
    "failure",
    "leader",
];

/// What to measure, and against whom.
#[derive(clap::Args)]
pub struct Options {
    /// Only this (repeatable).
    #[arg(long, value_parser = NAMES)]
    only: Vec<String>,
    /// One short round: shows that it works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Rounds of every measurement.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Also write everything to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Whom to compare with; the default is dockerd where it is installed.
    #[arg(long, value_parser = ["dockerd", "none"])]
    peer: Option<String>,
    /// Use this binary instead of the release build.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// A run.
pub struct Bench {
    options: Options,
    /// Shoal.
    pub binary: PathBuf,
    /// The load, a static program.
    pub load: PathBuf,
    /// Where data paths are measured: client, server and kernel on one.
    pub cpu: String,
    began: Cell<Clock>,
}

impl Bench {
    /// Whether it was asked for.
    pub fn wants(&self, key: &str) -> bool {
        self.options.only.is_empty() || self.options.only.iter().any(|k| k == key)
    }

    fn wants_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|k| self.wants(k))
    }

    /// How often each path is measured.
    pub fn rounds(&self) -> usize {
        if self.options.quick { 1 } else { self.options.rounds.max(1) }
    }

    /// Data paths differ by less than what two rounds of the same do: twice as many.
    pub fn path_rounds(&self) -> usize {
        if self.options.quick { 1 } else { 2 * self.rounds() }
    }

    /// How long a load lasts.
    pub fn seconds(&self) -> &'static str {
        if self.options.quick { "0.5" } else { "1" }
    }

    /// Progress.
    pub fn begin(&self, what: &str) {
        eprintln!("… {what}");
        self.began.set(Clock::read());
    }

    /// Says how quiet it was, and shows the figure.
    pub fn end(&self, figure: Figure) -> Figure {
        let (ours, others) = Clock::read().since(&self.began.get());
        eprintln!("  {ours:.1} CPU seconds; others used {:.0} % of the machine", others * 100.0);
        figure
    }
}

/// Measures, prints, takes everything away.
pub fn run(root: &Path, options: Options) -> Result<()> {
    if program::output(Path::new("/"), &["id", "-u"])?.trim() != "0" {
        bail!("namespaces need root: run `sudo -E cargo xtask bench`");
    }
    prerequisites::ensure()?;
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize().with_context(|| format!("{} is not there", binary.display()))?,
        None => lab::binary(root)?,
    };
    let with_peer = match options.peer.as_deref() {
        Some("none") => false,
        Some(_) if !program::exists("dockerd") => bail!("dockerd is not installed (Debian: docker.io)"),
        Some(_) => true,
        None => program::exists("dockerd"),
    };
    let work = Path::new(WORK);
    std::fs::create_dir_all(work).with_context(|| format!("cannot make {WORK}"))?;
    let (load, archive) = make_load(root, work)?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpu = (cpus - 1).to_string();
    let bench = Bench { options, binary, load, cpu, began: Cell::new(Clock::read()) };
    let measured = measure(&bench, work, &archive, with_peer);
    // What stays of it is told where it is taken away.
    let _ = std::fs::remove_dir_all(work);
    let figures = measured?;
    let machine = describe(&bench);
    println!("\n{machine}");
    figures.iter().for_each(Figure::print);
    let goals = goals::check(&figures);
    goals::print(&goals);
    if let Some(file) = &bench.options.json {
        let figures: Vec<_> = figures.iter().map(Figure::to_json).collect();
        let all = json!({ "machine": machine, "figures": figures, "goals": goals::to_json(&goals) });
        std::fs::write(file, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn measure(bench: &Bench, work: &Path, archive: &[u8], with_peer: bool) -> Result<Vec<Figure>> {
    // Dropped in the opposite order: first the engines, then the ground, last the priority.
    let _priority = Priority::take();
    let _ground = ground::Ground::lay(12, &bench.load, &bench.cpu)?;
    let mut figures = Vec::new();
    if bench.wants_any(&lone::KEYS) {
        figures = lone::figures(bench, [5, 6], work, archive, with_peer)?;
    }
    if bench.wants_any(&SWARM) {
        figures.extend(swarms(bench, work, archive, with_peer)?);
    }
    if bench.wants_any(&survival::KEYS) {
        figures.extend(survival::figures(bench, [7, 8, 9, 10, 11, 12], work, archive, with_peer)?);
    }
    Ok(figures)
}

fn swarms(bench: &Bench, work: &Path, archive: &[u8], with_peer: bool) -> Result<Vec<Figure>> {
    let mut engines: Vec<Engine> = Vec::new();
    let _peer = if with_peer {
        eprintln!("… two nodes with dockerd");
        let (peer, engine) = peer::Peer::raise(&[3, 4], work)?;
        engines.push(engine);
        Some(peer)
    } else {
        None
    };
    eprintln!("… two machines with Shoal");
    let (lab, engine) = lab::ShoalLab::raise(&bench.binary, work)?;
    engines.push(engine);
    for engine in &engines {
        engine.form(archive).with_context(|| format!("{:?}: its swarm", engine.of))?;
    }
    let all: Vec<&Engine> = engines.iter().collect();
    let mut figures = Vec::new();
    let mut memory = Vec::new();
    if bench.wants("memory") {
        memory = lives::memory(bench, &all);
    }
    if bench.wants_any(&["throughput", "round-trip", "connections", "mesh", "dns"]) {
        let stages = all.iter().map(|e| road::Stage::set(bench, e)).collect::<Result<Vec<_>>>()?;
        figures.extend(road::paths(bench, &stages));
        if bench.wants("mesh") {
            figures.push(road::mesh(bench, &stages, || lab.at_laptop()));
        }
        if bench.wants("dns") {
            figures.extend(road::names(bench, &stages));
        }
        stages.into_iter().try_for_each(road::Stage::clear)?;
    }
    if bench.wants("run") {
        figures.extend(lives::runs(bench, &all));
    }
    if bench.wants("create") {
        figures.extend(lives::services(bench, &all));
    }
    figures.extend(memory);
    Ok(figures)
}

/// Compiles the load and packs the image around it.
fn make_load(root: &Path, work: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let tree = work.join("image");
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(tree.join(dir))?;
    }
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/:/bin/false\n")?;
    let load = tree.join("bin/load");
    let (source, target) = (root.join("xtask/bench/load.c"), load.display().to_string());
    program::output(root, &["cc", "-O2", "-static", "-o", &target, &source.display().to_string()])?;
    let archive = work.join("image.tar").display().to_string();
    let dir = tree.display().to_string();
    program::output(root, &["tar", "--numeric-owner", "--owner=0", "--group=0", "-C", &dir, "-cf", &archive, "."])?;
    let bytes = std::fs::read(&archive)?;
    Ok((load, bytes))
}

fn describe(bench: &Bench) -> String {
    let line = |words: &[&str]| program::output(Path::new("/"), words).unwrap_or_default().trim().to_owned();
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, m)| m);
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let peer = if program::exists("dockerd") { line(&["dockerd", "--version"]) } else { "no dockerd".to_owned() };
    format!(
        "{}; {cpus} CPUs {model}; Linux {}; {peer}; {} rounds, data paths {} of {} s on CPU {}",
        line(&["date", "-u", "+%Y-%m-%d %H:%M UTC"]),
        line(&["uname", "-r"]),
        bench.rounds(),
        bench.path_rounds(),
        bench.seconds(),
        bench.cpu,
    )
}
