//! Clients that take a connection over without asking for it.
//!
//! Docker hands the connection of every attach and every exec over to the process. Who sends `Upgrade` is answered 101; who
//! does not gets a `200 OK` without a length, and then the same raw stream in both directions (Docker's API description,
//! "Hijacking"; the Ruby SDK does it so). hyper gives a connection away only to those who ask. So this stands between the
//! two: it reads the head of a connection's first request, asks in the client's place, and answers in Docker's.
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A longer head is handed on as it is.
const HEAD_MAX: usize = 16 << 10;
const HEAD_END: &[u8] = b"\r\n\r\n";
const ASKING: &[u8] = b"\r\nConnection: Upgrade\r\nUpgrade: tcp";
const GIVEN: &[u8] = b"HTTP/1.1 101 ";
/// Docker's answer to who has not asked, whatever the stream is.
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";

/// A connection whose first request may be such a one.
pub struct Unasked<I> {
    io: I,
    input: Input,
    output: Output,
}

enum Input {
    /// The first request's head, as far as it has come.
    Head(Vec<u8>),
    /// Handed on, from here.
    Replay(Vec<u8>, usize),
    Plain,
}

enum Output {
    Plain,
    /// The next answer may give the connection away.
    Awaited,
    /// Sent instead of so many bytes that hyper wrote.
    Instead {
        bytes: Vec<u8>,
        at: usize,
        of: usize,
    },
}

impl<I> Unasked<I> {
    /// Stands before a fresh connection.
    pub fn new(io: I) -> Self {
        Self { io, input: Input::Head(Vec::new()), output: Output::Plain }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Unasked<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        loop {
            match &mut me.input {
                Input::Plain => return Pin::new(&mut me.io).poll_read(cx, buf),
                Input::Replay(bytes, at) => {
                    let n = buf.remaining().min(bytes.len() - *at);
                    buf.put_slice(&bytes[*at..*at + n]);
                    *at += n;
                    if *at == bytes.len() {
                        me.input = Input::Plain;
                    }
                    return Poll::Ready(Ok(()));
                }
                Input::Head(head) => {
                    let mut chunk = [0; 4096];
                    let mut more = ReadBuf::new(&mut chunk);
                    ready!(Pin::new(&mut me.io).poll_read(cx, &mut more))?;
                    head.extend_from_slice(more.filled());
                    let end = head.windows(HEAD_END.len()).position(|w| w == HEAD_END);
                    if !more.filled().is_empty() && end.is_none() && may_be_one(head) && head.len() < HEAD_MAX {
                        continue;
                    }
                    let mut bytes = std::mem::take(head);
                    if let Some(end) = end.filter(|end| takes_unasked(&bytes[..*end])) {
                        bytes.splice(end..end, ASKING.iter().copied());
                        me.output = Output::Awaited;
                    }
                    me.input = Input::Replay(bytes, 0);
                }
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Unasked<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        loop {
            match &mut me.output {
                Output::Plain => return Pin::new(&mut me.io).poll_write(cx, data),
                Output::Awaited => {
                    // hyper writes the head of an answer at once.
                    let end = data.windows(HEAD_END.len()).position(|w| w == HEAD_END);
                    me.output = match end.filter(|_| data.starts_with(GIVEN)) {
                        Some(end) => Output::Instead { bytes: TAKEN.to_vec(), at: 0, of: end + HEAD_END.len() },
                        None => Output::Plain,
                    };
                }
                Output::Instead { bytes, at, of } => {
                    let n = ready!(Pin::new(&mut me.io).poll_write(cx, &bytes[*at..]))?;
                    *at += n;
                    if n == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    if *at == bytes.len() {
                        let done = *of;
                        me.output = Output::Plain;
                        return Poll::Ready(Ok(done));
                    }
                }
            }
        }
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if matches!(self.output, Output::Plain) {
            return Pin::new(&mut self.io).poll_write_vectored(cx, data);
        }
        let first = data.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        self.poll_write(cx, first)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Whether the beginning of a head can become one of those.
fn may_be_one(begin: &[u8]) -> bool {
    let n = begin.len().min(5);
    begin[..n] == b"POST "[..n]
}

/// Whether a request takes the connection over, and does not ask for it.
fn takes_unasked(head: &[u8]) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some("POST"), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let path = target.split('?').next().unwrap_or_default().trim_start_matches('/');
    let mut parts: Vec<&str> = path.split('/').collect();
    if parts.first().is_some_and(|first| first.starts_with("v1.")) {
        parts.remove(0);
    }
    matches!(parts[..], ["containers", _, "attach"] | ["exec", _, "start"])
        && !lines.any(|line| line.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("upgrade")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn only_those_who_take_over_without_asking() {
        for (head, want) in [
            ("POST /containers/a/attach HTTP/1.1\r\nHost: x", true),
            ("POST /v1.43/exec/a/start?x=1 HTTP/1.1\r\nHost: x", true),
            ("POST /v1.43/exec/a/start HTTP/1.1\r\nHost: x\r\nupgrade: tcp", false),
            ("POST /v1.43/exec/a/start HTTP/1.0\r\nHost: x", false),
            ("GET /containers/a/attach HTTP/1.1\r\nHost: x", false),
            ("POST /containers/a/start HTTP/1.1\r\nHost: x", false),
            ("nonsense", false),
        ] {
            assert_eq!(takes_unasked(head.as_bytes()), want, "{head}");
        }
    }

    #[tokio::test]
    async fn what_is_not_meant_passes_byte_by_byte() {
        for sent in ["GET /info HTTP/1.1\r\nHost: x\r\n\r\n", "POST /x HTTP/1.1\r\n\r\nbody", "P", ""] {
            let (mut client, server) = tokio::io::duplex(8);
            let mut server = Unasked::new(server);
            let (_, got) = tokio::join!(
                async {
                    client.write_all(sent.as_bytes()).await.unwrap();
                    client.shutdown().await.unwrap();
                },
                async {
                    let mut got = String::new();
                    server.read_to_string(&mut got).await.unwrap();
                    got
                }
            );
            assert_eq!(got, sent);
        }
    }
}
