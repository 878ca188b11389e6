//! Requests between nodes: those that only a manager can answer, and those that a manager has for this node.
use super::Membership;
use crate::daemon::relay;
use api::{Destination, Forwarder};
use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use cluster::Channel;
use manager::Manager;
use node::agent::TunnelServer;
use wire::agent::TunnelRequest;

#[async_trait]
impl Forwarder for Membership {
    async fn forward(&self, mut request: Request, to: Destination) -> Option<Response> {
        let joined = self.joined()?;
        match to {
            Destination::Manager => {
                let channel = joined.channel.clone()?;
                request.headers_mut().entry("host").or_insert(http::HeaderValue::from_static("manager"));
                match channel.forward(request).await {
                    Ok(response) => Some(response.map(Body::new)),
                    Err(e) => {
                        tracing::warn!(error = %e, "a request cannot be forwarded to a manager");
                        None
                    }
                }
            }
            Destination::ContainerNode(_) | Destination::ExecNode(_) => None,
        }
    }
}

pub(super) struct Tunnels {
    pub(super) server: api::Server,
    pub(super) way: Way,
}

pub(super) enum Way {
    Here(Manager),
    There(Channel),
}

#[async_trait]
impl TunnelServer for Tunnels {
    async fn open(&self, id: u64, _request: TunnelRequest) -> Result<(), String> {
        match &self.way {
            Way::Here(manager) => {
                let io = manager.local_tunnel(id).ok_or("nobody waits for this tunnel")?;
                tokio::spawn(relay::serve(self.server.clone(), io));
            }
            Way::There(channel) => {
                let (channel, server) = (channel.clone(), self.server.clone());
                tokio::spawn(async move {
                    match channel.tunnel(id).await {
                        Ok(io) => relay::serve(server, io).await,
                        Err(e) => tracing::warn!(error = %e, "a tunnel cannot be opened"),
                    }
                });
            }
        }
        Ok(())
    }
}
