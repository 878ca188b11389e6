//! Between a node and a manager: HTTP/2 on mutual TLS, port 2377. The node opens the connection and all its streams.
//!
//! | call | who | what |
//! |---|---|---|
//! | `GET  /shoal/v1/root` | anybody | the root certificate (PEM, as a JSON string), to be checked against the token's digest |
//! | `POST /shoal/v1/join` | token | [`JoinRequest`] → [`JoinAnswer`] (a certificate) |
//! | `POST /shoal/v1/renew` | node | [`RenewRequest`] → [`JoinAnswer`] |
//! | `POST /shoal/v1/session` | node | frames of [`FromNode`] one way, of [`ToNode`] the other |
//! | `POST /shoal/v1/tunnel/{id}` | node | the two directions of a tunnel that [`ToNode::OpenTunnel`] asked for; the manager speaks HTTP/1.1 on it, the node answers |
//! | `POST /shoal/v1/leave` | node | the node leaves the swarm |
//! | `POST /shoal/v1/engine` | node | a stream both ways; on it the node speaks HTTP/1.1 (so that upgrades work) and gets Engine API requests of its clients answered as by the manager's own API |
//! | `POST /shoal/v1/engine/leader` | node | the same, by the leader only |
//! | `POST /shoal/v1/revision` | node | the revision that the leader has committed, as a JSON number |
//! | `POST /shoal/v1/raft/{append,vote,snapshot,probe,add}` | manager | raft's calls ([`crate::codec`] bodies); `add` asks to be taken in, or tells a new address |
//!
//! JSON bodies for single calls; [`crate::codec`] frames for streams. A no is a [`crate::Refusal`] as JSON with its
//! status. A manager that does not lead answers 503 with the leader's address in `x-shoal-leader`.
use model::{
    Availability, Config, ConfigId, Directory, DirectoryDelta, NodeDescription, NodeId, NodeRole, NodeSpec, Secret,
    SecretId, Task, TaskId, TaskStatus,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The longest message of a node: a manager holds no more of one.
pub const FROM_NODE_BYTES_MAX: usize = 4 << 20;

/// Asks for a certificate with a join token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    /// `SWMTKN-1-…`; its secret decides the role.
    pub token: String,
    /// PEM certificate signing request; only its public key is used.
    pub csr: String,
    /// The node's hostname, for people.
    pub hostname: String,
    /// Address of its tunnel endpoint; `None`: the address it calls from.
    pub data_path_addr: Option<IpAddr>,
    /// Where it would listen as a manager.
    pub advertise_addr: Option<SocketAddr>,
    /// Wished availability.
    pub availability: Availability,
}

/// A new certificate for the same node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewRequest {
    /// PEM certificate signing request.
    pub csr: String,
}

/// What a node needs to be a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// Its id.
    pub node: NodeId,
    /// Its role.
    pub role: NodeRole,
    /// PEM certificate.
    pub cert: String,
    /// PEM root.
    pub root: String,
    /// Managers to talk to.
    pub managers: Vec<ManagerPeer>,
}

/// A manager to talk to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerPeer {
    /// Its id.
    pub node: NodeId,
    /// `address:2377`.
    pub addr: SocketAddr,
}

/// From the node, on its session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)]
pub enum FromNode {
    /// First message, and again when the description changes.
    Hello {
        /// What the machine is.
        description: NodeDescription,
        /// Address of its tunnel endpoint; `None`: the address it calls from.
        data_path_addr: Option<IpAddr>,
        /// Revision of the directory that it still holds (0: none): a delta from there may do.
        directory: u64,
    },
    /// Tasks that changed state. Only [`TaskStatus`] travels up; intent never does.
    Status(Vec<(TaskId, TaskStatus)>),
    /// Alive. Sent every `heartbeat` of [`ToNode::Welcome`].
    Heartbeat {
        /// The directory revision that the data plane and the names show.
        applied: u64,
        /// Digest of what the kernel holds, for comparison; 0 when not read yet.
        digest: u64,
        /// Differences found and repaired since the last beat.
        repaired: u64,
    },
    /// The directory has been applied up to this revision.
    Applied(u64),
    /// A tunnel could not be opened.
    TunnelRefused {
        /// Which.
        id: u64,
        /// Why.
        why: String,
    },
}

/// To the node, on its session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)]
pub enum ToNode {
    /// First message.
    Welcome {
        /// Managers to fall back on.
        managers: Vec<ManagerPeer>,
        /// How often to beat. Silence is judged by [`model::lease`].
        heartbeat: Duration,
    },
    /// The node's own row changed.
    Node {
        /// As it is now.
        spec: NodeSpec,
        /// Observed role.
        role: NodeRole,
    },
    /// Get a new certificate: the authority has changed.
    Renew,
    /// Managers changed.
    Managers(Vec<ManagerPeer>),
    /// The oldest heartbeat of this session that has not been confirmed yet is: this manager leads, a majority follows it,
    /// and it takes the node for alive. The node's lease counts from the sending of that beat ([`model::lease`]).
    Heard,
    /// Work.
    Assignments(Assignments),
    /// The whole directory.
    Directory(Directory),
    /// A change of the directory.
    DirectoryDelta(DirectoryDelta),
    /// Every live node has applied at least this revision: the barrier for stopping drained tasks. A new leader has to
    /// learn it anew and may begin lower; the greatest ever heard counts.
    AllApplied(u64),
    /// Serve an Engine API request of a client of another node: open `POST tunnel/{id}` and answer it there.
    OpenTunnel {
        /// Number of the tunnel.
        id: u64,
        /// The request, without body (its body is what arrives in the tunnel).
        request: TunnelRequest,
    },
    /// The node was removed from the swarm or must start anew.
    Disconnect {
        /// Why.
        why: String,
        /// Whether it is no member any more.
        removed: bool,
    },
}

/// An Engine API request to be served by a node for somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRequest {
    /// `GET`.
    pub method: String,
    /// `/containers/<id>/logs?stdout=1`.
    pub uri: String,
}

/// Where a container of the swarm is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPlace {
    /// Its 64-digit id.
    pub container: String,
    /// Its name, or its id when only its node knows the name.
    pub name: String,
    /// Its node.
    pub node: NodeId,
    /// The node's hostname, for people.
    pub hostname: String,
    /// Why the node cannot be asked now, if so (`down`).
    pub unreachable: Option<String>,
}

/// Work for a node: everything, or what changed. Each carries a number; one that does not follow the last is refused.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Assignments {
    /// 1, 2, 3… within a session; 1 is the full set.
    pub sequence: u64,
    /// Tasks to have, by id; `None`: to forget (stop and remove).
    pub tasks: BTreeMap<TaskId, Option<Assignment>>,
    /// Secrets that these tasks use; `None`: to forget.
    pub secrets: BTreeMap<SecretId, Option<Secret>>,
    /// Configs that these tasks use; `None`: to forget.
    pub configs: BTreeMap<ConfigId, Option<Config>>,
}

/// One task for a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The task, with its desired state.
    pub task: Task,
    /// Do not send the stop signal before [`ToNode::AllApplied`] has reached this revision (or the drain time-out).
    pub stop_after: Option<u64>,
}
