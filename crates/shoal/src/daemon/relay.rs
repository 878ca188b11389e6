//! Requests between nodes: workers' clients to a manager, and managers to nodes through tunnels.
//!
//! A request is carried whole: bodies stream both ways, and a connection that is taken over (`attach`, `exec`) is taken
//! over at every station, so that half-closing and raw terminals pass through.
use super::engine::Engine;
use axum::body::Body;
use futures::future::BoxFuture;
use http::Method;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use model::{NodeRole, WorkersMay};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;
use wire::Refusal;

/// Serves HTTP/1.1 requests of another node on a stream, with this node's own API.
pub async fn serve(server: api::Server, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let server = server.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(api::Forwarded(true));
            Ok::<_, Infallible>(server.handle(request).await)
        }
    });
    // The asking side never closes its half before an answer: when it does, nobody waits any more.
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service);
    if let Err(e) = connection.with_upgrades().await {
        tracing::debug!(error = %e, "a tunnel ended");
    }
}

/// Sends one request on a stream, and gives the answer as it is to be given to the one who asked: when the other side
/// takes the connection over, the asker's is taken over too.
///
/// # Errors
/// What breaks the stream before the answer's head.
pub async fn carry(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: http::Request<Body>,
) -> Result<http::Response<Body>, hyper::Error> {
    let asker = request.extensions_mut().remove::<OnUpgrade>();
    let mut answer = ask(io, request).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().remove(header::TRANSFER_ENCODING);
        answer.headers_mut().remove(header::CONNECTION);
        return Ok(answer.map(Body::new));
    }
    let server = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        let Some(asker) = asker else { return };
        match tokio::try_join!(asker, server) {
            Ok((asker, server)) => join(TokioIo::new(asker), TokioIo::new(server)).await,
            Err(e) => tracing::debug!(error = %e, "a connection could not be handed over"),
        }
    });
    Ok(answer.map(|_| Body::empty()))
}

/// Sends one request on a stream.
///
/// # Errors
/// What breaks the stream.
pub async fn ask(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: http::Request<Body>,
) -> Result<http::Response<Incoming>, hyper::Error> {
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("node"));
    *request.version_mut() = http::Version::HTTP_11;
    request.extensions_mut().clear();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await
}

/// Both directions of a connection that was taken over. What the asker sends may end first (its half-close is passed on);
/// when the output ends, all is over.
async fn join(
    asker: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let (mut input, mut screen) = tokio::io::split(asker);
    let (mut output, mut keyboard) = tokio::io::split(server);
    let typed = AbortOnDropHandle::new(tokio::spawn(async move {
        if tokio::io::copy(&mut input, &mut keyboard).await.is_ok() {
            let _ = keyboard.shutdown().await;
        }
    }));
    if tokio::io::copy(&mut output, &mut screen).await.is_ok() {
        let _ = screen.shutdown().await;
    }
    drop(typed);
}

/// Docker's answer of a worker.
const NOT_A_MANAGER: &str = "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.";

/// What the swarm's settings let clients of a worker ask, wherever it leads.
fn workers_may(role: NodeRole, may: WorkersMay, method: &Method, path: &str) -> Result<(), Refusal> {
    let looks = matches!(*method, Method::GET | Method::HEAD);
    match may {
        _ if role == NodeRole::Manager => Ok(()),
        WorkersMay::Change => Ok(()),
        WorkersMay::Nothing => Err(Refusal::unavailable(NOT_A_MANAGER)),
        // The swarm's own row has the join tokens; a connection that is taken over may type.
        WorkersMay::Look if looks && noun(path).0 != "swarm" && !path.ends_with("/attach/ws") => Ok(()),
        WorkersMay::Look => Err(Refusal::forbidden(format!(
            "workers of this swarm may only look at it ({}=read): run this command on a manager",
            model::swarm_labels::WORKERS
        ))),
    }
}

/// What other nodes may ask of a manager's API: what concerns the swarm, not the manager's machine and its
/// membership (containers of the swarm are asked for by [`super::membership::ELSEWHERE`]). The key that unlocks managers is for managers.
fn may_ask(role: NodeRole, path: &str) -> Result<(), Refusal> {
    let (noun, first) = noun(path);
    let allowed = match noun {
        "services" | "tasks" | "nodes" | "secrets" | "configs" | "networks" => true,
        "swarm" => {
            !api::forward::OWN_SWARM_CALLS.contains(&first) && (first != "unlockkey" || role == NodeRole::Manager)
        }
        _ => false,
    };
    if allowed {
        return Ok(());
    }
    Err(Refusal::forbidden(format!("{path} is not for other nodes: run this command on the manager itself")))
}

/// The first two words of a path, after its version.
fn noun(path: &str) -> (&str, &str) {
    let versioned = path.strip_prefix("/v").is_some_and(|p| p.starts_with(|c: char| c.is_ascii_digit()));
    let mut parts = path.trim_start_matches('/').split('/').skip(usize::from(versioned));
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The manager's answer to requests that nodes forward.
pub fn engine_handler(engine: Arc<Engine>, server: api::Server) -> manager::EngineHandler {
    Arc::new(move |request, peer| {
        let (engine, server) = (engine.clone(), server.clone());
        let answer: BoxFuture<'static, http::Response<cluster::channel::Body>> = Box::pin(async move {
            if request.uri().path().starts_with(super::membership::ATTACHMENTS) {
                return engine.membership.answer_attachment(request, &peer.node).await;
            }
            let mut request = request.map(Body::new);
            let refuse = |refusal: Refusal| {
                tracing::warn!(node = %peer.node, path = request.uri().path(), "a forwarded request is refused");
                let refused = axum::response::IntoResponse::into_response(api::http::Failure(refusal));
                refused.map(|b| b.map_err(std::io::Error::other).boxed_unsync())
            };
            let tables = engine.membership.manager().ok().map(|m| m.store().tables());
            let labels = tables.as_ref().and_then(|t| t.cluster()).map(|c| &c.spec.labels);
            // Checked where the settings were accepted.
            let may = labels.and_then(|l| WorkersMay::from_labels(l).ok()).unwrap_or_default();
            drop(tables);
            if let Err(refusal) = workers_may(peer.role, may, request.method(), request.uri().path()) {
                return refuse(refusal);
            }
            if request.uri().path().starts_with(super::membership::ELSEWHERE) {
                let answer = engine.membership.answer_elsewhere(request).await;
                return answer.map(|b| b.map_err(std::io::Error::other).boxed_unsync());
            }
            if let Err(refusal) = may_ask(peer.role, request.uri().path()) {
                return refuse(refusal);
            }
            request.extensions_mut().insert(api::Forwarded(true));
            let mut answer = server.handle(request).await;
            // A follower that asked waits until it knows as much.
            if let Some(revision) = engine.membership.manager().ok().map(|m| m.store().revision()) {
                answer.headers_mut().insert(super::membership::REVISION_HEADER, revision.into());
            }
            answer.map(|b| b.map_err(std::io::Error::other).boxed_unsync())
        });
        answer
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_nodes_ask_for_the_swarm_and_not_for_the_machine() {
        use NodeRole::{Manager, Worker};
        for path in ["/v1.44/services", "/tasks/x", "/v1.51/nodes/a/update", "/swarm", "/swarm/update"] {
            assert!(may_ask(Worker, path).is_ok(), "{path}");
        }
        for path in [
            "/swarm/leave",
            "/v1.44/swarm/backup",
            "/swarm/init",
            "/swarm/restore",
            "/swarm/unlock",
            "/containers/create",
            "/containers/a/exec",
            "/exec/a/start",
            "/v1.44/containers/prune",
            "/images/create",
            "/volumes",
            "/build",
            "/info",
            "/",
            "/v1.44",
        ] {
            assert!(may_ask(Manager, path).is_err(), "{path}");
        }
        assert!(may_ask(Worker, "/v1.44/swarm/unlockkey").is_err());
        assert!(may_ask(Manager, "/v1.44/swarm/unlockkey").is_ok());
    }

    #[test]
    fn workers_do_what_the_swarm_lets_them() {
        use NodeRole::{Manager, Worker};
        use WorkersMay::{Change, Look, Nothing};
        let exec = "/shoal/elsewhere/nodes/n/v1.51/exec/a/start";
        let logs = "/shoal/elsewhere/nodes/n/v1.51/containers/a/logs";
        let table = [
            (Worker, Change, Method::POST, "/v1.51/services/create", true),
            (Worker, Change, Method::POST, exec, true),
            (Worker, Look, Method::GET, "/v1.51/services", true),
            (Worker, Look, Method::GET, logs, true),
            (Worker, Look, Method::GET, "/v1.51/services/swarm", true),
            (Worker, Look, Method::POST, "/v1.51/services/create", false),
            (Worker, Look, Method::DELETE, "/v1.51/services/a", false),
            (Worker, Look, Method::GET, "/v1.51/swarm", false),
            (Worker, Look, Method::POST, exec, false),
            (Worker, Look, Method::GET, "/shoal/elsewhere/nodes/n/v1.51/containers/a/attach/ws", false),
            (Worker, Nothing, Method::GET, "/v1.51/services", false),
            (Manager, Nothing, Method::POST, "/v1.51/services/create", true),
        ];
        for (role, may, method, path, allowed) in table {
            assert_eq!(workers_may(role, may, &method, path).is_ok(), allowed, "{role:?} {may:?} {method} {path}");
        }
    }
}
