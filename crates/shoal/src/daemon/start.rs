//! Start and end of a daemon.
use super::doors::Doors;
use super::engine::Engine;
use super::membership::Membership;
use super::metrics;
use super::options::{self, Settings};
use super::words::Words;
use crate::backend::Backend;
use anyhow::{Context, Result, bail};
use node::containers::configure::Defaults;
use node::containers::{Containers, Foundations};
use node::events::Events;
use node::volumes::Volumes;
use parking_lot::RwLock;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs until a signal says otherwise. Containers are left alone, unless the settings say otherwise.
pub async fn run(settings: Settings, args: &[OsString], words: &Words) -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for dir in [&settings.data_root, &settings.exec_root] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
    }
    let _lock = when_free(|| Lock::take(&settings.data_root)).await?;
    let pidfile = settings.pidfile.clone();
    if let Some(path) = &pidfile {
        when_free(|| write_pidfile(path)).await?;
    }
    settings.idle.iter().for_each(|text| tracing::info!("{text}"));
    if let Some(score) = settings.oom_score {
        std::fs::write("/proc/self/oom_score_adj", score.to_string()).context("cannot set the OOM score")?;
    }
    // The doors first: a taken socket must be told before anything is touched.
    let doors = Doors::open(&settings).await?;
    let figures = match settings.metrics {
        Some(addr) => Some(TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))?),
        None => None,
    };
    let engine = build(settings).await?;
    let server = api::Server::new(Backend::all(engine.clone()))
        .with_forwarder(engine.membership.clone())
        .with_unread(kernel::socket::unread_by_peer);
    engine.membership.begin(engine.clone(), server.clone()).await;
    let stop = CancellationToken::new();
    let open = doors.serve(&server, &stop)?;
    if let Some(listener) = figures {
        tracing::info!(addr = %listener.local_addr()?, "answering /metrics");
        tokio::spawn(metrics::serve(listener, engine.clone(), stop.clone()));
    }
    // Before the service manager hears that we are ready: what it sends from then on must be understood.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hup = signal(SignalKind::hangup())?;
    tell_service_manager("READY=1");
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            _ = hup.recv() => reload(&engine, args, words),
        }
    }
    tell_service_manager("STOPPING=1");
    let stay = engine.reloadable.read().live_restore;
    tracing::info!("going down; containers {}", if stay { "stay, and the networks that they use" } else { "end" });
    stop.cancel();
    engine.membership.stop().await;
    if !stay {
        engine.containers.end_all(engine.settings.shutdown_timeout).await;
    }
    if let Err(e) = engine.networks.rest().await {
        tracing::warn!(error = %e, "interfaces stay that nobody uses");
    }
    drop(open);
    if let Some(path) = pidfile {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

fn tell_service_manager(state: &str) {
    if let Err(e) = kernel::activation::notify(state) {
        tracing::warn!(error = %e, "the service manager does not hear {state}");
    }
}

/// Takes over what may change; a mistake in the file changes nothing.
fn reload(engine: &Engine, args: &[OsString], words: &Words) {
    let new = match options::read_again(args) {
        Ok(new) => new,
        Err(why) => return tracing::error!("the settings are not read again: {why}"),
    };
    words.set_debug(new.debug);
    let old = std::mem::replace(&mut *engine.reloadable.write(), new.clone());
    tracing::info!(?old, ?new, "settings read again");
    let attributes = [
        ("name".to_owned(), crate::backend::hostname()),
        ("debug".to_owned(), new.debug.to_string()),
        ("live-restore".to_owned(), new.live_restore.to_string()),
        ("labels".to_owned(), serde_json::to_string(&new.labels).unwrap_or_default()),
    ];
    engine.events.tell("daemon", "reload", &engine.id, attributes.into());
}

async fn build(settings: Settings) -> Result<Arc<Engine>> {
    // A thousand silent clients must not keep the next one out. Containers keep the limit that they would have had.
    let open_files = kernel::process::raise_open_files()
        .inspect_err(|e| tracing::warn!(error = %e, "the limit of open files cannot be raised"))
        .ok();
    let events = Events::new(node::clock::now);
    let images = images::Images::open(settings.data_root.join("images")).await?;
    images.set_registries(settings.registries.clone());
    let pin_dir = settings.exec_root.join("bpf");
    kernel::bpffs::mount(&pin_dir).with_context(|| format!("cannot mount a bpffs on {}", pin_dir.display()))?;
    let networks = network::Networks::open(network::Config {
        data_dir: settings.data_root.join("network"),
        exec_dir: settings.exec_root.clone(),
        pin_dir,
        bridge: match settings.bridge.as_deref() {
            None => network::DefaultBridge::Own,
            Some("none") => network::DefaultBridge::None,
            Some(name) => network::DefaultBridge::Foreign(name.to_owned()),
        },
        bridge_subnets: settings.bridge_subnets.clone(),
        bridge_ipv6: settings.bridge_ipv6,
        bridge_options: settings.bridge_options.clone(),
        pools: settings.pools.clone(),
        host_resolv_conf: "/etc/resolv.conf".into(),
    })
    .await
    .map_err(|e| anyhow::anyhow!("networks: {}", node::chain(&e)))?;
    let volumes = Volumes::open(settings.data_root.join("volumes"), events.clone())
        .await
        .map_err(|e| anyhow::anyhow!("volumes: {e}"))?;
    let plugins = node::plugins::Plugins::open(settings.data_root.join("plugins"))
        .map_err(|e| anyhow::anyhow!("plugins: {e}"))?;
    let runtime = runtime::Runtime::open(settings.exec_root.clone()).context("runtime")?;
    let containers = Containers::open(Foundations {
        dir: settings.data_root.join("containers"),
        exec_dir: settings.exec_root.clone(),
        runtime,
        images: images.clone(),
        networks: networks.clone(),
        volumes: volumes.clone(),
        events: events.clone(),
        defaults: Defaults {
            log_driver: settings.log_driver.clone(),
            log_opts: settings.log_opts.clone(),
            dns: settings.dns.clone(),
            default_bridge: settings.bridge.as_deref() != Some("none"),
            host_gateway: settings.host_gateway,
            open_files,
            ..settings.containers.clone()
        },
    })
    .await
    .map_err(|e| anyhow::anyhow!("containers: {e}"))?;
    let id = engine_id(&settings.data_root)?;
    let membership = Arc::new(Membership::new(settings.data_root.join("swarm")));
    let reloadable = Arc::new(RwLock::new(settings.reloadable.clone()));
    Ok(Arc::new(Engine {
        settings,
        reloadable,
        id,
        containers,
        images,
        networks,
        volumes,
        events,
        membership,
        plugins,
    }))
}

fn engine_id(data_root: &Path) -> Result<String> {
    let path = data_root.join("engine-id");
    if let Ok(id) = std::fs::read_to_string(&path) {
        return Ok(id.trim().to_owned());
    }
    let r = node::clock::random_id();
    let id = format!("{}-{}-{}-{}-{}", &r[..8], &r[8..12], &r[12..16], &r[16..20], &r[20..32]);
    std::fs::write(&path, &id).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(id)
}

/// A daemon that was killed may still be on its way out: what it holds is asked for again for a while.
async fn when_free<T>(take: impl Fn() -> Result<T>) -> Result<T> {
    const GONE_WITHIN: Duration = Duration::from_secs(2);
    const AGAIN: Duration = Duration::from_millis(20);
    let until = Instant::now() + GONE_WITHIN;
    loop {
        match take() {
            Err(_) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
            answer => return answer,
        }
    }
}

/// Two daemons on one data root would destroy it.
struct Lock(#[allow(dead_code)] std::fs::File);

impl Lock {
    fn take(data_root: &Path) -> Result<Self> {
        let path = data_root.join("lock");
        let file = std::fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(_) => bail!("another daemon runs on {}: stop it, or give another --data-root", data_root.display()),
        }
    }
}

fn write_pidfile(path: &Path) -> Result<()> {
    if let Ok(text) = std::fs::read_to_string(path)
        && let Ok(pid) = text.trim().parse::<u32>()
        && pid != std::process::id()
        && is_alive(pid)
    {
        bail!("process {pid} of {} is still running: stop it, or remove the file", path.display());
    }
    std::fs::write(path, std::process::id().to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// A zombie has ended; only its parent has not noticed.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
