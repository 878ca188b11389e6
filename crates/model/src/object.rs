//! What the replicated store holds. Every object has an id and [`Meta`].
use crate::spec::*;
use crate::{
    ClusterId, ConfigId, DesiredState, NetworkId, NodeId, PortConfig, SecretId, ServiceId, TaskId, TaskState,
    Timestamp, VirtualIp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What every object carries. Set by the store when a change is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Docker's `Version.Index`: the revision of the store at the object's last change.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Id; the common name of its certificate.
    pub id: NodeId,
    /// Bookkeeping.
    pub meta: Meta,
    /// The user's wish.
    pub spec: NodeSpec,
    /// What the machine says of itself. `None` until its first session.
    pub description: Option<NodeDescription>,
    /// Liveness.
    pub status: NodeStatus,
    /// Observed role (the wish is in `spec.role`).
    pub role: NodeRole,
    /// Only on managers.
    pub manager: Option<ManagerStatus>,
    /// Underlay address of its tunnel endpoint (`--data-path-addr`, else the advertised address).
    pub data_path_addr: Option<IpAddr>,
    /// One load-balancer address per network it takes part in (`lb-<network>` in `network inspect`).
    pub attachments: Vec<NodeAttachment>,
}

/// A node's own address on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAttachment {
    /// Which network.
    pub network: NetworkId,
    /// The node's address there.
    pub addr: IpAddr,
    /// Prefix length of the subnet.
    pub prefix: u8,
}

/// What a machine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDescription {
    /// Hostname.
    pub hostname: String,
    /// Platform.
    pub platform: Platform,
    /// What it has.
    pub resources: Resources,
    /// Engine version.
    pub engine_version: String,
    /// `engine.labels.*`.
    pub engine_labels: Labels,
    /// (type, name) of what Docker calls plugins: network, volume and log drivers.
    pub plugins: Vec<(String, String)>,
    /// PEM of the root it trusts, for `TLSInfo`.
    pub trust_root: String,
    /// DER of the issuer's subject, for `TLSInfo`.
    pub cert_issuer_subject: Vec<u8>,
    /// DER of the issuer's public key, for `TLSInfo`.
    pub cert_issuer_public_key: Vec<u8>,
    /// Subnets that the machine already routes; no pool may overlap them.
    pub routes: Vec<Subnet>,
    /// Public key of its end of encrypted tunnels (X25519); new at each start of the engine.
    pub encryption_key: Option<[u8; 32]>,
}

/// Liveness of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Never seen, or not seen since the leader changed.
    #[default]
    Unknown,
    /// Silent.
    Down,
    /// Present.
    Ready,
    /// Left by itself.
    Disconnected,
}

impl NodeState {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Ready => "ready",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Liveness, with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// State.
    pub state: NodeState,
    /// Why, for people.
    pub message: String,
    /// The address it was last seen from.
    pub addr: String,
    /// Since when.
    pub since: Timestamp,
}

/// A manager among managers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerStatus {
    /// Its number in raft.
    pub raft_id: u64,
    /// `address:2377`.
    pub addr: SocketAddr,
    /// Whether it leads, as last seen.
    pub leader: bool,
    /// Whether the leader reaches it.
    pub reachable: bool,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Id.
    pub id: ServiceId,
    /// Bookkeeping.
    pub meta: Meta,
    /// The user's wish.
    pub spec: ServiceSpec,
    /// Store revision at which `spec` was last changed (tasks carry the one they were made from).
    pub spec_version: u64,
    /// One generation back.
    pub previous_spec: Option<Box<ServiceSpec>>,
    /// Ports as published, with the chosen numbers.
    pub ports: Vec<PortConfig>,
    /// One per network of the service (ingress first, when it publishes).
    pub vips: Vec<VirtualIp>,
    /// The last update or rollback.
    pub update: Option<UpdateStatus>,
    /// Grows with each run of a job.
    pub job_iteration: u64,
    /// When the current iteration of a job began.
    pub job_last_execution: Timestamp,
}

/// Where an update stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// State.
    pub state: UpdateState,
    /// Begin.
    pub started_at: Timestamp,
    /// End.
    pub completed_at: Option<Timestamp>,
    /// Docker's sentence.
    pub message: String,
}

/// State of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum UpdateState {
    Updating,
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted,
}

impl UpdateState {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Updating => "updating",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::RollbackStarted => "rollback_started",
            Self::RollbackPaused => "rollback_paused",
            Self::RollbackCompleted => "rollback_completed",
        }
    }
}

/// One run of one slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Id.
    pub id: TaskId,
    /// Bookkeeping.
    pub meta: Meta,
    /// Copied from the service when the task was made.
    pub spec: TaskSpec,
    /// The service's `spec_version` then.
    pub spec_version: u64,
    /// `None`: a plain container's attachment.
    pub service: Option<ServiceId>,
    /// The service's name then (empty for an attachment).
    pub service_name: String,
    /// The service's labels then.
    pub service_labels: Labels,
    /// 1…N for replicated services, 0 for global ones.
    pub slot: u64,
    /// Where it runs. Global tasks have it from the start.
    pub node: Option<NodeId>,
    /// What is observed.
    pub status: TaskStatus,
    /// What is wanted.
    pub desired: DesiredState,
    /// Addresses, in interface order (ingress first, when the service publishes).
    pub networks: Vec<TaskNetwork>,
    /// The service's endpoint wish then (a change of it makes the task dirty only where a container can see it).
    pub endpoint: crate::EndpointSpec,
    /// Set while the endpoint is being drained: the store revision at which it became so.
    pub draining_since: Option<u64>,
    /// For jobs.
    pub job_iteration: Option<u64>,
    /// Must never run twice at the same time: it stops when its node's lease has run out (see [`crate::lease`]).
    #[serde(default)]
    pub leased: bool,
    /// User-named resources that the scheduler gave it: named ones by name, countable ones by number.
    #[serde(default)]
    pub generic: Vec<GenericResource>,
}

impl Task {
    /// Docker's name of the task and of its container: `web.1.<id>`, or `web.<node>.<id>` for a global service.
    pub fn container_name(&self) -> String {
        match (self.slot, &self.node) {
            (0, Some(node)) => format!("{}.{}.{}", self.service_name, node, self.id),
            (slot, _) => format!("{}.{}.{}", self.service_name, slot, self.id),
        }
    }
}

/// A task on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskNetwork {
    /// Which.
    pub network: NetworkTarget,
    /// Its addresses there, with the subnet's prefix length. Empty until allocated.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Further names (of the service, resolved to its virtual IP).
    pub aliases: Vec<String>,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
}

/// What is observed of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskStatus {
    /// State.
    pub state: TaskState,
    /// When it came to this state.
    pub timestamp: Timestamp,
    /// Docker's word for the step ("started").
    pub message: String,
    /// What went wrong, or why it waits.
    pub err: String,
    /// Once there is a container.
    pub container: Option<ContainerStatus>,
    /// Host-mode ports as bound.
    pub host_ports: Vec<PortConfig>,
    /// Whether the health check (if any) holds: the endpoint is *ready*.
    pub ready: bool,
}

/// The container of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// 64 digits.
    pub id: String,
    /// Of its first process, 0 when it does not run.
    pub pid: i64,
    /// When it has ended.
    pub exit_code: i64,
}

/// A swarm network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Id.
    pub id: NetworkId,
    /// Bookkeeping.
    pub meta: Meta,
    /// The user's wish.
    pub spec: NetworkSpec,
    /// VXLAN network identifier (4096…16777215); 0 until allocated.
    pub vni: u32,
    /// Subnets with their gateways, as allocated.
    pub subnets: Vec<NetworkSubnet>,
}

/// An allocated subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSubnet {
    /// The block.
    pub subnet: Subnet,
    /// Addresses are given only from here, if set.
    pub range: Option<Subnet>,
    /// Gateway.
    pub gateway: IpAddr,
}

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Id.
    pub id: SecretId,
    /// Bookkeeping.
    pub meta: Meta,
    /// Content.
    pub spec: SecretSpec,
}

/// A config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Id.
    pub id: ConfigId,
    /// Bookkeeping.
    pub meta: Meta,
    /// Content.
    pub spec: ConfigSpec,
}

/// The swarm itself (one row).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Id; the organisation in every certificate.
    pub id: ClusterId,
    /// Bookkeeping.
    pub meta: Meta,
    /// Settings.
    pub spec: ClusterSpec,
    /// PEM certificate of the root CA.
    pub root_ca_cert: String,
    /// PEM key of the root CA.
    pub root_ca_key: String,
    /// Secret parts of the join tokens, 25 base-36 characters each.
    pub join_secret_worker: String,
    /// Secret part of the manager's join token.
    pub join_secret_manager: String,
    /// Pools for overlay subnets.
    pub default_addr_pool: Vec<Subnet>,
    /// Prefix length cut from the pools.
    pub subnet_size: u8,
    /// UDP port of the tunnels.
    pub data_path_port: u16,
    /// Removed nodes, whose certificates are refused.
    pub removed_nodes: BTreeMap<NodeId, Timestamp>,
    /// `SWMKEY-1-…`, while managers need it to start.
    pub unlock_key: Option<String>,
    /// The root that takes the place of the present one, as soon as every node has a certificate of it.
    pub rotation: Option<RootRotation>,
}

/// A change of the root under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRotation {
    /// PEM certificate of the new root.
    pub cert: String,
    /// PEM key of the new root.
    pub key: String,
    /// The new root's key, signed by the present root: PEM.
    pub cross_signed: String,
}

impl Cluster {
    /// The roots that nodes shall trust now: PEM.
    pub fn trusted(&self) -> String {
        match &self.rotation {
            None => self.root_ca_cert.clone(),
            Some(r) => format!("{}\n{}", self.root_ca_cert.trim_end(), r.cert),
        }
    }

    /// The root that signs now: PEM certificate and key.
    pub fn signer(&self) -> (&str, &str) {
        match &self.rotation {
            None => (&self.root_ca_cert, &self.root_ca_key),
            Some(r) => (&r.cert, &r.key),
        }
    }
}
