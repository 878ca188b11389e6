//! What users ask for: specs of nodes, services, networks, secrets, configs and the cluster.
//!
//! Defaults are swarmkit's (`api/defaults`). Durations are `std::time::Duration`; memory is bytes; CPU is 1e-9 CPUs.
use crate::endpoint::EndpointSpec;
use crate::{ConfigId, NetworkId, SecretId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Label map.
pub type Labels = BTreeMap<String, String>;

/// Role of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeRole {
    /// Runs tasks.
    #[default]
    Worker,
    /// Also keeps the truth.
    Manager,
}

/// Whether a node takes tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Availability {
    /// Yes.
    #[default]
    Active,
    /// Keeps those it has.
    Pause,
    /// None, and gives away those it has.
    Drain,
}

/// A node, as the user wishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Usually empty; nodes are called by their hostname.
    pub name: String,
    /// `node.labels.*`.
    pub labels: Labels,
    /// Wished role.
    pub role: NodeRole,
    /// Wished availability.
    pub availability: Availability,
}

/// A service, as the user wishes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// Unique name (case-insensitive).
    pub name: String,
    /// Labels of the service, not of its containers.
    pub labels: Labels,
    /// What each task runs.
    pub task: TaskSpec,
    /// How many.
    pub mode: ServiceMode,
    /// `None`: the defaults of [`UpdateConfig`].
    pub update: Option<UpdateConfig>,
    /// `None`: the defaults of [`UpdateConfig`].
    pub rollback: Option<UpdateConfig>,
    /// Names and ports. `None`: a virtual IP, no ports.
    pub endpoint: Option<EndpointSpec>,
}

/// How many tasks a service has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceMode {
    /// A fixed number.
    Replicated {
        /// How many.
        replicas: u64,
    },
    /// One on each fitting node.
    Global,
    /// Run to completion, so many times.
    ReplicatedJob {
        /// At once (0: as many as `total`).
        max_concurrent: u64,
        /// In all.
        total_completions: u64,
    },
    /// Run to completion once on each fitting node.
    GlobalJob,
}

impl Default for ServiceMode {
    fn default() -> Self {
        Self::Replicated { replicas: 1 }
    }
}

impl ServiceMode {
    /// Whether tasks are meant to end by themselves.
    pub fn is_job(&self) -> bool {
        matches!(self, Self::ReplicatedJob { .. } | Self::GlobalJob)
    }
}

/// How an update (or rollback) goes about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateConfig {
    /// Tasks at once; 0 means all.
    pub parallelism: u64,
    /// Pause between groups.
    pub delay: Duration,
    /// When too many fail.
    pub failure_action: FailureAction,
    /// How long a new task is watched for failure.
    pub monitor: Duration,
    /// Tolerated share of failed tasks, 0–1.
    pub max_failure_ratio: f32,
    /// Old first or new first.
    pub order: UpdateOrder,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            monitor: Duration::from_secs(5),
            max_failure_ratio: 0.0,
            order: UpdateOrder::StopFirst,
        }
    }
}

/// What happens when too many updated tasks fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureAction {
    /// Stop the update there.
    #[default]
    Pause,
    /// Go on.
    Continue,
    /// Go back to the previous spec.
    Rollback,
}

/// Which task goes first in an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateOrder {
    /// The old one stops, then the new one starts.
    #[default]
    StopFirst,
    /// The new one runs, then the old one stops.
    StartFirst,
}

/// What a task runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskSpec {
    /// The container. `None` for a plain container's attachment to an overlay.
    pub container: Option<ContainerSpec>,
    /// Which plain container is attached (then `container` is `None`).
    pub attachment: Option<AttachmentSpec>,
    /// Reservations and limits.
    pub resources: ResourceRequirements,
    /// `None`: the defaults of [`RestartPolicy`].
    pub restart: Option<RestartPolicy>,
    /// Where.
    pub placement: Placement,
    /// On which networks, in interface order.
    pub networks: Vec<NetworkAttachmentConfig>,
    /// Log driver; `None`: the daemon's default.
    pub log_driver: Option<LogDriver>,
    /// Grows to force new tasks.
    pub force_update: u64,
    /// As sent by the client (`container`), kept for inspection.
    pub runtime: String,
}

/// A plain container that asks for an address on an attachable overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentSpec {
    /// The container's 64-digit id.
    pub container_id: String,
    /// Names by which others on the network find it: its name, its short id, its aliases.
    pub names: Vec<String>,
}

/// Restart policy of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// When.
    pub condition: RestartCondition,
    /// Before the new task starts.
    pub delay: Duration,
    /// Within `window`; 0 means without limit.
    pub max_attempts: u64,
    /// None, or 0: for ever.
    pub window: Option<Duration>,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { condition: RestartCondition::Any, delay: Duration::from_secs(5), max_attempts: 0, window: None }
    }
}

/// When a task is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartCondition {
    /// Never.
    None,
    /// When it ended with an error.
    OnFailure,
    /// Always.
    #[default]
    Any,
}

/// Reservations and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceRequirements {
    /// Upper bounds; 0 means none.
    pub limits: Resources,
    /// What the scheduler sets aside.
    pub reservations: Resources,
    /// As Docker's `SwapBytes`.
    pub swap_bytes: Option<i64>,
    /// As Docker's `MemorySwappiness`.
    pub memory_swappiness: Option<i64>,
}

/// Amounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// 1e-9 CPUs.
    pub nano_cpus: i64,
    /// Bytes.
    pub memory_bytes: i64,
    /// Processes (limits only).
    pub pids: i64,
    /// User-named resources.
    pub generic: Vec<GenericResource>,
}

/// A user-named resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GenericResource {
    /// A countable one.
    Discrete {
        /// `gpu`.
        kind: String,
        /// How many.
        value: i64,
    },
    /// A named one.
    Named {
        /// `gpu`.
        kind: String,
        /// `uuid-1`.
        value: String,
    },
}

/// Where tasks may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// `node.role == manager`; as the user wrote them.
    pub constraints: Vec<String>,
    /// Spread descriptors (`node.labels.zone`), outermost first.
    pub preferences: Vec<String>,
    /// Per node; 0 means no limit.
    pub max_replicas: u64,
    /// Any of these (os, architecture); empty: any.
    pub platforms: Vec<Platform>,
}

/// Operating system and architecture, in Go's words (`linux`, `amd64`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `x86_64` on nodes, `amd64` in images.
    pub architecture: String,
}

/// One network of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachmentConfig {
    /// Which (specs are stored with names resolved to ids).
    pub target: NetworkTarget,
    /// Further names of the service there.
    pub aliases: Vec<String>,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// Asked-for addresses.
    pub addresses: Vec<IpAddr>,
}

/// What a task may be attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NetworkTarget {
    /// A swarm network.
    Swarm(NetworkId),
    /// A node-local predefined one: `host`, `bridge` or `none`.
    Predefined(String),
}

/// A log driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDriver {
    /// `json-file`, `local`, `none`.
    pub name: String,
    /// Options.
    pub options: BTreeMap<String, String>,
}

/// Credentials for the image's registry, as clients send them (`X-Registry-Auth`). They are not shown, and two specs that
/// differ in nothing else are the same: no task is restarted for them.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct PullCredentials(pub String);

impl PartialEq for PullCredentials {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for PullCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "…" })
    }
}

/// The container of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Reference, possibly with digest.
    pub image: String,
    /// For nodes that have to pull it.
    pub pull_credentials: PullCredentials,
    /// Container labels.
    pub labels: Labels,
    /// Replaces the image's entrypoint.
    pub command: Vec<String>,
    /// Replaces the image's command.
    pub args: Vec<String>,
    /// May hold templates.
    pub hostname: String,
    /// `K=V`; may hold templates.
    pub env: Vec<String>,
    /// Working directory.
    pub dir: String,
    /// User.
    pub user: String,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// `no-new-privileges` and friends.
    pub privileges: Option<Privileges>,
    /// An init inside.
    pub init: Option<bool>,
    /// Instead of SIGTERM.
    pub stop_signal: String,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep stdin open.
    pub open_stdin: bool,
    /// Read-only root.
    pub read_only: bool,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// `None`: 10 s.
    pub stop_grace_period: Option<Duration>,
    /// Health check.
    pub healthcheck: Option<HealthConfig>,
    /// Lines for `/etc/hosts`, in Docker's form `IP name…`.
    pub hosts: Vec<String>,
    /// DNS settings.
    pub dns: Option<DnsConfig>,
    /// Secrets.
    pub secrets: Vec<SecretReference>,
    /// Configs.
    pub configs: Vec<ConfigReference>,
    /// Kernel parameters of the namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Added capabilities (`CAP_X`).
    pub capability_add: Vec<String>,
    /// Dropped capabilities.
    pub capability_drop: Vec<String>,
    /// Limits.
    pub ulimits: Vec<Ulimit>,
    /// OOM killer adjustment.
    pub oom_score_adj: i64,
    /// As the client wrote it (`default`).
    pub isolation: String,
}

/// Security switches of a service's container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Privileges {
    /// No setuid gains.
    pub no_new_privileges: bool,
    /// `unconfined`, `custom` or empty (default).
    pub seccomp_mode: String,
    /// The custom profile's JSON.
    pub seccomp_profile: Vec<u8>,
    /// `disabled` or empty (default).
    pub apparmor_mode: String,
    /// No SELinux label was asked for in so many words (a container never gets one).
    pub selinux_disabled: bool,
}

/// A resource limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`.
    pub name: String,
    /// Hard limit, -1 for none.
    pub hard: i64,
    /// Soft limit, -1 for none.
    pub soft: i64,
}

/// Health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthConfig {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", …]`, or empty to inherit the image's.
    pub test: Vec<String>,
    /// Zero: 30 s.
    pub interval: Duration,
    /// Zero: 30 s.
    pub timeout: Duration,
    /// Grace at start.
    pub start_period: Duration,
    /// Zero: 5 s.
    pub start_interval: Duration,
    /// Zero: 3.
    pub retries: u64,
}

/// DNS settings of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsConfig {
    /// Servers.
    pub nameservers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// Where a secret or config appears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTarget {
    /// Name or path.
    pub name: String,
    /// Owner.
    pub uid: String,
    /// Group.
    pub gid: String,
    /// Permission bits.
    pub mode: u32,
}

/// Use of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretReference {
    /// Which.
    pub id: SecretId,
    /// Its name, for people.
    pub name: String,
    /// Where.
    pub file: Option<FileTarget>,
}

/// Use of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigReference {
    /// Which.
    pub id: ConfigId,
    /// Its name, for people.
    pub name: String,
    /// Where.
    pub file: Option<FileTarget>,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// What kind.
    pub kind: MountKind,
    /// Host path or volume name; may hold templates. Empty: anonymous volume.
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// As Docker's `Consistency`, kept.
    pub consistency: String,
    /// Bind: propagation (`rprivate`…), empty for the default.
    pub propagation: String,
    /// Bind: make the source when missing.
    pub create_mountpoint: bool,
    /// Volume: do not copy the image's content in.
    pub no_copy: bool,
    /// Volume: labels for a new one.
    pub labels: Labels,
    /// Volume: driver name.
    pub driver: String,
    /// Volume: driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// Volume: path below the volume's root.
    pub subpath: String,
    /// Tmpfs: size in bytes, 0 without limit.
    pub tmpfs_size_bytes: i64,
    /// Tmpfs: permission bits, 0 for 1777.
    pub tmpfs_mode: u32,
}

/// Kind of mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A host path.
    #[default]
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
}

/// A network, as the user wishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Unique name (case-insensitive).
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// `overlay` (swarm networks of other drivers are refused).
    pub driver: String,
    /// Driver options (`com.docker.network.driver.mtu`, `encrypted`).
    pub options: BTreeMap<String, String>,
    /// IPv4 addresses are given (on unless said otherwise).
    pub ipv4: bool,
    /// IPv6 addresses are given too.
    pub ipv6: bool,
    /// No way out.
    pub internal: bool,
    /// Plain containers may join.
    pub attachable: bool,
    /// This is the routing mesh's network.
    pub ingress: bool,
    /// Asked-for subnets; empty: one is chosen from the pool.
    pub ipam: Vec<IpamConfig>,
    /// IPAM driver options, kept for inspection.
    pub ipam_options: BTreeMap<String, String>,
}

/// One subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// `10.0.1.0/24`.
    pub subnet: Option<Subnet>,
    /// Only from this part of it.
    pub range: Option<Subnet>,
    /// First address, unless said otherwise.
    pub gateway: Option<IpAddr>,
    /// Never given away.
    pub reserved: BTreeMap<String, IpAddr>,
}

/// An address block in its canonical form (host bits zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subnet {
    /// First address of the block.
    pub base: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

/// Why a text is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not `address/length`.
    #[error("invalid CIDR address: {0}")]
    Syntax(String),
    /// Host bits are set.
    #[error("invalid subnet {given}: it should be {canonical}")]
    HostBits {
        /// As given.
        given: String,
        /// As it should be.
        canonical: Subnet,
    },
}

impl Subnet {
    /// The block of `prefix` bits that holds `addr`. A prefix beyond the family's width is cut to it.
    pub fn containing(addr: IpAddr, prefix: u8) -> Self {
        match addr {
            IpAddr::V4(a) => {
                let p = prefix.min(32);
                let mask = if p == 0 { 0 } else { u32::MAX << (32 - p) };
                Self { base: IpAddr::V4((u32::from(a) & mask).into()), prefix: p }
            }
            IpAddr::V6(a) => {
                let p = prefix.min(128);
                let mask = if p == 0 { 0 } else { u128::MAX << (128 - p) };
                Self { base: IpAddr::V6((u128::from(a) & mask).into()), prefix: p }
            }
        }
    }
    /// Address bits in all: 32 or 128.
    pub fn width(&self) -> u8 {
        if self.base.is_ipv4() { 32 } else { 128 }
    }
    /// Whether `addr` lies inside.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.base.is_ipv4() && Self::containing(addr, self.prefix).base == self.base
    }
    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
    /// Number of addresses (saturating).
    pub fn size(&self) -> u128 {
        1u128.checked_shl(u32::from(self.width() - self.prefix)).unwrap_or(u128::MAX)
    }
    /// The `n`-th address, if inside.
    pub fn nth(&self, n: u128) -> Option<IpAddr> {
        if n >= self.size() {
            return None;
        }
        Some(match self.base {
            IpAddr::V4(a) => IpAddr::V4((u32::from(a) + n as u32).into()),
            IpAddr::V6(a) => IpAddr::V6((u128::from(a) + n).into()),
        })
    }
    /// The last address (IPv4: the broadcast address).
    pub fn last(&self) -> IpAddr {
        self.nth(self.size() - 1).unwrap_or(self.base)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl std::str::FromStr for Subnet {
    type Err = SubnetError;
    fn from_str(s: &str) -> Result<Self, SubnetError> {
        let syntax = || SubnetError::Syntax(s.to_owned());
        let (addr, prefix) = s.split_once('/').ok_or_else(syntax)?;
        let addr: IpAddr = addr.parse().map_err(|_| syntax())?;
        let prefix: u8 = prefix.parse().map_err(|_| syntax())?;
        let canonical = Self::containing(addr, prefix);
        if canonical.prefix != prefix {
            return Err(syntax());
        }
        if canonical.base != addr {
            return Err(SubnetError::HostBits { given: s.to_owned(), canonical });
        }
        Ok(canonical)
    }
}

/// A secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretSpec {
    /// Unique name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// 1 … 500 KiB.
    pub data: Vec<u8>,
    /// Template driver (`golang`) or empty.
    pub templating: String,
}

/// A config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigSpec {
    /// Unique name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// 1 … 1000 KiB.
    pub data: Vec<u8>,
    /// Template driver (`golang`) or empty.
    pub templating: String,
}

/// Settings of the swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterSpec {
    /// Always `default`.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Ended tasks kept per slot.
    pub task_history_limit: i64,
    /// As Docker shows them; entries between snapshots.
    pub snapshot_interval: u64,
    /// As Docker shows them.
    pub keep_old_snapshots: u64,
    /// As Docker shows them.
    pub log_entries_for_slow_followers: u64,
    /// As Docker shows them.
    pub election_tick: u32,
    /// As Docker shows them.
    pub heartbeat_tick: u32,
    /// Upper bound of the heartbeat period. Docker's default is 5 s; Shoal beats every second or as often as this asks.
    pub dispatcher_heartbeat: Duration,
    /// Life of a node certificate.
    pub node_cert_expiry: Duration,
    /// Default log driver of tasks.
    pub task_log_driver: Option<LogDriver>,
    /// Managers' keys need an unlock key.
    pub autolock: bool,
    /// A greater number than before asks for a new root.
    pub force_rotate: u64,
    /// PEM certificate of the root, if a person gave it. (Its key is not among the settings, which are shown.)
    pub signing_ca_cert: String,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            name: "default".into(),
            labels: Labels::new(),
            task_history_limit: 5,
            snapshot_interval: 10_000,
            keep_old_snapshots: 0,
            log_entries_for_slow_followers: 500,
            election_tick: 10,
            heartbeat_tick: 1,
            dispatcher_heartbeat: Duration::from_secs(5),
            node_cert_expiry: Duration::from_secs(90 * 24 * 3600),
            task_log_driver: None,
            autolock: false,
            force_rotate: 0,
            signing_ca_cert: String::new(),
        }
    }
}
