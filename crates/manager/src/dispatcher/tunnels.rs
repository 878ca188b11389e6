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
use wire::Refusal;
use wire::agent::{ToNode, TunnelRequest};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const LOCAL_BUFFER_BYTES: usize = 64 << 10;

/// Bytes in both directions between a manager and a node; HTTP/1.1 is spoken on it, the node being the server.
#[derive(Debug)]
pub enum Tunnel {
    /// Over the node's connection.
    Remote(Pipe),
    /// To this machine's own node.
    Local(DuplexStream),
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Remote(s) => Pin::new(s).poll_read(cx, buf),
            Self::Local(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Remote(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Local(s) => Pin::new(s).poll_write(cx, bytes),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Remote(s) => Pin::new(s).poll_flush(cx),
            Self::Local(s) => Pin::new(s).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Remote(s) => Pin::new(s).poll_shutdown(cx),
            Self::Local(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

type Waiting = (NodeId, oneshot::Sender<Result<Tunnel, Refusal>>);

/// Tunnels that were asked for and are not open yet.
#[derive(Default)]
pub struct Tunnels {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
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
        opened.unwrap_or_else(|_| Err(Refusal::unavailable(format!("node {node} did not open a stream in time"))))
    }

    /// A node has opened what it was asked for.
    pub fn tunnel_opened(&self, node: &NodeId, id: u64, pipe: Pipe) -> bool {
        self.shared.tunnels.take(node, id).is_some_and(|tx| tx.send(Ok(Tunnel::Remote(pipe))).is_ok())
    }

    /// Whether the node was asked for this tunnel.
    pub fn tunnel_expected(&self, node: &NodeId, id: u64) -> bool {
        self.shared.tunnels.waiting.lock().get(&id).is_some_and(|(asked, _)| asked == node)
    }

    /// This machine's own node opens what it was asked for.
    pub fn local_tunnel(&self, id: u64) -> Option<DuplexStream> {
        let tx = self.shared.tunnels.take(&self.shared.own, id)?;
        let (ours, theirs) = tokio::io::duplex(LOCAL_BUFFER_BYTES);
        tx.send(Ok(Tunnel::Local(ours))).ok()?;
        Some(theirs)
    }

    /// A node cannot open what it was asked for.
    pub(super) fn tunnel_refused(&self, node: &NodeId, id: u64, why: String) {
        if let Some(tx) = self.shared.tunnels.take(node, id) {
            let _ = tx.send(Err(Refusal::unavailable(why)));
        }
    }
}
