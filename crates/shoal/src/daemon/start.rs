//! Start and end of a daemon.
use super::engine::Engine;
use super::membership::Membership;
use super::options::{Listen, Settings};
use crate::backend::Backend;
use anyhow::{Context, Result, bail};
use node::containers::configure::Defaults;
use node::containers::{Containers, Foundations};
use node::events::Events;
use node::volumes::Volumes;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs until a signal says otherwise. Containers are left alone.
pub async fn run(settings: Settings) -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for dir in [&settings.data_root, &settings.exec_root] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
    }
    let _lock = Lock::take(&settings.data_root)?;
    let pidfile = settings.pidfile.clone();
    if let Some(path) = &pidfile {
        write_pidfile(path)?;
    }
    // The doors first: a taken socket must be told before anything is touched.
    let mut unix = Vec::new();
    let mut tcp = Vec::new();
    for listen in &settings.hosts {
        match listen {
            Listen::Unix(path) => unix.push((bind_unix(path)?, path.clone())),
            Listen::Tcp(addr) => {
                tcp.push(TcpListener::bind(addr).await.with_context(|| format!("cannot listen on tcp://{addr}"))?);
            }
        }
    }
    let tls = match &settings.tls {
        Some(files) => Some((files.load()?, files.verify)),
        None => None,
    };
    let engine = build(settings).await?;
    let server = api::Server::new(Backend::all(engine.clone()))
        .with_forwarder(engine.membership.clone())
        .with_unread(kernel::socket::unread_by_peer);
    engine.membership.begin(engine.clone(), server.clone()).await;
    let stop = CancellationToken::new();
    let mut doors = tokio::task::JoinSet::new();
    let mut sockets = Vec::new();
    for (listener, path) in unix {
        tracing::info!("listening on unix://{}", path.display());
        doors.spawn(server.clone().serve_unix(listener, stop.clone()));
        sockets.push(path);
    }
    for listener in tcp {
        let addr = listener.local_addr()?;
        match &tls {
            Some((_, true)) => tracing::info!(%addr, "listening with TLS, for clients with a certificate"),
            Some((_, false)) => {
                tracing::warn!(%addr, "listening with TLS, but for everybody: --tlsverify lets in only clients with a certificate");
            }
            None => tracing::warn!(%addr, "listening in clear: everybody who reaches this port is root here"),
        }
        doors.spawn(server.clone().serve_tcp(listener, tls.as_ref().map(|(config, _)| config.clone()), stop.clone()));
    }
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("going down; containers and networks stay");
    stop.cancel();
    engine.membership.stop().await;
    for path in sockets {
        let _ = std::fs::remove_file(path);
    }
    if let Some(path) = pidfile {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
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
        bip: settings.bip.map(|(subnet, addr)| (addr, subnet.prefix)),
        pools: settings.pools.clone(),
        host_resolv_conf: "/etc/resolv.conf".into(),
    })
    .await
    .map_err(|e| anyhow::anyhow!("networks: {}", node::chain(&e)))?;
    let volumes =
        Volumes::open(settings.data_root.join("volumes")).await.map_err(|e| anyhow::anyhow!("volumes: {e}"))?;
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
            cgroup_parent: settings.cgroup_parent.clone(),
            dns: settings.dns.clone(),
            default_bridge: settings.bridge.as_deref() != Some("none"),
            open_files,
        },
    })
    .await
    .map_err(|e| anyhow::anyhow!("containers: {e}"))?;
    let id = engine_id(&settings.data_root)?;
    let membership = Arc::new(Membership::new(settings.data_root.join("swarm")));
    Ok(Arc::new(Engine { settings, id, containers, images, networks, volumes, plugins, events, membership }))
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

fn bind_unix(path: &Path) -> Result<UnixListener> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            bail!("another daemon listens on {}: stop it, or give another -H", path.display());
        }
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
