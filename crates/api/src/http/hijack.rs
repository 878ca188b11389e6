//! Connections that stop being HTTP: attach and exec.
//!
//! Asked to upgrade, we answer 101 and both directions go on raw; for clients that do not ask, see [`super::unasked`]. The
//! client's half close ends the process's stdin only; output goes on until the process ends. Without upgrade (a tunnel
//! between nodes) the request's body is stdin and the answer's body is the output.
use super::{ApiVersion, answer, frame};
use crate::backend::{Attached, StdStream};
use crate::socket::Peer;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A process's stdin, if it takes any.
pub type Stdin = Option<Box<dyn AsyncWrite + Send + Unpin>>;

/// Hands the connection over to a process.
pub fn process(request: Request, attached: Attached, version: ApiVersion) -> Response {
    process_later(request, attached.tty, version, std::future::ready(attached))
}

/// The same for a process that is started once the answer's head is out. Docker does it in this order, and clients that
/// read the head through a buffer (the Python SDK) lose output that comes together with it. `tty`: without frames.
pub fn process_later<F>(request: Request, tty: bool, version: ApiVersion, start: F) -> Response
where
    F: Future<Output = Attached> + Send + 'static,
{
    let streams = async move {
        let attached = start.await;
        (attached.stdin, attached.output.map(move |(stream, bytes)| encode(tty, stream, bytes)).boxed())
    };
    raw(request, streams, frame::content_type(tty, version))
}

fn encode(tty: bool, stream: StdStream, bytes: Bytes) -> Bytes {
    if tty { bytes } else { frame::frame(stream as u8, &bytes) }
}

/// Hands the connection over to two byte streams: what the client sends, and what it gets.
pub fn raw<F>(mut request: Request, streams: F, content_type: &'static str) -> Response
where
    F: Future<Output = (Stdin, BoxStream<'static, Bytes>)> + Send + 'static,
{
    let asked = request.headers().contains_key(header::UPGRADE);
    let peer = request.extensions_mut().remove::<Peer>();
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().filter(|_| asked);
    let mut response = match upgrade {
        Some(upgrade) => {
            tokio::spawn(async move {
                match upgrade.await {
                    Ok(io) => {
                        if let Some(peer) = peer {
                            peer.has_read().await;
                        }
                        let (stdin, output) = streams.await;
                        let (reader, writer) = tokio::io::split(TokioIo::new(io));
                        pump(reader, writer, stdin, output).await;
                    }
                    Err(e) => tracing::debug!(error = %e, "the client went away before its connection was handed over"),
                }
            });
            let mut r = Response::new(Body::empty());
            *r.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            r.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            r.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("tcp"));
            r
        }
        None => {
            let input = request.into_body().into_data_stream();
            let output = futures::stream::once(async move {
                let (stdin, output) = streams.await;
                let feeder = tokio::spawn(feed(input, stdin)).abort_handle();
                EndsWith { inner: output, _guard: AbortOnDrop(feeder) }
            });
            Response::new(Body::from_stream(output.flatten().map(Ok::<_, std::io::Error>)))
        }
    };
    answer::set_type(&mut response, content_type);
    response
}

/// Both directions, until the output ends or the client is gone.
async fn pump<R, W>(mut reader: R, mut writer: W, mut stdin: Stdin, mut output: BoxStream<'static, Bytes>)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    let _input = AbortOnDrop(
        tokio::spawn(async move {
            let mut buffer = vec![0; 32 << 10];
            loop {
                let n = match reader.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => n,
                };
                if let Some(pipe) = &mut stdin
                    && (pipe.write_all(&buffer[..n]).await.is_err() || pipe.flush().await.is_err())
                {
                    // The process has closed its stdin; what comes is read on and dropped.
                    stdin = None;
                }
            }
            close(stdin).await;
        })
        .abort_handle(),
    );
    while let Some(bytes) = output.next().await {
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// A request body into stdin.
async fn feed(mut input: axum::body::BodyDataStream, mut stdin: Stdin) {
    while let Some(Ok(bytes)) = input.next().await {
        if let Some(pipe) = &mut stdin
            && (pipe.write_all(&bytes).await.is_err() || pipe.flush().await.is_err())
        {
            stdin = None;
        }
    }
    close(stdin).await;
}

async fn close(stdin: Stdin) {
    if let Some(mut pipe) = stdin {
        let _ = pipe.shutdown().await;
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream that ends a task when it is dropped.
struct EndsWith {
    inner: BoxStream<'static, Bytes>,
    _guard: AbortOnDrop,
}

impl Stream for EndsWith {
    type Item = Bytes;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Bytes>> {
        self.inner.poll_next_unpin(cx)
    }
}
