//! The managers' door: mutual TLS on port 2377, HTTP/2, the routes of [`wire::agent`].
mod answers;
mod routes;

use crate::control::Control;
use crate::dispatcher::Dispatcher;
use crate::options::InitError;
use arc_swap::ArcSwapOption;
use cluster::Store;
use cluster::ca::{Credentials, Peer, crypto, tls};
use cluster::channel::Body;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::NodeId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at once; more wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 64;
/// Streams of one node: sessions, tunnels, forwarded requests.
const STREAMS_MAX: u32 = 1024;
const WINDOW_BYTES: u32 = 2 << 20;
/// How long a connection without a certificate may last.
const STRANGER_MAX: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Answers an Engine API request that a node has forwarded, as the manager's own API would. Given by whoever puts the
/// daemon together.
pub type EngineHandler = Arc<dyn Fn(Request<Incoming>, Peer) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// What the routes need.
pub struct Server {
    pub store: Store,
    pub credentials: Credentials,
    pub dispatcher: Dispatcher,
    pub control: Control,
    pub engine: ArcSwapOption<EngineHandler>,
    connections: Mutex<HashMap<NodeId, HashMap<u64, CancellationToken>>>,
    numbers: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Binds the port, with Go's words when it is taken.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, InitError> {
    TcpListener::bind(addr).await.map_err(|e| InitError::Listen {
        addr,
        why: match e.kind() {
            std::io::ErrorKind::AddrInUse => "address already in use".into(),
            std::io::ErrorKind::AddrNotAvailable => "cannot assign requested address".into(),
            std::io::ErrorKind::PermissionDenied => "permission denied".into(),
            _ => e.to_string(),
        },
    })
}

impl Server {
    pub fn new(
        store: Store,
        credentials: Credentials,
        dispatcher: Dispatcher,
        control: Control,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            credentials,
            dispatcher,
            control,
            engine: ArcSwapOption::empty(),
            connections: Mutex::default(),
            numbers: AtomicU64::new(0),
            stop,
            tasks,
        })
    }

    /// Accepts until the manager stops.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let permit = tokio::select! {
                () = self.stop.cancelled() => return,
                permit = handshakes.clone().acquire_owned() => permit,
            };
            let (tcp, from) = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok(a) => a,
                    Err(e) => {
                        tracing::warn!("a connection cannot be accepted: {e}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let server = self.clone();
            self.tasks.spawn(async move {
                // Made anew each time: the roots that are trusted may have changed.
                let acceptor = match tls::server_config(&server.credentials) {
                    Ok(config) => TlsAcceptor::from(config),
                    Err(e) => return tracing::error!("no connection can be taken: {e}"),
                };
                let secured = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(prepared(tcp))).await;
                drop(permit);
                match secured {
                    Ok(Ok(stream)) => server.serve(stream, from).await,
                    Ok(Err(e)) => tracing::debug!(%from, "no TLS: {e}"),
                    Err(_) => tracing::debug!(%from, "the handshake took too long"),
                }
            });
        }
    }

    async fn serve(self: Arc<Self>, stream: tokio_rustls::server::TlsStream<TcpStream>, from: SocketAddr) {
        let peer = match self.identify(&stream) {
            Ok(peer) => peer,
            Err(why) => {
                tracing::warn!(%from, "connection refused: {why}");
                return;
            }
        };
        let end = self.stop.child_token();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        if let Some(p) = &peer {
            self.connections.lock().entry(p.node.clone()).or_default().insert(number, end.clone());
        }
        let caller = routes::Caller { peer: peer.clone(), from, hang_up: end.clone() };
        let server = self.clone();
        let service = service_fn(move |request| {
            let (server, caller) = (server.clone(), caller.clone());
            async move { Ok::<_, Infallible>(routes::answer(server, caller, request).await) }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        // A stranger has no business here beyond joining.
        let limit = if peer.is_none() { STRANGER_MAX } else { Duration::MAX };
        tokio::select! {
            () = tokio::time::sleep(limit) => {}
            done = connection.as_mut() => if let Err(e) = done {
                tracing::debug!(%from, "a connection ended: {e}");
            },
            () = end.cancelled() => {
                // What was said last (why we hang up) shall still arrive.
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(Duration::from_millis(300), connection).await;
            }
        }
        end.cancel();
        if let Some(p) = peer {
            let mut connections = self.connections.lock();
            if let Some(own) = connections.get_mut(&p.node) {
                own.remove(&number);
                if own.is_empty() {
                    connections.remove(&p.node);
                }
            }
        }
    }

    /// Who calls: TLS has checked the chain; here the names are read.
    fn identify(&self, stream: &tokio_rustls::server::TlsStream<TcpStream>) -> Result<Option<Peer>, String> {
        let Some(cert) = stream.get_ref().1.peer_certificates().and_then(|c| c.first()) else { return Ok(None) };
        let peer = crypto::read_cert(cert).map_err(|e| e.to_string())?.peer;
        if peer.cluster != self.credentials.peer().cluster {
            return Err(format!("node {} belongs to another swarm", peer.node));
        }
        Ok(Some(peer))
    }

    /// Closes every connection of a node, for instance because its certificate no longer says what it is.
    pub fn hang_up(&self, node: &NodeId) {
        for end in self.connections.lock().remove(node).into_iter().flat_map(HashMap::into_values) {
            end.cancel();
        }
    }

    /// Hangs up on nodes that are removed while they are connected.
    pub async fn watch_removals(self: Arc<Self>) {
        let mut changes = self.store.watch_revision();
        self.stop
            .clone()
            .run_until_cancelled(async {
                loop {
                    let removed: Vec<NodeId> = {
                        let tables = self.store.tables();
                        let connections = self.connections.lock();
                        let gone = |n: &&NodeId| tables.cluster().is_some_and(|c| c.removed_nodes.contains_key(*n));
                        connections.keys().filter(gone).cloned().collect()
                    };
                    for node in removed {
                        tracing::info!(%node, "removed: its connections are closed");
                        self.dispatcher.disconnect(&node, "the node was removed from the swarm", true);
                        self.hang_up(&node);
                    }
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            })
            .await;
    }
}

fn prepared(tcp: TcpStream) -> TcpStream {
    if let Err(e) = tcp.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY cannot be set: {e}");
    }
    tcp
}
