//! The session: frames of [`FromNode`] one way, of [`ToNode`] the other.
use super::link::Link;
use super::pipe::{self, BoxError};
use super::{ChannelError, post, read_answer};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Serialize, de::DeserializeOwned};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::agent::{FromNode, ToNode};
use wire::codec::{self, FrameReader};

/// Messages that may wait in each direction.
const MESSAGES_MAX: usize = 64;

/// An open session. It ends when either half is dropped or the connection breaks; then `receive` gives `None`.
#[derive(Debug)]
pub struct Session {
    /// To the manager.
    pub send: mpsc::Sender<FromNode>,
    /// From the manager.
    pub receive: mpsc::Receiver<ToNode>,
    /// The manager's address.
    pub manager: SocketAddr,
    /// Our address as the manager sees it: the default for the tunnel endpoint.
    pub local: SocketAddr,
}

/// Opens the session on a connection and keeps that connection while the session lives.
pub async fn open(link: &Arc<Link>) -> Result<Session, ChannelError> {
    let (bytes, body) = pipe::channel();
    let response = link.send(post("/shoal/v1/session", body)?).await?;
    if response.status() != StatusCode::OK {
        return match read_answer::<serde_json::Value>(response).await {
            Err(e) => Err(e),
            Ok(_) => Err(ChannelError::Answer("not a stream".into())),
        };
    }
    let (send, from_us) = mpsc::channel(MESSAGES_MAX);
    let (to_us, receive) = mpsc::channel(MESSAGES_MAX);
    let keep = link.clone();
    let incoming = response.into_body();
    tokio::spawn(async move {
        if let Err(e) = pump(incoming, codec::FRAME_BYTES_MAX, to_us, from_us, bytes).await {
            tracing::debug!(manager = %keep.addr, "the session ended: {e}");
        }
    });
    Ok(Session { send, receive, manager: link.addr, local: link.local })
}

/// Moves messages between two channels and the two bodies of a stream until either side ends. A message that comes in may
/// have `limit` bytes.
///
/// # Errors
/// What broke the stream.
pub async fn pump<In, Out>(
    mut incoming: Incoming,
    limit: usize,
    deliver: mpsc::Sender<In>,
    mut take: mpsc::Receiver<Out>,
    bytes: mpsc::Sender<Bytes>,
) -> Result<(), BoxError>
where
    In: DeserializeOwned,
    Out: Serialize,
{
    let reading = async {
        let mut reader = FrameReader::with_limit(limit);
        while let Some(frame) = incoming.frame().await {
            let Ok(chunk) = frame?.into_data() else { continue };
            reader.push(&chunk);
            while let Some(message) = reader.pop()? {
                if deliver.send(message).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    let writing = async {
        while let Some(message) = take.recv().await {
            if bytes.send(codec::frame(&message)?).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        end = reading => end,
        end = writing => end,
    }
}
