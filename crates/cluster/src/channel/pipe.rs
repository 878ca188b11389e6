//! Bodies, and a stream of bytes in both directions made of two of them.
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Frame, Incoming};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request or an answer. Its error is a plain type, because hyper's bounds and boxed errors do not go
/// together in spawned tasks.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Chunks that may wait for the connection.
const CHUNKS_MAX: usize = 16;
/// The longest chunk.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// A body of nothing.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is written while it is sent. It ends when the sender is dropped.
pub fn channel() -> (mpsc::Sender<Bytes>, Body) {
    let (tx, rx) = mpsc::channel(CHUNKS_MAX);
    (tx, Written(rx).boxed_unsync())
}

struct Written(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Written {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|c| Ok(Frame::data(c))))
    }
}

/// How long a stream whose writer was shut down waits for the other side's end, once nobody reads it any more.
const LINGER: Duration = Duration::from_secs(5);

/// Two directions as one stream. Shutting down the writer ends our direction only.
///
/// HTTP/2 takes an interest that is lost in the other side's bytes for a cancellation of the whole stream, and throws away
/// what it has not sent yet. So a stream that was shut down and is dropped goes on, unseen, until the other side has
/// ended too (it does when it has read all), for at most five seconds. One that is dropped without is cancelled at once.
pub struct Pipe {
    /// `None`: the other side has ended.
    incoming: Option<Incoming>,
    unread: Bytes,
    outgoing: PollSender<Bytes>,
    shut_down: bool,
}

impl Pipe {
    /// Of the other side's body, and the writer of ours.
    pub fn new(incoming: Incoming, outgoing: mpsc::Sender<Bytes>) -> Self {
        let outgoing = PollSender::new(outgoing);
        Self { incoming: Some(incoming), unread: Bytes::new(), outgoing, shut_down: false }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(mut incoming) = self.incoming.take().filter(|_| self.shut_down) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let ended = async { while let Some(Ok(_)) = incoming.frame().await {} };
            let _ = tokio::time::timeout(LINGER, ended).await;
        });
    }
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pipe")
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(())) };
            match ready!(Pin::new(incoming).poll_frame(cx)) {
                None => self.incoming = None,
                Some(Err(e)) => {
                    self.incoming = None;
                    return Poll::Ready(Err(io::Error::other(e)));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.unread = data;
                    }
                }
            }
        }
        let n = self.unread.len().min(buf.remaining());
        let chunk = self.unread.split_to(n);
        buf.put_slice(&chunk);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.outgoing.poll_reserve(cx)).map_err(gone)?;
        let n = bytes.len().min(CHUNK_BYTES_MAX);
        if n > 0 {
            self.outgoing.send_item(Bytes::copy_from_slice(&bytes[..n])).map_err(gone)?;
        }
        Poll::Ready(Ok(n))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        self.shut_down = true;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// More than the connection takes while nobody reads it: the rest waits in this process when the writer goes.
    const BYTES: usize = 256 << 10;

    /// One stream between the two ends of an HTTP/2 connection; its driver.
    async fn stream() -> (Pipe, Pipe, tokio::task::JoinSet<()>) {
        let (near, far) = tokio::io::duplex(4 << 10);
        let (accepted, accept) = tokio::sync::oneshot::channel();
        let accepted = std::sync::Mutex::new(Some(accepted));
        let mut drivers = tokio::task::JoinSet::new();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (bytes, body) = channel();
            let taken = accepted.lock().ok().and_then(|mut a| a.take());
            let _ = taken.map(|a| a.send(Pipe::new(request.into_body(), bytes)));
            async move { Ok::<_, std::convert::Infallible>(Response::new(body)) }
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let server = server.serve_connection(TokioIo::new(far), service);
        drivers.spawn(async move { drop(server.await) });
        let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = client.handshake(TokioIo::new(near)).await.unwrap();
        drivers.spawn(async move { drop(connection.await) });
        let (bytes, body) = channel();
        let answer = sender.send_request(Request::post("http://x/").body(body).unwrap()).await.unwrap();
        // The connection lasts as long as its sender.
        drivers.spawn(async move {
            std::future::pending::<()>().await;
            drop(sender);
        });
        (Pipe::new(answer.into_body(), bytes), accept.await.unwrap(), drivers)
    }

    #[tokio::test]
    async fn the_last_bytes_arrive_although_the_writer_is_gone() {
        for asking_side_writes in [true, false] {
            let (asking, asked, _drivers) = stream().await;
            let (mut writer, mut reader) = if asking_side_writes { (asking, asked) } else { (asked, asking) };
            writer.write_all(&vec![7; BYTES]).await.unwrap();
            writer.shutdown().await.unwrap();
            drop(writer);
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), BYTES, "asking side writes: {asking_side_writes}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_given_up_ends_for_the_other_side_too() {
        let (asking, mut asked, _drivers) = stream().await;
        drop(asking);
        let written = async { while asked.write_all(&[7; 1024]).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
    }
}
