//! Requests between nodes: workers' clients to a manager, and managers to nodes through tunnels.
use super::engine::Engine;
use axum::body::Body;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

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
    let connection =
        hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(io), service);
    if let Err(e) = connection.with_upgrades().await {
        tracing::debug!(error = %e, "a tunnel ended");
    }
}

/// Sends one request on a stream.
///
/// # Errors
/// What breaks the stream.
pub async fn ask(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: http::Request<Body>,
) -> Result<http::Response<Incoming>, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await
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
