//! Being a manager with a node beside it, or a worker: everything that runs while a membership stands.
use super::attachments::Attacher;
use super::surroundings::{LateExecutor, Registry, Sink, describe};
use super::tunnels::{Tunnels, Way};
use super::worker::{Keeper, WorkerFile};
use super::{Joined, Membership, State};
use crate::daemon::engine::Engine;
use crate::daemon::{relay, swarm_events};
use cluster::Channel;
use cluster::ca::Credentials;
use manager::Manager;
use model::NodeId;
use node::agent::{Agent, AgentConfig, Session};
use node::tasks::Tasks;
use parking_lot::{Mutex, RwLock};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::Refusal;

impl Membership {
    pub(super) async fn reopen_manager(self: &Arc<Self>, engine: &Arc<Engine>) -> Result<(), Refusal> {
        let manager = Manager::open(self.dir.clone()).await?;
        self.be_manager(engine, manager).await
    }

    pub(super) async fn reopen_worker(self: &Arc<Self>, engine: &Arc<Engine>, file: WorkerFile) -> Result<(), Refusal> {
        let credentials = Credentials::load(&self.certificates()).map_err(|e| Refusal::internal(node::chain(&e)))?;
        self.be_worker(engine, credentials, file).await
    }

    /// A manager, with a node beside it.
    pub(super) async fn be_manager(&self, engine: &Arc<Engine>, manager: Manager) -> Result<(), Refusal> {
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
        manager
            .control()
            .set_local_networks(Arc::new(move |name| networks.local(name).ok().map(|n| n.spec.name.clone())));
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
    pub(super) async fn be_worker(
        &self,
        engine: &Arc<Engine>,
        credentials: Credentials,
        file: WorkerFile,
    ) -> Result<(), Refusal> {
        let (_, server) = self.engine.get().ok_or_else(|| Refusal::unavailable("the engine is starting"))?;
        let addr = file.data_path_addr.unwrap_or(file.addr);
        // The first directory tells the tunnels' port; the default is nearly always it.
        engine.networks.enter_swarm(file.node.clone(), addr, 4789).await?;
        engine.networks.ensure_gwbridge().await?;
        let channel = Channel::new(credentials.clone(), file.managers.clone());
        let tunnels = Tunnels { server: server.clone(), way: Way::There(channel.clone()) };
        let agent = self.agent(engine, &file.node, tunnels, Some(addr), credentials);
        let keeper =
            Keeper { agent: agent.clone(), channel: channel.clone(), file: file.clone(), dir: self.dir.clone() };
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
}
