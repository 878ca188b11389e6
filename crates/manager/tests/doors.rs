//! Who may use which route, and the streams through the door.
mod support;

use cluster::ca::tls;
use cluster::channel::{self, Body, ChannelError, request_over};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use manager::Manager;
use model::NodeState;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use wire::agent::TunnelRequest;

const SOON: Duration = Duration::from_secs(5);

/// The status of a bare POST, with the worker's certificate or none.
async fn post(manager: &Manager, worker: Option<&Worker>, path: &str) -> StatusCode {
    let config = match worker {
        Some(w) => tls::client_config(w.channel.credentials()).unwrap(),
        None => tls::blind_config().unwrap(),
    };
    let tcp = tokio::net::TcpStream::connect(manager.listen_addr()).await.unwrap();
    let stream = TlsConnector::from(config).connect(tls::manager_name(), tcp).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("https://swarm-manager{path}")).body(channel::empty()).unwrap();
    let status = sender.send_request(request).await.unwrap().status();
    driver.abort();
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cannot_do_what_a_manager_can_and_a_stranger_nothing() {
    let (_dir, manager) = swarm().await;
    let worker = Worker::join(&manager, "w1").await;
    for route in ["raft/append", "raft/vote", "raft/snapshot", "raft/add"] {
        let path = format!("/shoal/v1/{route}");
        assert_eq!(post(&manager, Some(&worker), &path).await, StatusCode::FORBIDDEN, "{route}");
        assert_eq!(post(&manager, None, &path).await, StatusCode::UNAUTHORIZED, "{route}");
    }
    for route in ["session", "tunnel/1", "engine", "leave", "renew"] {
        assert_eq!(post(&manager, None, &format!("/shoal/v1/{route}")).await, StatusCode::UNAUTHORIZED, "{route}");
    }
    assert_eq!(post(&manager, Some(&worker), "/shoal/v1/tunnel/1").await, StatusCode::NOT_FOUND);
    assert_eq!(post(&manager, Some(&worker), "/nonsense").await, StatusCode::NOT_FOUND);
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_swarm_is_of_no_use() {
    let (_a, one) = swarm().await;
    let (_b, two) = swarm().await;
    let worker = Worker::join(&one, "w1").await;
    worker.channel.set_managers(two.managers());
    assert!(matches!(worker.channel.session().await, Err(ChannelError::Unreachable(_))));
    one.demolish().await;
    two.demolish().await;
}

/// Serves HTTP/1.1 that tells the path and upgrades to an echo.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.with_upgrades().await;
}

async fn answer(mut request: Request<Incoming>) -> Response<Body> {
    if request.headers().contains_key(http::header::UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let mut all = Vec::new();
            // Only the client's half ends; ours goes on.
            io.read_to_end(&mut all).await.unwrap();
            all.reverse();
            io.write_all(&all).await.unwrap();
            io.shutdown().await.unwrap();
        });
        let mut r = Response::new(channel::empty());
        *r.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        r.headers_mut().insert(http::header::UPGRADE, "tcp".parse().unwrap());
        r.headers_mut().insert(http::header::CONNECTION, "Upgrade".parse().unwrap());
        return r;
    }
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Response::new(channel::full(format!("{path} {}", String::from_utf8_lossy(&body))))
}

async fn check_stream<S, F>(open: impl Fn() -> F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = S>,
{
    let request = Request::post("http://x/containers/1/logs?stdout=1").body(channel::full("hello")).unwrap();
    let response = request_over(open().await, request).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "/containers/1/logs?stdout=1 hello");

    let request = Request::post("/exec/1/start").header("Connection", "Upgrade").header("Upgrade", "tcp");
    let request = request.body(channel::empty()).unwrap();
    let mut response = request_over(open().await, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let sent: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    io.write_all(&sent).await.unwrap();
    io.shutdown().await.unwrap();
    let mut back = Vec::new();
    io.read_to_end(&mut back).await.unwrap();
    back.reverse();
    assert!(back == sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_reaches_the_node_that_was_asked_and_carries_both_ways() {
    let (_dir, manager) = swarm().await;
    let mut worker = Worker::join(&manager, "w1").await;
    let other = Worker::join(&manager, "w2").await;
    let nobody = manager.tunnel(&worker.id, TunnelRequest { method: "GET".into(), uri: "/".into() }).await;
    assert!(nobody.unwrap_err().message.contains("is not connected"));
    worker.work(true).await.unwrap();
    eventually("ready", SOON, || {
        manager.store().tables().node(&worker.id).is_some_and(|n| n.status.state == NodeState::Ready)
    })
    .await;
    let (seen, channel) = (worker.seen.clone(), worker.channel.clone());
    let node = tokio::spawn(async move {
        loop {
            let asked = seen.lock().unwrap().tunnels.pop();
            if let Some((id, _)) = asked {
                let stranger = other.channel.tunnel(id).await.unwrap_err().to_string();
                assert!(stranger.contains("was not asked for tunnel"), "{stranger}");
                tokio::spawn(serve(channel.tunnel(id).await.unwrap()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let open = || async {
        let request = TunnelRequest { method: "GET".into(), uri: "/containers/1/logs".into() };
        manager.tunnel(&worker.id, request).await.unwrap()
    };
    check_stream(open).await;
    node.abort();
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_node_is_served_like_any_other() {
    let (_dir, manager) = swarm().await;
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let node = tokio::spawn(obey(manager.local_session(), seen.clone(), "boss", true));
    let own = manager.node_id();
    eventually("ready", SOON, || {
        manager.store().tables().node(&own).is_some_and(|n| n.status.state == NodeState::Ready)
    })
    .await;
    manager.control().create_service(service("web", 2)).await.unwrap();
    eventually("two tasks", SOON, || seen.lock().unwrap().work.len() == 2).await;
    let m = manager.clone();
    let s = seen.clone();
    let opener = tokio::spawn(async move {
        loop {
            let asked = s.lock().unwrap().tunnels.pop();
            if let Some((id, _)) = asked {
                assert!(m.local_tunnel(id + 1).is_none());
                tokio::spawn(serve(m.local_tunnel(id).unwrap()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let open =
        || async { manager.tunnel(&own, TunnelRequest { method: "GET".into(), uri: "/".into() }).await.unwrap() };
    check_stream(open).await;
    opener.abort();
    manager.demolish().await;
    eventually("the local session ends with the manager", SOON, || seen.lock().unwrap().ended).await;
    node.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workers_clients_are_answered_by_the_managers_api() {
    let (_dir, manager) = swarm().await;
    let worker = Worker::join(&manager, "w1").await;
    let early = worker
        .channel
        .forward(Request::get("/info").body(channel::empty()).unwrap(), Duration::ZERO)
        .await
        .unwrap_err();
    assert!(early.to_string().contains("not ready"), "{early}");
    let who = worker.id.clone();
    manager.set_engine(Arc::new(move |request, peer| {
        assert_eq!(peer.node, who);
        Box::pin(answer(request))
    }));
    check_stream(|| async { worker.channel.engine(Duration::ZERO).await.unwrap() }).await;
    let response = worker
        .channel
        .forward(Request::get("/v1.44/info?a=b").body(channel::empty()).unwrap(), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/v1.44/info?a=b ");
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_and_leaving_marks_the_node() {
    let (_dir, manager) = swarm().await;
    let mut worker = Worker::join(&manager, "w1").await;
    worker.work(true).await.unwrap();
    let before = worker.channel.credentials().current().cert_pem.clone();
    worker.channel.renew().await.unwrap();
    let after = worker.channel.credentials().current();
    assert_ne!(before, after.cert_pem);
    assert_eq!(after.facts.peer.node, worker.id);
    worker.channel.leave().await.unwrap();
    let status = manager.store().tables().node(&worker.id).unwrap().status.clone();
    assert_eq!(status.state, NodeState::Down);
    eventually("the session ends", SOON, || worker.seen.lock().unwrap().ended).await;
    manager.control().remove_node(worker.id.as_str(), false).await.unwrap();
    manager.demolish().await;
}
