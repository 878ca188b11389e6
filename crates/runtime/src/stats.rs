//! Raw numbers of a container's cgroup.
use kernel::cgroup::{Cgroup, Layout};
use std::collections::BTreeMap;
use std::path::Path;

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

/// Reads everything of a group.
pub(crate) fn read(group: &Cgroup) -> Stats {
    let v2 = Layout::of_this_machine().is_v2();
    let dir = |controller: &str| group.dir(controller).unwrap_or_default();
    Stats {
        cpu: if v2 { cpu_v2(&dir("cpu")) } else { cpu_v1(&dir("cpuacct"), &dir("cpu")) },
        memory: if v2 { memory_v2(&dir("memory")) } else { memory_v1(&dir("memory")) },
        pids: number(&dir("pids").join("pids.current")),
        pids_limit: number(&dir("pids").join("pids.max")),
        blkio: if v2 { blkio_v2(&dir("io")) } else { blkio_v1(&dir("blkio")) },
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// 0 for `max` and for a missing file.
fn number(path: &Path) -> u64 {
    text(path).trim().parse().unwrap_or(0)
}

fn table(path: &Path) -> BTreeMap<String, u64> {
    text(path)
        .lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// CPU time of the machine and its CPUs, from /proc/stat (ticks are hundredths of a second everywhere).
fn host_cpu() -> (u64, u32) {
    let stat = text(Path::new("/proc/stat"));
    let total: u64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .map(|line| line.split_whitespace().take(8).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
        .unwrap_or(0);
    let cpus = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    (total * 10_000_000, cpus as u32)
}

fn cpu_v1(acct: &Path, cpu: &Path) -> CpuStats {
    let throttle = table(&cpu.join("cpu.stat"));
    let split = table(&acct.join("cpuacct.stat"));
    let (host_ns, online_cpus) = host_cpu();
    let get = |table: &BTreeMap<String, u64>, key: &str| table.get(key).copied().unwrap_or(0);
    CpuStats {
        total_ns: number(&acct.join("cpuacct.usage")),
        per_cpu_ns: text(&acct.join("cpuacct.usage_percpu"))
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect(),
        user_ns: get(&split, "user") * 10_000_000,
        system_ns: get(&split, "system") * 10_000_000,
        host_ns,
        online_cpus,
        periods: get(&throttle, "nr_periods"),
        throttled_periods: get(&throttle, "nr_throttled"),
        throttled_ns: get(&throttle, "throttled_time"),
    }
}

fn cpu_v2(dir: &Path) -> CpuStats {
    let stat = table(&dir.join("cpu.stat"));
    let (host_ns, online_cpus) = host_cpu();
    let get = |key: &str| stat.get(key).copied().unwrap_or(0);
    CpuStats {
        total_ns: get("usage_usec") * 1000,
        per_cpu_ns: Vec::new(),
        user_ns: get("user_usec") * 1000,
        system_ns: get("system_usec") * 1000,
        host_ns,
        online_cpus,
        periods: get("nr_periods"),
        throttled_periods: get("nr_throttled"),
        throttled_ns: get("throttled_usec") * 1000,
    }
}

/// A limit beyond the machine's memory is none.
fn memory_limit(limit: u64) -> u64 {
    let machine = text(Path::new("/proc/meminfo"))
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024;
    if limit == 0 || (machine > 0 && limit > machine) { machine } else { limit }
}

fn memory_v1(dir: &Path) -> MemoryStats {
    MemoryStats {
        usage: number(&dir.join("memory.usage_in_bytes")),
        max_usage: number(&dir.join("memory.max_usage_in_bytes")),
        limit: memory_limit(number(&dir.join("memory.limit_in_bytes"))),
        failcnt: number(&dir.join("memory.failcnt")),
        stat: table(&dir.join("memory.stat")),
    }
}

fn memory_v2(dir: &Path) -> MemoryStats {
    MemoryStats {
        usage: number(&dir.join("memory.current")),
        max_usage: number(&dir.join("memory.peak")),
        limit: memory_limit(number(&dir.join("memory.max"))),
        failcnt: table(&dir.join("memory.events")).get("max").copied().unwrap_or(0),
        stat: table(&dir.join("memory.stat")),
    }
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn blkio_v1(dir: &Path) -> BlkioStats {
    let read = |names: [&str; 2]| {
        let found = names.into_iter().map(|name| text(&dir.join(name))).find(|text| text.lines().count() > 1);
        found
            .unwrap_or_default()
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(' ');
                let (major, minor) = device(fields.next()?)?;
                Some(BlkioEntry { major, minor, op: fields.next()?.to_owned(), value: fields.next()?.parse().ok()? })
            })
            .collect()
    };
    BlkioStats {
        service_bytes: read(["blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"]),
        serviced: read(["blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive"]),
    }
}

fn blkio_v2(dir: &Path) -> BlkioStats {
    let mut stats = BlkioStats::default();
    for line in text(&dir.join("io.stat")).lines() {
        let mut fields = line.split(' ');
        let Some((major, minor)) = fields.next().and_then(device) else { continue };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut stats.service_bytes, "Read"),
                "wbytes" => (&mut stats.service_bytes, "Write"),
                "rios" => (&mut stats.serviced, "Read"),
                "wios" => (&mut stats.serviced, "Write"),
                _ => continue,
            };
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().unwrap_or(0) });
        }
    }
    stats
}
