//! The way from a node to its managers: one HTTP/2 connection on mutual TLS, with fail-over.
mod join;
mod link;
mod peers;
mod pipe;
mod search;
mod session;

pub use join::{JoinOptions, join};
pub use link::Backoff;
pub use peers::PeerTransport;
pub use pipe::{Body, BoxError, Pipe, channel as writer, empty, full};
pub use session::{Session, pump};

use crate::ca::{CaError, Credentials, CredentialsError, TokenError, crypto, tls};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use link::Link;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wire::agent::{JoinAnswer, ManagerPeer, RenewRequest};
use wire::{Refusal, RefusalKind};

/// Where a manager that does not lead says who does.
pub const LEADER_HEADER: &str = "x-shoal-leader";
/// The longest answer to a single call.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a leader is looked for while an election is under way.
const LEADER_AGAIN: Duration = Duration::from_millis(50);

/// Why a call to the managers failed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No manager answers.
    #[error("no manager can be reached: {0}")]
    Unreachable(String),
    /// The machine answers, but no manager listens there.
    #[error("no manager can be reached: {0}")]
    Closed(String),
    /// This manager does not lead; the one that does, if it is known.
    #[error("{1}")]
    Elsewhere(Option<SocketAddr>, Refusal),
    /// A manager said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The join token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Certificates.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Credentials on disk.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The answer is not what was asked for.
    #[error("the manager's answer cannot be understood: {0}")]
    Answer(String),
}

/// A node's way to its managers. Clones share the connection.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
}

struct Inner {
    credentials: Credentials,
    managers: Mutex<Vec<ManagerPeer>>,
    link: Mutex<Option<Arc<Link>>>,
    /// See [`Channel::led_by`].
    leader: Mutex<Option<SocketAddr>>,
    /// Managers that said nothing when they were asked last.
    slow: Mutex<Vec<SocketAddr>>,
    /// How often in a row nobody was found: on a busy machine the leader itself is slow, and is given more time.
    misses: AtomicU32,
    /// See [`Channel::leader_absence`].
    absence: watch::Sender<Option<Instant>>,
}

impl Channel {
    /// A channel to these managers; connects when first used.
    pub fn new(credentials: Credentials, managers: Vec<ManagerPeer>) -> Self {
        Self {
            inner: Arc::new(Inner {
                credentials,
                managers: Mutex::new(managers),
                link: Mutex::default(),
                leader: Mutex::default(),
                slow: Mutex::default(),
                misses: AtomicU32::new(0),
                absence: watch::Sender::default(),
            }),
        }
    }

    /// Replaces the managers to fall back on.
    pub fn set_managers(&self, managers: Vec<ManagerPeer>) {
        if !managers.is_empty() {
            *self.inner.managers.lock() = managers;
        }
    }

    /// This machine knows by itself who leads (it is a manager, and raft has told it). When that has changed, the new one
    /// is asked first, and the connection to the one before is let go: its machine may be dead, and say nothing.
    pub fn led_by(&self, leader: SocketAddr) {
        if self.inner.leader.lock().replace(leader) == Some(leader) {
            return;
        }
        self.inner.managers.lock().sort_by_key(|m| m.addr != leader);
        self.inner.slow.lock().retain(|slow| *slow != leader);
        self.inner.misses.store(0, Ordering::Relaxed);
        self.inner.link.lock().take_if(|link| link.addr != leader);
    }

    /// The managers it knows.
    pub fn managers(&self) -> Vec<ManagerPeer> {
        self.inner.managers.lock().clone()
    }

    /// This node's credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.inner.credentials
    }

    /// Opens the session with the leader.
    ///
    /// # Errors
    /// See [`ChannelError`]; [`ChannelError::Refused`] with `Forbidden` means that the node is no member any more.
    pub async fn session(&self) -> Result<Session, ChannelError> {
        self.ask_leader(|link| async move { session::open(&link).await }).await
    }

    /// When it was last seen that there is no leader: so many managers refused the connection or knew of none that the
    /// rest is no majority.
    pub fn leader_absence(&self) -> watch::Receiver<Option<Instant>> {
        self.inner.absence.subscribe()
    }

    /// Opens the session, however long that takes; gives up only when the node is no member any more.
    ///
    /// # Errors
    /// [`ChannelError::Refused`] with `Forbidden` or `Unauthorized`.
    pub async fn session_retrying(&self) -> Result<Session, ChannelError> {
        use RefusalKind::{Forbidden, Unauthorized};
        let mut backoff = Backoff::default();
        loop {
            match self.session().await {
                Ok(session) => return Ok(session),
                Err(ChannelError::Refused(r)) if matches!(r.kind, Forbidden | Unauthorized) => return Err(r.into()),
                Err(e) => tracing::debug!("no session yet: {e}"),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Opens the stream that [`wire::agent::ToNode::OpenTunnel`] asked for; serve HTTP/1.1 on it.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn tunnel(&self, id: u64) -> Result<Pipe, ChannelError> {
        self.link().await?.pipe(&format!("/shoal/v1/tunnel/{id}")).await
    }

    /// A stream on which a manager answers Engine API requests as its own API would (HTTP/1.1): the leader, or any other
    /// when no leader is found for so long.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn engine(&self, patience: Duration) -> Result<Pipe, ChannelError> {
        match self.engine_at_leader(patience).await {
            Err(ChannelError::Refused(r)) if r.kind == RefusalKind::Unavailable => {
                self.link().await?.pipe("/shoal/v1/engine").await
            }
            done => done,
        }
    }

    /// The same with the leader only; while there is none, it is looked for again, for so long.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn engine_at_leader(&self, patience: Duration) -> Result<Pipe, ChannelError> {
        let deadline = Instant::now() + patience;
        loop {
            let opened = self.ask_leader(|link| async move { link.pipe("/shoal/v1/engine/leader").await });
            match opened.await {
                Err(ChannelError::Refused(r)) if r.kind != RefusalKind::Unavailable => return Err(r.into()),
                Err(e) if Instant::now() >= deadline => return Err(e),
                Err(e) => tracing::debug!("no leader yet: {e}"),
                Ok(pipe) => return Ok(pipe),
            }
            tokio::time::sleep(LEADER_AGAIN).await;
        }
    }

    /// Sends one Engine API request to a manager (see [`Channel::engine`]). The bodies stream both ways; an upgrade
    /// (`attach`, `exec`) works as on a socket: take `hyper::upgrade::on` of the answer.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn forward<B>(&self, request: Request<B>, patience: Duration) -> Result<Response<Incoming>, ChannelError>
    where
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        request_over(self.engine(patience).await?, request).await
    }

    /// The same to the leader only (see [`Channel::engine_at_leader`]).
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn forward_to_leader<B>(
        &self,
        request: Request<B>,
        patience: Duration,
    ) -> Result<Response<Incoming>, ChannelError>
    where
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        request_over(self.engine_at_leader(patience).await?, request).await
    }

    /// The revision that the leader has committed.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn leader_revision(&self) -> Result<u64, ChannelError> {
        self.ask_leader(|link| async move { link.call("/shoal/v1/revision", &()).await }).await
    }

    /// Gets a new certificate for the same node and takes it into use.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn renew(&self) -> Result<(), ChannelError> {
        let (key, csr) = crypto::key_and_request()?;
        let request = RenewRequest { csr };
        let answer: JoinAnswer = self
            .ask_leader(move |link| {
                let request = request.clone();
                async move { link.call("/shoal/v1/renew", &request).await }
            })
            .await?;
        self.inner.credentials.replace(&answer.cert, &key, &answer.root)?;
        self.set_managers(answer.managers);
        Ok(())
    }

    /// Tells the managers that this node leaves the swarm.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn leave(&self) -> Result<(), ChannelError> {
        let left = |link: Arc<Link>| async move { link.call("/shoal/v1/leave", &serde_json::json!({})).await };
        let _: serde_json::Value = self.ask_leader(left).await?;
        Ok(())
    }

    /// Closes the connection.
    pub async fn close(&self) {
        self.inner.link.lock().take();
    }

    /// The open connection, or a new one to the first manager that answers.
    async fn link(&self) -> Result<Arc<Link>, ChannelError> {
        if let Some(link) = self.inner.link.lock().as_ref()
            && link.is_open()
        {
            return Ok(link.clone());
        }
        let managers = self.managers();
        let mut why = String::from("no manager is known");
        for m in managers {
            match Link::connect(m.addr, tls::client_config(&self.inner.credentials)?).await {
                Ok(link) => {
                    let link = Arc::new(link);
                    *self.inner.link.lock() = Some(link.clone());
                    return Ok(link);
                }
                Err(e) => why = e.to_string(),
            }
        }
        Err(ChannelError::Unreachable(why))
    }
}

/// One HTTP/1.1 request over a stream of its own.
///
/// # Errors
/// [`ChannelError::Unreachable`] when the stream breaks before the answer.
pub async fn request_over<B, S>(stream: S, mut request: Request<B>) -> Result<Response<Incoming>, ChannelError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let broken = |e: hyper::Error| ChannelError::Unreachable(e.to_string());
    let body = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = body.await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(e) = connection.with_upgrades().await {
            tracing::debug!("a forwarded request ended: {e}");
        }
    });
    // HTTP/1.1 wants a host, and the path alone.
    request.headers_mut().entry(http::header::HOST).or_insert(http::HeaderValue::from_static("swarm"));
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = http::Uri::from(path);
    }
    *request.version_mut() = http::Version::HTTP_11;
    let (mut parts, body) = request.into_parts();
    parts.extensions.clear();
    sender.send_request(Request::from_parts(parts, body)).await.map_err(broken)
}

/// The JSON answer of a single call, or the refusal in it.
async fn read_answer<T: serde::de::DeserializeOwned>(response: Response<Incoming>) -> Result<T, ChannelError> {
    let status = response.status();
    let leader = response.headers().get(LEADER_HEADER).map(|v| v.to_str().ok().and_then(|v| v.parse().ok()));
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|e| ChannelError::Answer(e.to_string()))?.to_bytes();
    if status == StatusCode::OK {
        return serde_json::from_slice(&bytes).map_err(|e| ChannelError::Answer(e.to_string()));
    }
    Err(match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(refusal) => match leader {
            Some(leader) => ChannelError::Elsewhere(leader, refusal),
            None => ChannelError::Refused(refusal),
        },
        Err(_) => ChannelError::Answer(format!("HTTP status {status}")),
    })
}

fn post(path: &str, body: Body) -> Result<Request<Body>, ChannelError> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("https://{}{path}", crypto::MANAGER_NAME))
        .body(body)
        .map_err(|e| ChannelError::Answer(e.to_string()))
}
