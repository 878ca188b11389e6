//! Raft's calls between managers, over whatever carries bytes.
use super::{Member, Raft, Types};
use async_trait::async_trait;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::time::Duration;

/// A call from one manager to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Entries, or a heartbeat.
    Append,
    /// A candidate asks for a vote.
    Vote,
    /// A piece of a snapshot.
    Snapshot,
    /// Do you miss the leader too? (See [`super::election`].)
    Probe,
}

impl Call {
    /// The last part of its path: `/shoal/v1/raft/<this>`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Vote => "vote",
            Self::Snapshot => "snapshot",
            Self::Probe => "probe",
        }
    }
    /// The call of a path.
    pub fn of_path(path: &str) -> Option<Self> {
        [Self::Append, Self::Vote, Self::Snapshot, Self::Probe].into_iter().find(|c| c.path() == path)
    }
}

/// Why a call did not get through.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The other manager is not there.
    #[error("manager {0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// It answered something else.
    #[error("the call cannot be understood")]
    Codec(#[from] wire::codec::CodecError),
    /// Raft has stopped.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// Carries the bytes of a call to another manager and those of the answer back.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// One call.
    async fn call(&self, to: &Member, call: Call, body: Vec<u8>) -> Result<Vec<u8>, TransportError>;
}

/// Makes a client per manager.
pub struct Factory {
    transport: Arc<dyn Transport>,
}

impl Factory {
    /// Over this transport.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }
}

impl RaftNetworkFactory<Types> for Factory {
    type Network = Client;
    async fn new_client(&mut self, target: u64, node: &Member) -> Client {
        Client { transport: self.transport.clone(), target, member: node.clone() }
    }
}

/// Calls one manager.
pub struct Client {
    transport: Arc<dyn Transport>,
    target: u64,
    member: Member,
}

type CallError<E> = RPCError<u64, Member, RaftError<u64, E>>;

impl Client {
    async fn call<Q, A, E>(&self, call: Call, request: &Q, option: &RPCOption) -> Result<A, CallError<E>>
    where
        Q: Serialize,
        A: DeserializeOwned,
        E: DeserializeOwned + std::error::Error + 'static,
    {
        let body = wire::codec::to_vec(request).map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        let sent = tokio::time::timeout(option.hard_ttl(), self.transport.call(&self.member, call, body)).await;
        let answer = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) => return Err(RPCError::Unreachable(Unreachable::new(&e))),
            Err(e) => return Err(RPCError::Network(NetworkError::new(&e))),
        };
        let answer: Result<A, RaftError<u64, E>> =
            wire::codec::from_slice(&answer).map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        answer.map_err(|e| RPCError::RemoteError(RemoteError::new_with_node(self.target, self.member.clone(), e)))
    }
}

impl RaftNetwork<Types> for Client {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError<openraft::error::Infallible>> {
        self.call(Call::Append, &rpc, &option).await
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, CallError<InstallSnapshotError>> {
        self.call(Call::Snapshot, &rpc, &option).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError<openraft::error::Infallible>> {
        self.call(Call::Vote, &rpc, &option).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(Duration::from_millis(200)))
    }
}

/// Decodes a call, hands it to raft, encodes the answer.
pub async fn serve(raft: &Raft, call: Call, body: &[u8]) -> Result<Vec<u8>, TransportError> {
    use wire::codec::{from_slice, to_vec};
    Ok(match call {
        Call::Append => to_vec(&raft.inner().append_entries(from_slice(body)?).await)?,
        Call::Vote => to_vec(&raft.inner().vote(from_slice(body)?).await)?,
        Call::Snapshot => to_vec(&raft.inner().install_snapshot(from_slice(body)?).await)?,
        Call::Probe => to_vec(&super::election::misses_leader(raft).await?)?,
    })
}
