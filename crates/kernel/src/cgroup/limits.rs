//! What a group may use.
use super::{Cgroup, Layout, write};
use std::io;
use std::path::Path;

/// Limits; `None` = left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes; -1 = unlimited.
    pub memory: Option<i64>,
    /// Memory and swap together in bytes; -1 = unlimited.
    pub memory_and_swap: Option<i64>,
    /// Memory that is left to the group under pressure, in bytes.
    pub memory_soft: Option<i64>,
    /// 0–100 (version 1).
    pub swappiness: Option<u64>,
    /// No killing for want of memory (version 1).
    pub no_oom_kill: bool,
    /// Relative CPU weight, 2–262144 (1024 = normal).
    pub cpu_shares: Option<u64>,
    /// Microseconds per period; -1 = unlimited.
    pub cpu_quota_us: Option<i64>,
    /// Length of a period in microseconds.
    pub cpu_period_us: Option<u64>,
    /// Real-time microseconds per period (version 1).
    pub cpu_rt_runtime_us: Option<i64>,
    /// Real-time period (version 1).
    pub cpu_rt_period_us: Option<u64>,
    /// CPUs (`0-2`).
    pub cpus: Option<String>,
    /// Memory nodes.
    pub mems: Option<String>,
    /// Processes; -1 = unlimited.
    pub pids: Option<i64>,
    /// 10–1000.
    pub io_weight: Option<u16>,
    /// Bytes read per second.
    pub read_bps: Vec<Rate>,
    /// Bytes written per second.
    pub write_bps: Vec<Rate>,
    /// Reads per second.
    pub read_iops: Vec<Rate>,
    /// Writes per second.
    pub write_iops: Vec<Rate>,
}

/// A rate of one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Device major number.
    pub major: u64,
    /// Device minor number.
    pub minor: u64,
    /// Per second.
    pub rate: u64,
}

/// One rule of the device controller; later ones win.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceRule {
    /// Allowed or denied.
    pub allow: bool,
    /// `a`, `b` or `c`.
    pub kind: char,
    /// `None` = all.
    pub major: Option<u64>,
    /// `None` = all.
    pub minor: Option<u64>,
    /// Some of `rwm`.
    pub access: String,
}

impl std::fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |n: Option<u64>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{} {}:{} {}", self.kind, number(self.major), number(self.minor), self.access)
    }
}

impl Cgroup {
    /// Sets the limits.
    pub fn limit(&self, limits: &Limits) -> io::Result<()> {
        if Layout::of_this_machine().is_v2() { self.limit_v2(limits) } else { self.limit_v1(limits) }
    }

    /// Sets which devices may be used.
    pub fn limit_devices(&self, rules: &[DeviceRule]) -> io::Result<()> {
        if Layout::of_this_machine().is_v2() {
            let dir = self.dir("devices").ok_or_else(|| io::Error::other("no control groups are mounted"))?;
            return super::devices::attach(&dir, rules);
        }
        let Some(dir) = self.dir("devices") else { return Ok(()) };
        for rule in rules {
            write(&dir.join(if rule.allow { "devices.allow" } else { "devices.deny" }), &rule.to_string())?;
        }
        Ok(())
    }

    fn limit_v1(&self, limits: &Limits) -> io::Result<()> {
        let set = |controller: &str, file: &str, value: String| -> io::Result<()> {
            let dir = self.dir(controller).ok_or_else(|| missing(controller))?;
            write(&dir.join(file), &value)
        };
        if let Some(memory) = limits.memory {
            let both = limits
                .memory_and_swap
                .filter(|_| self.dir("memory").is_some_and(|dir| dir.join("memory.memsw.limit_in_bytes").exists()));
            let set_memory = || set("memory", "memory.limit_in_bytes", memory.to_string());
            let set_both = || match both {
                Some(both) => set("memory", "memory.memsw.limit_in_bytes", both.to_string()),
                None => Ok(()),
            };
            // Memory may never exceed memory + swap, so the order depends on which way they go.
            if set_memory().is_ok() {
                set_both()?;
            } else {
                set_both()?;
                set_memory()?;
            }
        }
        if let Some(soft) = limits.memory_soft {
            set("memory", "memory.soft_limit_in_bytes", soft.to_string())?;
        }
        if let Some(swappiness) = limits.swappiness {
            set("memory", "memory.swappiness", swappiness.to_string())?;
        }
        if limits.no_oom_kill {
            set("memory", "memory.oom_control", "1".into())?;
        }
        if let Some(shares) = limits.cpu_shares {
            set("cpu", "cpu.shares", shares.to_string())?;
        }
        if let Some(period) = limits.cpu_period_us {
            set("cpu", "cpu.cfs_period_us", period.to_string())?;
        }
        if let Some(quota) = limits.cpu_quota_us {
            set("cpu", "cpu.cfs_quota_us", quota.to_string())?;
        }
        if let Some(period) = limits.cpu_rt_period_us {
            set("cpu", "cpu.rt_period_us", period.to_string())?;
        }
        if let Some(runtime) = limits.cpu_rt_runtime_us {
            set("cpu", "cpu.rt_runtime_us", runtime.to_string())?;
        }
        if let Some(cpus) = &limits.cpus {
            set("cpuset", "cpuset.cpus", cpus.clone())?;
        }
        if let Some(mems) = &limits.mems {
            set("cpuset", "cpuset.mems", mems.clone())?;
        }
        if let Some(pids) = limits.pids {
            set("pids", "pids.max", max_or(pids))?;
        }
        if let Some(weight) = limits.io_weight {
            let dir = self.dir("blkio").ok_or_else(|| missing("blkio"))?;
            let file = ["blkio.bfq.weight", "blkio.weight"].into_iter().find(|file| dir.join(file).exists());
            // Without an I/O scheduler that knows weights there is nothing to set.
            if let Some(file) = file {
                write(&dir.join(file), &weight.to_string())?;
            }
        }
        for (file, rates) in [
            ("blkio.throttle.read_bps_device", &limits.read_bps),
            ("blkio.throttle.write_bps_device", &limits.write_bps),
            ("blkio.throttle.read_iops_device", &limits.read_iops),
            ("blkio.throttle.write_iops_device", &limits.write_iops),
        ] {
            for rate in rates {
                set("blkio", file, format!("{}:{} {}", rate.major, rate.minor, rate.rate))?;
            }
        }
        Ok(())
    }

    fn limit_v2(&self, limits: &Limits) -> io::Result<()> {
        let dir = self.dir("").ok_or_else(|| missing("cgroup2"))?;
        let set = |file: &str, value: String| write(&dir.join(file), &value);
        if let Some(memory) = limits.memory {
            let swap = match limits.memory_and_swap {
                Some(both) if both > 0 && memory > 0 => Some((both - memory).max(0)),
                Some(-1) => Some(-1),
                _ => None,
            };
            if let Some(swap) = swap
                && Path::exists(&dir.join("memory.swap.max"))
            {
                set("memory.swap.max", max_or(swap))?;
            }
            set("memory.max", max_or(memory))?;
        }
        if let Some(soft) = limits.memory_soft {
            set("memory.low", soft.to_string())?;
        }
        if let Some(shares) = limits.cpu_shares {
            let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
            set("cpu.weight", weight.to_string())?;
        }
        if limits.cpu_quota_us.is_some() || limits.cpu_period_us.is_some() {
            let quota = max_or(limits.cpu_quota_us.filter(|quota| *quota > 0).unwrap_or(-1));
            set("cpu.max", format!("{quota} {}", limits.cpu_period_us.unwrap_or(100_000)))?;
        }
        if let Some(cpus) = &limits.cpus {
            set("cpuset.cpus", cpus.clone())?;
        }
        if let Some(mems) = &limits.mems {
            set("cpuset.mems", mems.clone())?;
        }
        if let Some(pids) = limits.pids {
            set("pids.max", max_or(pids))?;
        }
        if let Some(weight) = limits.io_weight {
            if dir.join("io.bfq.weight").exists() {
                set("io.bfq.weight", weight.to_string())?;
            } else if dir.join("io.weight").exists() {
                set("io.weight", (1 + (u64::from(weight.max(10)) - 10) * 9999 / 990).to_string())?;
            }
        }
        for (key, rates) in [
            ("rbps", &limits.read_bps),
            ("wbps", &limits.write_bps),
            ("riops", &limits.read_iops),
            ("wiops", &limits.write_iops),
        ] {
            for rate in rates {
                set("io.max", format!("{}:{} {key}={}", rate.major, rate.minor, rate.rate))?;
            }
        }
        Ok(())
    }
}

fn missing(controller: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("the {controller} controller is not mounted"))
}

fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}
