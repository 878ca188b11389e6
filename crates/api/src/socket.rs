//! A connected socket that can be watched while hyper owns it.
//!
//! With half close allowed hyper no longer notices a client that is gone for good, so a silent stream (`events`,
//! `logs --follow`, `wait`) would stay for ever. [`Socket::peer_gone`] notices.
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How often a half-closed connection is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A TCP client that has closed its side cannot be told from one that only half closed; its request may last so long.
const TCP_GRACE: Duration = Duration::from_secs(10);

/// How long a client may take to read the head of an answer before what follows is sent all the same.
const HEAD_READ_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether it has.
const HEAD_LOOK: Duration = Duration::from_millis(1);

/// Tells how many bytes sent on a socket have not been read (a system call that this crate cannot make by itself).
pub type Unread = fn(BorrowedFd<'_>) -> io::Result<usize>;

/// A stream socket.
#[derive(Debug)]
pub enum Socket {
    /// Unix.
    Unix(UnixStream),
    /// TCP.
    Tcp(TcpStream),
}

macro_rules! each {
    ($self:expr, $s:ident => $e:expr) => {
        match $self {
            Socket::Unix($s) => $e,
            Socket::Tcp($s) => $e,
        }
    };
}

impl Socket {
    /// Ends when nobody listens any more.
    pub async fn peer_gone(&self) {
        loop {
            match each!(self, s => s.ready(Interest::READABLE).await) {
                Ok(r) if r.is_read_closed() => break,
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(_) => return,
            }
        }
        if let Self::Tcp(_) = self {
            tokio::time::sleep(TCP_GRACE).await;
            return;
        }
        loop {
            match each!(self, s => s.ready(Interest::WRITABLE).await) {
                Ok(r) if r.is_write_closed() => return,
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(_) => return,
            }
        }
    }
}

/// The other end of a request's connection.
#[derive(Clone)]
pub struct Peer {
    pub(crate) socket: Arc<Socket>,
    pub(crate) unread: Unread,
}

impl Peer {
    /// Ends when the client has read all that was sent, or has taken too long for it. The Python SDK reads the head of an
    /// answer through a buffer and loses what has come together with it.
    pub async fn has_read(&self) {
        let read = async {
            while matches!((self.unread)(each!(&*self.socket, s => s.as_fd())), Ok(n) if n > 0) {
                tokio::time::sleep(HEAD_LOOK).await;
            }
        };
        if tokio::time::timeout(HEAD_READ_WITHIN, read).await.is_err() {
            tracing::debug!("a client does not read the head of its answer");
        }
    }
}

/// A shared socket as a stream.
#[derive(Debug)]
pub struct Shared(pub Arc<Socket>);

impl AsyncRead for Shared {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(each!(&*self.0, s => s.poll_read_ready(cx)))?;
            match each!(&*self.0, s => s.try_read(buf.initialize_unfilled())) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(data)])
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(each!(&*self.0, s => s.poll_write_ready(cx)))?;
            match each!(&*self.0, s => s.try_write_vectored(data)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    /// Closes our direction only.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        use std::os::fd::AsRawFd;
        let fd = each!(&*self.0, s => s.as_raw_fd());
        Poll::Ready(match nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Write) {
            Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Ok(()),
            Err(e) => Err(e.into()),
        })
    }
}
