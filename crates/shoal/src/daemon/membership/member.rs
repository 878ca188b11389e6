//! What every member of a swarm keeps on disk, its session with the leader, and its certificate.
use super::Joined;
use crate::daemon::engine::Engine;
use cluster::channel::{Backoff, ChannelError};
use manager::Manager;
use model::{NodeId, NodeRole};
use node::agent::{Session, SessionEnd};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use wire::agent::ManagerPeer;
use wire::{Refusal, RefusalKind};

const PAUSE: Duration = Duration::from_millis(50);
/// How often the certificate is looked at. By the clock on the wall: it may be set while we sleep.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(60);
const CERTIFICATE_AGAIN: Duration = Duration::from_secs(2);

/// What a member keeps over a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MemberFile {
    pub(super) node: NodeId,
    /// Address on the way to the managers.
    pub(super) addr: IpAddr,
    /// Address of the tunnel endpoint, if a person gave one.
    pub(super) data_path_addr: Option<IpAddr>,
    /// UDP port of the tunnels, as last heard.
    pub(super) data_path_port: u16,
    /// Where it listens as a manager, or would.
    pub(super) listen: SocketAddr,
    /// Where others find it as a manager, if a person said so.
    pub(super) advertise: Option<SocketAddr>,
    /// Managers to talk to.
    pub(super) managers: Vec<ManagerPeer>,
}

impl MemberFile {
    pub(super) fn load(dir: &Path) -> Option<Self> {
        let bytes = std::fs::read(dir.join("member.json")).ok()?;
        serde_json::from_slice(&bytes).map_err(|e| tracing::error!(error = %e, "member.json is damaged")).ok()
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), Refusal> {
        let path = dir.join("member.json");
        let fresh = dir.join("member.json.new");
        let bytes = serde_json::to_vec(self).map_err(|e| Refusal::internal(e.to_string()))?;
        std::fs::write(&fresh, bytes)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|e| Refusal::internal(format!("cannot write {}: {e}", path.display())))
    }

    /// Where others find this machine as a manager.
    pub(super) fn advertised(&self) -> SocketAddr {
        self.advertise.unwrap_or(SocketAddr::new(self.addr, self.listen.port()))
    }

    /// The tunnel endpoint.
    pub(super) fn tunnel_addr(&self) -> IpAddr {
        self.data_path_addr.unwrap_or(self.addr)
    }
}

/// Keeps the session with the leader. Ends only when the node is no member any more.
pub(super) async fn keep_session(engine: Weak<Engine>, joined: Arc<Joined>) {
    let mut backoff = Backoff::default();
    loop {
        let manager = joined.manager();
        let opened = match &manager {
            Some(m) => m.node_session().await,
            None => joined.channel.session().await,
        };
        let session = match opened {
            Ok(session) => session,
            Err(ChannelError::Refused(r)) if matches!(r.kind, RefusalKind::Forbidden | RefusalKind::Unauthorized) => {
                return removed(&engine, r.message).await;
            }
            Err(e) => {
                tracing::debug!("no session yet: {e}");
                // Also when this manager is elected meanwhile.
                let _ = tokio::time::timeout(backoff.pause(), lead_here(manager.as_ref())).await;
                continue;
            }
        };
        backoff = Backoff::default();
        let in_process = manager.as_ref().is_some_and(|m| m.store().is_leader());
        if !in_process {
            moved(&engine, &joined, session.local.ip()).await;
        }
        let leader = session.manager;
        let end = tokio::select! {
            end = joined.agent.serve(Session { up: session.send, down: session.receive }) => end,
            () = lead_here(manager.as_ref()), if !in_process => SessionEnd::Restart("this manager leads now".into()),
            () = lead_elsewhere(manager.as_ref(), leader), if !in_process => SessionEnd::Restart("another manager leads now".into()),
            () = ending(manager.as_ref()) => SessionEnd::Restart("this manager ends or begins anew".into()),
        };
        remember_managers(&engine, &joined);
        match end {
            SessionEnd::Removed(why) => return removed(&engine, why).await,
            SessionEnd::Restart(why) => tracing::info!(why, "the session is begun anew"),
            SessionEnd::Broken => tracing::info!("the session broke; connecting again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Tells the agent when there is no leader: nobody replaces what runs here then.
pub(super) async fn keep_lease(joined: Arc<Joined>) {
    let mut absence = joined.channel.leader_absence();
    while absence.changed().await.is_ok() {
        let at = *absence.borrow_and_update();
        at.into_iter().for_each(|at| joined.agent.no_leader(at));
    }
}

/// Resolves when this manager leads; never for a worker.
async fn lead_here(manager: Option<&Manager>) {
    if let Some(m) = manager {
        let mut leadership = m.store().leadership();
        if leadership.wait_for(|l| l.here).await.is_ok() {
            return;
        }
    }
    std::future::pending().await
}

/// Resolves when this manager ends, perhaps for another one in its place; never for a worker.
async fn ending(manager: Option<&Manager>) {
    match manager {
        Some(m) => m.ending().await,
        None => std::future::pending().await,
    }
}

/// Resolves when raft tells this manager that another one than `leader` leads: a leader that is dead says nothing to the
/// sessions that it had. Never for a worker.
async fn lead_elsewhere(manager: Option<&Manager>, leader: SocketAddr) {
    if let Some(m) = manager {
        let mut leadership = m.store().leadership();
        while leadership.changed().await.is_ok() {
            leadership.mark_unchanged();
            if m.leader().is_some_and(|now| now.addr != leader) {
                return;
            }
        }
    }
    std::future::pending().await
}

async fn removed(engine: &Weak<Engine>, why: String) {
    tracing::warn!(why, "this node was removed from the swarm");
    if let Some(engine) = engine.upgrade() {
        // In a task of its own: it ends the one that we are in.
        tokio::spawn(async move { engine.membership.removed(&engine, why).await });
    }
}

/// The machine may have another address than before. Tunnels go with it, unless a person gave their address.
async fn moved(engine: &Weak<Engine>, joined: &Joined, local: IpAddr) {
    let local = local.to_canonical();
    let Some(engine) = engine.upgrade() else { return };
    if joined.manager().is_some_and(|m| m.has_moved()) {
        engine.membership.move_manager(&engine, joined, local).await;
    }
    let (node, before, file) = {
        let mut file = joined.file.lock();
        if file.addr == local {
            return;
        }
        let before = file.tunnel_addr();
        file.addr = local;
        (file.node.clone(), before, file.clone())
    };
    if let Err(e) = file.save(engine.membership.dir()) {
        tracing::warn!(error = %e, "the new address is not kept");
    }
    if file.tunnel_addr() != before {
        tracing::info!(from = %before, to = %local, "this machine has a new address");
        if let Err(e) = engine.networks.enter_swarm(node, local, file.data_path_port).await {
            tracing::error!(error = %e, "the tunnels cannot be moved to the new address");
        }
    }
}

fn remember_managers(engine: &Weak<Engine>, joined: &Joined) {
    let managers = joined.agent.managers();
    let port = joined.agent.directory().borrow().data_path_port;
    let Some(engine) = engine.upgrade() else { return };
    if !managers.is_empty() && joined.manager().is_none() {
        joined.channel.set_managers(managers.clone());
    }
    let mut file = joined.file.lock();
    let before = (file.managers.clone(), file.data_path_port);
    if !managers.is_empty() {
        file.managers = managers;
    }
    if port != 0 {
        file.data_path_port = port;
    }
    if before != (file.managers.clone(), file.data_path_port)
        && let Err(e) = file.save(engine.membership.dir())
    {
        tracing::warn!(error = %e, "the managers' addresses are not kept");
    }
}

/// Gets a new certificate in good time, when the managers ask for it, and when the role has changed.
pub(super) async fn keep_certificate(joined: Arc<Joined>) {
    let mut renewals = joined.agent.renewals();
    let mut draw: f64 = rand::random();
    loop {
        let asked = renewals.has_changed().unwrap_or(false);
        renewals.borrow_and_update();
        let credentials = joined.channel.credentials();
        let manager = joined.manager();
        let demoted = manager.is_none() && credentials.peer().role == NodeRole::Manager && !joined.wished_manager();
        let wait = if asked || demoted || credentials.renewal_due(draw, SystemTime::now()) {
            let renewed = match &manager {
                Some(m) => m.renew().await.map_err(|e| e.to_string()),
                None => joined.channel.renew().await.map_err(|e| e.to_string()),
            };
            match renewed {
                Ok(()) => {
                    tracing::info!("a new certificate");
                    draw = rand::random();
                    joined.agent.describe_again();
                    PAUSE
                }
                Err(e) => {
                    tracing::warn!(remaining = ?credentials.remaining(), "the certificate cannot be renewed: {e}");
                    renewals.mark_changed();
                    CERTIFICATE_AGAIN
                }
            }
        } else {
            CERTIFICATE_LOOK
        };
        let mut row = joined.agent.row();
        row.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = renewals.changed(), if wait == CERTIFICATE_LOOK => {
                if changed.is_err() {
                    return;
                }
                renewals.mark_changed();
            }
            _ = row.changed(), if wait == CERTIFICATE_LOOK => {}
        }
    }
}
