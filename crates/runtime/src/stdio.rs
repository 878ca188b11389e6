//! A process's streams, as the daemon sees them.
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StdStream {
    /// Standard output (and everything of a terminal).
    Stdout,
    /// Standard error.
    Stderr,
}

/// Live streams of a container's process 1 or of an exec process.
///
/// Dropping `stdin` closes the process's stdin (exec, or `stdin_once` containers) after what was written. Dropping
/// `output` detaches.
#[derive(Debug)]
pub struct AttachedIo {
    /// Bytes for the process; `None` when it has no stdin.
    pub stdin: Option<StdinWriter>,
    /// What it writes, in order; ends when the process has ended and all its output was delivered.
    pub output: mpsc::Receiver<(StdStream, Bytes)>,
}

/// Where bytes for a process go. Shutting it down, or dropping it, ends them.
pub struct StdinWriter {
    inner: Option<Box<dyn AsyncWrite + Send + Unpin>>,
}

impl StdinWriter {
    pub(crate) fn new(inner: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { inner: Some(Box::new(inner)) }
    }
}

impl std::fmt::Debug for StdinWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdinWriter").field("open", &self.inner.is_some()).finish()
    }
}

impl AsyncWrite for StdinWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_write(cx, data),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(Ok(())) };
        let result = std::task::ready!(Pin::new(inner).poll_shutdown(cx));
        // A pipe has no half to shut down: the reader sees the end when it is closed.
        self.inner = None;
        Poll::Ready(result)
    }
}
