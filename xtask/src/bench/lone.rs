//! One daemon of each engine without a swarm, in namespaces made the same way: what a container engine is asked all day.
use super::Bench;
use super::engine::{Engine, IMAGE};
use super::figures::{Better, Figure, Of};
use super::stand::Stand;
use super::{ground, lives, peer};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// What of this module can be asked for.
pub const KEYS: [&str; 6] = ["start", "alone", "parallel", "exec", "load", "logs"];

const TOGETHER: usize = 50;
const LOADED: &str = "bench-loaded:1";
const LOADED_FILES: usize = 400;
const LOADED_FILE_SIZE: usize = 512 << 10;
const WRITTEN_MEGABYTES: usize = 100;

/// A daemon and its door.
struct Lone {
    stand: Stand,
    engine: Engine,
}

impl Lone {
    fn raise(of: Of, seat: usize, work: &Path, daemon: &[&str], archive: &[u8]) -> Result<Self> {
        let mut stand = Stand::new(seat, &format!("lone-{seat}"), work, daemon)?;
        let (node, _) = stand.start()?;
        node.api.import(archive, "bench", "1")?;
        Ok(Self { stand, engine: Engine { of, nodes: vec![node], balances: false } })
    }
}

/// All that was asked for, of Shoal in the namespace `seats[0]` and, with a peer, of dockerd in `seats[1]`.
pub fn figures(bench: &Bench, seats: [usize; 2], work: &Path, archive: &[u8], with_peer: bool) -> Result<Vec<Figure>> {
    eprintln!("… a daemon each, without a swarm");
    let mut lone = Vec::new();
    if with_peer {
        lone.push(Lone::raise(Of::Docker, seats[1], work, &peer::DOCKERD, archive)?);
    }
    let shoal = bench.binary.display().to_string();
    lone.push(Lone::raise(Of::Shoal, seats[0], work, &[&shoal, "daemon"], archive)?);
    let mut all = Vec::new();
    {
        let engines: Vec<&Engine> = lone.iter().map(|l| &l.engine).collect();
        if bench.wants("alone") {
            all.push(alone(bench, &engines));
        }
        if bench.wants("exec") {
            all.push(execs(bench, &engines));
        }
        if bench.wants("parallel") {
            all.extend(parallel(bench, &engines));
        }
        if bench.wants("load") {
            all.push(loads(bench, &engines, work)?);
        }
        if bench.wants("logs") {
            all.extend(logs(bench, &engines));
        }
    }
    if bench.wants("start") {
        all.push(starts(bench, &mut lone));
    }
    Ok(all)
}

/// What the daemon holds before it ever ran a container.
fn alone(bench: &Bench, engines: &[&Engine]) -> Figure {
    let title = "A daemon without a swarm, idle (dockerd with its containerd)";
    bench.begin(title);
    let mut figure = Figure::new("alone", title, "MB", Better::Lower);
    for engine in engines {
        lives::add_daemon(&mut figure, engine);
    }
    bench.end(figure)
}

/// From the daemon's program to the API's first answer, with the data of the last time.
fn starts(bench: &Bench, lone: &mut [Lone]) -> Figure {
    let title = "From the daemon's start to its API's first answer";
    bench.begin(title);
    let mut figure = Figure::new("start", title, "ms", Better::Lower);
    for _ in 0..bench.rounds() {
        for Lone { stand, engine } in lone.iter_mut() {
            stand.stop();
            figure.add("again", engine.of, stand.start().map(|(_, took)| took.as_secs_f64() * 1e3));
        }
    }
    bench.end(figure)
}

fn execs(bench: &Bench, engines: &[&Engine]) -> Figure {
    let title = "`exec` of a program that does nothing: create, start, its end, its exit code";
    bench.begin(title);
    let mut figure = Figure::new("exec", title, "ms", Better::Lower);
    let running: Vec<Result<String>> = engines.iter().map(|e| idle(e)).collect();
    for _ in 0..bench.rounds() * 10 {
        for (engine, id) in engines.iter().zip(&running) {
            let value = match id {
                Ok(id) => {
                    let began = Instant::now();
                    let done = engine.manager().exec(id, &["/bin/load", "true"]);
                    done.map(|_| began.elapsed().as_secs_f64() * 1e3)
                }
                Err(e) => Err(anyhow::anyhow!("{e:#}")),
            };
            figure.add("API", engine.of, value);
        }
    }
    for (engine, id) in engines.iter().zip(running) {
        if let Err(e) = id.and_then(|id| discard(engine, &id)) {
            println!("  ({e:#})");
        }
    }
    bench.end(figure)
}

/// Many at once, each from a connection of its own, on the default bridge.
fn parallel(bench: &Bench, engines: &[&Engine]) -> Vec<Figure> {
    let title = format!("{TOGETHER} containers made and started at once (default bridge)");
    bench.begin(&title);
    let mut up = Figure::new("parallel", &title, "s", Better::Lower);
    let mut down =
        Figure::new("parallel", &format!("{TOGETHER} containers killed and removed at once"), "s", Better::Lower);
    for _ in 0..bench.rounds() {
        for engine in engines {
            let began = Instant::now();
            let made: Vec<Result<String>> = at_once(0..TOGETHER, |_| idle(engine));
            let took = began.elapsed().as_secs_f64();
            let (made, failed): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
            up.add("API", engine.of, failed.into_iter().find_map(Result::err).map_or(Ok(took), Err));
            let began = Instant::now();
            let gone = at_once(made.into_iter().flatten(), |id| discard(engine, &id));
            let took = began.elapsed().as_secs_f64();
            down.add("API", engine.of, gone.into_iter().find_map(Result::err).map_or(Ok(took), Err));
        }
    }
    vec![bench.end(up), down]
}

/// Loads an image whose one layer is 200 MB that do not compress.
fn loads(bench: &Bench, engines: &[&Engine], work: &Path) -> Result<Figure> {
    let title = "`image load` of 200 MB (one layer, 400 files)";
    bench.begin(title);
    let archive = saved_image(work)?;
    let mut figure = Figure::new("load", title, "s", Better::Lower);
    for _ in 0..bench.rounds() {
        for engine in engines {
            let began = Instant::now();
            let loaded = engine.manager().load(&archive);
            let took = began.elapsed().as_secs_f64();
            let gone = engine.manager().delete(&format!("/images/{LOADED}?force=1"));
            figure.add("API", engine.of, loaded.and(gone).map(|()| took));
        }
    }
    Ok(bench.end(figure))
}

/// What a container writes: until it has ended, and back again.
fn logs(bench: &Bench, engines: &[&Engine]) -> Vec<Figure> {
    let title = format!("{WRITTEN_MEGABYTES} MB of output read back (`logs`, json-file)");
    bench.begin(&title);
    let mut read = Figure::new("logs", &title, "MB/s", Better::Higher);
    let title = format!("A container that writes {WRITTEN_MEGABYTES} MB, from its start to its end");
    let mut written = Figure::new("logs", &title, "s", Better::Lower);
    for _ in 0..bench.rounds() {
        for engine in engines {
            match write_and_read(engine) {
                Ok((wrote, speed)) => {
                    written.add("json-file", engine.of, Ok(wrote));
                    read.add("json-file", engine.of, Ok(speed));
                }
                Err(e) => read.add("json-file", engine.of, Err(e)),
            }
        }
    }
    vec![bench.end(read), written]
}

fn write_and_read(engine: &Engine) -> Result<(f64, f64)> {
    let api = engine.manager();
    let id = create(engine, &["write", &WRITTEN_MEGABYTES.to_string()], "none")?;
    let began = Instant::now();
    api.post(&format!("/containers/{id}/start"), &Value::Null)?;
    api.post(&format!("/containers/{id}/wait"), &Value::Null)?;
    let wrote = began.elapsed().as_secs_f64();
    let (took, text) = api.logs(&id)?;
    discard(engine, &id)?;
    ensure!(text.len() == WRITTEN_MEGABYTES * 1_000_000, "{} bytes came back", text.len());
    let in_order = text.lines().enumerate().all(|(i, l)| l.get(..12).and_then(|n| n.parse().ok()) == Some(i));
    ensure!(in_order, "lines are missing or in another order");
    Ok((wrote, WRITTEN_MEGABYTES as f64 / took.as_secs_f64()))
}

fn create(engine: &Engine, words: &[&str], network: &str) -> Result<String> {
    let words: Vec<&str> = ["/bin/load"].into_iter().chain(words.iter().copied()).collect();
    let host = json!({ "NetworkMode": network, "LogConfig": { "Type": "json-file" } });
    let spec = json!({ "Image": IMAGE, "Cmd": words, "HostConfig": host });
    let made = engine.manager().post("/containers/create", &spec)?;
    Ok(made["Id"].as_str().context("a container without an id")?.to_owned())
}

/// A container that waits for connections.
fn idle(engine: &Engine) -> Result<String> {
    let id = create(engine, &["serve", ground::PORT], "bridge")?;
    engine.manager().post(&format!("/containers/{id}/start"), &Value::Null)?;
    Ok(id)
}

fn discard(engine: &Engine, id: &str) -> Result<()> {
    engine.manager().delete(&format!("/containers/{id}?force=1"))
}

fn at_once<I: Send, T: Send>(items: impl IntoIterator<Item = I>, work: impl Fn(I) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        threads.into_iter().map(|t| t.join().expect("a thread of this measurement panicked")).collect()
    })
}

/// As `docker save` writes it: a layer, a configuration and a manifest.
fn saved_image(work: &Path) -> Result<Vec<u8>> {
    let (tree, save) = (work.join("loaded"), work.join("saved"));
    for dir in [&tree, &save] {
        std::fs::create_dir_all(dir)?;
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = vec![0; LOADED_FILE_SIZE];
    for file in 0..LOADED_FILES {
        for eight in noise.chunks_exact_mut(8) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            eight.copy_from_slice(&seed.to_le_bytes());
        }
        std::fs::write(tree.join(format!("file-{file}")), &noise)?;
    }
    let pack = |from: &Path, to: &Path| {
        let (from, to) = (from.display().to_string(), to.display().to_string());
        let words = ["tar", "--numeric-owner", "--owner=0", "--group=0", "-C", &from, "-cf", &to, "."];
        crate::program::output(work, &words).map(|_| ())
    };
    let layer = save.join("layer.tar");
    pack(&tree, &layer)?;
    std::fs::remove_dir_all(&tree)?;
    let sum = crate::program::output(work, &["sha256sum", &layer.display().to_string()])?;
    let Some(sum) = sum.split_whitespace().next() else { bail!("sha256sum printed nothing") };
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
    });
    std::fs::write(save.join("config.json"), config.to_string())?;
    let manifest = json!([{ "Config": "config.json", "RepoTags": [LOADED], "Layers": ["layer.tar"] }]);
    std::fs::write(save.join("manifest.json"), manifest.to_string())?;
    let archive = work.join("saved.tar");
    pack(&save, &archive)?;
    let bytes = std::fs::read(&archive)?;
    std::fs::remove_dir_all(&save)?;
    std::fs::remove_file(&archive)?;
    Ok(bytes)
}
