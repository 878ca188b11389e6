//! How a machine comes into a swarm, and how it leaves.
use super::addresses::{address_of, advertise_addr, listen_addr, own_address_towards, remote_addr};
use super::worker::WorkerFile;
use super::{Joined, Membership, State};
use crate::daemon::engine::Engine;
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
        if request.auto_lock_managers || spec.autolock {
            return Err(Refusal::unimplemented("autolock (--autolock) is not supported yet by this engine"));
        }
        let listen = listen_addr(&request.listen_addr)?;
        let advertise = advertise_addr(&request.advertise_addr, engine.settings.advertise.as_deref(), listen)?;
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
        let old = self.state.read().clone();
        if let State::Joined(j) = old {
            self.leave_running(&engine, &j).await;
            if let Some(m) = &j.manager {
                m.shutdown().await;
            }
            *self.state.write() = State::Inactive;
        }
        std::fs::create_dir_all(&self.dir)
            .map_err(|e| Refusal::internal(format!("cannot make {}: {e}", self.dir.display())))?;
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
        if let (Some(manager), false) = (&joined.manager, force) {
            let managers = manager.control().tables().nodes().filter(|n| n.manager.is_some()).count();
            let what = if managers <= 1 {
                "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ".to_owned()
            } else {
                format!(
                    "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message. ({managers} managers)"
                )
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
}

fn already_in() -> Refusal {
    Refusal::unavailable(
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.",
    )
}

fn availability(word: &str) -> Result<Availability, Refusal> {
    wire::engine::convert::availability_in(if word.is_empty() { "active" } else { word })
}
