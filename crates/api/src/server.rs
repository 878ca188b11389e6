//! The listener's side: connections, versions, headers, panics.
use crate::app::App;
use crate::backend::Backends;
use crate::forward::{self, Forwarder};
use crate::http::{Failure, version};
use crate::routes;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Method, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use wire::Refusal;

use crate::http::body;
use crate::http::unasked::Unasked;
use crate::socket::{Peer, Shared, Socket, Unread};

/// A request's head may take so long to arrive, and a kept connection may be idle so long (Docker's own limit).
const HEADERS_WITHIN: Duration = Duration::from_secs(300);
/// A TLS handshake may take so long.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(30);
/// A listener that cannot accept (no file descriptors left) tries again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    app: App,
    router: Router,
    unread: Option<Unread>,
}

impl Server {
    /// A door to these.
    pub fn new(backends: Backends) -> Self {
        Self::build(App { backends, forwarder: None }, Router::new(), None)
    }
    /// The same, with a way to the managers (for workers) and to containers of other nodes.
    pub fn with_forwarder(self, forwarder: Arc<dyn Forwarder>) -> Self {
        Self::build(App { forwarder: Some(forwarder), ..self.app }, Router::new(), self.unread)
    }
    /// The same, with more routes (a dashboard). Give them after the forwarder.
    pub fn with_routes(self, more: Router) -> Self {
        Self::build(self.app, more, self.unread)
    }
    /// The same, with a way to see what a client has not read yet: what follows the head of an upgraded connection is held
    /// back until the head has been read.
    pub fn with_unread(self, unread: Unread) -> Self {
        Self { unread: Some(unread), ..self }
    }

    fn build(app: App, more: Router, unread: Option<Unread>) -> Self {
        let router = routes::router().with_state(app.clone()).merge(more);
        let router = router.fallback(page_not_found).method_not_allowed_fallback(page_not_found);
        Self { app, router, unread }
    }

    /// Answers one request: from a socket, from a worker that forwarded it, from a tunnel.
    pub async fn handle(&self, request: Request) -> Response {
        let what = format!("{} {}", request.method(), request.uri().path());
        let mut response = match AssertUnwindSafe(self.answer(request)).catch_unwind().await {
            Ok(r) => r,
            Err(panic) => {
                let why = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("unknown");
                tracing::error!(request = %what, why, "a request handler panicked");
                Failure(Refusal::internal("internal error: the request could not be served")).into_response()
            }
        };
        self.add_headers(&mut response);
        tracing::debug!(request = %what, status = response.status().as_u16(), "answered");
        response
    }

    /// The same, for requests from this machine or a user: a worker's are forwarded when they are not its own.
    async fn answer(&self, mut request: Request) -> Response {
        let (uri, api_version) = match version::strip(request.uri()) {
            Ok(x) => x,
            Err(e) => return Failure(e).into_response(),
        };
        *request.uri_mut() = uri;
        request.extensions_mut().insert(api_version);
        if let Some(forwarder) = &self.app.forwarder
            && !request.extensions().get::<Forwarded>().is_some_and(|f| f.0)
            && let Some(to) = forward::destination(&self.app, request.method(), request.uri().path()).await
        {
            // When the other node cannot be reached, this one answers as Docker's would: the routes below see only the
            // head, because the body has been given away.
            let mut again = Request::new(Body::empty());
            *again.method_mut() = request.method().clone();
            *again.uri_mut() = request.uri().clone();
            again.extensions_mut().insert(api_version);
            match forwarder.forward(request, to).await {
                Some(response) => return response,
                None => request = again,
            }
        }
        match self.router.clone().oneshot(request).await {
            Ok(r) => r,
            Err(never) => match never {},
        }
    }

    fn add_headers(&self, response: &mut Response) {
        let experimental = if self.app.system.experimental() { "true" } else { "false" };
        let all: [(&'static str, &'static str); 4] = [
            ("api-version", version::CURRENT),
            ("docker-experimental", experimental),
            ("ostype", "linux"),
            ("server", concat!("Shoal/", env!("CARGO_PKG_VERSION"), " (linux)")),
        ];
        for (name, value) in all {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }

    /// Serves a unix socket until told to stop; connections end with it.
    pub async fn serve_unix(self, listener: UnixListener, stop: CancellationToken) {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                s = listener.accept() => s,
            };
            match stream {
                Ok((stream, _)) => {
                    let socket = Arc::new(Socket::Unix(stream));
                    self.spawn(Shared(socket.clone()), socket, stop.clone());
                }
                Err(e) => refused(&e).await,
            }
        }
    }

    /// Serves a TCP socket until told to stop, with TLS if configured.
    pub async fn serve_tcp(
        self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        stop: CancellationToken,
    ) {
        let acceptor = tls.map(tokio_rustls::TlsAcceptor::from);
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                s = listener.accept() => s,
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(e) => {
                    refused(&e).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let socket = Arc::new(Socket::Tcp(stream));
            let Some(acceptor) = acceptor.clone() else {
                self.spawn(Shared(socket.clone()), socket, stop.clone());
                continue;
            };
            let (server, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(Shared(socket.clone()))).await {
                    Ok(Ok(stream)) => server.connection(stream, socket, stop).await,
                    Ok(Err(e)) => tracing::debug!(error = %e, "a TLS client was turned away"),
                    Err(_) => tracing::debug!("a TLS client did not finish its handshake"),
                }
            });
        }
    }

    fn spawn(&self, io: Shared, socket: Arc<Socket>, stop: CancellationToken) {
        let server = self.clone();
        tokio::spawn(async move { server.connection(io, socket, stop).await });
    }

    /// What changes something is done to its end, also when its client goes away meanwhile: a container that was sent its
    /// stop signal must be killed when it does not heed it. What only looks or waits ends with its client.
    async fn carry_out(self, request: http::Request<Body>) -> Response {
        let looks = matches!(*request.method(), Method::GET | Method::HEAD) || request.uri().path().ends_with("/wait");
        if looks {
            return self.handle(request).await;
        }
        let done = tokio::spawn(async move { self.handle(request).await });
        done.await.unwrap_or_else(|_| Failure(Refusal::unavailable("the engine is going down")).into_response())
    }

    async fn connection<I>(self, io: I, socket: Arc<Socket>, stop: CancellationToken)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = self.unread.map(|unread| Peer { socket: socket.clone(), unread });
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (server, peer) = (self.clone(), peer.clone());
            let mut request = request.map(|b| Body::new(body::Drained::new(b)));
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            async move { Ok::<_, Infallible>(server.carry_out(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .serve_connection(TokioIo::new(Unasked::new(io)), service)
            .with_upgrades();
        tokio::select! {
            r = connection => if let Err(e) = r {
                tracing::debug!(error = %e, "a connection ended");
            },
            () = socket.peer_gone() => tracing::debug!("a client went away"),
            () = stop.cancelled() => {}
        }
    }
}

/// Marks a request that came from another node and must not be forwarded again.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded(pub bool);

async fn refused(error: &std::io::Error) {
    tracing::warn!(error = %error, "cannot accept a connection");
    tokio::time::sleep(ACCEPT_AGAIN).await;
}

async fn page_not_found() -> Response {
    let mut r = Failure(Refusal::not_found("page not found")).into_response();
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    r
}
