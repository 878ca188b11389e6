//! A process's streams, as the daemon sees them.
use bytes::Bytes;
use serde::{Deserialize, Serialize};
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
pub struct AttachedIo {
    /// Bytes for the process; `None` when it has no stdin.
    pub stdin: Option<StdinWriter>,
    /// What it writes, in order; ends when the process has ended and all its output was delivered.
    pub output: mpsc::Receiver<(StdStream, Bytes)>,
}

/// Where bytes for a process go.
pub struct StdinWriter {
    pub(crate) inner: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
}

impl tokio::io::AsyncWrite for StdinWriter {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        data: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.inner).poll_write(cx, data)
    }
    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
