//! Raft's calls between managers, over whatever carries bytes.
//!
//! Every call names the raft id that it is meant for. A machine that is demoted and promoted again is a new member with an
//! empty log, at the old address: what is still under way to the former member would pass for its answers, and a log that
//! was acknowledged would seem to be lost.
use super::{Member, Raft, Types};
use async_trait::async_trait;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{LogId, RaftNetwork, RaftNetworkFactory, Vote};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

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
    /// It was meant for a member that this one is not (any more).
    #[error("this is raft member {here}, not {wanted}")]
    OtherMember {
        /// Whom it was meant for.
        wanted: u64,
        /// Who was reached.
        here: u64,
    },
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
        Client { transport: self.transport.clone(), target, member: node.clone(), underway: None }
    }
}

/// Calls one manager.
pub struct Client {
    transport: Arc<dyn Transport>,
    target: u64,
    member: Member,
    underway: Option<Underway>,
}

/// Which entries a call carries, and in which term.
#[derive(PartialEq)]
struct Batch {
    vote: Vote<u64>,
    prev: Option<LogId<u64>>,
    last: LogId<u64>,
}

/// Entries that outlive the call that they were sent with: openraft gives it the time between two heartbeats, and what
/// takes longer on a slow link must not begin anew each time.
struct Underway {
    batch: Batch,
    answer: AbortOnDropHandle<Result<Vec<u8>, TransportError>>,
}

/// A link that does not carry a batch within this is down.
const BATCH_WITHIN: Duration = Duration::from_secs(30);

type CallError<E> = RPCError<u64, Member, RaftError<u64, E>>;

impl Client {
    async fn call<Q, A, E>(&self, call: Call, request: &Q, option: &RPCOption) -> Result<A, CallError<E>>
    where
        Q: Serialize,
        A: DeserializeOwned,
        E: DeserializeOwned + std::error::Error + 'static,
    {
        let body = self.envelope(request)?;
        match tokio::time::timeout(option.hard_ttl(), self.transport.call(&self.member, call, body)).await {
            Ok(answer) => self.read(answer),
            Err(e) => Err(RPCError::Network(NetworkError::new(&e))),
        }
    }

    /// Sends entries in a task of their own.
    fn send(&self, body: Vec<u8>) -> AbortOnDropHandle<Result<Vec<u8>, TransportError>> {
        let (transport, member) = (self.transport.clone(), self.member.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let late = |_| TransportError::Unreachable(member.node.clone(), "no answer in time".into());
            let call = transport.call(&member, Call::Append, body);
            tokio::time::timeout(BATCH_WITHIN, call).await.map_err(late)?
        }))
    }

    #[expect(clippy::result_large_err, reason = "the error is openraft's")]
    fn envelope<Q: Serialize, E: std::error::Error>(&self, request: &Q) -> Result<Vec<u8>, CallError<E>> {
        wire::codec::to_vec(&(self.target, request)).map_err(|e| RPCError::Network(NetworkError::new(&e)))
    }

    #[expect(clippy::result_large_err, reason = "the error is openraft's")]
    fn read<A, E>(&self, answer: Result<Vec<u8>, TransportError>) -> Result<A, CallError<E>>
    where
        A: DeserializeOwned,
        E: DeserializeOwned + std::error::Error + 'static,
    {
        let answer = answer.map_err(|e| RPCError::Unreachable(Unreachable::new(&e)))?;
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
        let Some(last) = rpc.entries.last() else { return self.call(Call::Append, &rpc, &option).await };
        let batch = Batch { vote: rpc.vote, prev: rpc.prev_log_id, last: last.log_id };
        let underway = match self.underway.take().filter(|u| u.batch == batch) {
            Some(underway) => underway,
            None => Underway { batch, answer: self.send(self.envelope(&rpc)?) },
        };
        // openraft may drop this future here, and ask again.
        let answer = (&mut self.underway.insert(underway).answer).await;
        self.underway = None;
        self.read(answer.map_err(|e| RPCError::Network(NetworkError::new(&e)))?)
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

/// Asks a member whether it misses the leader too.
pub async fn probe(transport: &dyn Transport, id: u64, member: &Member) -> Result<bool, TransportError> {
    let body = wire::codec::to_vec(&(id, ()))?;
    Ok(wire::codec::from_slice(&transport.call(member, Call::Probe, body).await?)?)
}

/// What a call says, if it is meant for this member.
fn meant_for<Q: DeserializeOwned>(raft: &Raft, body: &[u8]) -> Result<Q, TransportError> {
    let (wanted, request) = wire::codec::from_slice(body)?;
    let here = raft.id();
    if wanted == here { Ok(request) } else { Err(TransportError::OtherMember { wanted, here }) }
}

/// Decodes a call, hands it to raft, encodes the answer.
pub async fn serve(raft: &Raft, call: Call, body: &[u8]) -> Result<Vec<u8>, TransportError> {
    use wire::codec::to_vec;
    Ok(match call {
        Call::Append => to_vec(&raft.inner().append_entries(meant_for(raft, body)?).await)?,
        Call::Vote => to_vec(&raft.inner().vote(meant_for(raft, body)?).await)?,
        Call::Snapshot => to_vec(&raft.inner().install_snapshot(meant_for(raft, body)?).await)?,
        Call::Probe => {
            let () = meant_for(raft, body)?;
            to_vec(&super::election::misses_leader(raft).await?)?
        }
    })
}
