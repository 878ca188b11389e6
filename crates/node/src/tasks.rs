//! Runs the swarm's tasks as containers: from a task to Docker's body, and the [`Executor`] over [`Containers`].
use crate::agent::executor::{Dependencies, Ended, Executor, Found, Started};
use crate::containers::life::Until;
use crate::containers::record::Status;
use crate::containers::{Containers, CreateRequest, Managed, ManagedFile, OverlayWish};
use async_trait::async_trait;
use model::template::{Context, Files};
use model::{
    ContainerSpec, Directory, GenericResource, MountKind, NetworkTarget, PortConfig, PublishMode, Task, TaskId,
};
use runtime::Watchdog;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wire::Refusal;
use wire::engine::container::{
    ContainerConfig, ContainerCreateBody, HealthConfig, HostConfig, LogConfig, NetworkingConfig, Ulimit,
};
use wire::engine::mount::{BindOptions, Driver, Mount, TmpfsOptions, VolumeOptions};
use wire::engine::network::PortBinding;

/// The directory may need so long to show a network that a task was just assigned on (Docker: 30 s).
const NETWORK_WAIT: Duration = Duration::from_secs(30);

/// Where the watchdogs of tasks are, below `<exec-root>`.
const WATCHDOGS: &str = "watchdogs";

/// Gets images that are not here.
#[async_trait]
pub trait Puller: Send + Sync + 'static {
    /// Pulls one; fine when it cannot but is here.
    async fn ensure(&self, image: &str, credentials: &model::PullCredentials) -> Result<(), Refusal>;
}

/// Tasks as containers.
pub struct Tasks {
    containers: Containers,
    networks: network::Networks,
    puller: Arc<dyn Puller>,
    directory: watch::Receiver<Arc<Directory>>,
    node_id: String,
    /// Of leased tasks, of all.
    watchdogs: [Watchdog; 2],
}

impl Tasks {
    /// For the node `node_id`; `directory` is the agent's.
    pub fn new(
        containers: Containers,
        networks: network::Networks,
        puller: Arc<dyn Puller>,
        directory: watch::Receiver<Arc<Directory>>,
        node_id: String,
    ) -> Self {
        let watchdogs = ["leased", "all"].map(|name| Watchdog::at(containers.exec_dir().join(WATCHDOGS).join(name)));
        Self { containers, networks, puller, directory, node_id, watchdogs }
    }

    /// The overlays of a task, once the directory shows them.
    async fn overlays(&self, task: &Task) -> Result<Vec<OverlayWish>, Refusal> {
        let mut all = Vec::new();
        for n in &task.networks {
            let NetworkTarget::Swarm(id) = &n.network else { continue };
            let mut directory = self.directory.clone();
            let shown = directory.wait_for(|d| d.networks.contains_key(id));
            let attrs = match tokio::time::timeout(NETWORK_WAIT, shown).await {
                Ok(Ok(d)) => d.networks[id].attrs.clone(),
                _ => {
                    return Err(Refusal::unavailable(format!(
                        "node is missing network attachments, ip addresses may be exhausted: network {id} is not in the directory"
                    )));
                }
            };
            all.push(OverlayWish {
                network: id.clone(),
                task: task.id.clone(),
                addresses: n.addresses.clone(),
                attrs,
                names: vec![task.container_name()],
            });
        }
        Ok(all)
    }
}

#[async_trait]
impl Executor for Tasks {
    async fn find(&self, task: &Task) -> Option<Found> {
        let r = self.containers.of_task(&task.id)?;
        let container = r.id.clone();
        Some(match r.state.status {
            Status::Created => Found::Prepared { container },
            s if s.is_up() => Found::Running { container, pid: r.state.pid },
            _ => Found::Ended { container, end: ended(r.state.exit_code, r.state.oom_killed) },
        })
    }

    async fn prepare(&self, task: &Task, deps: &Dependencies) -> Result<String, Refusal> {
        let Some(spec) = &task.spec.container else {
            return Err(Refusal::invalid("the task has no container"));
        };
        let overlays = self.overlays(task).await?;
        self.puller.ensure(&spec.image, &spec.pull_credentials).await?;
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let context = Context::new(task, &self.node_id, deps.node.as_deref(), hostname.trim());
        let mut body = body_of(task, spec, &context, &self.node_id)?;
        if overlays.is_empty() && !task.networks.is_empty() {
            let predefined = task.networks.iter().find_map(|n| match &n.network {
                NetworkTarget::Predefined(name) => Some(name.clone()),
                NetworkTarget::Swarm(_) => None,
            });
            body.host_config.network_mode = predefined.unwrap_or_else(|| "default".into());
        } else if let Some(first) = overlays.first() {
            body.host_config.network_mode = first.attrs.name.clone();
            for o in &overlays {
                body.networking_config.endpoints_config.insert(o.attrs.name.clone(), None);
            }
        }
        let managed = Managed { task: Some(task.id.clone()), overlays, files: files_of(spec, deps, &context)? };
        let request = CreateRequest { name: task.container_name(), body, managed: Some(managed) };
        self.containers.create(request).await.map(|(id, _)| id)
    }

    async fn start(&self, task: &Task) -> Result<Started, Refusal> {
        let r = self.of(&task.id)?;
        self.containers.start(&r).await?;
        let r = self.containers.record(&r)?;
        Ok(Started { pid: r.state.pid, host_ports: host_ports(&r.bound_ports) })
    }

    async fn healthy(&self, task: &Task) {
        if let Ok(id) = self.of(&task.id) {
            self.containers.health_settled(&id, true).await;
        }
    }

    async fn ended(&self, task: &Task) -> Ended {
        let Ok(id) = self.of(&task.id) else {
            return Ended { code: 137, detail: "container is gone".into(), unhealthy: false };
        };
        let Ok(wait) = self.containers.wait(&id, Until::NotRunning) else { return Ended::default() };
        tokio::select! {
            biased;
            end = wait => {
                let oom = self.containers.record(&id).is_ok_and(|r| r.state.oom_killed);
                ended(end.status_code, oom)
            }
            () = self.containers.health_settled(&id, false) => {
                Ended { code: 0, detail: String::new(), unhealthy: true }
            }
        }
    }

    async fn live_connections(&self, task: &Task) -> usize {
        self.networks.live_connections(&task.id).await
    }

    async fn stop(&self, task: &Task) -> Result<(), Refusal> {
        let Ok(id) = self.of(&task.id) else { return Ok(()) };
        let grace = task.spec.container.as_ref().and_then(|c| c.stop_grace_period);
        // Whole seconds are what the engine knows; a shorter grace still gives the signal a chance.
        let secs = grace.map(|g| g.as_secs_f64().ceil() as i64);
        match self.containers.stop(&id, "", secs).await {
            Err(e) if e.kind == wire::RefusalKind::NotModified => Ok(()),
            other => other,
        }
    }

    async fn kill(&self, task: &Task) -> Result<(), Refusal> {
        let Ok(id) = self.of(&task.id) else { return Ok(()) };
        match self.containers.kill(&id, "KILL").await {
            Err(e) if e.kind == wire::RefusalKind::Conflict => Ok(()),
            other => other,
        }
    }

    async fn watch_over(&self, task: &Task, leased: bool) -> Result<(), Refusal> {
        let Ok(id) = self.of(&task.id) else { return Ok(()) };
        let [of_leased, of_all] = &self.watchdogs;
        self.containers.set_watchdog(&id, if leased { of_leased } else { of_all }.clone()).await
    }

    fn may_run(&self, leased: Option<Duration>, all: Option<Duration>) {
        for (watchdog, rest) in self.watchdogs.iter().zip([leased, all]) {
            let made = || watchdog.file().parent().map_or(Ok(()), std::fs::create_dir_all);
            if let Err(e) = watchdog.feed(rest).or_else(|_| made().and_then(|()| watchdog.feed(rest))) {
                tracing::error!(file = %watchdog.file().display(), "the watchdog of this node's tasks cannot be fed: {e}");
            }
        }
    }

    async fn remove(&self, task: &Task) -> Result<(), Refusal> {
        let Ok(id) = self.of(&task.id) else { return Ok(()) };
        let _ = self.stop(task).await;
        self.containers.remove(&id, true, true).await
    }
}

impl Tasks {
    fn of(&self, task: &TaskId) -> Result<String, Refusal> {
        let r = self.containers.of_task(task);
        r.map(|r| r.id).ok_or_else(|| Refusal::not_found(format!("task {task} has no container")))
    }
}

fn ended(code: i64, oom: bool) -> Ended {
    Ended {
        code,
        detail: if oom { "container was killed for want of memory".into() } else { String::new() },
        unhealthy: false,
    }
}

/// The task's container, in Docker's words (swarmkit's executor does the same).
fn body_of(
    task: &Task,
    spec: &ContainerSpec,
    context: &Context,
    node_id: &str,
) -> Result<ContainerCreateBody, Refusal> {
    let expand = |text: &str| context.expand(text).map_err(|e| Refusal::invalid(e.to_string()));
    let mut labels = spec.labels.clone();
    let own = [
        ("com.docker.swarm.task", String::new()),
        ("com.docker.swarm.task.id", task.id.to_string()),
        ("com.docker.swarm.task.name", task.container_name()),
        ("com.docker.swarm.node.id", node_id.to_owned()),
        ("com.docker.swarm.service.id", task.service.as_ref().map(|s| s.to_string()).unwrap_or_default()),
        ("com.docker.swarm.service.name", task.service_name.clone()),
    ];
    labels.extend(own.map(|(k, v)| (k.to_owned(), v)));
    let mut env = spec.env.iter().map(|e| expand(e)).collect::<Result<Vec<_>, _>>()?;
    env.extend(generic_env(&task.generic));
    let config = ContainerConfig {
        image: spec.image.clone(),
        hostname: expand(&spec.hostname)?,
        user: spec.user.clone(),
        env: Some(env),
        labels,
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        stop_signal: spec.stop_signal.clone(),
        working_dir: spec.dir.clone(),
        entrypoint: Some(spec.command.clone()).filter(|c| !c.is_empty()).map(Into::into).unwrap_or_default(),
        cmd: Some(spec.args.clone()).filter(|c| !c.is_empty()).map(Into::into).unwrap_or_default(),
        healthcheck: spec.healthcheck.as_ref().map(health),
        exposed_ports: task
            .endpoint
            .ports
            .iter()
            .map(|p| (format!("{}/{}", p.target_port, p.protocol), Default::default()))
            .collect(),
        ..ContainerConfig::default()
    };
    let limits = &task.spec.resources.limits;
    let dns = spec.dns.clone().unwrap_or_default();
    let mut security_opt = Vec::new();
    if let Some(p) = &spec.privileges {
        if p.no_new_privileges {
            security_opt.push("no-new-privileges".to_owned());
        }
        match p.seccomp_mode.as_str() {
            "unconfined" => security_opt.push("seccomp=unconfined".into()),
            "custom" => security_opt.push(format!("seccomp={}", String::from_utf8_lossy(&p.seccomp_profile))),
            _ => {}
        }
    }
    let mut extra_hosts = Vec::new();
    for line in &spec.hosts {
        let mut words = line.split_whitespace();
        let Some(ip) = words.next() else { continue };
        extra_hosts.extend(words.map(|name| format!("{name}:{ip}")));
    }
    let host_config = HostConfig {
        memory: limits.memory_bytes,
        nano_cpus: limits.nano_cpus,
        pids_limit: (limits.pids > 0).then_some(limits.pids),
        memory_reservation: if limits.memory_bytes > 0 { task.spec.resources.reservations.memory_bytes } else { 0 },
        memory_swappiness: task.spec.resources.memory_swappiness,
        readonly_rootfs: spec.read_only,
        init: spec.init,
        cap_add: spec.capability_add.clone().into(),
        cap_drop: spec.capability_drop.clone().into(),
        group_add: Some(spec.groups.clone()).filter(|g| !g.is_empty()),
        dns: Some(dns.nameservers),
        dns_search: Some(dns.search),
        dns_options: Some(dns.options),
        extra_hosts: Some(extra_hosts).filter(|h| !h.is_empty()),
        sysctls: spec.sysctls.clone(),
        ulimits: Some(
            spec.ulimits.iter().map(|u| Ulimit { name: u.name.clone(), hard: u.hard, soft: u.soft }).collect(),
        )
        .filter(|u: &Vec<Ulimit>| !u.is_empty()),
        oom_score_adj: spec.oom_score_adj,
        security_opt: Some(security_opt).filter(|s| !s.is_empty()),
        isolation: String::new(),
        log_config: task
            .spec
            .log_driver
            .as_ref()
            .map(|l| LogConfig { typ: l.name.clone(), config: l.options.clone() })
            .unwrap_or_default(),
        mounts: spec.mounts.iter().map(|m| mount(m, &expand)).collect::<Result<_, _>>()?,
        port_bindings: task
            .endpoint
            .ports
            .iter()
            .filter(|p| p.publish_mode == PublishMode::Host)
            .map(|p| {
                let host_port = if p.published_port == 0 { String::new() } else { p.published_port.to_string() };
                (
                    format!("{}/{}", p.target_port, p.protocol),
                    Some(vec![PortBinding {
                        host_ip: p.host_ip.map(|a| a.to_string()).unwrap_or_default(),
                        host_port,
                    }]),
                )
            })
            .collect(),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody { config, host_config, networking_config: NetworkingConfig::default() })
}

/// What the scheduler gave the task, in Docker's form: `DOCKER_RESOURCE_GPU=a,b` or `=2`.
fn generic_env(given: &[GenericResource]) -> Vec<String> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in given {
        let (kind, value) = match resource {
            GenericResource::Named { kind, value } => (kind, value.clone()),
            GenericResource::Discrete { kind, value } => (kind, value.to_string()),
        };
        values.entry(kind.to_uppercase()).or_default().push(value);
    }
    values.into_iter().map(|(kind, values)| format!("DOCKER_RESOURCE_{kind}={}", values.join(","))).collect()
}

fn health(h: &model::HealthConfig) -> HealthConfig {
    HealthConfig {
        test: Some(h.test.clone()),
        interval: h.interval.as_nanos() as i64,
        timeout: h.timeout.as_nanos() as i64,
        start_period: h.start_period.as_nanos() as i64,
        start_interval: h.start_interval.as_nanos() as i64,
        retries: h.retries as i64,
    }
}

fn mount(m: &model::Mount, expand: &impl Fn(&str) -> Result<String, Refusal>) -> Result<Mount, Refusal> {
    let mut out = Mount {
        source: expand(&m.source)?,
        target: expand(&m.target)?,
        read_only: m.read_only,
        consistency: m.consistency.clone(),
        ..Mount::default()
    };
    match m.kind {
        MountKind::Bind => {
            out.typ = "bind".into();
            out.bind_options = Some(BindOptions {
                propagation: m.propagation.clone(),
                create_mountpoint: m.create_mountpoint,
                ..BindOptions::default()
            });
        }
        MountKind::Volume => {
            out.typ = "volume".into();
            let driver = (!m.driver.is_empty() || !m.driver_opts.is_empty())
                .then(|| {
                    Ok::<_, Refusal>(Driver { name: m.driver.clone(), options: expanded(&m.driver_opts, expand)? })
                })
                .transpose()?;
            out.volume_options = Some(VolumeOptions {
                no_copy: m.no_copy,
                labels: expanded(&m.labels, expand)?,
                subpath: m.subpath.clone(),
                driver_config: driver,
            });
        }
        MountKind::Tmpfs => {
            out.typ = "tmpfs".into();
            out.tmpfs_options =
                Some(TmpfsOptions { size_bytes: m.tmpfs_size_bytes, mode: m.tmpfs_mode, ..TmpfsOptions::default() });
        }
    }
    Ok(out)
}

/// A map whose values may hold placeholders.
fn expanded(
    map: &BTreeMap<String, String>,
    expand: &impl Fn(&str) -> Result<String, Refusal>,
) -> Result<BTreeMap<String, String>, Refusal> {
    map.iter().map(|(k, v)| Ok((k.clone(), expand(v)?))).collect()
}

/// What the contents of templated secrets and configs may refer to.
fn files_context(spec: &ContainerSpec, deps: &Dependencies, context: &Context) -> Result<Context, Refusal> {
    let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
    let target = |file: &Option<model::FileTarget>, name: &str| {
        file.as_ref().map(|f| f.name.clone()).filter(|n| !n.is_empty()).unwrap_or_else(|| name.to_owned())
    };
    let mut files = Files::default();
    for variable in &spec.env {
        let variable = context.expand(variable).map_err(|e| Refusal::invalid(e.to_string()))?;
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        files.env.insert(name.to_owned(), value.to_owned());
    }
    for s in &spec.secrets {
        if let Some(secret) = deps.secrets.get(&s.id) {
            files.secrets.insert(target(&s.file, &s.name), text(&secret.spec.data));
        }
    }
    for c in &spec.configs {
        if let Some(config) = deps.configs.get(&c.id) {
            files.configs.insert(target(&c.file, &c.name), text(&config.spec.data));
        }
    }
    Ok(context.with_files(files))
}

/// Secrets below `/run/secrets`, configs at the root, unless their target is absolute.
fn files_of(spec: &ContainerSpec, deps: &Dependencies, context: &Context) -> Result<Vec<ManagedFile>, Refusal> {
    let context = files_context(spec, deps, context)?;
    let mut files = Vec::new();
    let mut add = |file: &Option<model::FileTarget>, name: &str, below: &str, data: &[u8], templating: &str| {
        let data = if templating == "golang" {
            let text = String::from_utf8_lossy(data);
            context.expand(&text).map_err(|e| Refusal::invalid(e.to_string()))?.into_bytes()
        } else {
            data.to_vec()
        };
        let target = file.clone().unwrap_or_else(|| model::FileTarget { mode: 0o444, ..model::FileTarget::default() });
        let path = if target.name.is_empty() { name } else { &target.name };
        files.push(ManagedFile {
            target: if path.starts_with('/') { path.to_owned() } else { format!("{below}/{path}") },
            data,
            uid: number(&target.uid, "UID", name)?,
            gid: number(&target.gid, "GID", name)?,
            mode: target.mode & 0o7777,
        });
        Ok::<(), Refusal>(())
    };
    for s in &spec.secrets {
        let secret =
            deps.secrets.get(&s.id).ok_or_else(|| Refusal::not_found(format!("secret {} not found", s.name)))?;
        add(&s.file, &s.name, "/run/secrets", &secret.spec.data, &secret.spec.templating)?;
    }
    for c in &spec.configs {
        let config =
            deps.configs.get(&c.id).ok_or_else(|| Refusal::not_found(format!("config {} not found", c.name)))?;
        add(&c.file, &c.name, "", &config.spec.data, &config.spec.templating)?;
    }
    Ok(files)
}

/// An owner's number; nothing means root.
fn number(text: &str, what: &str, file: &str) -> Result<u32, Refusal> {
    match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| Refusal::invalid(format!("{what} {text:?} of {file} is not a number"))),
    }
}

fn host_ports(bound: &wire::engine::network::PortMap) -> Vec<PortConfig> {
    let mut all = Vec::new();
    for (key, bindings) in bound {
        let Some((port, protocol)) = key.split_once('/') else { continue };
        for b in bindings.iter().flatten() {
            let (Ok(target_port), Ok(published_port), Ok(protocol)) =
                (port.parse(), b.host_port.parse(), protocol.parse())
            else {
                continue;
            };
            let config = PortConfig {
                name: String::new(),
                protocol,
                target_port,
                published_port,
                publish_mode: PublishMode::Host,
                host_ip: None,
            };
            if !all.contains(&config) {
                all.push(config);
            }
        }
    }
    all
}
