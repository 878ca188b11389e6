//! The engine itself: info, version, disk usage, events.
use super::Backend;
use crate::daemon::engine::{ENGINE_VERSION, kernel_version};
use crate::daemon::options::{Listen, Settings};
use api::backend::*;
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use model::Timestamp;
use std::collections::BTreeMap;
use wire::engine::Time;
use wire::engine::system::*;
use wire::engine::volume::VolumeUsage;

#[async_trait]
impl System for Backend {
    fn swarm_role(&self) -> SwarmRole {
        self.0.membership.role()
    }

    fn experimental(&self) -> bool {
        self.0.settings.experimental
    }

    async fn info(&self) -> Answer<Info> {
        let e = &self.0;
        let (running, paused, stopped) = e.containers.counts();
        let groups = kernel::cgroup::Layout::of_this_machine();
        let (v2, able) = (groups.is_v2(), kernel::cgroup::Abilities::of(groups));
        let forwarding = kernel::sysctl::read("net.ipv4.ip_forward").is_ok_and(|v| v.trim() == "1");
        let mut warnings = able.warnings();
        warnings.extend((!forwarding).then(|| "WARNING: IPv4 forwarding is disabled".to_owned()));
        warnings.extend(open_doors(&e.settings));
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let commit = || Commit { id: ENGINE_VERSION.into(), expected: ENGINE_VERSION.into() };
        let runtimes = ["runc", "io.containerd.runc.v2"]
            .map(|n| (n.to_owned(), Runtime { path: "built in (libcontainer)".into(), ..Runtime::default() }));
        let pools =
            e.settings.pools.iter().map(|(s, n)| AddressPool { base: s.to_string(), size: i64::from(*n) }).collect();
        Ok(Info {
            id: e.id.clone(),
            containers: running + paused + stopped,
            containers_running: running,
            containers_paused: paused,
            containers_stopped: stopped,
            images: e.images.list().len() as i64,
            driver: "overlay2".into(),
            driver_status: vec![
                ("Backing Filesystem".into(), kernel::mount::filesystem_name(&e.settings.data_root).into()),
                ("Supports d_type".into(), "true".into()),
                ("Native Overlay Diff".into(), "true".into()),
            ],
            plugins: PluginsInfo {
                volume: words(&["local"]),
                network: words(&["bridge", "host", "macvlan", "null", "overlay"]),
                authorization: None,
                log: words(&["json-file", "local", "none"]),
            },
            memory_limit: able.memory,
            swap_limit: able.swap,
            cpu_cfs_period: able.cpu_quota,
            cpu_cfs_quota: able.cpu_quota,
            cpu_shares: able.cpu_shares,
            cpu_set: able.cpuset,
            pids_limit: able.pids,
            ipv4_forwarding: forwarding,
            debug: e.reloadable.read().debug,
            n_fd: std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as i64),
            n_events_listener: e.events.listeners() as i64,
            oom_kill_disable: able.oom_kill_disable,
            n_goroutines: tokio::runtime::Handle::current().metrics().num_alive_tasks() as i64,
            system_time: Time(node::clock::now()).to_string(),
            logging_driver: e.settings.log_driver.clone(),
            cgroup_driver: "cgroupfs".into(),
            cgroup_version: if v2 { "2" } else { "1" }.into(),
            kernel_version: kernel_version(),
            operating_system: os_release("PRETTY_NAME").unwrap_or_else(|| "Linux".into()),
            os_version: os_release("VERSION_ID").unwrap_or_default(),
            os_type: "linux".into(),
            architecture: std::env::consts::ARCH.into(),
            index_server_address: "https://index.docker.io/v1/".into(),
            registry_config: RegistryConfig {
                insecure_registry_cidrs: {
                    let given = e.settings.insecure_registries.iter().filter(|r| r.contains('/')).cloned();
                    words(&["127.0.0.0/8", "::1/128"]).into_iter().chain(given).collect()
                },
                index_configs: registries(&e.settings),
                mirrors: Some(e.settings.registry_mirrors.clone()).filter(|m| !m.is_empty()),
            },
            n_cpu: std::thread::available_parallelism().map_or(1, |n| n.get() as i64),
            mem_total: memory_total(),
            docker_root_dir: e.settings.data_root.display().to_string(),
            name: hostname(),
            labels: e.reloadable.read().labels.clone(),
            server_version: ENGINE_VERSION.into(),
            runtimes: runtimes.into(),
            default_runtime: "runc".into(),
            swarm: self.swarm_info(),
            live_restore_enabled: e.reloadable.read().live_restore,
            init_binary: "docker-init".into(),
            containerd_commit: commit(),
            runc_commit: commit(),
            init_commit: commit(),
            security_options: {
                let mut all = words(&["name=seccomp,profile=builtin"]);
                if v2 {
                    all.push("name=cgroupns".into());
                }
                all
            },
            default_address_pools: pools,
            experimental_build: self.0.settings.experimental,
            firewall_backend: Some(FirewallInfo { driver: "nftables".into(), info: Vec::new() }),
            warnings: Some(warnings).filter(|w| !w.is_empty()),
            ..Info::default()
        })
    }

    async fn version(&self) -> Answer<Version> {
        let details: wire::engine::Map = [
            ("ApiVersion", api::http::version::CURRENT.to_owned()),
            ("MinAPIVersion", api::http::version::OLDEST.to_owned()),
            ("Arch", go_arch().to_owned()),
            ("Os", "linux".to_owned()),
            ("KernelVersion", kernel_version()),
            ("Experimental", self.0.settings.experimental.to_string()),
            ("GitCommit", env!("CARGO_PKG_VERSION").to_owned()),
            ("GoVersion", "none (Rust)".to_owned()),
            ("BuildTime", String::new()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
        Ok(Version {
            platform: VersionPlatform { name: format!("Shoal {}", env!("CARGO_PKG_VERSION")) },
            components: vec![ComponentVersion { name: "Engine".into(), version: ENGINE_VERSION.into(), details }],
            version: ENGINE_VERSION.into(),
            api_version: api::http::version::CURRENT.into(),
            min_api_version: api::http::version::OLDEST.into(),
            git_commit: env!("CARGO_PKG_VERSION").into(),
            experimental: self.0.settings.experimental,
            go_version: "none (Rust)".into(),
            os: "linux".into(),
            arch: go_arch().into(),
            kernel_version: kernel_version(),
            ..Version::default()
        })
    }

    async fn disk_usage(&self, what: DiskUsageQuery) -> Answer<DiskUsage> {
        let mut usage = DiskUsage::default();
        if what.images {
            let sizes = self.0.images.usage();
            usage.layers_size = sizes.layers_size as i64;
            let uses = self.0.containers.image_uses();
            usage.images = self
                .0
                .images
                .list()
                .iter()
                .map(|i| {
                    let shared = sizes.images.iter().find(|s| s.id == i.id).map_or(0, |s| s.shared_size as i64);
                    let containers = uses.iter().filter(|u| u.image_id == i.id).count() as i64;
                    wire::engine::image::ImageSummary { shared_size: shared, containers, ..super::images::summary(i) }
                })
                .collect();
        }
        if what.containers {
            usage.containers = self.0.containers.list(true).await.into_iter().map(|l| l.summary).collect();
        }
        if what.volumes {
            let mut all = Volumes::list(self).await?;
            for v in &mut all {
                let users = self.0.containers.volume_users(&v.volume.name).len() as i64;
                let size = match self.0.volumes.get(&v.volume.name) {
                    Ok(volume) => self.0.volumes.size(&volume).await as i64,
                    Err(_) => -1,
                };
                v.volume.usage_data = Some(VolumeUsage { ref_count: users, size });
            }
            usage.volumes = all.into_iter().map(|v| v.volume).collect();
        }
        Ok(usage)
    }

    async fn events(&self, since: Option<Timestamp>) -> Answer<EventFeed> {
        let (past, live) = self.0.events.since(since);
        let live = stream::unfold(live, |mut live| async move {
            loop {
                match live.recv().await {
                    Ok(event) => return Some((event, live)),
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "a listener to events is too slow");
                    }
                    Err(_) => return None,
                }
            }
        });
        Ok(EventFeed { past, live: live.boxed() })
    }
}

impl Backend {
    fn swarm_info(&self) -> wire::engine::swarm::SwarmInfo {
        let mut info = self.0.membership.info();
        let apart = self.0.networks.tunnels_apart();
        info.warnings.extend(apart.map(|why| format!("WARNING: overlays of this node reach no other node: {why}")));
        info
    }
}

/// Doors on the network through which anybody may come in, in dockerd's words.
fn open_doors(settings: &Settings) -> Vec<String> {
    const WHY: &str = "
         Access to the remote API is equivalent to root access on the host. Refer
         to the 'Docker daemon attack surface' section in the documentation for
         more information: https://docs.docker.com/go/attack-surface/";
    let lack = match &settings.tls {
        None => ("http", "encryption"),
        Some(tls) if tls.clients.is_none() => ("https", "TLS client verification"),
        Some(_) => return Vec::new(),
    };
    let open = |addr: &String| format!("WARNING: API is accessible on {}://{addr} without {}.{WHY}", lack.0, lack.1);
    let tcp = settings.hosts.iter().filter_map(|h| if let Listen::Tcp(addr) = h { Some(addr) } else { None });
    tcp.map(open).collect()
}

/// Docker Hub, and the registries that are insecure by name.
fn registries(settings: &Settings) -> BTreeMap<String, IndexInfo> {
    let hub = IndexInfo {
        name: "docker.io".into(),
        mirrors: settings.registry_mirrors.clone(),
        secure: true,
        official: true,
    };
    let named = settings.insecure_registries.iter().filter(|r| !r.contains('/'));
    let named = named.map(|name| IndexInfo { name: name.clone(), ..IndexInfo::default() });
    named.chain([hub]).map(|index| (index.name.clone(), index)).collect()
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|h| h.trim().to_owned()).unwrap_or_default()
}

/// Bytes.
pub(crate) fn memory_total() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

fn os_release(key: &str) -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    text.lines().find_map(|l| Some(l.strip_prefix(key)?.strip_prefix('=')?.trim_matches('"').to_owned()))
}
