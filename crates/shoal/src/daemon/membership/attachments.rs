//! Places on overlays for plain containers: the containers of this machine ask, a manager answers.
use super::{Joined, Membership};
use crate::daemon::engine::Engine;
use async_trait::async_trait;
use axum::body::Body;
use http_body_util::BodyExt;
use manager::Manager;
use manager::control::AttachRequest;
use model::{NetworkTarget, NetworkView, NodeId};
use node::containers::{OverlayAttacher, OverlayWish};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;
use wire::Refusal;

/// How long a leader is looked for.
const LEADER_WITHIN: Duration = Duration::from_secs(5);

/// Where workers ask their manager for places on overlays (below `/engine`, so only members get there).
pub const ATTACHMENTS: &str = "/shoal/attachments";

impl Membership {
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
    match manager.control().find_network(&request.network) {
        Err(e) if e.kind == wire::RefusalKind::NotFound => return Ok(None),
        found => found?,
    };
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
pub(super) struct Attacher {
    pub(super) engine: std::sync::Weak<Engine>,
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
        let joined =
            engine.membership.joined().ok_or_else(|| Refusal::unavailable("This node is not part of a swarm"))?;
        let wish = match joined.manager().filter(|m| m.store().is_leader()) {
            Some(manager) => {
                let request = AttachRequest {
                    network: network.to_owned(),
                    node: joined.node.clone(),
                    container_id: container_id.to_owned(),
                    names,
                    addresses,
                };
                attach_on(&manager, request).await?
            }
            None => {
                let call = AttachmentCall::Attach {
                    network: network.to_owned(),
                    container_id: container_id.to_owned(),
                    names,
                    addresses,
                };
                ask_manager(&joined, &call).await?
            }
        };
        if let Some(wish) = &wish {
            let key = (wish.network.to_string(), container_id.to_owned());
            engine.membership.attached.lock().insert(key, wish.task.clone());
            // The data path must know the place before packets come.
            let mut applied = joined.agent.directory();
            let shown = applied
                .wait_for(|d| d.networks.get(&wish.network).is_some_and(|n| n.endpoints.contains_key(&wish.task)));
            if tokio::time::timeout(Duration::from_secs(20), shown).await.is_err() {
                return Err(Refusal::internal(
                    "attaching to network failed, make sure your network options are correct and check manager logs: context deadline exceeded",
                ));
            }
        }
        Ok(wish)
    }

    fn name_of(&self, network: &str) -> Option<String> {
        let engine = self.engine.upgrade()?;
        let directory = engine.networks.directory();
        let carried = directory.networks.iter().find(|(id, n)| id.as_str() == network || n.attrs.name == network);
        let carried = carried.map(|(_, n)| n.attrs.name.clone());
        let listed = || Some(engine.membership.manager().ok()?.control().find_network(network).ok()?.spec.name.clone());
        carried.or_else(listed)
    }

    async fn detach(&self, network_id: &str, container_id: &str) {
        let Some(engine) = self.engine.upgrade() else { return };
        let key = (network_id.to_owned(), container_id.to_owned());
        let known = engine.membership.attached.lock().remove(&key);
        // After a restart of the daemon the directory still knows whose place it is.
        let task = known.or_else(|| {
            engine
                .networks
                .endpoints(container_id)
                .into_iter()
                .find(|e| e.network_id == network_id)
                .and_then(|e| e.task)
        });
        let (Some(task), Some(joined)) = (task, engine.membership.joined()) else { return };
        let result = match joined.manager().filter(|m| m.store().is_leader()) {
            Some(manager) => manager.control().detach_container(&task).await,
            None => ask_manager(&joined, &AttachmentCall::Detach { task: task.to_string() }).await.map(drop),
        };
        if let Err(e) = result {
            tracing::warn!(%task, error = %e, "a place on an overlay could not be given back");
        }
    }
}

async fn ask_manager(joined: &Joined, call: &AttachmentCall) -> Result<Option<OverlayWish>, Refusal> {
    let body = serde_json::to_vec(call).map_err(|e| Refusal::internal(e.to_string()))?;
    let request = http::Request::post(ATTACHMENTS)
        .header("host", "manager")
        .header("content-length", body.len())
        .body(Body::from(body))
        .map_err(|e| Refusal::internal(e.to_string()))?;
    let unreachable = |e: String| Refusal::unavailable(format!("the manager cannot be reached: {e}"));
    let channel = match joined.manager() {
        Some(manager) => manager.channel().clone(),
        None => joined.channel.clone(),
    };
    let answer = channel.forward_to_leader(request, LEADER_WITHIN).await.map_err(|e| unreachable(e.to_string()))?;
    let bytes = answer.into_body().collect().await.map_err(|e| unreachable(e.to_string()))?.to_bytes();
    let answer: Result<Option<OverlayWish>, Refusal> =
        serde_json::from_slice(&bytes).map_err(|e| Refusal::internal(e.to_string()))?;
    answer
}
