//! Machines come, renew and go: certificates and the rows of nodes.
use super::swarm::cluster;
use super::{Control, failed_precondition};
use crate::clock;
use cluster::ca::{Credentials, JoinToken, Peer, RootCa, crypto};
use cluster::raft::Member;
use model::{Cluster, Node, NodeDescription, NodeId, NodeRole, NodeSpec, NodeState, NodeStatus, StoreAction, Tables};
use std::net::IpAddr;
use wire::Refusal;
use wire::agent::{JoinAnswer, JoinRequest, ManagerPeer};

impl Control {
    /// A machine joins with a token.
    pub(crate) async fn join(&self, asked: JoinRequest, from: IpAddr) -> Result<JoinAnswer, Refusal> {
        let from = from.to_canonical();
        let id: NodeId = clock::fresh();
        let row_id = id.clone();
        let (role, root, cert) = self
            .update(move |tables| {
                let c = cluster(tables)?;
                let role = role_of_token(&c, &asked.token)?;
                let cert = sign(&c, &asked.csr, &row_id, role)?;
                let row = Node {
                    id: row_id,
                    meta: Default::default(),
                    spec: NodeSpec { role, availability: asked.availability, ..Default::default() },
                    description: Some(NodeDescription { hostname: asked.hostname, ..Default::default() }),
                    status: NodeStatus {
                        state: NodeState::Unknown,
                        addr: from.to_string(),
                        since: self.store.now(),
                        ..Default::default()
                    },
                    role: NodeRole::Worker,
                    manager: None,
                    data_path_addr: asked.data_path_addr,
                    attachments: Vec::new(),
                };
                Ok((vec![StoreAction::Create(row.into())], (role, c.trusted(), cert)))
            })
            .await?;
        tracing::info!(node = %id, ?role, %from, "a machine joined");
        Ok(JoinAnswer { node: id, role, cert, root, managers: managers(&self.tables()) })
    }

    /// A new certificate for a node, for the role that is wished now.
    pub(crate) async fn renew(&self, peer: &Peer, csr: &str) -> Result<JoinAnswer, Refusal> {
        let tables = self.tables();
        let c = cluster(&tables)?;
        let row = tables.node(&peer.node).ok_or_else(|| stranger(&peer.node))?;
        let cert = sign(&c, csr, &peer.node, row.spec.role)?;
        Ok(JoinAnswer {
            node: peer.node.clone(),
            role: row.spec.role,
            cert,
            root: c.trusted(),
            managers: managers(&tables),
        })
    }

    /// This manager's own new certificate.
    pub(crate) async fn renew_own(&self, credentials: &Credentials) -> Result<(), Refusal> {
        let failed = |e: &dyn std::fmt::Display| Refusal::internal(format!("the own certificate: {e}"));
        let (key, csr) = crypto::key_and_request().map_err(|e| failed(&e))?;
        let c = self.swarm()?;
        let cert = sign(&c, &csr, &self.own, NodeRole::Manager)?;
        credentials.replace(&cert, &key, &c.trusted()).map_err(|e| failed(&e))
    }

    /// A node has left by itself. It stays in the list, down, until it is removed. One that was a manager is none any
    /// more, if the others can go on without it.
    pub(crate) async fn node_left(&self, id: &NodeId) -> Result<(), Refusal> {
        let raft_id = self
            .update(|tables| {
                let old = tables.node(id).ok_or_else(|| stranger(id))?;
                let mut node = (**old).clone();
                node.status.state = NodeState::Down;
                node.status.message = "the node left the swarm".into();
                node.status.since = self.store.now();
                let raft_id = node.manager.as_ref().map(|m| m.raft_id).filter(|_| check_demotion(tables, id).is_ok());
                if raft_id.is_some() {
                    node.spec.role = NodeRole::Worker;
                }
                Ok((vec![StoreAction::Update(node.into())], raft_id))
            })
            .await?;
        if let Some(raft_id) = raft_id {
            self.remove_manager(raft_id).await?;
        }
        Ok(())
    }

    /// Takes a manager out of raft.
    pub(super) async fn remove_manager(&self, raft_id: u64) -> Result<(), Refusal> {
        let removed = self.store.raft().remove(raft_id).await;
        removed.map_err(|e| failed_precondition(format!("can't remove member from the raft: {e}")))
    }

    /// A further manager asks to be taken in, or tells its new address.
    pub(crate) async fn add_manager(&self, node: &NodeId, raft_id: u64, member: Member) -> Result<(), Refusal> {
        let wished = self.tables().node(node).is_some_and(|n| n.spec.role == NodeRole::Manager);
        if !wished {
            return Err(Refusal::forbidden(format!("node {node} is not wished to be a manager")));
        }
        let raft = self.store.raft();
        raft.add_voter(raft_id, member).await.map_err(|e| Refusal::unavailable(e.to_string()).as_rpc())?;
        // What the same machine was before it lost its disk, or tried in vain.
        let former: Vec<u64> = raft
            .members()
            .into_iter()
            .filter(|(id, m)| *id != raft_id && m.node == node.as_str())
            .map(|v| v.0)
            .collect();
        for id in former {
            self.remove_manager(id).await?;
        }
        Ok(())
    }
}

/// Whether the swarm can do without this manager.
pub(super) fn check_demotion(tables: &Tables, id: &NodeId) -> Result<(), Refusal> {
    let wished = tables.nodes().filter(|n| n.spec.role == NodeRole::Manager).count();
    if wished <= 1 {
        return Err(failed_precondition("attempting to demote the last manager of the swarm"));
    }
    let others: Vec<bool> =
        tables.nodes().filter(|n| n.id != *id).filter_map(|n| n.manager.as_ref().map(|m| m.reachable)).collect();
    // More than half of those who stay must answer.
    if others.iter().filter(|reachable| **reachable).count() < others.len() / 2 + 1 {
        return Err(failed_precondition("can't remove member from the raft: this would result in a loss of quorum"));
    }
    Ok(())
}

fn stranger(id: &NodeId) -> Refusal {
    Refusal::forbidden(format!("node {id} is not a member of this swarm"))
}

fn role_of_token(cluster: &Cluster, text: &str) -> Result<NodeRole, Refusal> {
    let token: JoinToken = text.parse().map_err(|e: cluster::ca::TokenError| Refusal::invalid(e.to_string()))?;
    let no = || Refusal::invalid("A valid join token is necessary to join this cluster").as_rpc();
    token.check_root(&cluster.root_ca_cert).map_err(|_| no())?;
    // Compared as digests, so that the time it takes says nothing about the secret.
    let is = |secret: &str| crypto::sha256(secret.as_bytes()) == crypto::sha256(token.secret.as_bytes());
    if is(&cluster.join_secret_manager) {
        Ok(NodeRole::Manager)
    } else if is(&cluster.join_secret_worker) {
        Ok(NodeRole::Worker)
    } else {
        Err(no())
    }
}

fn sign(c: &Cluster, csr: &str, node: &NodeId, role: NodeRole) -> Result<String, Refusal> {
    let peer = Peer { node: node.clone(), role, cluster: c.id.clone() };
    let (cert, key) = c.signer();
    let root = RootCa::from_pem(cert, key).map_err(|e| Refusal::internal(e.to_string()))?;
    let cert = root.sign(csr, &peer, c.spec.node_cert_expiry).map_err(|e| Refusal::invalid(e.to_string()))?;
    // Those who do not know the new root yet believe it by the word of the old one.
    Ok(match &c.rotation {
        Some(r) => format!("{}\n{}", cert.trim_end(), r.cross_signed),
        None => cert,
    })
}

fn managers(tables: &Tables) -> Vec<ManagerPeer> {
    let of = |n: &Node| Some(ManagerPeer { node: n.id.clone(), addr: n.manager.as_ref()?.addr });
    tables.nodes().filter_map(|n| of(n)).collect()
}
