//! Calls between managers: raft's, over connections that are kept.
use super::link::Link;
use super::pipe;
use super::{ChannelError, post};
use crate::ca::{Credentials, tls};
use crate::raft::{Call, Member, Transport, TransportError};
use async_trait::async_trait;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The longest answer of a raft call.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Raft's transport over mutual TLS.
pub struct PeerTransport {
    credentials: Credentials,
    links: Mutex<HashMap<SocketAddr, Arc<Link>>>,
}

impl PeerTransport {
    /// With this manager's credentials.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, links: Mutex::default() }
    }

    async fn link(&self, addr: SocketAddr) -> Result<Arc<Link>, ChannelError> {
        if let Some(link) = self.links.lock().await.get(&addr)
            && link.is_open()
        {
            return Ok(link.clone());
        }
        // Not under the lock: one silent manager must not hold up the calls to the others.
        let link = Arc::new(Link::connect(addr, tls::client_config(&self.credentials)?).await?);
        self.links.lock().await.insert(addr, link.clone());
        Ok(link)
    }

    /// Asks the other managers, one after the other, to take this one in, or to learn its new address.
    ///
    /// # Errors
    /// Why the last of them did not.
    pub async fn add_me(&self, managers: &[Member], raft_id: u64, me: &Member) -> Result<(), ChannelError> {
        let mut last = ChannelError::Unreachable("no manager is known".into());
        for m in managers.iter().filter(|m| m.node != me.node) {
            let asked = async { self.link(address(m)?).await?.call("/shoal/v1/raft/add", &(raft_id, me)).await };
            match asked.await {
                Ok(serde_json::Value::Object(_)) => return Ok(()),
                Ok(_) => last = ChannelError::Answer("not what was asked for".into()),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    async fn post(&self, to: &Member, call: Call, body: Vec<u8>) -> Result<Vec<u8>, ChannelError> {
        let addr = address(to)?;
        let request = post(&format!("/shoal/v1/raft/{}", call.path()), pipe::full(body))?;
        let response = self.link(addr).await?.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(ChannelError::Answer(format!("HTTP status {}", response.status())));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|e| ChannelError::Answer(e.to_string()))?.to_bytes().to_vec())
    }
}

fn address(of: &Member) -> Result<SocketAddr, ChannelError> {
    of.addr.parse().map_err(|_| ChannelError::Unreachable(format!("{} is no address", of.addr)))
}

#[async_trait]
impl Transport for PeerTransport {
    async fn call(&self, to: &Member, call: Call, body: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        self.post(to, call, body).await.map_err(|e| TransportError::Unreachable(to.node.clone(), e.to_string()))
    }
}
