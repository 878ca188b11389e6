//! The routes, and who may use them.
use super::{Server, answers};
use cluster::ca::Peer;
use cluster::channel::{Body, LEADER_HEADER, Pipe, pump, writer};
use cluster::raft::{Call, Member};
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::NodeRole;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::Refusal;
use wire::agent::{FROM_NODE_BYTES_MAX, JoinRequest, RenewRequest};

const JSON_BYTES_MAX: usize = 64 << 10;
const RAFT_BYTES_MAX: usize = 64 << 20;
const MESSAGES_MAX: usize = 256;

/// Who calls.
#[derive(Clone)]
pub struct Caller {
    /// By its certificate, if it has one.
    pub peer: Option<Peer>,
    /// From where.
    pub from: SocketAddr,
    /// Ends the connection.
    pub hang_up: CancellationToken,
}

/// Any answer.
pub async fn answer(server: Arc<Server>, caller: Caller, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let done = match (request.method(), path.strip_prefix("/shoal/v1/").unwrap_or_default()) {
        (&Method::GET, "root") => Ok(answers::json(&root(&server))),
        (&Method::POST, route)
            if LEADER_ONLY.contains(&route) && caller.may_ask(route) && !server.store.is_leader() =>
        {
            elsewhere(&server).ok_or_else(|| Refusal::unavailable("the leader is just changing"))
        }
        (&Method::POST, "join") => join(&server, &caller, request).await,
        (&Method::POST, route) => match server.member(&caller) {
            Ok(peer) => member_route(server, &caller, peer, route, request).await,
            Err(refusal) => Err(refusal),
        },
        _ => Err(Refusal::not_found("page not found")),
    };
    done.unwrap_or_else(|refusal| {
        tracing::debug!(from = %caller.from, path, "refused: {refusal}");
        answers::refused(&refusal)
    })
}

/// The root that join tokens are made for.
fn root(server: &Server) -> String {
    let of_row = server.store.tables().cluster().map(|c| c.root_ca_cert.clone());
    of_row.unwrap_or_else(|| server.credentials.current().root_pem.clone())
}

/// Calls that only the leader can answer.
const LEADER_ONLY: [&str; 7] = ["join", "renew", "session", "leave", "raft/add", "engine/leader", "revision"];

/// Says where the leader is, if this manager does not lead.
fn elsewhere(server: &Server) -> Option<Response<Body>> {
    let leadership = server.store.leadership().borrow().clone();
    if leadership.here {
        return None;
    }
    let mut answer = answers::refused(&Refusal::unavailable("this manager does not lead"));
    let addr = leadership.leader.map(|m| m.addr).unwrap_or_default();
    if let Ok(addr) = HeaderValue::from_str(&addr) {
        answer.headers_mut().insert(LEADER_HEADER, addr);
    }
    Some(answer)
}

type Answer = Result<Response<Body>, Refusal>;

async fn member_route(
    server: Arc<Server>,
    caller: &Caller,
    peer: Peer,
    route: &str,
    request: Request<Incoming>,
) -> Answer {
    match route.split_once('/').unwrap_or((route, "")) {
        ("session", "") => session(server, caller, peer, request),
        ("tunnel", id) => tunnel(&server, &peer, id, request),
        ("engine", "" | "leader") => engine(&server, caller, peer, request),
        ("revision", "") => Ok(answers::json(&server.store.revision())),
        ("renew", "") => {
            let asked: RenewRequest = answers::read_json(request, JSON_BYTES_MAX).await?;
            Ok(answers::json(&server.control.renew(&peer, &asked.csr).await?))
        }
        ("leave", "") => {
            // First the session: it would take "down" for a mistake and write "ready" again.
            server.dispatcher.disconnect(&peer.node, "the node left the swarm", false);
            server.control.node_left(&peer.node).await?;
            Ok(answers::json(&serde_json::json!({})))
        }
        ("raft", call) => raft(&server, &peer, call, request).await,
        _ => Err(Refusal::not_found("page not found")),
    }
}

impl Caller {
    /// Whether it is worth an answer: strangers can only join.
    fn may_ask(&self, route: &str) -> bool {
        self.peer.is_some() || route == "join"
    }
}

impl Server {
    /// The caller, if it is a member of this swarm.
    fn member(&self, caller: &Caller) -> Result<Peer, Refusal> {
        let peer = caller.peer.clone().ok_or_else(|| Refusal::unauthorized("a node's certificate is needed"))?;
        let tables = self.store.tables();
        if tables.cluster().is_some_and(|c| c.removed_nodes.contains_key(&peer.node)) {
            return Err(Refusal::forbidden(format!("node {} was removed from the swarm", peer.node)));
        }
        Ok(peer)
    }
}

async fn join(server: &Server, caller: &Caller, request: Request<Incoming>) -> Answer {
    let asked: JoinRequest = answers::read_json(request, JSON_BYTES_MAX).await?;
    Ok(answers::json(&server.control.join(asked, caller.from.ip()).await?))
}

fn session(server: Arc<Server>, caller: &Caller, peer: Peer, request: Request<Incoming>) -> Answer {
    if server.store.tables().node(&peer.node).is_none() {
        return Err(Refusal::forbidden(format!("node {} is not a member of this swarm", peer.node)));
    }
    let (bytes, body) = writer();
    let (from_tx, from_rx) = mpsc::channel(MESSAGES_MAX);
    let (to_tx, to_rx) = mpsc::channel(MESSAGES_MAX);
    let incoming = request.into_body();
    let hang_up = caller.hang_up.child_token();
    let (tasks, dispatcher, ip) = (server.tasks.clone(), server.dispatcher.clone(), caller.from.ip().to_canonical());
    tasks.spawn(async move {
        if let Err(e) = pump(incoming, FROM_NODE_BYTES_MAX, from_tx, to_rx, bytes).await {
            tracing::debug!("a session's stream ended: {e}");
        }
    });
    tasks.spawn(async move { dispatcher.serve(peer.node, ip, from_rx, to_tx, hang_up).await });
    Ok(answers::stream(body))
}

fn tunnel(server: &Server, peer: &Peer, id: &str, request: Request<Incoming>) -> Answer {
    let unknown = || Refusal::not_found(format!("node {} was not asked for tunnel {id}", peer.node));
    let number: u64 = id.parse().map_err(|_| unknown())?;
    if !server.dispatcher.tunnel_expected(&peer.node, number) {
        return Err(unknown());
    }
    let (bytes, body) = writer();
    if !server.dispatcher.tunnel_opened(&peer.node, number, Pipe::new(request.into_body(), bytes)) {
        return Err(unknown());
    }
    Ok(answers::stream(body))
}

/// HTTP/1.1 inside the stream, so that upgrades work as on a socket.
fn engine(server: &Server, caller: &Caller, peer: Peer, request: Request<Incoming>) -> Answer {
    let handler = server.engine.load_full().ok_or_else(|| Refusal::unavailable("this manager's API is not ready"))?;
    let (bytes, body) = writer();
    let pipe = Pipe::new(request.into_body(), bytes);
    let hang_up = caller.hang_up.clone();
    server.tasks.spawn(async move {
        let service = service_fn(move |request| {
            let answer = handler(request, peer.clone());
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(pipe), service);
        if let Some(Err(e)) = hang_up.run_until_cancelled(connection.with_upgrades()).await {
            tracing::debug!("a forwarded request ended: {e}");
        }
    });
    Ok(answers::stream(body))
}

async fn raft(server: &Server, peer: &Peer, call: &str, request: Request<Incoming>) -> Answer {
    // A manager that was demoted may still hold its old certificate. While it is in raft, though, its word is needed to let
    // it go.
    let wished = server.store.tables().node(&peer.node).is_none_or(|n| n.spec.role == NodeRole::Manager);
    let demoted = !wished && !server.store.raft().voters().values().any(|m| m.node == peer.node.as_str());
    if peer.role != NodeRole::Manager || demoted {
        return Err(Refusal::forbidden(format!("node {} is not a manager", peer.node)));
    }
    if call == "add" {
        let (raft_id, member): (u64, Member) = answers::read_json(request, JSON_BYTES_MAX).await?;
        if member.node != peer.node.as_str() {
            return Err(Refusal::forbidden("a manager can only add itself"));
        }
        server.control.add_manager(&peer.node, raft_id, member).await?;
        return Ok(answers::json(&serde_json::json!({})));
    }
    let call = Call::of_path(call).ok_or_else(|| Refusal::not_found("page not found"))?;
    let body = answers::read(request, RAFT_BYTES_MAX).await?;
    let answer = server.store.raft().serve(call, &body).await;
    Ok(answers::bytes(answer.map_err(|e| Refusal::unavailable(e.to_string()))?))
}
