//! Requests between nodes: those that only a manager can answer, and those that a manager has for this node.
use super::Membership;
use super::elsewhere::versioned;
use crate::daemon::engine::Engine;
use crate::daemon::relay;
use api::{Destination, Forwarder};
use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cluster::channel::{ChannelError, Pipe, request_over};
use http::request::Parts;
use hyper::body::Incoming;
use manager::Manager;
use node::agent::TunnelServer;
use std::convert::Infallible;
use std::sync::Weak;
use std::time::{Duration, Instant};
use wire::Refusal;
use wire::agent::TunnelRequest;

/// The revision of the tables that an answer of the leader may show.
pub const REVISION_HEADER: &str = "x-shoal-revision";
/// An election is over within this, if there can be one.
const LEADER_WITHIN: Duration = Duration::from_secs(5);
/// The longest body of a request that is carried to the leader.
const CARRIED_BYTES_MAX: usize = 8 << 20;
/// A follower's reader waits so long for the leader's word, and then sees what is here.
const READ_WITHIN: Duration = Duration::from_millis(500);

#[async_trait]
impl Forwarder for Membership {
    async fn forward(&self, mut request: Request, to: Destination) -> Option<Response> {
        let joined = self.joined()?;
        match to {
            Destination::Manager => {
                request.headers_mut().entry("host").or_insert(http::HeaderValue::from_static("manager"));
                // "self" means this node, also where the answer is made.
                let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
                if let Some(rest) = path.strip_prefix("/nodes/self")
                    && (rest.is_empty() || rest.starts_with(['/', '?']))
                    && let Ok(uri) = format!("/nodes/{}{rest}", joined.node).parse()
                {
                    *request.uri_mut() = uri;
                }
                let request = match versioned(request) {
                    Ok(request) => request,
                    Err(e) => return Some(api::http::Failure(e).into_response()),
                };
                match joined.manager() {
                    Some(manager) => Some(to_leader(&manager, request).await),
                    None => {
                        let carried = match Carried::of(request).await {
                            Ok(carried) => carried,
                            Err(e) => return Some(api::http::Failure(e).into_response()),
                        };
                        match carried.over(|| joined.channel.engine(LEADER_WITHIN)).await {
                            Ok(response) => Some(response.map(Body::new)),
                            Err(e) => {
                                tracing::warn!(error = %e, "a request cannot be forwarded to a manager");
                                None
                            }
                        }
                    }
                }
            }
            Destination::Container(wanted) => Some(self.carry_to_container(request, &wanted).await),
            Destination::Exec(id) => Some(self.carry_to_exec(request, &id).await),
        }
    }

    async fn settle(&self, only_leader: bool) -> bool {
        let Some(manager) = self.joined().and_then(|j| j.manager()) else { return false };
        let store = manager.store();
        if store.is_leader() {
            return false;
        }
        if only_leader {
            let mut leadership = store.leadership();
            let found = leadership.wait_for(|l| l.here || l.leader.is_some());
            let _ = tokio::time::timeout(LEADER_WITHIN, found).await;
            return !store.is_leader();
        }
        let decided = async {
            let revision = manager.channel().leader_revision().await.ok()?;
            store.watch_revision().wait_for(|r| *r >= revision).await.ok().map(drop)
        };
        let _ = tokio::time::timeout(READ_WITHIN, decided).await;
        false
    }
}

/// A follower's request, answered by the leader. What was written is here too when the client hears of it.
async fn to_leader(manager: &Manager, request: Request) -> Response {
    let carried = match Carried::of(request).await {
        Ok(carried) => carried,
        Err(e) => return api::http::Failure(e).into_response(),
    };
    let answer = match carried.over(|| pipe_to_leader(manager)).await {
        Ok(answer) => answer,
        Err(e) => {
            tracing::warn!(error = %e, "a request cannot be forwarded to the leader");
            let why = manager.store().leads_not::<Infallible>(None).to_string();
            return api::http::Failure(Refusal::internal(why).as_rpc()).into_response();
        }
    };
    let revision = answer.headers().get(REVISION_HEADER).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let Some(revision) = revision {
        let mut here = manager.store().watch_revision();
        let _ = tokio::time::timeout(READ_WITHIN, here.wait_for(|r| *r >= revision)).await;
    }
    answer.map(Body::new)
}

/// A request with its whole body: when the manager that it was sent to is gone before it has answered, the next one is
/// asked, once. Nothing is done twice by that: a name is taken once, and a change tells the version that it is based on.
struct Carried {
    parts: Parts,
    body: Bytes,
}

impl Carried {
    async fn of(request: Request) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, CARRIED_BYTES_MAX).await;
        let body = body.map_err(|e| Refusal::invalid(format!("the request cannot be read, or is too long: {e}")))?;
        Ok(Self { parts, body })
    }

    fn request(&self) -> Request {
        Request::from_parts(self.parts.clone(), Body::from(self.body.clone()))
    }

    async fn over<F>(&self, open: impl Fn() -> F) -> Result<http::Response<Incoming>, ChannelError>
    where
        F: Future<Output = Result<Pipe, ChannelError>>,
    {
        match request_over(open().await?, self.request()).await {
            Err(ChannelError::Unreachable(why)) => {
                tracing::info!(path = %self.parts.uri.path(), why, "the leader was lost before it answered; asking the next");
                request_over(open().await?, self.request()).await
            }
            answered => answered,
        }
    }
}

/// A stream to whoever leads. This manager hears by raft when that is another: then nobody waits for the one before.
async fn pipe_to_leader(manager: &Manager) -> Result<Pipe, ChannelError> {
    let deadline = Instant::now() + LEADER_WITHIN;
    let mut leadership = manager.store().leadership();
    loop {
        leadership.mark_unchanged();
        let patience = deadline.saturating_duration_since(Instant::now());
        tokio::select! {
            opened = manager.channel().engine_at_leader(patience) => return opened,
            Ok(()) = leadership.changed() => {}
        }
    }
}

/// A follower's own wish, fulfilled by the leader.
///
/// # Errors
/// The leader's.
pub(crate) async fn ask_leader(manager: &Manager, method: http::Method, path: &str) -> Result<(), Refusal> {
    let request = http::Request::builder().method(method).uri(path).header("host", "manager").body(Body::empty());
    let answer = to_leader(manager, request.map_err(|e| Refusal::internal(e.to_string()))?).await;
    if answer.status().is_success() {
        return Ok(());
    }
    let (status, body) = (answer.status().as_u16(), axum::body::to_bytes(answer.into_body(), 64 << 10).await);
    let said: serde_json::Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    let message = said["message"].as_str().unwrap_or_default().to_owned();
    Err(match status {
        404 => Refusal::not_found(message),
        403 => Refusal::forbidden(message),
        400..500 => Refusal::invalid(message),
        _ => Refusal::internal(message),
    })
}

pub(super) struct Tunnels {
    pub(super) server: api::Server,
    pub(super) engine: Weak<Engine>,
}

#[async_trait]
impl TunnelServer for Tunnels {
    async fn open(&self, id: u64, _request: TunnelRequest) -> Result<(), String> {
        let engine = self.engine.upgrade().ok_or("the engine is going down")?;
        let joined = engine.membership.joined().ok_or("this node is in no swarm")?;
        let server = self.server.clone();
        tokio::spawn(async move {
            let failed = match joined.manager() {
                Some(manager) => match manager.node_tunnel(id).await {
                    Ok(io) => return relay::serve(server, io).await,
                    Err(e) => e,
                },
                None => match joined.channel.tunnel(id).await {
                    Ok(io) => return relay::serve(server, io).await,
                    Err(e) => e,
                },
            };
            tracing::warn!(error = %failed, "a tunnel cannot be opened");
        });
        Ok(())
    }
}
