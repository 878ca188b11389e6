//! Containers of other nodes: where they are, and the way there.
//!
//! ```text
//!  client ─► this node ──────────────────────────► node of the container      (this node is the leading manager)
//!  client ─► this node ─► leader ─► (its tunnel) ─► node of the container      (any other)
//! ```
//! Managers know where a container is; the leader alone has the nodes' sessions, over which it asks for a tunnel. Nothing
//! here waits for a node that is down: it is known to be, or its tunnels are cut when it falls silent.
use super::Membership;
use crate::daemon::relay;
use api::http::{ApiVersion, Failure};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cluster::Channel;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use model::NodeId;
use std::time::Duration;
use wire::Refusal;
use wire::agent::{ContainerPlace, TunnelRequest};

/// Where nodes ask the leader for containers of others (below `/engine`, so only members get there): `containers/<wanted>`
/// for the place, `nodes/<id>/<request>` to be carried there.
pub const ELSEWHERE: &str = "/shoal/elsewhere/";

/// Finding a container and opening the way to it may take so long.
const WAY_WITHIN: Duration = Duration::from_secs(5);
const PLACE_BYTES_MAX: usize = 64 << 10;

/// What may be asked of a container on another node: to look into it and to talk with it. Its life is the swarm's.
const ASKED: [&str; 11] =
    ["json", "logs", "attach", "stats", "top", "archive", "exec", "resize", "wait", "changes", "export"];

impl Membership {
    /// Carries a request for a container that is not here.
    pub(super) async fn carry_to_container(&self, request: Request, wanted: &str) -> Response {
        let answer = async {
            let place = self.place(wanted).await?;
            let path = request.uri().path();
            let rest = path.trim_start_matches('/').splitn(3, '/').nth(2).unwrap_or_default();
            if *request.method() == Method::DELETE || !ASKED.contains(&rest) {
                return Err(Refusal::conflict(format!(
                    "container {} runs on node {}, and its life is the swarm's: use \"docker service\", or ask on that node",
                    place.name, place.hostname
                )));
            }
            let path = format!("/containers/{}/{rest}", place.container);
            self.carry(request, &place, &path).await
        };
        answer.await.unwrap_or_else(|r| Failure(r).into_response())
    }

    /// Carries a request for an exec that was not prepared here: its id begins like its container's.
    pub(super) async fn carry_to_exec(&self, request: Request, id: &str) -> Response {
        let answer = async {
            let no_such = || Refusal::not_found(format!("No such exec instance: {id}"));
            let container = id.get(..node::containers::EXEC_PREFIX).ok_or_else(no_such)?;
            let place = self.place(container).await.map_err(|r| match r.kind {
                wire::RefusalKind::NotFound => no_such(),
                _ => r,
            })?;
            let path = request.uri().path().to_owned();
            self.carry(request, &place, &path).await
        };
        answer.await.unwrap_or_else(|r| Failure(r).into_response())
    }

    /// Where a container of the swarm is that is not here.
    async fn place(&self, wanted: &str) -> Result<ContainerPlace, Refusal> {
        let joined = self.joined().ok_or_else(|| not_here(wanted))?;
        let place = match joined.manager() {
            Some(manager) => manager.control().place_of_container(wanted)?,
            None => {
                let asked = tokio::time::timeout(WAY_WITHIN, ask_for_place(&joined.channel, wanted));
                let unasked =
                    |why: &str| Refusal::not_found(format!("No such container: {wanted} on this node, and {why}"));
                match asked.await {
                    Ok(Ok(answer)) => answer?,
                    Ok(Err(e)) => return Err(unasked(&e)),
                    Err(_) => return Err(unasked("no manager answers to be asked for it")),
                }
            }
        };
        // It was here, and its row has not followed yet.
        if place.node == joined.node { Err(not_here(wanted)) } else { Ok(place) }
    }

    async fn carry(&self, request: Request, place: &ContainerPlace, path: &str) -> Result<Response, Refusal> {
        if let Some(state) = &place.unreachable {
            return Err(Refusal::unavailable(format!(
                "container {} runs on node {}, which is {state}: it can be asked when the node is back",
                place.name, place.hostname
            )));
        }
        let request = at(request, path)?;
        self.ask_node(&place.node, request).await.map_err(|mut r| {
            r.message = format!("container {} on node {} cannot be asked: {}", place.name, place.hostname, r.message);
            r
        })
    }

    /// Sends an Engine API request to a node of the swarm, and gives its answer. Follow-up bytes of both directions are
    /// carried on after the answer's head.
    ///
    /// # Errors
    /// `Unavailable`, soon, when there is no way to the node.
    pub async fn ask_node(&self, node: &NodeId, request: Request) -> Result<Response, Refusal> {
        let joined = self.joined().ok_or_else(|| Refusal::unavailable("This node is not part of a swarm"))?;
        let channel = match joined.manager() {
            Some(manager) if manager.store().is_leader() => {
                let wish = TunnelRequest { method: request.method().to_string(), uri: request.uri().to_string() };
                let tunnel = manager.tunnel(node, wish).await?;
                return relay::carry(tunnel, request).await.map_err(|e| broken(&e));
            }
            Some(manager) => manager.channel().clone(),
            None => joined.channel.clone(),
        };
        let path = format!("{ELSEWHERE}nodes/{node}{}", request.uri());
        let request = with_path(request, &path)?;
        let stream = tokio::time::timeout(WAY_WITHIN, channel.engine_at_leader(WAY_WITHIN));
        let stream = stream.await.map_err(|_| Refusal::unavailable("no manager answers"))?;
        let stream = stream.map_err(|e| Refusal::unavailable(e.to_string()))?;
        relay::carry(stream, request).await.map_err(|e| broken(&e))
    }

    /// A node's question for a container of another: answered by managers, the carrying by the leader only.
    pub async fn answer_elsewhere(&self, request: Request) -> Response {
        let answer = async {
            let manager = self.manager()?;
            let rest = request.uri().path().trim_start_matches(ELSEWHERE).to_owned();
            if let Some(wanted) = rest.strip_prefix("containers/") {
                let place = manager.control().place_of_container(&api::forward::decode(wanted));
                let text = serde_json::to_vec(&place).map_err(|e| Refusal::internal(e.to_string()))?;
                return Ok(Response::new(Body::from(text)));
            }
            let unknown = || Refusal::not_found("page not found");
            let (node, path) = rest.strip_prefix("nodes/").and_then(|r| r.split_once('/')).ok_or_else(unknown)?;
            let node: NodeId = node.parse().map_err(|_| unknown())?;
            if !may_be_carried(path) {
                return Err(unknown());
            }
            if !manager.store().is_leader() {
                return Err(Refusal::unavailable("the leader is just changing"));
            }
            let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
            let request = with_path(request, &format!("/{path}{query}"))?;
            self.ask_node(&node, request).await
        };
        answer.await.unwrap_or_else(|r| Failure(r).into_response())
    }
}

/// Members may be carried to containers and execs only, whatever they write: `v1.51/containers/<id>/logs`.
fn may_be_carried(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let parts = if parts.first().is_some_and(|p| p.starts_with("v1.")) { &parts[1..] } else { &parts[..] };
    match parts {
        ["containers", _, verb] => ASKED.contains(verb),
        ["exec", _, verb] => matches!(*verb, "start" | "resize" | "json"),
        _ => false,
    }
}

fn not_here(wanted: &str) -> Refusal {
    Refusal::not_found(format!("No such container: {wanted}"))
}

fn broken(e: &hyper::Error) -> Refusal {
    Refusal::unavailable(format!("the connection broke: {}", node::chain(e)))
}

async fn ask_for_place(channel: &Channel, wanted: &str) -> Result<Result<ContainerPlace, Refusal>, String> {
    let escaped: String = wanted.bytes().map(|b| format!("%{b:02X}")).collect();
    let request = http::Request::get(format!("{ELSEWHERE}containers/{escaped}")).body(Body::empty());
    let stream = channel.engine(WAY_WITHIN).await.map_err(|e| e.to_string())?;
    let answer = relay::ask(stream, request.map_err(|e| e.to_string())?).await.map_err(|e| e.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("a manager answers {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), PLACE_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|e| e.to_string())
}

/// The request with the version that its client speaks in its path again.
pub(super) fn versioned(request: Request) -> Result<Request, Refusal> {
    let path = request.uri().path().to_owned();
    at(request, &path)
}

/// The request with another path, its query, and the version that its client speaks.
fn at(request: Request, path: &str) -> Result<Request, Refusal> {
    let version = request.extensions().get::<ApiVersion>().copied().unwrap_or_default();
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    with_path(request, &format!("/v1.{}{path}{query}", version.0))
}

fn with_path(mut request: Request, path: &str) -> Result<Request, Refusal> {
    let path: PathAndQuery = path.parse().map_err(|_| Refusal::invalid("the request's path is malformed"))?;
    *request.uri_mut() = Uri::from(path);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_talk_with_containers_is_carried() {
        for path in ["v1.51/containers/a/logs", "containers/a/exec", "v1.44/exec/b/start", "containers/a/archive"] {
            assert!(may_be_carried(path), "{path}");
        }
        for path in ["containers/a/kill", "containers/a", "containers/create", "v1.51/swarm/leave", "exec/b", ""] {
            assert!(!may_be_carried(path), "{path}");
        }
    }

    #[test]
    fn a_carried_request_keeps_its_query_and_version() {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "/containers/web/logs?stdout=1&tail=5".parse().unwrap();
        request.extensions_mut().insert(ApiVersion(44));
        let request = at(request, "/containers/0123/logs").unwrap();
        assert_eq!(request.uri().to_string(), "/v1.44/containers/0123/logs?stdout=1&tail=5");
    }
}
