//! What this machine is in a swarm: nothing, a worker, or a manager with a node beside it; and the way between them.
//!
//! ```text
//!  Inactive ──init──► Manager          (restart of the daemon: Pending ──► Worker | Manager | Error)
//!     │  ▲───leave───────┘
//!     └──join──► Worker | Manager ──leave──► Inactive
//! ```
use super::engine::Engine;
use super::{relay, swarm_events};
use api::backend::SwarmRole;
use api::{Destination, Forwarder};
use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use cluster::Channel;
use cluster::ca::Credentials;
use cluster::channel::JoinOptions;
use http_body_util::BodyExt;
use manager::control::AttachRequest;
use manager::{InitOptions, Manager};
use model::{
    Availability, ClusterSpec, Directory, NetworkTarget, NetworkView, NodeDescription, NodeId, NodeRole, Platform, Resources, Subnet,
};
use node::agent::executor::Executor;
use node::agent::{Agent, AgentConfig, DirectorySink, Session, SessionEnd, TunnelServer};
use node::containers::{OverlayAttacher, OverlayWish};
use node::tasks::{Puller, Tasks};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinHandle;
use wire::Refusal;
use wire::agent::{ManagerPeer, TunnelRequest};
use wire::engine::swarm::{Peer as EnginePeer, SwarmInfo, SwarmInit, SwarmJoin, TlsInfo};

/// Where workers ask their manager for places on overlays (below `/engine`, so only members get there).
pub const ATTACHMENTS: &str = "/shoal/attachments";
/// Docker's port.
const PORT: u16 = 2377;
/// Docker's time before a join goes on in the background.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);

/// The machine's place in a swarm.
pub struct Membership {
    dir: PathBuf,
    state: RwLock<State>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    engine: OnceLock<(std::sync::Weak<Engine>, api::Server)>,
    attached: Mutex<BTreeMap<(String, String), model::TaskId>>,
}

#[derive(Clone)]
enum State {
    Inactive,
    Pending,
    Error(String),
    Joined(Arc<Joined>),
}

/// A membership that stands.
struct Joined {
    node: NodeId,
    addr: IpAddr,
    agent: Agent,
    manager: Option<Manager>,
    channel: Option<Channel>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What a worker keeps over a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct WorkerFile {
    node: NodeId,
    addr: IpAddr,
    data_path_addr: Option<IpAddr>,
    managers: Vec<ManagerPeer>,
}

impl Membership {
    /// In no swarm yet; `dir` is `<data-root>/swarm`.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            state: RwLock::new(State::Inactive),
            changing: tokio::sync::Mutex::new(()),
            engine: OnceLock::new(),
            attached: Mutex::default(),
        }
    }

    /// Takes up the membership that was there before a restart.
    pub async fn begin(self: &Arc<Self>, engine: Arc<Engine>, server: api::Server) {
        let _ = self.engine.set((Arc::downgrade(&engine), server));
        let _one = self.changing.lock().await;
        let found = if Manager::exists(&self.dir) {
            *self.state.write() = State::Pending;
            self.reopen_manager(&engine).await
        } else if let Some(file) = self.worker_file() {
            *self.state.write() = State::Pending;
            self.reopen_worker(&engine, file).await
        } else {
            return;
        };
        if let Err(e) = found {
            tracing::error!(error = %e, "the swarm cannot be taken up again");
            *self.state.write() = State::Error(e.message);
        }
    }

    /// Ends the sessions and the manager; everything stays on disk and in the kernel.
    pub async fn stop(&self) {
        let state = std::mem::replace(&mut *self.state.write(), State::Inactive);
        if let State::Joined(j) = state {
            for task in j.tasks.lock().drain(..) {
                task.abort();
            }
            if let Some(manager) = &j.manager {
                manager.shutdown().await;
            }
        }
    }

    fn engine(&self) -> Result<Arc<Engine>, Refusal> {
        let engine = self.engine.get().and_then(|(e, _)| e.upgrade());
        engine.ok_or_else(|| Refusal::unavailable("the engine is going down"))
    }

    fn joined(&self) -> Option<Arc<Joined>> {
        match &*self.state.read() {
            State::Joined(j) => Some(j.clone()),
            _ => None,
        }
    }

    /// The manager here, or Docker's sentence for why there is none.
    ///
    /// # Errors
    /// 503.
    pub fn manager(&self) -> Result<Manager, Refusal> {
        if let Some(manager) = self.joined().and_then(|j| j.manager.clone()) {
            return Ok(manager);
        }
        Err(Refusal::unavailable(match &*self.state.read() {
            State::Inactive => "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.".to_owned(),
            State::Joined(_) => "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.".to_owned(),
            State::Pending | State::Error(_) => "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.".to_owned(),
        }))
    }

    /// This node's id, if it has one.
    pub fn node_id(&self) -> Option<NodeId> {
        self.joined().map(|j| j.node.clone())
    }

    /// What it is.
    pub fn role(&self) -> SwarmRole {
        match &*self.state.read() {
            State::Inactive => SwarmRole::Inactive,
            State::Pending => SwarmRole::Pending,
            State::Error(_) => SwarmRole::Error,
            State::Joined(j) if j.manager.is_some() => SwarmRole::Manager,
            State::Joined(_) => SwarmRole::Worker,
        }
    }

    /// The part of `docker info`.
    pub fn info(&self) -> SwarmInfo {
        let mut info = SwarmInfo { local_node_state: "inactive".into(), ..SwarmInfo::default() };
        match self.state.read().clone() {
            State::Inactive => {}
            State::Pending => info.local_node_state = "pending".into(),
            State::Error(e) => (info.local_node_state, info.error) = ("error".into(), e),
            State::Joined(j) => {
                info.local_node_state = "active".into();
                info.node_id = j.node.to_string();
                info.node_addr = j.addr.to_string();
                let mut managers = j.agent.managers();
                if let Some(m) = &j.manager {
                    managers = m.managers();
                    let tables = m.control().tables();
                    info.control_available = true;
                    info.nodes = tables.nodes().count() as i64;
                    info.managers = tables.nodes().filter(|n| n.manager.is_some()).count() as i64;
                    if let Some(c) = tables.cluster() {
                        info.cluster = Some(wire::engine::convert::cluster_info_out(c, &self.tls(m)));
                    }
                    if info.managers == 2 {
                        info.warnings.push("WARNING: Running Swarm in a two-manager configuration. This configuration provides\n         no fault tolerance, and poses a high risk to lose control over the cluster.\n         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the\n         Swarm for fault-tolerance.".into());
                    }
                } else if let (true, Some(c)) = (managers.is_empty(), &j.channel) {
                    managers = c.managers();
                }
                let peer = |p: &ManagerPeer| EnginePeer { node_id: p.node.to_string(), addr: p.addr.to_string() };
                info.remote_managers = Some(managers.iter().map(peer).collect());
            }
        }
        info
    }

    /// The root that nodes trust.
    pub fn tls(&self, manager: &Manager) -> TlsInfo {
        let d = trust(manager.credentials());
        TlsInfo {
            trust_root: d.trust_root,
            cert_issuer_subject: wire::engine::Base64(d.cert_issuer_subject),
            cert_issuer_public_key: wire::engine::Base64(d.cert_issuer_public_key),
        }
    }

    /// `swarm init`.
    ///
    /// # Errors
    /// Docker's; nothing half-made stays.
    pub async fn init(&self, request: SwarmInit, spec: ClusterSpec) -> Result<NodeId, Refusal> {
        let _one = self.changing.lock().await;
        let engine = self.engine()?;
        if !matches!(&*self.state.read(), State::Inactive) && !request.force_new_cluster {
            return Err(already_in());
        }
        if request.auto_lock_managers || spec.autolock {
            return Err(Refusal::unimplemented("autolock (--autolock) is not supported yet by this engine"));
        }
        let listen = listen_addr(&request.listen_addr)?;
        let advertise = advertise_addr(&request.advertise_addr, engine.settings.advertise.as_deref(), listen)?;
        let data_path_addr = if request.data_path_addr.is_empty() { None } else { Some(address_of(&request.data_path_addr)?) };
        let pools = request
            .default_addr_pool
            .iter()
            .map(|p| p.parse::<Subnet>().map_err(|e| Refusal::invalid(e.to_string())))
            .collect::<Result<_, _>>()?;
        let data_path_port = u16::try_from(request.data_path_port).map_err(|_| {
            Refusal::invalid(format!("Datapath port number is not in valid range (1024-49151) : {}", request.data_path_port))
        })?;
        let options = InitOptions {
            dir: self.dir.clone(),
            listen,
            advertise,
            data_path_addr,
            data_path_port,
            spec,
            default_addr_pool: pools,
            subnet_size: u8::try_from(request.subnet_size)
                .map_err(|_| Refusal::invalid(format!("subnet size is out of range: {}", request.subnet_size)))?,
            availability: availability(&request.availability)?,
            hostname: crate::backend::hostname(),
            force_new_cluster: request.force_new_cluster,
        };
        let old = self.state.read().clone();
        if let State::Joined(j) = old {
            self.leave_running(&engine, &j).await;
            if let Some(m) = &j.manager {
                m.shutdown().await;
            }
            *self.state.write() = State::Inactive;
        }
        std::fs::create_dir_all(&self.dir).map_err(|e| Refusal::internal(format!("cannot make {}: {e}", self.dir.display())))?;
        let manager = Manager::bootstrap(options).await?;
        let node = manager.node_id();
        if let Err(e) = self.be_manager(&engine, manager.clone()).await {
            let _ = engine.networks.leave_swarm().await;
            manager.demolish().await;
            return Err(e);
        }
        Ok(node)
    }

    /// `swarm join`.
    ///
    /// # Errors
    /// Docker's; nothing half-made stays.
    pub async fn join(&self, request: SwarmJoin) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        let engine = self.engine()?;
        if !matches!(&*self.state.read(), State::Inactive) {
            return Err(already_in());
        }
        if request.remote_addrs.is_empty() {
            return Err(Refusal::invalid("at least 1 RemoteAddr is required to join"));
        }
        let mut managers = Vec::new();
        for addr in &request.remote_addrs {
            managers.push(remote_addr(addr).await?);
        }
        let listen = listen_addr(&request.listen_addr)?;
        let data_path_addr = if request.data_path_addr.is_empty() { None } else { Some(address_of(&request.data_path_addr)?) };
        let advertise = match request.advertise_addr.as_str() {
            "" => None,
            a => Some(advertise_addr(a, None, listen)?),
        };
        std::fs::create_dir_all(&self.dir).map_err(|e| Refusal::internal(format!("cannot make {}: {e}", self.dir.display())))?;
        let options = JoinOptions {
            managers: managers.clone(),
            token: request.join_token.clone(),
            hostname: crate::backend::hostname(),
            data_path_addr: data_path_addr.or(advertise.map(|a| a.ip())),
            advertise_addr: advertise,
            availability: availability(&request.availability)?,
            dir: self.certificates(),
        };
        let joined = tokio::time::timeout(JOIN_TIMEOUT, cluster::channel::join(&options)).await;
        let (credentials, answer) = match joined {
            Ok(Ok(ok)) => ok,
            Ok(Err(e)) => {
                let refusal = match e {
                    cluster::channel::ChannelError::Refused(r) => r,
                    cluster::channel::ChannelError::Token(e) => Refusal::invalid(e.to_string()),
                    e => Refusal::unavailable(node::chain(&e)),
                };
                return Err(refusal);
            }
            Err(_) => {
                return Err(Refusal::unavailable("Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the \"docker info\" command to see the current swarm status of your node."));
            }
        };
        // Our address on the way to the first manager is what others find us by.
        let own = match advertise {
            Some(a) => a.ip(),
            None => own_address_towards(managers[0]).map_err(|e| Refusal::internal(e.to_string()))?,
        };
        let result = if answer.role == NodeRole::Manager {
            let advertise = advertise.unwrap_or(SocketAddr::new(own, listen.port()));
            match Manager::join(self.dir.clone(), listen, advertise, &answer.managers).await {
                Ok(manager) => self.be_manager(&engine, manager).await,
                Err(e) => Err(e.into()),
            }
        } else {
            let file = WorkerFile {
                node: answer.node.clone(),
                addr: own,
                data_path_addr: data_path_addr.or(advertise.map(|a| a.ip())),
                managers: answer.managers.clone(),
            };
            self.save_worker(&file)?;
            self.be_worker(&engine, credentials, file).await
        };
        if result.is_err() {
            let _ = engine.networks.leave_swarm().await;
            self.forget();
        }
        result
    }

    /// `swarm leave`.
    ///
    /// # Errors
    /// 503 outside of a swarm, and for a manager without `force`.
    pub async fn leave(&self, force: bool) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        let engine = self.engine()?;
        let state = self.state.read().clone();
        let joined = match state {
            State::Inactive => return Err(Refusal::unavailable("This node is not part of a swarm")),
            State::Pending | State::Error(_) => {
                if !force {
                    return Err(Refusal::unavailable("This node is not in a good state to leave the swarm. Use `--force` to ignore this message."));
                }
                let _ = engine.networks.leave_swarm().await;
                self.forget();
                *self.state.write() = State::Inactive;
                return Ok(());
            }
            State::Joined(j) => j,
        };
        if let (Some(manager), false) = (&joined.manager, force) {
            let managers = manager.control().tables().nodes().filter(|n| n.manager.is_some()).count();
            let what = if managers <= 1 {
                "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ".to_owned()
            } else {
                format!("The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message. ({managers} managers)")
            };
            return Err(Refusal::unavailable(format!(
                "You are attempting to leave the swarm on a node that is participating as a manager. {what}"
            )));
        }
        self.leave_running(&engine, &joined).await;
        if let Some(channel) = &joined.channel {
            let _ = tokio::time::timeout(Duration::from_secs(2), channel.leave()).await;
            channel.close().await;
        }
        if let Some(manager) = &joined.manager {
            manager.demolish().await;
        }
        if let Err(e) = engine.networks.leave_swarm().await {
            tracing::warn!(error = %e, "not everything of the overlays could be removed");
        }
        self.forget();
        *self.state.write() = State::Inactive;
        Ok(())
    }

    /// Ends what runs for the swarm on this machine.
    async fn leave_running(&self, engine: &Arc<Engine>, joined: &Joined) {
        for task in joined.tasks.lock().drain(..) {
            task.abort();
        }
        engine.containers.set_attacher(None);
        // Their service is over: no grace, as Docker does.
        let mut removals = tokio::task::JoinSet::new();
        for id in engine.containers.task_containers() {
            let containers = engine.containers.clone();
            removals.spawn(async move {
                let _ = containers.remove(&id, true, true).await;
            });
        }
        while removals.join_next().await.is_some() {}
        joined.agent.abandon().await;
    }

    fn forget(&self) {
        self.attached.lock().clear();
        if let Err(e) = std::fs::remove_dir_all(&self.dir)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %self.dir.display(), error = %e, "the swarm's files cannot be removed");
        }
    }

    fn certificates(&self) -> PathBuf {
        self.dir.join("certificates")
    }

    fn worker_file(&self) -> Option<WorkerFile> {
        let bytes = std::fs::read(self.dir.join("worker.json")).ok()?;
        serde_json::from_slice(&bytes).map_err(|e| tracing::error!(error = %e, "worker.json is damaged")).ok()
    }

    fn save_worker(&self, file: &WorkerFile) -> Result<(), Refusal> {
        let path = self.dir.join("worker.json");
        let fresh = self.dir.join("worker.json.new");
        let bytes = serde_json::to_vec(file).map_err(|e| Refusal::internal(e.to_string()))?;
        std::fs::write(&fresh, bytes)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|e| Refusal::internal(format!("cannot write {}: {e}", path.display())))
    }

    async fn reopen_manager(self: &Arc<Self>, engine: &Arc<Engine>) -> Result<(), Refusal> {
        let manager = Manager::open(self.dir.clone()).await?;
        self.be_manager(engine, manager).await
    }

    async fn reopen_worker(self: &Arc<Self>, engine: &Arc<Engine>, file: WorkerFile) -> Result<(), Refusal> {
        let credentials = Credentials::load(&self.certificates()).map_err(|e| Refusal::internal(node::chain(&e)))?;
        self.be_worker(engine, credentials, file).await
    }

    /// A manager, with a node beside it.
    async fn be_manager(&self, engine: &Arc<Engine>, manager: Manager) -> Result<(), Refusal> {
        let node = manager.node_id();
        let (_, server) = self.engine.get().ok_or_else(|| Refusal::unavailable("the engine is starting"))?;
        let mut leadership = manager.store().leadership();
        let known = leadership.wait_for(|l| l.leader.is_some());
        if tokio::time::timeout(Duration::from_secs(20), known).await.is_err() {
            tracing::warn!("no leader is known yet");
        }
        let tables = manager.control().tables();
        let port = tables.cluster().map_or(4789, |c| c.data_path_port);
        let addr = tables.node(&node).and_then(|n| n.data_path_addr).unwrap_or(manager.advertise_addr().ip());
        engine.networks.enter_swarm(node.clone(), addr, port).await?;
        engine.networks.ensure_gwbridge().await?;
        manager.set_engine(relay::engine_handler(engine.clone(), server.clone()));
        let networks = engine.networks.clone();
        manager.control().set_local_networks(Arc::new(move |name| {
            networks.local(name).ok().map(|n| n.spec.name.clone())
        }));
        let tunnels = Tunnels { server: server.clone(), way: Way::Here(manager.clone()) };
        let agent = self.agent(engine, &node, tunnels, Some(addr), manager.credentials().clone());
        let (loop_agent, loop_manager) = (agent.clone(), manager.clone());
        let session = tokio::spawn(async move {
            loop {
                let s = loop_manager.local_session();
                let end = loop_agent.serve(Session { up: s.send, down: s.receive }).await;
                tracing::debug!(?end, "the own node's session ended");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let events = tokio::spawn(swarm_events::follow(manager.store().clone(), engine.events.clone()));
        let joined = Arc::new(Joined {
            node,
            addr: manager.advertise_addr().ip(),
            agent,
            manager: Some(manager),
            channel: None,
            tasks: Mutex::new(vec![session, events]),
        });
        *self.state.write() = State::Joined(joined.clone());
        engine.containers.set_attacher(Some(Arc::new(Attacher { engine: Arc::downgrade(engine) })));
        Ok(())
    }

    /// A worker.
    async fn be_worker(&self, engine: &Arc<Engine>, credentials: Credentials, file: WorkerFile) -> Result<(), Refusal> {
        let (_, server) = self.engine.get().ok_or_else(|| Refusal::unavailable("the engine is starting"))?;
        let addr = file.data_path_addr.unwrap_or(file.addr);
        // The first directory tells the tunnels' port; the default is nearly always it.
        engine.networks.enter_swarm(file.node.clone(), addr, 4789).await?;
        engine.networks.ensure_gwbridge().await?;
        let channel = Channel::new(credentials.clone(), file.managers.clone());
        let tunnels = Tunnels { server: server.clone(), way: Way::There(channel.clone()) };
        let agent = self.agent(engine, &file.node, tunnels, Some(addr), credentials);
        let keeper = Keeper { agent: agent.clone(), channel: channel.clone(), file: file.clone(), dir: self.dir.clone() };
        let engine_ref = Arc::downgrade(engine);
        let session = tokio::spawn(async move {
            if let Some(why) = keeper.keep().await {
                tracing::warn!(why, "this node was removed from the swarm");
                if let Some(engine) = engine_ref.upgrade() {
                    engine.membership.removed(why);
                }
            }
        });
        let joined = Arc::new(Joined {
            node: file.node,
            addr: file.addr,
            agent,
            manager: None,
            channel: Some(channel),
            tasks: Mutex::new(vec![session]),
        });
        *self.state.write() = State::Joined(joined.clone());
        engine.containers.set_attacher(Some(Arc::new(Attacher { engine: Arc::downgrade(engine) })));
        Ok(())
    }

    /// The manager does not know this node any more.
    fn removed(&self, why: String) {
        *self.state.write() = State::Error(format!("{why}: use \"docker swarm leave --force\", then join again"));
    }

    fn agent(
        &self,
        engine: &Arc<Engine>,
        node: &NodeId,
        tunnels: Tunnels,
        data_path_addr: Option<IpAddr>,
        credentials: Credentials,
    ) -> Agent {
        let executor = Arc::new(LateExecutor::default());
        let routes = Arc::new(RwLock::new(Vec::new()));
        let (networks, seen) = (engine.networks.clone(), routes.clone());
        tokio::spawn(async move { *seen.write() = networks.routes().await });
        let settings = engine.settings.clone();
        let describe = move || describe(&settings, &credentials, routes.read().clone());
        let agent = Agent::new(AgentConfig {
            executor: executor.clone(),
            directory: Arc::new(Sink(engine.networks.clone())),
            tunnels: Arc::new(tunnels),
            describe: Arc::new(describe),
            data_path_addr,
            now: node::clock::now,
        });
        let tasks = Tasks::new(
            engine.containers.clone(),
            engine.networks.clone(),
            Arc::new(Registry(engine.images.clone())),
            agent.directory(),
            node.to_string(),
        );
        let _ = executor.0.set(Arc::new(tasks));
        agent
    }

    /// A worker's question for a place on an overlay.
    pub async fn answer_attachment(
        &self,
        request: http::Request<hyper::body::Incoming>,
        node: &NodeId,
    ) -> http::Response<cluster::channel::Body> {
        let answer = async {
            let manager = self.manager()?;
            let body = request.into_body().collect().await.map_err(|e| Refusal::invalid(e.to_string()))?.to_bytes();
            let ask: AttachmentCall = serde_json::from_slice(&body).map_err(|e| Refusal::invalid(e.to_string()))?;
            match ask {
                AttachmentCall::Attach { network, container_id, names, addresses } => {
                    let request = AttachRequest { network, node: node.clone(), container_id, names, addresses };
                    attach_on(&manager, request).await
                }
                AttachmentCall::Detach { task } => {
                    let id = task.parse().map_err(|_| Refusal::invalid("not a task id"))?;
                    let own = manager.control().tables().task(&id).is_some_and(|t| t.node.as_ref() == Some(node));
                    if own {
                        manager.control().detach_container(&id).await?;
                    }
                    Ok(None)
                }
            }
        };
        let answer: Result<Option<OverlayWish>, Refusal> = answer.await;
        let bytes = serde_json::to_vec(&answer).unwrap_or_default();
        http::Response::new(cluster::channel::full(bytes))
    }
}

/// What a worker asks of its manager for a plain container.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum AttachmentCall {
    Attach { network: String, container_id: String, names: Vec<String>, addresses: Vec<IpAddr> },
    Detach { task: String },
}

async fn attach_on(manager: &Manager, request: AttachRequest) -> Result<Option<OverlayWish>, Refusal> {
    let tables = manager.control().tables();
    let wanted = request.network.clone();
    if !tables.networks().any(|n| n.spec.name == wanted || n.id.as_str() == wanted) {
        return Ok(None);
    }
    let names = request.names.clone();
    let task = manager.control().attach_container(request).await?;
    let tables = manager.control().tables();
    let place = task.networks.iter().find_map(|n| match &n.network {
        NetworkTarget::Swarm(id) => Some((id.clone(), n.addresses.clone())),
        NetworkTarget::Predefined(_) => None,
    });
    let (id, addresses) = place.ok_or_else(|| Refusal::internal("the attachment has no network"))?;
    let network = tables.network(&id).ok_or_else(|| Refusal::not_found(format!("network {id} not found")))?;
    let attrs = NetworkView::of(&tables, network).attrs;
    Ok(Some(OverlayWish { network: id, task: task.id.clone(), addresses, attrs, names }))
}

/// Places on overlays for plain containers of this machine.
struct Attacher {
    engine: std::sync::Weak<Engine>,
}

#[async_trait]
impl OverlayAttacher for Attacher {
    async fn attach(
        &self,
        network: &str,
        container_id: &str,
        names: Vec<String>,
        addresses: Vec<IpAddr>,
    ) -> Result<Option<OverlayWish>, Refusal> {
        let engine = self.engine.upgrade().ok_or_else(|| Refusal::unavailable("the engine is going down"))?;
        let joined = engine.membership.joined().ok_or_else(|| Refusal::unavailable("This node is not part of a swarm"))?;
        let wish = match (&joined.manager, &joined.channel) {
            (Some(manager), _) => {
                let request = AttachRequest {
                    network: network.to_owned(),
                    node: joined.node.clone(),
                    container_id: container_id.to_owned(),
                    names,
                    addresses,
                };
                attach_on(manager, request).await?
            }
            (None, Some(channel)) => {
                let call = AttachmentCall::Attach {
                    network: network.to_owned(),
                    container_id: container_id.to_owned(),
                    names,
                    addresses,
                };
                ask_manager(channel, &call).await?
            }
            (None, None) => None,
        };
        if let Some(wish) = &wish {
            let key = (wish.network.to_string(), container_id.to_owned());
            engine.membership.attached.lock().insert(key, wish.task.clone());
            // The data path must know the place before packets come.
            let mut applied = joined.agent.directory();
            let shown = applied.wait_for(|d| d.networks.get(&wish.network).is_some_and(|n| n.endpoints.contains_key(&wish.task)));
            if tokio::time::timeout(Duration::from_secs(20), shown).await.is_err() {
                return Err(Refusal::internal("attaching to network failed, make sure your network options are correct and check manager logs: context deadline exceeded"));
            }
        }
        Ok(wish)
    }

    async fn detach(&self, network_id: &str, container_id: &str) {
        let Some(engine) = self.engine.upgrade() else { return };
        let key = (network_id.to_owned(), container_id.to_owned());
        let known = engine.membership.attached.lock().remove(&key);
        // After a restart of the daemon the directory still knows whose place it is.
        let task = known.or_else(|| {
            engine.networks.endpoints(container_id).into_iter().find(|e| e.network_id == network_id).and_then(|e| e.task)
        });
        let (Some(task), Some(joined)) = (task, engine.membership.joined()) else { return };
        let result = match (&joined.manager, &joined.channel) {
            (Some(manager), _) => manager.control().detach_container(&task).await,
            (None, Some(channel)) => {
                ask_manager(channel, &AttachmentCall::Detach { task: task.to_string() }).await.map(drop)
            }
            (None, None) => Ok(()),
        };
        if let Err(e) = result {
            tracing::warn!(%task, error = %e, "a place on an overlay could not be given back");
        }
    }
}

async fn ask_manager(channel: &Channel, call: &AttachmentCall) -> Result<Option<OverlayWish>, Refusal> {
    let body = serde_json::to_vec(call).map_err(|e| Refusal::internal(e.to_string()))?;
    let request = http::Request::post(ATTACHMENTS)
        .header("host", "manager")
        .header("content-length", body.len())
        .body(Body::from(body))
        .map_err(|e| Refusal::internal(e.to_string()))?;
    let unreachable = |e: String| Refusal::unavailable(format!("the manager cannot be reached: {e}"));
    let answer = channel.forward(request).await.map_err(|e| unreachable(e.to_string()))?;
    let bytes = answer.into_body().collect().await.map_err(|e| unreachable(e.to_string()))?.to_bytes();
    let answer: Result<Option<OverlayWish>, Refusal> =
        serde_json::from_slice(&bytes).map_err(|e| Refusal::internal(e.to_string()))?;
    answer
}

#[async_trait]
impl Forwarder for Membership {
    async fn forward(&self, mut request: Request, to: Destination) -> Option<Response> {
        let joined = self.joined()?;
        match to {
            Destination::Manager => {
                let channel = joined.channel.clone()?;
                request.headers_mut().entry("host").or_insert(http::HeaderValue::from_static("manager"));
                match channel.forward(request).await {
                    Ok(response) => Some(response.map(Body::new)),
                    Err(e) => {
                        tracing::warn!(error = %e, "a request cannot be forwarded to a manager");
                        None
                    }
                }
            }
            Destination::ContainerNode(_) | Destination::ExecNode(_) => None,
        }
    }
}

/// Keeps a worker's session.
struct Keeper {
    agent: Agent,
    channel: Channel,
    file: WorkerFile,
    dir: PathBuf,
}

impl Keeper {
    /// Ends only when the node is no member any more, with the reason.
    async fn keep(mut self) -> Option<String> {
        loop {
            let session = match self.channel.session_retrying().await {
                Ok(s) => s,
                Err(e) => return Some(e.to_string()),
            };
            let end = self.agent.serve(Session { up: session.send, down: session.receive }).await;
            let managers = self.agent.managers();
            if !managers.is_empty() {
                self.channel.set_managers(managers.clone());
                self.file.managers = managers;
                if let Ok(bytes) = serde_json::to_vec(&self.file) {
                    let fresh = self.dir.join("worker.json.new");
                    let _ = std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, self.dir.join("worker.json")));
                }
            }
            match end {
                SessionEnd::Removed(why) => return Some(why),
                SessionEnd::Restart(why) => tracing::info!(why, "the session is begun anew"),
                SessionEnd::Broken => tracing::info!("the session broke; connecting again"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

struct Tunnels {
    server: api::Server,
    way: Way,
}

enum Way {
    Here(Manager),
    There(Channel),
}

#[async_trait]
impl TunnelServer for Tunnels {
    async fn open(&self, id: u64, _request: TunnelRequest) -> Result<(), String> {
        match &self.way {
            Way::Here(manager) => {
                let io = manager.local_tunnel(id).ok_or("nobody waits for this tunnel")?;
                tokio::spawn(relay::serve(self.server.clone(), io));
            }
            Way::There(channel) => {
                let (channel, server) = (channel.clone(), self.server.clone());
                tokio::spawn(async move {
                    match channel.tunnel(id).await {
                        Ok(io) => relay::serve(server, io).await,
                        Err(e) => tracing::warn!(error = %e, "a tunnel cannot be opened"),
                    }
                });
            }
        }
        Ok(())
    }
}

struct Sink(network::Networks);

#[async_trait]
impl DirectorySink for Sink {
    async fn apply(&self, directory: Directory) -> Result<u64, String> {
        self.0.apply_directory(directory).await.map_err(|e| node::chain(&e))
    }
    async fn verify(&self) -> (u64, u64) {
        self.0.verify().await.map_or((0, 0), |r| (r.digest, r.repaired))
    }
}

/// The executor needs the agent's directory and the agent needs the executor.
#[derive(Default)]
struct LateExecutor(OnceLock<Arc<Tasks>>);

impl LateExecutor {
    fn tasks(&self) -> &Tasks {
        // Set right after the agent was made, before any session.
        self.0.get().map(Arc::as_ref).unwrap_or_else(|| unreachable!("the executor is set before the first session"))
    }
}

#[async_trait]
impl Executor for LateExecutor {
    async fn find(&self, task: &model::Task) -> Option<node::agent::executor::Found> {
        self.tasks().find(task).await
    }
    async fn prepare(
        &self,
        task: &model::Task,
        deps: &node::agent::executor::Dependencies,
    ) -> Result<String, Refusal> {
        self.tasks().prepare(task, deps).await
    }
    async fn start(&self, task: &model::Task) -> Result<node::agent::executor::Started, Refusal> {
        self.tasks().start(task).await
    }
    async fn healthy(&self, task: &model::Task) {
        self.tasks().healthy(task).await;
    }
    async fn ended(&self, task: &model::Task) -> node::agent::executor::Ended {
        self.tasks().ended(task).await
    }
    async fn live_connections(&self, task: &model::Task) -> usize {
        self.tasks().live_connections(task).await
    }
    async fn stop(&self, task: &model::Task) -> Result<(), Refusal> {
        self.tasks().stop(task).await
    }
    async fn remove(&self, task: &model::Task) -> Result<(), Refusal> {
        self.tasks().remove(task).await
    }
}

/// Images of tasks.
struct Registry(images::Images);

#[async_trait]
impl Puller for Registry {
    async fn ensure(&self, image: &str) -> Result<(), Refusal> {
        if self.0.get(image).is_ok() {
            return Ok(());
        }
        let reference = images::Reference::parse(image).map_err(|e| Refusal::invalid(e.to_string()))?;
        let (sink, mut lines) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move { while lines.recv().await.is_some() {} });
        match self.0.pull(reference, None, images::Credentials::Anonymous, sink).await {
            Ok(_) => Ok(()),
            Err(e) => {
                tracing::info!(image, error = %e, "cannot be pulled");
                Err(Refusal::not_found(format!("No such image: {image}")))
            }
        }
    }
}

fn describe(settings: &super::options::Settings, credentials: &Credentials, routes: Vec<Subnet>) -> NodeDescription {
    let words = |typ: &str, names: &[&str]| names.iter().map(|n| (typ.to_owned(), (*n).to_owned())).collect::<Vec<_>>();
    let mut plugins = words("Network", &["bridge", "host", "null", "overlay"]);
    plugins.extend(words("Volume", &["local"]));
    plugins.extend(words("Log", &["json-file", "local"]));
    let labels = settings.labels.iter().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
    NodeDescription {
        hostname: crate::backend::hostname(),
        platform: Platform { os: "linux".into(), architecture: std::env::consts::ARCH.into() },
        resources: Resources {
            nano_cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as i64) * 1_000_000_000,
            memory_bytes: crate::backend::memory_total(),
            pids: 0,
            generic: settings.generic_resources.clone(),
        },
        engine_version: super::engine::ENGINE_VERSION.into(),
        engine_labels: labels.collect(),
        plugins,
        routes,
        ..trust(credentials)
    }
}

/// What the node's certificate says of its issuer.
fn trust(credentials: &Credentials) -> NodeDescription {
    let current = credentials.current();
    let issuer = cluster::ca::issuer_of(&current.root_pem).unwrap_or_default();
    NodeDescription {
        trust_root: current.root_pem.clone(),
        cert_issuer_subject: issuer.0,
        cert_issuer_public_key: issuer.1,
        ..NodeDescription::default()
    }
}

fn already_in() -> Refusal {
    Refusal::unavailable(
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.",
    )
}

fn availability(word: &str) -> Result<Availability, Refusal> {
    wire::engine::convert::availability_in(if word.is_empty() { "active" } else { word })
}

/// `0.0.0.0:2377`, `eth0`, `eth0:2377`, `10.0.0.1`.
fn listen_addr(text: &str) -> Result<SocketAddr, Refusal> {
    let text = if text.is_empty() { "0.0.0.0:2377" } else { text };
    let (host, port) = split_port(text)?;
    Ok(SocketAddr::new(address_of(&host)?, port.unwrap_or(PORT)))
}

fn advertise_addr(text: &str, default: Option<&str>, listen: SocketAddr) -> Result<SocketAddr, Refusal> {
    let wish = if text.is_empty() { default.unwrap_or_default() } else { text };
    if wish.is_empty() {
        let ip = if listen.ip().is_unspecified() { only_address()? } else { listen.ip() };
        return Ok(SocketAddr::new(ip, listen.port()));
    }
    let (host, port) = split_port(wish)?;
    let ip = address_of(&host)?;
    if ip.is_unspecified() {
        return Err(Refusal::invalid("advertise address must be a non-zero IP address or network interface (with optional port number)"));
    }
    Ok(SocketAddr::new(ip, port.unwrap_or(listen.port())))
}

fn split_port(text: &str) -> Result<(String, Option<u16>), Refusal> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok((addr.ip().to_string(), Some(addr.port())));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().map_err(|_| Refusal::invalid(format!("invalid address {text}: invalid port")))?;
            Ok((host.to_owned(), Some(port)))
        }
        None => Ok((text.to_owned(), None)),
    }
}

/// An address, or the first one of an interface.
fn address_of(text: &str) -> Result<IpAddr, Refusal> {
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    let links = kernel::netlink::Netlink::open().map_err(|e| Refusal::internal(e.to_string()))?;
    let addresses = addresses_by_interface(&links)?;
    addresses.into_iter().find(|(name, ip)| name == text && ip.is_ipv4()).map(|(_, ip)| ip).ok_or_else(|| {
        Refusal::invalid(format!("could not find an IP address for interface \"{text}\": use an address of this machine"))
    })
}

fn addresses_by_interface(links: &kernel::netlink::Netlink) -> Result<Vec<(String, IpAddr)>, Refusal> {
    let refuse = |e: kernel::netlink::NetlinkError| Refusal::internal(e.to_string());
    let names: BTreeMap<u32, String> = links.links().map_err(refuse)?.into_iter().map(|l| (l.index, l.name)).collect();
    let all = links.addresses().map_err(refuse)?;
    Ok(all.into_iter().filter_map(|a| Some((names.get(&a.index)?.clone(), a.addr))).collect())
}

/// The one address of this machine that others may know.
fn only_address() -> Result<IpAddr, Refusal> {
    let links = kernel::netlink::Netlink::open().map_err(|e| Refusal::internal(e.to_string()))?;
    let own = |name: &str| name == "lo" || name.starts_with("docker") || name.starts_with("br-") || name.starts_with("ve") || name.starts_with("vb");
    let mut all = addresses_by_interface(&links)?;
    all.retain(|(name, ip)| !own(name) && ip.is_ipv4());
    match &all[..] {
        [(_, ip)] => Ok(*ip),
        [] => Err(Refusal::invalid("could not find the system's IP address - specify one with --advertise-addr")),
        [(n1, a1), (n2, a2), ..] if n1 != n2 => Err(Refusal::invalid(format!(
            "could not choose an IP address to advertise since this system has multiple addresses on different interfaces ({a1} on {n1} and {a2} on {n2}) - specify one with --advertise-addr"
        ))),
        [(n, a1), (_, a2), ..] => Err(Refusal::invalid(format!(
            "could not choose an IP address to advertise since this system has multiple addresses on interface {n} ({a1} and {a2}) - specify one with --advertise-addr"
        ))),
    }
}

async fn remote_addr(text: &str) -> Result<SocketAddr, Refusal> {
    let (host, port) = split_port(text)?;
    let port = port.unwrap_or(PORT);
    if let Ok(ip) = host.parse() {
        return Ok(SocketAddr::new(ip, port));
    }
    let mut found = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|e| Refusal::unavailable(format!("could not resolve address {text}: {e}")))?;
    found.next().ok_or_else(|| Refusal::unavailable(format!("could not resolve address {text}")))
}

/// No packet is sent: the kernel only chooses the source.
fn own_address_towards(manager: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if manager.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(manager)?;
    Ok(socket.local_addr()?.ip())
}
