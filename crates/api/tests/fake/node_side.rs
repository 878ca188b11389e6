//! The node's traits.
use super::*;
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWrite};
use wire::Refusal;
use wire::engine::events::Event;
use wire::engine::exec::{ExecInspect, ProcessConfig};
use wire::engine::image::*;
use wire::engine::network::Network;
use wire::engine::network::{EndpointSettings, NetworkCreate, NetworkCreated, NetworksPruned};
use wire::engine::plugin::Plugin;
use wire::engine::progress::Progress;
use wire::engine::stats::Stats;
use wire::engine::swarm::SwarmInfo;
use wire::engine::system::*;
use wire::engine::volume::*;
use wire::engine::{StrSlice, convert};

#[async_trait]
impl System for Fake {
    fn swarm_role(&self) -> SwarmRole {
        self.0.lock().role
    }
    async fn info(&self) -> Answer<Info> {
        let s = self.0.lock();
        let mut swarm = SwarmInfo { local_node_state: "inactive".into(), ..Default::default() };
        if s.role == SwarmRole::Manager {
            swarm.local_node_state = "active".into();
            swarm.control_available = true;
            swarm.node_id = s.nodes[0].id.to_string();
            swarm.nodes = 1;
            swarm.managers = 1;
            swarm.remote_managers = Some(vec![]);
        }
        Ok(Info { id: "fake".into(), name: "fakehost".into(), os_type: "linux".into(), swarm, ..Default::default() })
    }
    async fn version(&self) -> Answer<Version> {
        Ok(Version {
            version: "0.1.0".into(),
            api_version: "1.51".into(),
            min_api_version: "1.24".into(),
            os: "linux".into(),
            arch: "amd64".into(),
            ..Default::default()
        })
    }
    async fn disk_usage(&self, _: DiskUsageQuery) -> Answer<DiskUsage> {
        Ok(DiskUsage::default())
    }
    async fn events(&self, since: Option<Timestamp>) -> Answer<EventFeed> {
        let earlier = Timestamp(now().0 - 1_000_000_000);
        let e = |typ, action| Event::new(typ, action, "abc", Default::default(), "local", earlier);
        let past = if since.is_some() { vec![e("container", "start"), e("network", "create")] } else { vec![] };
        Ok(EventFeed { past, live: stream::pending().boxed() })
    }
}

impl Fake {
    fn find(&self, wanted: &str) -> Answer<String> {
        let s = self.0.lock();
        let name = wanted.trim_start_matches('/');
        s.processes
            .values()
            .filter(|p| p.exec.is_none())
            .find(|p| p.id == wanted || p.name == name)
            .or_else(|| s.processes.values().find(|p| p.exec.is_none() && p.id.starts_with(wanted)))
            .map(|p| p.id.clone())
            .ok_or_else(|| Refusal::not_found(format!("No such container: {wanted}")))
    }

    fn open(&self, id: &str, stdin: bool) -> Pipe {
        let mut s = self.0.lock();
        let p = s.processes.get_mut(id).unwrap();
        let (tx, rx) = mpsc::unbounded_channel();
        p.outputs.push(tx);
        let input = stdin.then(|| {
            let (ours, theirs) = tokio::io::duplex(4096);
            p.stdin = Some(ours);
            theirs
        });
        (input, rx)
    }

    fn launch(&self, id: &str) {
        let (argv, stdin, outputs, log, exit) = {
            let mut s = self.0.lock();
            let p = s.processes.get_mut(id).unwrap();
            p.started = true;
            let argv = match &p.exec {
                Some((_, e)) => e.cmd.words().to_vec(),
                None => p.config.cmd.words().to_vec(),
            };
            (argv, p.stdin.take(), std::mem::take(&mut p.outputs), p.log.clone(), p.exit.clone())
        };
        tokio::spawn(async move {
            let say = |stream, bytes: Bytes| {
                log.lock().push((stream, bytes.clone()));
                for o in &outputs {
                    let _ = o.send((stream, bytes.clone()));
                }
            };
            // A process takes a moment; until then the client has read the answer's head.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            let code = match words.as_slice() {
                ["echo", rest @ ..] => {
                    say(StdStream::Stdout, Bytes::from(rest.join(" ") + "\n"));
                    0
                }
                ["cat"] => {
                    if let Some(mut stdin) = stdin {
                        let mut buffer = [0; 1024];
                        while let Ok(n) = stdin.read(&mut buffer).await
                            && n > 0
                        {
                            say(StdStream::Stdout, Bytes::copy_from_slice(&buffer[..n]));
                        }
                    }
                    0
                }
                ["exit", code] => {
                    say(StdStream::Stderr, Bytes::from_static(b"bad\n"));
                    code.parse().unwrap()
                }
                _ => std::future::pending().await,
            };
            exit.send_replace(Some(code));
        });
    }
}

fn attached(tty: bool, (input, rx): Pipe) -> Attached {
    Attached {
        tty,
        stdin: input.map(|i| Box::new(i) as Box<dyn AsyncWrite + Send + Unpin>),
        output: stream::unfold(rx, |mut rx| async move { rx.recv().await.map(|x| (x, rx)) }).boxed(),
    }
}

#[async_trait]
impl Containers for Fake {
    async fn create(&self, what: CreateContainer) -> Answer<ContainerCreated> {
        if what.body.config.image == "missing" {
            return Err(Refusal::not_found("No such image: missing:latest"));
        }
        let n = self.next();
        let id =
            format!("{:064x}", u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_0000_0000_0000_0000) | u128::from(n));
        let id = format!("{:0>8x}{}", n.wrapping_mul(2_654_435_761) % 0xffff_ffff, &id[8..]);
        let name = if what.name.is_empty() { format!("fake{n}") } else { what.name };
        let mut s = self.0.lock();
        if s.processes.values().any(|p| p.name == name) {
            return Err(Refusal::conflict(format!("Conflict. The container name \"/{name}\" is already in use")));
        }
        s.processes.insert(
            id.clone(),
            Process {
                id: id.clone(),
                name,
                config: what.body.config,
                host_config: what.body.host_config,
                exec: None,
                created: now(),
                exit: watch::channel(None).0,
                started: false,
                stdin: None,
                outputs: vec![],
                log: Default::default(),
            },
        );
        Ok(ContainerCreated { id, warnings: vec![] })
    }
    async fn list(&self, _size: bool) -> Answer<Vec<ListedContainer>> {
        let s = self.0.lock();
        Ok(s.processes
            .values()
            .filter(|p| p.exec.is_none())
            .map(|p| {
                let exit = *p.exit.borrow();
                let state = match (p.started, exit) {
                    (false, _) => "created",
                    (true, None) => "running",
                    (true, Some(_)) => "exited",
                };
                ListedContainer {
                    summary: ContainerSummary {
                        id: p.id.clone(),
                        names: vec![format!("/{}", p.name)],
                        image: p.config.image.clone(),
                        command: p.config.cmd.words().join(" "),
                        created: p.created.0 / 1_000_000_000,
                        labels: p.config.labels.clone(),
                        state: state.into(),
                        status: state.into(),
                        ports: vec![Port {
                            private_port: 80,
                            public_port: 8080,
                            typ: "tcp".into(),
                            ip: "0.0.0.0".into(),
                        }],
                        ..Default::default()
                    },
                    created: p.created,
                    exit_code: exit,
                    health: "none".into(),
                    exposed: vec!["80/tcp".into()],
                    is_task: false,
                    ancestors: vec![format!("{}:latest", p.config.image)],
                }
            })
            .collect())
    }
    async fn inspect(&self, id: &str, _size: bool) -> Answer<ContainerInspect> {
        let id = self.find(id)?;
        let s = self.0.lock();
        let p = &s.processes[&id];
        let exit = *p.exit.borrow();
        Ok(ContainerInspect {
            id,
            name: format!("/{}", p.name),
            config: p.config.clone(),
            host_config: HostConfig {
                log_config: LogConfig { typ: "json-file".into(), ..Default::default() },
                ..p.host_config.clone()
            },
            state: ContainerState {
                status: if p.started && exit.is_none() { "running" } else { "exited" }.into(),
                running: p.started && exit.is_none(),
                exit_code: exit.unwrap_or(0),
                ..Default::default()
            },
            ..Default::default()
        })
    }
    async fn start(&self, id: &str, _keys: &str) -> Answer<()> {
        let id = self.find(id)?;
        if self.0.lock().processes[&id].started {
            return Err(Refusal::not_modified(""));
        }
        self.launch(&id);
        Ok(())
    }
    async fn stop(&self, id: &str, _how: StopQuery) -> Answer<()> {
        let id = self.find(id)?;
        self.0.lock().processes[&id].exit.send_replace(Some(143));
        Ok(())
    }
    async fn restart(&self, id: &str, _how: StopQuery) -> Answer<()> {
        self.find(id).map(|_| ())
    }
    async fn kill(&self, id: &str, signal: &str) -> Answer<()> {
        self.find(id)?;
        if signal == "PANIC" {
            panic!("a handler that panics");
        }
        Err(Refusal::conflict(format!("container {id} is not running")))
    }
    async fn pause(&self, id: &str) -> Answer<()> {
        self.find(id).map(|_| ())
    }
    async fn unpause(&self, id: &str) -> Answer<()> {
        self.find(id).map(|_| ())
    }
    async fn wait(&self, id: &str, _c: WaitCondition) -> Answer<BoxFuture<'static, ContainerWait>> {
        let id = self.find(id)?;
        let mut exit = self.0.lock().processes[&id].exit.subscribe();
        Ok(async move {
            let code = exit.wait_for(Option::is_some).await.ok().and_then(|c| *c);
            ContainerWait { error: None, status_code: code.unwrap_or(-1) }
        }
        .boxed())
    }
    async fn resize(&self, id: &str, _h: u16, _w: u16) -> Answer<()> {
        self.find(id).map(|_| ())
    }
    async fn rename(&self, id: &str, name: &str) -> Answer<()> {
        let id = self.find(id)?;
        self.0.lock().processes.get_mut(&id).unwrap().name = name.to_owned();
        Ok(())
    }
    async fn update(&self, id: &str, _body: ContainerUpdateBody) -> Answer<ContainerUpdated> {
        self.find(id).map(|_| ContainerUpdated::default())
    }
    async fn remove(&self, id: &str, _how: RemoveQuery) -> Answer<()> {
        let id = self.find(id)?;
        self.0.lock().processes.remove(&id);
        Ok(())
    }
    async fn prune(&self, _q: PruneQuery) -> Answer<ContainersPruned> {
        Ok(ContainersPruned::default())
    }
    async fn logs(&self, id: &str, q: LogQuery) -> Answer<Logs> {
        let id = self.find(id)?;
        let s = self.0.lock();
        let p = &s.processes[&id];
        let (log, tty, mut exit) = (p.log.clone(), p.config.tty, p.exit.subscribe());
        // A followed log is told whole when the process has ended.
        let told = async move {
            if q.follow {
                let _ = exit.wait_for(Option::is_some).await;
            }
            let lines: Vec<_> = log
                .lock()
                .iter()
                .filter(|(s, _)| if *s == StdStream::Stdout { q.stdout } else { q.stderr })
                .map(|(stream, line)| {
                    Ok(LogLine { stream: *stream, time: Timestamp(1), line: line.clone(), attrs: BTreeMap::new() })
                })
                .collect();
            stream::iter(lines)
        };
        Ok(Logs { tty, lines: stream::once(told).flatten().boxed() })
    }
    async fn attach(&self, id: &str, q: AttachQuery) -> Answer<Attached> {
        let id = self.find(id)?;
        let (tty, open) = {
            let s = self.0.lock();
            let c = &s.processes[&id].config;
            (c.tty, c.open_stdin)
        };
        Ok(attached(tty, self.open(&id, q.stdin && open)))
    }
    async fn top(&self, id: &str, _args: &str) -> Answer<ContainerTop> {
        self.find(id)?;
        Ok(ContainerTop { titles: vec!["PID".into(), "CMD".into()], processes: vec![vec!["1".into(), "httpd".into()]] })
    }
    async fn stats(&self, id: &str, _s: bool, _o: bool) -> Answer<BoxStream<'static, Stats>> {
        let id = self.find(id)?;
        Ok(stream::repeat(Stats { id, name: "/x".into(), ..Default::default() }).boxed())
    }
    async fn changes(&self, id: &str) -> Answer<Vec<FilesystemChange>> {
        self.find(id)?;
        Ok(vec![FilesystemChange { path: "/tmp/f".into(), kind: 1 }])
    }
    async fn export(&self, id: &str) -> Answer<ByteStream> {
        self.find(id)?;
        Ok(stream::iter([Ok(Bytes::from_static(b"tar"))]).boxed())
    }
    async fn archive_stat(&self, id: &str, path: &str) -> Answer<PathStat> {
        self.find(id)?;
        if path == "/nope" {
            return Err(Refusal::not_found(format!("Could not find the file {path} in container {id}")));
        }
        // A directory, in Go's mode bits.
        Ok(PathStat { name: "tmp".into(), mode: 0x8000_01ff, ..Default::default() })
    }
    async fn archive_get(&self, id: &str, path: &str) -> Answer<(PathStat, ByteStream)> {
        Ok((self.archive_stat(id, path).await?, stream::iter([Ok(Bytes::from_static(b"tar"))]).boxed()))
    }
    async fn archive_put(&self, id: &str, _how: ArchivePut, mut tar: BodyStream) -> Answer<()> {
        self.find(id)?;
        while let Some(Ok(b)) = tar.next().await {
            self.0.lock().uploaded.extend_from_slice(&b);
        }
        Ok(())
    }
    async fn commit(&self, how: CommitQuery) -> Answer<String> {
        self.find(&how.container)?;
        Ok(format!("sha256:{}", "a".repeat(64)))
    }
}

#[async_trait]
impl Execs for Fake {
    async fn create(&self, container: &str, config: ExecConfig) -> Answer<String> {
        let container = self.find(container)?;
        let n = self.next();
        let id = format!("{n:064x}");
        self.0.lock().processes.insert(
            id.clone(),
            Process {
                id: id.clone(),
                name: String::new(),
                config: Default::default(),
                host_config: Default::default(),
                exec: Some((container, config)),
                created: now(),
                exit: watch::channel(None).0,
                started: false,
                stdin: None,
                outputs: vec![],
                log: Default::default(),
            },
        );
        Ok(id)
    }
    async fn start(&self, id: &str, how: ExecStartQuery) -> Answer<Option<Attached>> {
        let config = match self.0.lock().processes.get(id).and_then(|p| p.exec.clone()) {
            Some((_, c)) => c,
            None => return Err(Refusal::not_found(format!("No such exec instance: {id}"))),
        };
        if config.cmd.words() == ["nonsense"] {
            self.0.lock().processes[id].exit.send_replace(Some(127));
            return Err(Refusal::invalid("OCI runtime exec failed: executable file not found in $PATH"));
        }
        if how.detach {
            self.launch(id);
            return Ok(None);
        }
        let pipe = self.open(id, config.attach_stdin);
        self.launch(id);
        Ok(Some(attached(config.tty, pipe)))
    }
    async fn resize(&self, _id: &str, _h: u16, _w: u16) -> Answer<()> {
        Ok(())
    }
    async fn inspect(&self, id: &str) -> Answer<ExecInspect> {
        let s = self.0.lock();
        let p = s.processes.get(id).ok_or_else(|| Refusal::not_found(format!("No such exec instance: {id}")))?;
        let (container, config) = p.exec.clone().unwrap_or_default();
        let exit = *p.exit.borrow();
        Ok(ExecInspect {
            id: id.into(),
            running: p.started && exit.is_none(),
            exit_code: exit,
            container_id: container,
            process_config: ProcessConfig { tty: config.tty, ..Default::default() },
            ..Default::default()
        })
    }
}

#[async_trait]
impl Images for Fake {
    async fn build(&self, query: BuildQuery, _context: BodyStream) -> Answer<ProgressStream> {
        let target = query.parameters.get("target").and_then(|t| t.first()).cloned().unwrap_or_default();
        Ok(stream::iter([Progress::text(format!("building {target}\n"))]).boxed())
    }
    async fn list(&self, _how: ListImages) -> Answer<Vec<ImageSummary>> {
        let image = |tag: &str, created| ImageSummary {
            id: format!("sha256:{created:064x}"),
            repo_tags: vec![tag.into()],
            created,
            ..Default::default()
        };
        let nameless = ImageSummary { repo_tags: Vec::new(), ..image("", 0) };
        Ok(vec![image("busybox:latest", 1), image("alpine:latest", 2), nameless])
    }
    async fn inspect(&self, name: &str) -> Answer<ImageInspect> {
        if !name.ends_with("busybox") && !name.starts_with("busybox") && !name.starts_with("sha256:") {
            return Err(Refusal::not_found(format!("No such image: {name}")));
        }
        let config = ImageConfig { cmd: StrSlice(Some(vec!["sh".into()])), ..Default::default() };
        Ok(ImageInspect {
            id: format!("sha256:{}", "b".repeat(64)),
            repo_tags: vec![name.into()],
            config,
            ..Default::default()
        })
    }
    async fn search(&self, term: &str, _limit: u32) -> Answer<Vec<ImageSearchResult>> {
        Ok(vec![ImageSearchResult { name: term.into(), ..Default::default() }])
    }
    async fn history(&self, _name: &str) -> Answer<Vec<ImageHistory>> {
        Ok(vec![])
    }
    async fn pull(&self, q: PullQuery) -> Answer<ProgressStream> {
        Ok(stream::iter([
            Progress::status(format!("Pulling from {}", q.image), q.tag),
            Progress::failure("no network"),
        ])
        .boxed())
    }
    async fn import(&self, _q: ImportQuery, _b: BodyStream) -> Answer<ProgressStream> {
        Ok(stream::empty().boxed())
    }
    async fn load(&self, mut tar: BodyStream, _quiet: bool) -> Answer<ProgressStream> {
        let mut n = 0;
        while let Some(Ok(b)) = tar.next().await {
            n += b.len();
        }
        Ok(stream::iter([Progress::text(format!("Loaded {n} bytes\n"))]).boxed())
    }
    async fn save(&self, _names: Vec<String>) -> Answer<ByteStream> {
        Ok(stream::empty().boxed())
    }
    async fn tag(&self, _n: &str, _r: &str, _t: &str) -> Answer<()> {
        Ok(())
    }
    async fn remove(&self, name: &str, _f: bool, _n: bool) -> Answer<Vec<ImageDeleted>> {
        Ok(vec![ImageDeleted { untagged: name.into(), ..Default::default() }])
    }
    async fn prune(&self, _q: PruneQuery) -> Answer<ImagesPruned> {
        Ok(ImagesPruned::default())
    }
    async fn push(&self, _n: &str, _t: &str, _a: Option<AuthConfig>) -> Answer<ProgressStream> {
        Ok(stream::empty().boxed())
    }
    async fn distribution(&self, _n: &str, _a: Option<AuthConfig>) -> Answer<DistributionInspect> {
        Err(Refusal::internal("no registry"))
    }
    async fn authenticate(&self, _a: AuthConfig) -> Answer<AuthStatus> {
        Ok(AuthStatus { status: "Login Succeeded".into(), ..Default::default() })
    }
}

#[async_trait]
impl Volumes for Fake {
    async fn create(&self, body: VolumeCreate) -> Answer<Volume> {
        let v = Volume {
            name: body.name,
            driver: "local".into(),
            scope: "local".into(),
            labels: Some(body.labels),
            ..Default::default()
        };
        self.0.lock().volumes.insert(v.name.clone(), v.clone());
        Ok(v)
    }
    async fn list(&self) -> Answer<Vec<ListedVolume>> {
        Ok(self
            .0
            .lock()
            .volumes
            .values()
            .map(|v| ListedVolume { volume: v.clone(), in_use: v.name == "used" })
            .collect())
    }
    async fn inspect(&self, name: &str) -> Answer<Volume> {
        self.0
            .lock()
            .volumes
            .get(name)
            .cloned()
            .ok_or_else(|| Refusal::not_found(format!("get {name}: no such volume")))
    }
    async fn remove(&self, name: &str, _force: bool) -> Answer<()> {
        self.0
            .lock()
            .volumes
            .remove(name)
            .map(|_| ())
            .ok_or_else(|| Refusal::not_found(format!("get {name}: no such volume")))
    }
    async fn prune(&self, _q: PruneQuery) -> Answer<VolumesPruned> {
        Ok(VolumesPruned::default())
    }
}

#[async_trait]
impl Networks for Fake {
    async fn list(&self) -> Answer<Vec<ListedNetwork>> {
        let local = |name: &str, driver: &str, n: u8, predefined| ListedNetwork {
            network: Network {
                name: name.into(),
                id: format!("{n:x}").repeat(64),
                driver: driver.into(),
                scope: "local".into(),
                ..Default::default()
            },
            predefined,
            in_use: false,
        };
        let mut all = vec![
            local("bridge", "bridge", 10, true),
            local("host", "host", 11, true),
            local("none", "null", 12, true),
            local("mine", "bridge", 13, false),
        ];
        let s = self.0.lock();
        all.extend(s.networks.iter().map(|n| ListedNetwork { network: convert::network_out(n), ..Default::default() }));
        Ok(all)
    }
    async fn inspect(&self, id: &str, _verbose: bool) -> Answer<Network> {
        Networks::list(self)
            .await?
            .into_iter()
            .map(|n| n.network)
            .find(|n| n.id == id)
            .ok_or_else(|| Refusal::not_found(format!("network {id} not found")))
    }
    async fn create_local(&self, _body: NetworkCreate) -> Answer<NetworkCreated> {
        Ok(NetworkCreated { id: "e".repeat(64), warning: String::new() })
    }
    async fn create_swarm(&self, spec: NetworkSpec) -> Answer<NetworkId> {
        let n = model::Network { id: self.swarm_id(), meta: self.meta(), spec, vni: 4097, subnets: vec![] };
        let id = n.id.clone();
        self.0.lock().networks.push(Arc::new(n));
        Ok(id)
    }
    async fn remove(&self, id: &str) -> Answer<()> {
        self.0.lock().networks.retain(|n| n.id.as_str() != id);
        Ok(())
    }
    async fn connect(&self, _id: &str, container: &str, _w: EndpointSettings) -> Answer<()> {
        self.find(container).map(|_| ())
    }
    async fn disconnect(&self, _id: &str, container: &str, _force: bool) -> Answer<()> {
        self.find(container).map(|_| ())
    }
    async fn prune(&self, _q: PruneQuery) -> Answer<NetworksPruned> {
        Ok(NetworksPruned::default())
    }
}

#[async_trait]
impl Plugins for Fake {
    async fn list(&self) -> Answer<Vec<Plugin>> {
        Ok(vec![fake_plugin()])
    }
    async fn inspect(&self, name: &str) -> Answer<Plugin> {
        match name {
            "some/plugin" => Ok(fake_plugin()),
            _ => Err(Refusal::not_found(format!("plugin \"{name}\" not found"))),
        }
    }
    async fn create(&self, _: &str, _: BodyStream) -> Answer<()> {
        Ok(())
    }
    async fn configure(&self, _: &str, settings: Vec<String>) -> Answer<()> {
        match settings.as_slice() {
            [one] if one == "A=1" => Ok(()),
            other => Err(Refusal::invalid(format!("{other:?}"))),
        }
    }
    async fn remove(&self, _: &str) -> Answer<Plugin> {
        Ok(fake_plugin())
    }
}

fn fake_plugin() -> Plugin {
    let mut p = Plugin { id: "a".repeat(64), name: "some/plugin:latest".into(), ..Plugin::default() };
    p.config.interface.types = vec!["docker.volumedriver/1.0".into()];
    p
}
