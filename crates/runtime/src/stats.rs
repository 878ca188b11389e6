//! Raw numbers of a container's cgroup.
use std::collections::BTreeMap;

/// Raw numbers, read from the kernel just now (cgroup v1 or v2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes now.
    pub pids: u64,
    /// Most processes; 0 = unlimited.
    pub pids_limit: u64,
    /// Block device numbers.
    pub blkio: BlkioStats,
}

/// CPU time in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Everything.
    pub total_ns: u64,
    /// Per CPU (v1 only).
    pub per_cpu_ns: Vec<u64>,
    /// In user mode.
    pub user_ns: u64,
    /// In kernel mode.
    pub system_ns: u64,
    /// Of the whole machine, since boot.
    pub host_ns: u64,
    /// CPUs online.
    pub online_cpus: u32,
    /// Enforcement periods.
    pub periods: u64,
    /// Periods in which it was throttled.
    pub throttled_periods: u64,
    /// Time it was throttled.
    pub throttled_ns: u64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// In use, page cache included.
    pub usage: u64,
    /// Highest use (0 = unknown).
    pub max_usage: u64,
    /// Limit; the machine's memory when there is none.
    pub limit: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
    /// `memory.stat`, as the kernel names it.
    pub stat: BTreeMap<String, u64>,
}

/// Block device numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioStats {
    /// Bytes.
    pub service_bytes: Vec<BlkioEntry>,
    /// Operations.
    pub serviced: Vec<BlkioEntry>,
}

/// One number of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Device major number.
    pub major: u64,
    /// Device minor number.
    pub minor: u64,
    /// `Read`, `Write`, ….
    pub op: String,
    /// The number.
    pub value: u64,
}
