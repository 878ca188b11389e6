//! Plain containers on attachable overlays: each is a task without a service, pinned to its node.
use super::{Control, lookup};
use crate::clock;
use model::{
    AttachmentSpec, DesiredState, NetworkAttachmentConfig, NetworkTarget, NodeId, StoreAction, Task, TaskId,
    TaskNetwork, TaskSpec, TaskState, TaskStatus,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::Refusal;

const ATTACH_TIMEOUT: Duration = Duration::from_secs(20);

/// A container's wish.
#[derive(Clone, Debug)]
pub struct AttachRequest {
    /// The network's id or name.
    pub network: String,
    /// The container's node.
    pub node: NodeId,
    /// Its 64-digit id.
    pub container_id: String,
    /// Its name, short id and aliases.
    pub names: Vec<String>,
    /// Asked-for addresses.
    pub addresses: Vec<IpAddr>,
}

impl Control {
    /// Gives a container its addresses on an overlay. Returns the task once it has them and is assigned.
    ///
    /// # Errors
    /// Docker's.
    pub async fn attach_container(&self, request: AttachRequest) -> Result<Arc<Task>, Refusal> {
        let id: TaskId = clock::fresh();
        let task_id = id.clone();
        let wanted = request.network.clone();
        self.update(move |tables| {
            let network = lookup::network(tables, &request.network)?;
            if !network.spec.attachable {
                return Err(Refusal::forbidden(format!(
                    "Could not attach to network {}: rpc error: code = PermissionDenied desc = network {} not manually attachable",
                    request.network, request.network
                )));
            }
            if tables.node(&request.node).is_none() {
                return Err(Refusal::not_found(format!("node {} not found", request.node)));
            }
            let target = NetworkTarget::Swarm(network.id.clone());
            let wish = NetworkAttachmentConfig {
                target: target.clone(),
                aliases: Vec::new(),
                driver_opts: Default::default(),
                addresses: request.addresses,
            };
            let attachment = AttachmentSpec { container_id: request.container_id, names: request.names };
            let task = Task {
                id: task_id,
                meta: Default::default(),
                spec: TaskSpec { attachment: Some(attachment), networks: vec![wish], ..Default::default() },
                spec_version: 0,
                service: None,
                service_name: String::new(),
                service_labels: Default::default(),
                slot: 0,
                node: Some(request.node),
                status: TaskStatus {
                    state: TaskState::New,
                    timestamp: self.store.now(),
                    message: "created".into(),
                    ..Default::default()
                },
                desired: DesiredState::Running,
                networks: vec![TaskNetwork {
                    network: target,
                    addresses: Vec::new(),
                    aliases: Vec::new(),
                    driver_opts: Default::default(),
                }],
                endpoint: Default::default(),
                draining_since: None,
                job_iteration: None,
                leased: false,
                generic: Vec::new(),
            };
            Ok((vec![StoreAction::Create(task.into())], ()))
        })
        .await?;
        let assigned = tokio::time::timeout(ATTACH_TIMEOUT, self.wait_for_addresses(&id)).await;
        let why = match assigned {
            Ok(Ok(task)) => return Ok(task),
            Ok(Err(refusal)) => refusal,
            Err(_) => {
                let said = self.tables().task(&id).map(|t| t.status.err.clone()).filter(|e| !e.is_empty());
                let why = said.unwrap_or_else(|| "context deadline exceeded".into());
                Refusal::internal(format!(
                    "attaching to network failed, make sure your network options are correct and check manager logs: {why}"
                ))
            }
        };
        tracing::warn!(task = %id, network = wanted, "a container was not attached: {why}");
        self.remove_task(&id).await?;
        Err(why)
    }

    async fn wait_for_addresses(&self, id: &TaskId) -> Result<Arc<Task>, Refusal> {
        let mut changed = self.store.watch_revision();
        loop {
            let tables = self.tables();
            let task = tables.task(id).ok_or_else(|| Refusal::not_found(format!("task {id} not found")))?.clone();
            drop(tables);
            let state = task.status.state;
            if state.is_terminal() {
                return Err(Refusal::internal(format!("attaching to network failed: {}", task.status.err)));
            }
            if state >= TaskState::Assigned && task.networks.iter().all(|n| !n.addresses.is_empty()) {
                return Ok(task);
            }
            changed.changed().await.map_err(|_| Refusal::unavailable("this manager is stopping"))?;
        }
    }

    /// Takes a container off its overlay; its addresses are free at once. Fine when it is off already.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn detach_container(&self, task: &TaskId) -> Result<(), Refusal> {
        self.remove_task(task).await
    }
}
