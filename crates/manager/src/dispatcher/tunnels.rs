//! Streams that a node opens because a manager asked for them.
use super::Dispatcher;
use cluster::channel::Pipe;
use model::NodeId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wire::Refusal;
use wire::agent::{ToNode, TunnelRequest};

const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
const LOCAL_BUFFER_BYTES: usize = 64 << 10;

/// Bytes in both directions between a manager and a node; HTTP/1.1 is spoken on it, the node being the server. It breaks
/// as soon as the node is found silent, not only when TCP gives up.
pub struct Tunnel {
    way: Way,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

enum Way {
    /// Over the node's connection.
    Remote(Pipe),
    /// To this machine's own node.
    Local(DuplexStream),
}

impl Tunnel {
    /// Over a node's connection, or from this machine's own node to its manager.
    pub fn remote(pipe: Pipe) -> Self {
        Self { way: Way::Remote(pipe), cut: Box::pin(CancellationToken::new().cancelled_owned()) }
    }

    /// Within this machine.
    pub fn local(stream: DuplexStream) -> Self {
        Self { way: Way::Local(stream), cut: Box::pin(CancellationToken::new().cancelled_owned()) }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the node went away")),
            Poll::Pending => Ok(()),
        }
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tunnel")
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        match &mut self.way {
            Way::Remote(s) => Pin::new(s).poll_read(cx, buf),
            Way::Local(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        match &mut self.way {
            Way::Remote(s) => Pin::new(s).poll_write(cx, bytes),
            Way::Local(s) => Pin::new(s).poll_write(cx, bytes),
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Remote(s) => Pin::new(s).poll_flush(cx),
            Way::Local(s) => Pin::new(s).poll_flush(cx),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Remote(s) => Pin::new(s).poll_shutdown(cx),
            Way::Local(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

type Waiting = (NodeId, oneshot::Sender<Result<Tunnel, Refusal>>);

/// Tunnels that were asked for and are not open yet.
#[derive(Default)]
pub struct Tunnels {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// Cuts what is open to a node.
    cuts: Mutex<HashMap<NodeId, CancellationToken>>,
}

impl Tunnels {
    /// Takes out the one who waits, if that node was asked for that tunnel.
    fn take(&self, node: &NodeId, id: u64) -> Option<oneshot::Sender<Result<Tunnel, Refusal>>> {
        let mut waiting = self.waiting.lock();
        if waiting.get(&id).is_none_or(|(asked, _)| asked != node) {
            return None;
        }
        waiting.remove(&id).map(|(_, tx)| tx)
    }
}

impl Dispatcher {
    /// The node is silent or gone: what is open to it ends now, so that nobody waits for TCP.
    pub(super) fn cut_tunnels(&self, node: &NodeId) {
        if let Some(cut) = self.shared.tunnels.cuts.lock().remove(node) {
            cut.cancel();
        }
        self.shared.tunnels.waiting.lock().retain(|_, (asked, _)| asked != node);
    }

    /// Asks a node to open a tunnel, and waits for it.
    pub async fn tunnel(&self, node: &NodeId, request: TunnelRequest) -> Result<Tunnel, Refusal> {
        let to = self.shared.sessions.lock().get(node).map(|o| o.to.clone());
        let Some(to) = to else {
            return Err(Refusal::unavailable(format!("node {node} is not connected to this manager")));
        };
        let tunnels = &self.shared.tunnels;
        let id = tunnels.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (tx, rx) = oneshot::channel();
        tunnels.waiting.lock().insert(id, (node.clone(), tx));
        let asked = async {
            let gone = |()| Refusal::unavailable(format!("node {node} has just left"));
            to.send(ToNode::OpenTunnel { id, request }).await.map_err(|_| gone(()))?;
            rx.await.map_err(|_| gone(()))?
        };
        let opened = tokio::time::timeout(OPEN_TIMEOUT, asked).await;
        tunnels.waiting.lock().remove(&id);
        let mut tunnel = opened
            .unwrap_or_else(|_| Err(Refusal::unavailable(format!("node {node} did not open a stream in time"))))?;
        let cut = tunnels.cuts.lock().entry(node.clone()).or_default().clone();
        tunnel.cut = Box::pin(cut.cancelled_owned());
        Ok(tunnel)
    }

    /// A node has opened what it was asked for.
    pub fn tunnel_opened(&self, node: &NodeId, id: u64, pipe: Pipe) -> bool {
        self.shared.tunnels.take(node, id).is_some_and(|tx| tx.send(Ok(Tunnel::remote(pipe))).is_ok())
    }

    /// Whether the node was asked for this tunnel.
    pub fn tunnel_expected(&self, node: &NodeId, id: u64) -> bool {
        self.shared.tunnels.waiting.lock().get(&id).is_some_and(|(asked, _)| asked == node)
    }

    /// This machine's own node opens what it was asked for.
    pub fn local_tunnel(&self, id: u64) -> Option<DuplexStream> {
        let tx = self.shared.tunnels.take(&self.shared.own, id)?;
        let (ours, theirs) = tokio::io::duplex(LOCAL_BUFFER_BYTES);
        tx.send(Ok(Tunnel::local(ours))).ok()?;
        Some(theirs)
    }

    /// A node cannot open what it was asked for.
    pub(super) fn tunnel_refused(&self, node: &NodeId, id: u64, why: String) {
        if let Some(tx) = self.shared.tunnels.take(node, id) {
            let _ = tx.send(Err(Refusal::unavailable(why)));
        }
    }
}
