//! One connection to one manager.
use super::pipe::{self, Body, Pipe};
use super::{CALL_TIMEOUT, ChannelError, post, read_answer};
use crate::ca::tls;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A manager that is stopped or without power is noticed within the sum of both: before the node counts as silent.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(700);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(1300);
const WINDOW_BYTES: u32 = 2 << 20;

/// Pauses between tries: 100 ms, doubling to 800 ms (a new leader shall find its nodes at once), each shortened at random by up to a half.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let full = Duration::from_millis(100 << self.tries.min(3));
        self.tries += 1;
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

/// An open connection; closed when dropped.
pub struct Link {
    /// The manager's address.
    pub addr: SocketAddr,
    /// Our address on it.
    pub local: SocketAddr,
    sender: SendRequest<Body>,
    _driver: AbortOnDropHandle<()>,
}

impl Link {
    pub async fn connect(addr: SocketAddr, config: Arc<rustls::ClientConfig>) -> Result<Self, ChannelError> {
        let failed = |why: String| ChannelError::Unreachable(format!("{addr}: {why}"));
        let connect = async {
            let tcp = TcpStream::connect(addr).await.map_err(|e| match e.kind() {
                std::io::ErrorKind::ConnectionRefused => ChannelError::Closed(format!("{addr}: {e}")),
                _ => failed(e.to_string()),
            })?;
            tcp.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
            let local = tcp.local_addr().map_err(|e| failed(e.to_string()))?;
            let stream = TlsConnector::from(config).connect(tls::manager_name(), tcp).await;
            let stream = stream.map_err(|e| failed(e.to_string()))?;
            let handshake = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(4 * WINDOW_BYTES)
                .handshake(TokioIo::new(stream));
            let (sender, connection) = handshake.await.map_err(|e| failed(e.to_string()))?;
            let driver = tokio::spawn(async move {
                if let Err(e) = connection.await {
                    tracing::debug!(%addr, "the connection to a manager ended: {e}");
                }
            });
            Ok(Self { addr, local, sender, _driver: AbortOnDropHandle::new(driver) })
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(done) => done,
            Err(_) => Err(failed(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))),
        }
    }

    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, ChannelError> {
        let answer = self.sender.clone().send_request(request).await;
        answer.map_err(|e| {
            let why = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            ChannelError::Unreachable(format!("{}: {why}", self.addr))
        })
    }

    /// A single call with JSON both ways.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(&self, path: &str, q: &Q) -> Result<A, ChannelError> {
        let body = serde_json::to_vec(q).map_err(|e| ChannelError::Answer(e.to_string()))?;
        self.within(async { read_answer(self.send(post(path, pipe::full(body))?).await?).await }).await
    }

    /// A single question without a body.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ChannelError> {
        let mut request = post(path, pipe::empty())?;
        *request.method_mut() = Method::GET;
        self.within(async { read_answer(self.send(request).await?).await }).await
    }

    /// A stream in both directions.
    pub async fn pipe(&self, path: &str) -> Result<Pipe, ChannelError> {
        let (tx, body) = pipe::channel();
        let response = self.within(self.send(post(path, body)?)).await?;
        if response.status() != http::StatusCode::OK {
            return match read_answer::<serde_json::Value>(response).await {
                Err(e) => Err(e),
                Ok(_) => Err(ChannelError::Answer("not a stream".into())),
            };
        }
        Ok(Pipe::new(response.into_body(), tx))
    }

    async fn within<T>(&self, f: impl Future<Output = Result<T, ChannelError>>) -> Result<T, ChannelError> {
        match tokio::time::timeout(CALL_TIMEOUT, f).await {
            Ok(done) => done,
            Err(_) => Err(ChannelError::Unreachable(format!("{}: no answer in time", self.addr))),
        }
    }
}
