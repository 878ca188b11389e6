//! What a worker keeps on disk, and its session with the managers.
use super::Membership;
use cluster::Channel;
use model::NodeId;
use node::agent::{Agent, Session, SessionEnd};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use wire::Refusal;
use wire::agent::ManagerPeer;

/// What a worker keeps over a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WorkerFile {
    pub(super) node: NodeId,
    pub(super) addr: IpAddr,
    pub(super) data_path_addr: Option<IpAddr>,
    pub(super) managers: Vec<ManagerPeer>,
}

impl Membership {
    pub(super) fn worker_file(&self) -> Option<WorkerFile> {
        let bytes = std::fs::read(self.dir.join("worker.json")).ok()?;
        serde_json::from_slice(&bytes).map_err(|e| tracing::error!(error = %e, "worker.json is damaged")).ok()
    }

    pub(super) fn save_worker(&self, file: &WorkerFile) -> Result<(), Refusal> {
        let path = self.dir.join("worker.json");
        let fresh = self.dir.join("worker.json.new");
        let bytes = serde_json::to_vec(file).map_err(|e| Refusal::internal(e.to_string()))?;
        std::fs::write(&fresh, bytes)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|e| Refusal::internal(format!("cannot write {}: {e}", path.display())))
    }
}

/// Keeps a worker's session.
pub(super) struct Keeper {
    pub(super) agent: Agent,
    pub(super) channel: Channel,
    pub(super) file: WorkerFile,
    pub(super) dir: PathBuf,
}

impl Keeper {
    /// Ends only when the node is no member any more, with the reason.
    pub(super) async fn keep(mut self) -> Option<String> {
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
                    let _ = std::fs::write(&fresh, bytes)
                        .and_then(|()| std::fs::rename(&fresh, self.dir.join("worker.json")));
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
