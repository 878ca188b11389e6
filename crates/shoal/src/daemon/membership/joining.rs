//! How a machine comes into a swarm, and how it leaves.
use super::addresses::{address_of, advertise_addr, is_own, listen_addr, own_address, remote_addr};
use super::member::MemberFile;
use super::roles::own_towards;
use super::{Joined, Membership, State};
use crate::daemon::engine::Engine;
use api::backend::SwarmRestore;
use cluster::Channel;
use cluster::ca::{LockError, UnlockKey};
use cluster::channel::JoinOptions;
use manager::{InitOptions, Manager};
use model::{Availability, ClusterSpec, NodeId, NodeRole, Subnet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::Refusal;
use wire::engine::swarm::{SwarmInit, SwarmJoin};

/// Docker's time before a join goes on in the background.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the other managers may take to go on without this one.
const PART_WITHIN: Duration = Duration::from_secs(5);

impl Membership {
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
        if matches!(&*self.state.read(), State::Locked) {
            return Err(Refusal::unavailable(LOCKED));
        }
        let listen = listen_addr(&request.listen_addr)?;
        let advertise = match self.manager() {
            // Alone, but where it was.
            Ok(manager) if request.advertise_addr.is_empty() => manager.advertise_addr(),
            _ => advertise_addr(&request.advertise_addr, engine.settings.advertise.as_deref(), listen)?,
        };
        let data_path_addr =
            if request.data_path_addr.is_empty() { None } else { Some(address_of(&request.data_path_addr)?) };
        let pools = request
            .default_addr_pool
            .iter()
            .map(|p| p.parse::<Subnet>().map_err(|e| Refusal::invalid(e.to_string())))
            .collect::<Result<_, _>>()?;
        let data_path_port = u16::try_from(request.data_path_port).map_err(|_| {
            Refusal::invalid(format!(
                "Datapath port number is not in valid range (1024-49151) : {}",
                request.data_path_port
            ))
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
        if let Some(joined) = self.joined() {
            return self.go_on_alone(&engine, &joined, options).await;
        }
        std::fs::create_dir_all(&self.dir)
            .map_err(|e| Refusal::internal(format!("cannot make {}: {e}", self.dir.display())))?;
        let forced = options.force_new_cluster;
        let manager = Manager::bootstrap(options).await?;
        let node = manager.node_id();
        let file = MemberFile {
            node: node.clone(),
            addr: manager.advertise_addr().ip(),
            data_path_addr,
            data_path_port,
            listen,
            advertise: (!request.advertise_addr.is_empty()).then_some(advertise),
            managers: Vec::new(),
        };
        if let Err(e) = self.be_member(&engine, manager.own_channel().clone(), file, Some(manager.clone())).await {
            if forced {
                manager.shutdown().await;
            } else {
                let _ = engine.networks.leave_swarm().await;
                manager.demolish().await;
            }
            return Err(e);
        }
        Ok(node)
    }

    /// `--force-new-cluster` on a manager: what runs here runs on.
    async fn go_on_alone(
        &self,
        engine: &Arc<Engine>,
        joined: &Joined,
        options: InitOptions,
    ) -> Result<NodeId, Refusal> {
        let manager = joined.manager.write().take().ok_or_else(already_in)?;
        joined.end_manager_tasks();
        let unlock = manager.unlock_key();
        let again = match manager.alone(options).await {
            Ok(manager) => manager,
            Err(e) => {
                // As before, if that can still be had.
                if let Ok(manager) =
                    Manager::open(self.dir.clone(), unlock.as_deref(), super::addresses::own_address).await
                {
                    self.take_up(engine, joined, manager)?;
                }
                return Err(e.into());
            }
        };
        let node = again.node_id();
        self.take_up(engine, joined, again)?;
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
        let data_path_addr =
            if request.data_path_addr.is_empty() { None } else { Some(address_of(&request.data_path_addr)?) };
        let advertise = match request.advertise_addr.as_str() {
            "" => None,
            a => Some(advertise_addr(a, None, listen)?),
        };
        std::fs::create_dir_all(&self.dir)
            .map_err(|e| Refusal::internal(format!("cannot make {}: {e}", self.dir.display())))?;
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
                return Err(Refusal::unavailable(
                    "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the \"docker info\" command to see the current swarm status of your node.",
                ));
            }
        };
        // Our address on the way to the first manager is what others find us by.
        let own = match advertise {
            Some(a) => a.ip(),
            None => own_towards(managers[0])?,
        };
        let file = MemberFile {
            node: answer.node.clone(),
            addr: own,
            data_path_addr: data_path_addr.or(advertise.map(|a| a.ip())),
            data_path_port: 0,
            listen,
            advertise,
            managers: answer.managers.clone(),
        };
        let channel = Channel::new(credentials, answer.managers.clone());
        let result = if answer.role == NodeRole::Manager {
            match Manager::join(self.dir.clone(), channel.clone(), listen, file.advertised()).await {
                Ok(manager) => {
                    let result = self.be_member(&engine, channel.clone(), file, Some(manager.clone())).await;
                    if result.is_err() {
                        let _ = manager.part().await;
                        manager.demolish().await;
                    } else {
                        self.settled(&manager).await;
                    }
                    result
                }
                Err(e) => {
                    let _ = channel.leave().await;
                    Err(e.into())
                }
            }
        } else {
            self.be_member(&engine, channel, file, None).await
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
            State::Locked if !force => {
                return Err(Refusal::unavailable(
                    "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message.",
                ));
            }
            State::Pending | State::Error(_) | State::Locked => {
                if !force {
                    return Err(Refusal::unavailable(
                        "This node is not in a good state to leave the swarm. Use `--force` to ignore this message.",
                    ));
                }
                let _ = engine.networks.leave_swarm().await;
                self.forget();
                *self.state.write() = State::Inactive;
                return Ok(());
            }
            State::Joined(j) => j,
        };
        let manager = joined.manager();
        if let (Some(manager), false) = (&manager, force) {
            return Err(Refusal::unavailable(leave_warning(manager)));
        }
        self.leave_running(&engine, &joined).await;
        if let Some(manager) = &manager {
            match tokio::time::timeout(PART_WITHIN, manager.part()).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::warn!(error = %e, "the other managers were not told"),
                Err(_) => tracing::warn!("the other managers could not be told in time"),
            }
            joined.channel.close().await;
            manager.demolish().await;
        } else {
            let _ = tokio::time::timeout(Duration::from_secs(2), joined.channel.leave()).await;
            joined.channel.close().await;
        }
        if let Err(e) = engine.networks.leave_swarm().await {
            tracing::warn!(error = %e, "not everything of the overlays could be removed");
        }
        self.forget();
        *self.state.write() = State::Inactive;
        Ok(())
    }

    /// A new manager answers for the swarm once it knows the swarm.
    async fn settled(&self, manager: &Manager) {
        let mut revision = manager.store().watch_revision();
        let known = revision.wait_for(|_| manager.control().tables().cluster().is_some());
        if tokio::time::timeout(Duration::from_secs(5), known).await.is_err() {
            tracing::warn!("this manager has not heard of the swarm's objects yet");
        }
    }

    /// `swarm unlock`.
    ///
    /// # Errors
    /// 409 when nothing is locked, 401 for another key.
    pub async fn unlock(&self, key: &str) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        let engine = self.engine()?;
        if !matches!(&*self.state.read(), State::Locked) {
            self.manager()?;
            return Err(Refusal::conflict("swarm is not locked"));
        }
        let key: UnlockKey = key.parse().map_err(|e: LockError| Refusal::invalid(e.to_string()))?;
        self.reopen_manager(&engine, Some(&key)).await
    }

    /// The swarm as one file.
    ///
    /// # Errors
    /// 503 where no manager is.
    pub async fn backup(&self) -> Result<Vec<u8>, Refusal> {
        let manager = self.manager()?;
        api::Forwarder::settle(self, false).await;
        manager.backup()
    }

    /// A swarm out of such a file.
    ///
    /// # Errors
    /// 503 in a swarm; nothing half-made stays.
    pub async fn restore(&self, wish: SwarmRestore) -> Result<NodeId, Refusal> {
        let _one = self.changing.lock().await;
        let engine = self.engine()?;
        if !matches!(&*self.state.read(), State::Inactive) {
            return Err(already_in());
        }
        let unlock = match wish.unlock_key.as_str() {
            "" => None,
            key => Some(key.parse::<UnlockKey>().map_err(|e: LockError| Refusal::invalid(e.to_string()))?),
        };
        let listen = if wish.listen_addr.is_empty() { None } else { Some(listen_addr(&wish.listen_addr)?) };
        let advertise = match wish.advertise_addr.as_str() {
            "" => None,
            a => Some(advertise_addr(a, None, listen.unwrap_or(([0, 0, 0, 0], 2377).into()))?),
        };
        let chosen = |before: SocketAddr| match advertise {
            Some(a) => a,
            None if is_own(before.ip()) => before,
            None => SocketAddr::new(own_address(None).unwrap_or(before.ip()), before.port()),
        };
        std::fs::create_dir_all(&self.dir)
            .map_err(|e| Refusal::internal(format!("cannot make {}: {e}", self.dir.display())))?;
        let manager = Manager::restore(self.dir.clone(), &wish.backup, unlock.as_ref(), listen, chosen).await;
        let manager = match manager {
            Ok(manager) => manager,
            Err(e) => {
                self.forget();
                return Err(e.into());
            }
        };
        let node = manager.node_id();
        if let Err(e) = self.be_reopened(&engine, manager.clone()).await {
            let _ = engine.networks.leave_swarm().await;
            manager.demolish().await;
            self.forget();
            return Err(e);
        }
        Ok(node)
    }

    /// Ends what runs for the swarm on this machine.
    pub(super) async fn leave_running(&self, engine: &Arc<Engine>, joined: &Joined) {
        joined.end_tasks();
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
}

/// Docker's advice for a manager that leaves.
fn leave_warning(manager: &Manager) -> String {
    let tables = manager.control().tables();
    let (reachable, all) = tables
        .nodes()
        .filter_map(|n| n.manager.as_ref())
        .fold((0i64, 0i64), |(r, all), m| (r + i64::from(m.reachable), all + 1));
    let mut text = "You are attempting to leave the swarm on a node that is participating as a manager. ".to_owned();
    let (own, leadership) = (manager.node_id(), manager.store().leadership().borrow().clone());
    let led = leadership.here || leadership.leader.is_some_and(|l| l.node != own.as_str());
    if !led {
        text += "Doing so may lose the consensus of your cluster. ";
    } else if reachable - 2 <= all - reachable {
        if all <= 1 {
            return text
                + "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ";
        }
        text += &format!(
            "Removing this node leaves {} managers out of {all}. Without a Raft quorum your swarm will be inaccessible. ",
            reachable - 1
        );
    }
    text + "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message."
}

const LOCKED: &str = "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" to unlock it.";

fn already_in() -> Refusal {
    Refusal::unavailable(
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.",
    )
}

fn availability(word: &str) -> Result<Availability, Refusal> {
    wire::engine::convert::availability_in(if word.is_empty() { "active" } else { word })
}
