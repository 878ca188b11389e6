//! Being a member: the agent and its session; and being a manager beside that, for as long as it is wished.
use super::attachments::Attacher;
use super::member::{self, MemberFile};
use super::surroundings::{LateExecutor, Registry, Sink, describe};
use super::tunnels::Tunnels;
use super::{Joined, Membership, State};
use crate::daemon::engine::Engine;
use crate::daemon::{relay, swarm_events};
use cluster::Channel;
use cluster::ca::{Credentials, UnlockKey};
use manager::Manager;
use model::NodeRole;
use node::agent::{Agent, AgentConfig};
use node::tasks::Tasks;
use parking_lot::{Mutex, RwLock};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use wire::Refusal;

/// A daemon that starts waits so long for the other managers before it opens its doors.
const LEADER_KNOWN_WITHIN: Duration = Duration::from_secs(3);
const ROLE_AGAIN: Duration = Duration::from_secs(1);
/// How long a manager that has ended by itself stays away; longer than an election takes.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(30);
const FAULTS_FORGOTTEN: Duration = Duration::from_secs(120);
/// After that, while it cannot begin anew it is tried again so often.
const MANAGER_AGAIN: Duration = Duration::from_secs(1);

impl Membership {
    pub(super) async fn reopen_manager(&self, engine: &Arc<Engine>, unlock: Option<&UnlockKey>) -> Result<(), Refusal> {
        let manager = Manager::open(self.dir.clone(), unlock, super::addresses::own_address).await?;
        self.be_reopened(engine, manager).await
    }

    /// A manager that was there before.
    pub(super) async fn be_reopened(&self, engine: &Arc<Engine>, manager: Manager) -> Result<(), Refusal> {
        let file = MemberFile::load(&self.dir).unwrap_or_else(|| MemberFile {
            node: manager.node_id(),
            addr: manager.advertise_addr().ip(),
            data_path_addr: None,
            data_path_port: 0,
            listen: manager.listen_addr(),
            advertise: None,
            managers: Vec::new(),
        });
        let file = MemberFile { addr: manager.advertise_addr().ip(), ..file };
        let known = async {
            let mut leadership = manager.store().leadership();
            let mut revision = manager.store().watch_revision();
            let _ = leadership.wait_for(|l| l.leader.is_some()).await;
            let _ = revision.wait_for(|r| *r > 0).await;
        };
        if tokio::time::timeout(LEADER_KNOWN_WITHIN, known).await.is_err() {
            tracing::warn!("no leader is known yet");
        }
        let done = self.be_member(engine, manager.own_channel().clone(), file, Some(manager.clone())).await;
        if done.is_err() {
            manager.shutdown().await;
        }
        done
    }

    pub(super) async fn reopen_worker(&self, engine: &Arc<Engine>, file: MemberFile) -> Result<(), Refusal> {
        let credentials =
            Credentials::load(&self.certificates(), None).map_err(|e| Refusal::internal(node::chain(&e)))?;
        if credentials.remaining() == Duration::ZERO {
            return Err(Refusal::unavailable(
                "Swarm certificates have expired. To replace them, leave the swarm and join again.",
            ));
        }
        self.be_member(engine, Channel::new(credentials, file.managers.clone()), file, None).await
    }

    /// A member of a swarm, with a manager or without.
    pub(super) async fn be_member(
        &self,
        engine: &Arc<Engine>,
        channel: Channel,
        mut file: MemberFile,
        manager: Option<Manager>,
    ) -> Result<(), Refusal> {
        if let Some(tables) = manager.as_ref().map(|m| m.control().tables()) {
            file.data_path_port = tables.cluster().map_or(file.data_path_port, |c| c.data_path_port);
        }
        if file.data_path_addr.is_some_and(|ip| !super::addresses::is_own(ip)) {
            tracing::warn!(addr = ?file.data_path_addr, "the data path address is not this machine's any more");
            file.data_path_addr = None;
        }
        // A worker's first directory tells the tunnels' port; the default is nearly always it.
        let port = if file.data_path_port == 0 { 4789 } else { file.data_path_port };
        engine.networks.enter_swarm(file.node.clone(), file.tunnel_addr(), port).await?;
        engine.networks.ensure_gwbridge().await?;
        file.save(&self.dir)?;
        let file = Arc::new(Mutex::new(file));
        let joined = Arc::new(Joined {
            node: channel.credentials().peer().node,
            agent: self.agent(engine, file.clone(), channel.credentials().clone())?,
            channel,
            manager: RwLock::new(None),
            file,
            tasks: Mutex::default(),
            manager_tasks: Mutex::default(),
        });
        if let Some(manager) = manager {
            self.take_up(engine, &joined, manager)?;
        }
        let weak = Arc::downgrade(engine);
        joined.tasks.lock().extend([
            tokio::spawn(member::keep_session(weak.clone(), joined.clone())),
            tokio::spawn(member::keep_certificate(joined.clone())),
            tokio::spawn(member::keep_lease(joined.clone())),
            tokio::spawn(follow_role(weak.clone(), joined.clone())),
        ]);
        *self.state.write() = State::Joined(joined);
        engine.containers.set_attacher(Some(Arc::new(Attacher { engine: weak })));
        Ok(())
    }

    /// From now on this machine is a manager too.
    pub(super) fn take_up(&self, engine: &Arc<Engine>, joined: &Joined, manager: Manager) -> Result<(), Refusal> {
        let (_, server) = self.engine.get().ok_or_else(|| Refusal::unavailable("the engine is starting"))?;
        manager.set_engine(relay::engine_handler(engine.clone(), server.clone()));
        let networks = engine.networks.clone();
        manager
            .control()
            .set_local_networks(Arc::new(move |name| networks.local(name).ok().map(|n| n.spec.name.clone())));
        let events = tokio::spawn(swarm_events::follow(manager.store().clone(), engine.events.clone()));
        joined.manager_tasks.lock().push(events);
        tokio::spawn(mend(Arc::downgrade(engine), manager.clone()));
        *joined.manager.write() = Some(manager);
        Ok(())
    }

    /// A manager that has ended by itself begins anew.
    ///
    /// # Errors
    /// Why it cannot yet; until it can, it is shown what it knew, and nothing is written through it.
    async fn begin_again(&self, engine: &Arc<Engine>, broken: &Manager) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        let is_it = |j: &Arc<Joined>| j.manager().is_some_and(|m| m.is(broken));
        let Some(joined) = self.joined().filter(is_it) else { return Ok(()) };
        let manager = broken.again().await?;
        joined.end_manager_tasks();
        self.take_up(engine, &joined, manager)?;
        tracing::info!("the manager goes on");
        Ok(())
    }

    /// What is wished is a manager here.
    async fn promote(&self, engine: &Arc<Engine>, joined: &Joined) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        if !self.is_now(joined) || joined.manager().is_some() {
            return Ok(());
        }
        joined.channel.renew().await.map_err(|e| Refusal::unavailable(e.to_string()))?;
        if joined.channel.credentials().peer().role != NodeRole::Manager {
            // The wish has gone meanwhile.
            return Ok(());
        }
        let (listen, advertise) = {
            let file = joined.file.lock();
            (file.listen, file.advertised())
        };
        let manager = Manager::join(self.dir.clone(), joined.channel.clone(), listen, advertise).await?;
        self.take_up(engine, joined, manager)?;
        joined.agent.describe_again();
        tracing::info!("this node is a manager now");
        Ok(())
    }

    /// The others have let this manager go.
    async fn demote(&self, joined: &Joined) {
        let _one = self.changing.lock().await;
        if !self.is_now(joined) {
            return;
        }
        let Some(manager) = joined.manager.write().take() else { return };
        joined.end_manager_tasks();
        joined.file.lock().managers = manager.channel().managers();
        if let Err(e) = joined.file.lock().save(&self.dir) {
            tracing::warn!(error = %e, "the managers' addresses are not kept");
        }
        manager.resign().await;
        tracing::info!("this node is a worker now");
    }

    /// The machine has another address: the manager goes there, and tells the others.
    pub(super) async fn move_manager(&self, engine: &Arc<Engine>, joined: &Joined, to: IpAddr) {
        let _one = self.changing.lock().await;
        if !self.is_now(joined) {
            return;
        }
        let Some(manager) = joined.manager.write().take() else { return };
        joined.end_manager_tasks();
        let moved = match manager.move_to(to).await {
            Ok(moved) => moved,
            Err(e) => {
                tracing::error!(error = %e, "the manager cannot go to the new address: restart the daemon");
                return;
            }
        };
        if let Err(e) = self.take_up(engine, joined, moved) {
            tracing::error!(error = %e, "the manager at the new address is not in use");
        }
    }

    fn is_now(&self, joined: &Joined) -> bool {
        self.joined().is_some_and(|now| std::ptr::eq(&*now, joined))
    }

    /// The managers do not know this node any more.
    pub(super) async fn removed(&self, engine: &Arc<Engine>, why: String) {
        let _one = self.changing.lock().await;
        let before = std::mem::replace(
            &mut *self.state.write(),
            State::Error(format!("{why}: use \"docker swarm leave --force\", then join again")),
        );
        if let State::Joined(joined) = before {
            self.leave_running(engine, &joined).await;
            let manager = joined.manager.write().take();
            if let Some(manager) = manager {
                manager.shutdown().await;
            }
        }
    }

    fn agent(
        &self,
        engine: &Arc<Engine>,
        file: Arc<Mutex<MemberFile>>,
        credentials: Credentials,
    ) -> Result<Agent, Refusal> {
        let (_, server) = self.engine.get().ok_or_else(|| Refusal::unavailable("the engine is starting"))?;
        let node = credentials.peer().node;
        let executor = Arc::new(LateExecutor::default());
        let routes = Arc::new(RwLock::new(Vec::new()));
        let (networks, seen) = (engine.networks.clone(), routes.clone());
        tokio::spawn(async move { *seen.write() = networks.routes().await });
        let (settings, reloadable) = (engine.settings.clone(), engine.reloadable.clone());
        let key = engine.networks.encryption_key();
        let describe = move || describe(&settings, &reloadable.read().labels, &credentials, routes.read().clone(), key);
        let agent = Agent::new(AgentConfig {
            node: node.clone(),
            executor: executor.clone(),
            directory: Arc::new(Sink(engine.networks.clone())),
            tunnels: Arc::new(Tunnels { server: server.clone(), engine: Arc::downgrade(engine) }),
            describe: Arc::new(describe),
            data_path_addr: Arc::new(move || Some(file.lock().tunnel_addr())),
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
        Ok(agent)
    }
}

/// How often the manager has ended by itself of late. It does not begin anew at once: the other managers shall have the
/// time to elect one that works.
#[derive(Default)]
pub(super) struct Faults {
    last: Option<(Instant, Duration)>,
}

impl Faults {
    /// How long to wait before it begins anew, when it has ended now.
    fn pause(&mut self, now: Instant) -> Duration {
        let recent = self.last.filter(|(at, _)| now.duration_since(*at) < FAULTS_FORGOTTEN);
        let pause = recent.map_or(PAUSE_MIN, |(_, before)| (2 * before).min(PAUSE_MAX));
        self.last = Some((now, pause));
        pause
    }
}

/// Watches over a manager: when its raft has ended by itself (no room on the disk, a fault) it begins anew, as soon as it
/// can.
async fn mend(engine: Weak<Engine>, manager: Manager) {
    let why = tokio::select! {
        why = manager.store().raft().broken() => why,
        () = manager.ending() => return,
    };
    let pause = match engine.upgrade() {
        Some(engine) => engine.membership.faults.lock().pause(Instant::now()),
        None => return,
    };
    tracing::error!(why, ?pause, "the manager has stopped; it begins anew");
    tokio::time::sleep(pause).await;
    let mut said = String::new();
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let Err(e) = engine.membership.begin_again(&engine, &manager).await else { return };
        drop(engine);
        if said != e.message {
            tracing::error!(error = %e, "the manager cannot begin anew yet");
            said = e.message;
        }
        tokio::time::sleep(MANAGER_AGAIN).await;
    }
}

/// Acts on a promotion, and on a demotion once the others have let this manager go.
async fn follow_role(engine: Weak<Engine>, joined: Arc<Joined>) {
    let mut row = joined.agent.row();
    loop {
        let now = row.borrow_and_update().clone();
        let Some(engine) = engine.upgrade() else { return };
        let mut again = false;
        if let Some((spec, observed)) = now {
            match (spec.role, joined.manager().is_some()) {
                (NodeRole::Manager, false) => {
                    if let Err(e) = engine.membership.promote(&engine, &joined).await {
                        tracing::warn!(error = %e, "this node cannot become a manager yet");
                        again = true;
                    }
                }
                (NodeRole::Worker, true) if observed == NodeRole::Worker => engine.membership.demote(&joined).await,
                _ => {}
            }
        }
        drop(engine);
        let pause = if again { ROLE_AGAIN } else { Duration::MAX };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = row.changed() => if changed.is_err() { return },
        }
    }
}

/// Where a manager would be found, for a machine that has joined through `manager`.
pub(super) fn own_towards(manager: SocketAddr) -> Result<IpAddr, Refusal> {
    super::addresses::own_address_towards(manager).map_err(|e| Refusal::internal(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_ends_again_and_again_stays_away_longer() {
        let (mut faults, mut now) = (Faults::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let pause = faults.pause(now);
            pauses.push(pause.as_secs());
            now += pause + Duration::from_secs(1);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
        assert_eq!(faults.pause(now + FAULTS_FORGOTTEN), PAUSE_MIN);
    }
}
