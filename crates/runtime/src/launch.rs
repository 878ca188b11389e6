//! Everything needed to make one container, as plain data that survives the daemon (`launch.json`).
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One container to be made. Written to `exec_dir/runtime/<id>/launch.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launch {
    /// 64 hex digits.
    pub id: String,
    /// The root file system, mounted already.
    pub rootfs: PathBuf,
    /// UTS host name; empty = the host's.
    pub hostname: String,
    /// UTS domain name; empty = none.
    pub domainname: String,
    /// Program and arguments.
    pub args: Vec<String>,
    /// `KEY=value`; `PATH`, `HOSTNAME`, `HOME` and (tty) `TERM` are added when they are missing.
    pub env: Vec<String>,
    /// Working directory; empty = `/`. Made if it is missing.
    pub cwd: String,
    /// Who runs it.
    pub user: User,
    /// Groups added by `--group-add`, by name or number.
    pub group_add: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Terminal size at the start (rows, columns); 0 = unknown.
    pub console_size: (u16, u16),
    /// Whether stdin stays open (`-i`); else it reads from /dev/null.
    pub open_stdin: bool,
    /// Whether stdin is closed when the first attached client goes away.
    pub stdin_once: bool,
    /// Mounts beyond the default ones.
    pub mounts: Vec<MountPoint>,
    /// Network namespace to join; `None` = the host's.
    pub network_ns: Option<PathBuf>,
    /// PID namespace.
    pub pid: NamespaceMode,
    /// IPC namespace.
    pub ipc: NamespaceMode,
    /// UTS namespace (`Host` or `Private`).
    pub uts: NamespaceMode,
    /// cgroup namespace; `None` = Docker's default for the kernel (host on v1, private on v2).
    pub cgroup_ns: Option<NamespaceMode>,
    /// Limits.
    pub resources: Resources,
    /// `--cap-add` (`ALL` or names with or without `CAP_`).
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// `--privileged`.
    pub privileged: bool,
    /// `--device`.
    pub devices: Vec<Device>,
    /// `--device-cgroup-rule`, as written (`c 42:* rmw`).
    pub device_rules: Vec<String>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// Read-only root file system.
    pub read_only: bool,
    /// `--sysctl` of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `None` = Docker's default list.
    pub masked_paths: Option<Vec<String>>,
    /// `None` = Docker's default list.
    pub readonly_paths: Option<Vec<String>>,
    /// Whether a tiny init is process 1 (`--init`).
    pub init: bool,
    /// OOM score adjustment of the container's processes.
    pub oom_score_adj: i32,
    /// Parent cgroup; empty = `docker`.
    pub cgroup_parent: String,
    /// Where the output goes.
    pub log: LogConfig,
    /// Size of /dev/shm in bytes; 0 = 64 MiB, less than 0 = there is none.
    pub shm_size: i64,
}

/// Who runs the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum User {
    /// `name|uid[:group|gid]`, resolved against the root file system's passwd and group; empty = root.
    Named(String),
    /// Known numbers.
    Resolved {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
        /// Supplementary groups.
        groups: Vec<u32>,
    },
}

impl Default for User {
    fn default() -> Self {
        Self::Named(String::new())
    }
}

/// Which namespace of a kind a container lives in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// One of its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Another one, by path (`/proc/<pid>/ns/ipc`).
    Path(PathBuf),
}

/// One mount beyond the default ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    /// Host path of a bind mount; ignored by tmpfs.
    pub source: PathBuf,
    /// Path below `source` that is meant; no link leads out of `source`. Empty: `source` itself.
    pub subpath: PathBuf,
    /// Path in the container.
    pub target: PathBuf,
    /// Bind or tmpfs.
    pub kind: MountKind,
    /// Read-only.
    pub read_only: bool,
    /// `rprivate`, `rshared`, `rslave`, `private`, …; empty = `rprivate`.
    pub propagation: String,
    /// Whether a bind takes the mounts below it along.
    pub non_recursive: bool,
    /// Further mount options (`size=64m`, `mode=1777`, `nosuid`, …).
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A directory or file of the host.
    #[default]
    Bind,
    /// Memory.
    Tmpfs,
}

/// Limits of a container; 0 or `None` = not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory limit in bytes.
    pub memory_bytes: i64,
    /// Memory + swap limit in bytes; -1 = unlimited swap, 0 = twice the memory limit.
    pub memory_swap_bytes: i64,
    /// Soft limit in bytes.
    pub memory_reservation_bytes: i64,
    /// 0–100.
    pub memory_swappiness: Option<i64>,
    /// CPUs × 10⁹.
    pub nano_cpus: i64,
    /// Relative weight (1024 = normal).
    pub cpu_shares: i64,
    /// Microseconds of CPU per period.
    pub cpu_quota_us: i64,
    /// Length of a period in microseconds.
    pub cpu_period_us: i64,
    /// Real-time runtime in microseconds.
    pub cpu_rt_runtime_us: i64,
    /// Real-time period in microseconds.
    pub cpu_rt_period_us: i64,
    /// CPUs it may use, `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes it may use.
    pub cpuset_mems: String,
    /// Most processes; 0 or less = unlimited.
    pub pids_limit: i64,
    /// 10–1000.
    pub blkio_weight: u16,
    /// Per-device weights.
    pub blkio_weight_device: Vec<BlkioRate>,
    /// Bytes per second.
    pub blkio_read_bps: Vec<BlkioRate>,
    /// Bytes per second.
    pub blkio_write_bps: Vec<BlkioRate>,
    /// Operations per second.
    pub blkio_read_iops: Vec<BlkioRate>,
    /// Operations per second.
    pub blkio_write_iops: Vec<BlkioRate>,
    /// Never kill it for want of memory (v1 only).
    pub oom_kill_disable: bool,
}

/// A rate or weight for one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkioRate {
    /// Path of the device node on the host.
    pub path: PathBuf,
    /// The rate or weight.
    pub rate: u64,
}

/// One device given to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host (a node, or a directory of nodes).
    pub host: PathBuf,
    /// Path in the container.
    pub container: PathBuf,
    /// Some of `rwm`.
    pub permissions: String,
}

/// One `ulimit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Docker's short name (`nofile`).
    pub name: String,
    /// Soft limit; -1 = unlimited.
    pub soft: i64,
    /// Hard limit; -1 = unlimited.
    pub hard: i64,
}

/// System call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON format.
    Json(String),
}

/// Where a container's output goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// How it is kept.
    pub driver: LogDriver,
    /// The current file; rotated ones are `<path>.1`, `<path>.2`, ….
    pub path: PathBuf,
    /// Rotate when the file would grow beyond this; 0 = never.
    pub max_size_bytes: u64,
    /// How many files to keep, the current one included; 0 = 1.
    pub max_files: u32,
    /// Whether older files are compressed (`<path>.1.gz`, …).
    pub compress: bool,
    /// Not 0: the container does not wait for its log; so many bytes may wait, what is more is dropped.
    pub buffer_bytes: u64,
    /// Labels, environment and tag that travel with each line (`--log-opt labels=…`).
    pub attrs: BTreeMap<String, String>,
}

/// How output is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    /// Docker's json-file lines.
    #[default]
    JsonFile,
    /// The same lines under another name, always rotated.
    Local,
    /// Not kept.
    None,
}

/// One more process in a running container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Added to the container's environment.
    pub env: Vec<String>,
    /// Working directory; `None` = the container's.
    pub cwd: Option<String>,
    /// `None` = the container's user.
    pub user: Option<User>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Terminal size at the start (rows, columns); 0 = unknown.
    pub console_size: (u16, u16),
    /// Whether its stdin is connected; else it reads from /dev/null.
    pub stdin: bool,
    /// All capabilities.
    pub privileged: bool,
}
