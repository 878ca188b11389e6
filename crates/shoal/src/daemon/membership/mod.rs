//! What this machine is in a swarm: nothing, a worker, or a manager with a node beside it; and the way between them.
//!
//! ```text
//!  Inactive ──init, join──► Joined ──leave──► Inactive       (restart of the daemon: Pending ──► Joined | Error)
//!                            │  ▲
//!                   promoted ▼  │ demoted
//!                         with a manager
//! ```
//! The agent, its tasks and the channel to the managers live as long as the membership; a manager comes and goes beside
//! them.
mod addresses;
mod attachments;
mod elsewhere;
mod joining;
mod member;
mod roles;
mod surroundings;
mod tunnels;

pub use attachments::ATTACHMENTS;
pub use elsewhere::ELSEWHERE;
pub(crate) use tunnels::{REVISION_HEADER, ask_leader};

use super::engine::Engine;
use api::backend::SwarmRole;
use cluster::Channel;
use manager::Manager;
use member::MemberFile;
use model::NodeId;
use node::agent::Agent;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::task::JoinHandle;
use wire::Refusal;
use wire::agent::ManagerPeer;
use wire::engine::swarm::{Peer as EnginePeer, SwarmInfo, TlsInfo};

/// The machine's place in a swarm.
pub struct Membership {
    dir: PathBuf,
    state: RwLock<State>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    engine: OnceLock<(std::sync::Weak<Engine>, api::Server)>,
    attached: Mutex<BTreeMap<(String, String), model::TaskId>>,
    faults: Mutex<roles::Faults>,
}

#[derive(Clone)]
enum State {
    Inactive,
    Pending,
    /// A manager whose keys are with people.
    Locked,
    Error(String),
    Joined(Arc<Joined>),
}

/// A membership that stands.
struct Joined {
    node: NodeId,
    agent: Agent,
    channel: Channel,
    manager: RwLock<Option<Manager>>,
    file: Arc<Mutex<MemberFile>>,
    /// They end with the membership.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// They end with the manager.
    manager_tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Joined {
    fn manager(&self) -> Option<Manager> {
        self.manager.read().clone()
    }

    fn wished_manager(&self) -> bool {
        self.agent.row().borrow().as_ref().is_none_or(|(spec, _)| spec.role == model::NodeRole::Manager)
    }

    fn end_tasks(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        self.end_manager_tasks();
    }

    fn end_manager_tasks(&self) {
        self.manager_tasks.lock().drain(..).for_each(|task| task.abort());
    }
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
            faults: Mutex::default(),
        }
    }

    /// Takes up the membership that was there before a restart.
    pub async fn begin(self: &Arc<Self>, engine: Arc<Engine>, server: api::Server) {
        let _ = self.engine.set((Arc::downgrade(&engine), server));
        let _one = self.changing.lock().await;
        let found = if Manager::exists(&self.dir) && Manager::is_locked(&self.dir) {
            tracing::warn!("the swarm is locked: this manager waits for \"docker swarm unlock\"");
            *self.state.write() = State::Locked;
            return;
        } else if Manager::exists(&self.dir) {
            *self.state.write() = State::Pending;
            self.reopen_manager(&engine, None).await
        } else if let Some(file) = MemberFile::load(&self.dir) {
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
            j.end_tasks();
            if let Some(manager) = j.manager() {
                manager.shutdown().await;
            }
        }
    }

    fn engine(&self) -> Result<Arc<Engine>, Refusal> {
        let engine = self.engine.get().and_then(|(e, _)| e.upgrade());
        engine.ok_or_else(|| Refusal::unavailable("the engine is going down"))
    }

    fn dir(&self) -> &std::path::Path {
        &self.dir
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
        if let Some(manager) = self.joined().and_then(|j| j.manager()) {
            return Ok(manager);
        }
        Err(Refusal::unavailable(match &*self.state.read() {
            State::Inactive => "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.".to_owned(),
            State::Joined(_) => "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.".to_owned(),
            State::Pending | State::Error(_) => "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.".to_owned(),
            State::Locked => "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" to unlock it.".to_owned(),
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
            State::Locked => SwarmRole::Locked,
            State::Error(_) => SwarmRole::Error,
            State::Joined(j) => match j.manager() {
                // A manager without any row has not heard of the others yet.
                Some(m) if m.control().tables().cluster().is_none() => SwarmRole::Pending,
                Some(_) => SwarmRole::Manager,
                None => SwarmRole::Worker,
            },
        }
    }

    /// The part of `docker info`.
    pub fn info(&self) -> SwarmInfo {
        let mut info = SwarmInfo { local_node_state: "inactive".into(), ..SwarmInfo::default() };
        match self.state.read().clone() {
            State::Inactive => {}
            State::Pending => info.local_node_state = "pending".into(),
            State::Locked => info.local_node_state = "locked".into(),
            State::Error(e) => (info.local_node_state, info.error) = ("error".into(), e),
            State::Joined(j) => {
                info.local_node_state = "active".into();
                info.node_id = j.node.to_string();
                info.node_addr = j.file.lock().addr.to_string();
                let mut managers = j.agent.managers();
                if let Some(m) = j.manager() {
                    managers = m.managers();
                    info.node_addr = m.advertise_addr().ip().to_string();
                    let tables = m.control().tables();
                    info.control_available = true;
                    info.nodes = tables.nodes().count() as i64;
                    info.managers = tables.nodes().filter(|n| n.manager.is_some()).count() as i64;
                    if let Some(c) = tables.cluster() {
                        info.cluster = Some(wire::engine::convert::cluster_info_out(c, &self.tls(&m)));
                    }
                    if info.managers == 2 {
                        info.warnings.push("WARNING: Running Swarm in a two-manager configuration. This configuration provides\n         no fault tolerance, and poses a high risk to lose control over the cluster.\n         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the\n         Swarm for fault-tolerance.".into());
                    }
                } else if managers.is_empty() {
                    managers = j.channel.managers();
                }
                let peer = |p: &ManagerPeer| EnginePeer { node_id: p.node.to_string(), addr: p.addr.to_string() };
                info.remote_managers = Some(managers.iter().map(peer).collect());
            }
        }
        info
    }

    /// The root that nodes trust.
    pub fn tls(&self, manager: &Manager) -> TlsInfo {
        let Ok(c) = manager.control().swarm() else { return TlsInfo::default() };
        let (subject, key) = cluster::ca::issuer_of(c.signer().0).unwrap_or_default();
        TlsInfo {
            trust_root: c.root_ca_cert.clone(),
            cert_issuer_subject: wire::engine::Base64(subject),
            cert_issuer_public_key: wire::engine::Base64(key),
        }
    }

    fn certificates(&self) -> PathBuf {
        self.dir.join("certificates")
    }
}
