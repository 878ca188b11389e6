//! Resource use and processes of running containers.
use super::{Containers, now, refuse};
use std::collections::BTreeMap;
use wire::Refusal;
use wire::engine::container::ContainerTop;
use wire::engine::stats::*;

impl Containers {
    /// One sample; zeros for a container that does not run.
    ///
    /// # Errors
    /// 404.
    pub async fn sample(&self, id: &str) -> Result<Stats, Refusal> {
        let c = self.find(id)?;
        let (name, pid) = {
            let r = c.record.read();
            (format!("/{}", r.name), r.state.pid)
        };
        let mut stats = Stats { name, id: c.id.clone(), ..Stats::default() };
        if !c.status().is_up() {
            return Ok(stats);
        }
        let raw = match self.inner.base.runtime.stats(&c.id).await {
            Ok(raw) => raw,
            Err(runtime::RuntimeError::NotRunning(_) | runtime::RuntimeError::Unknown(_)) => return Ok(stats),
            Err(e) => return Err(refuse(e)),
        };
        stats.read = now().into();
        stats.pids_stats = PidsStats { current: raw.pids, limit: raw.pids_limit };
        let entries = |list: &[runtime::BlkioEntry]| {
            let one = |e: &runtime::BlkioEntry| BlkioEntry {
                major: e.major,
                minor: e.minor,
                op: e.op.to_lowercase(),
                value: e.value,
            };
            Some(list.iter().map(one).collect())
        };
        stats.blkio_stats = BlkioStats {
            io_service_bytes_recursive: entries(&raw.blkio.service_bytes),
            io_serviced_recursive: entries(&raw.blkio.serviced),
            ..BlkioStats::default()
        };
        stats.cpu_stats = CpuStats {
            cpu_usage: CpuUsage {
                total_usage: raw.cpu.total_ns,
                percpu_usage: raw.cpu.per_cpu_ns,
                usage_in_kernelmode: raw.cpu.system_ns,
                usage_in_usermode: raw.cpu.user_ns,
            },
            system_cpu_usage: raw.cpu.host_ns,
            online_cpus: raw.cpu.online_cpus,
            throttling_data: ThrottlingData {
                periods: raw.cpu.periods,
                throttled_periods: raw.cpu.throttled_periods,
                throttled_time: raw.cpu.throttled_ns,
            },
        };
        stats.memory_stats = MemoryStats {
            usage: raw.memory.usage,
            max_usage: raw.memory.max_usage,
            stats: raw.memory.stat,
            failcnt: raw.memory.failcnt,
            limit: raw.memory.limit,
        };
        stats.networks = interfaces(pid);
        Ok(stats)
    }

    /// Its processes, in `ps`'s columns.
    ///
    /// # Errors
    /// 409 when it does not run; 400 for options that `ps` does not know.
    pub async fn top(&self, id: &str, ps_args: &str) -> Result<ContainerTop, Refusal> {
        let c = self.find(id)?;
        if !c.status().is_up() {
            return Err(Refusal::conflict(format!("container {} is not running", c.id)));
        }
        let pids = self.inner.base.runtime.pids(&c.id).await.map_err(refuse)?;
        let args = if ps_args.is_empty() { "-ef" } else { ps_args };
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let output = tokio::process::Command::new("ps")
            .args(&args)
            .output()
            .await
            .map_err(|e| Refusal::internal(format!("error running ps: {e}; install procps")))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(Refusal::internal(format!("error running ps: {}", why.trim())));
        }
        parse_ps(&String::from_utf8_lossy(&output.stdout), &pids)
    }
}

/// The lines of the wanted processes.
fn parse_ps(text: &str, pids: &[u32]) -> Result<ContainerTop, Refusal> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let Some(at) = titles.iter().position(|t| t == "PID") else {
        return Err(Refusal::internal("Couldn't find PID field in ps output"));
    };
    let mut processes = Vec::new();
    for line in lines {
        let mut fields: Vec<&str> = line.split_whitespace().collect();
        let wanted = fields.get(at).and_then(|p| p.parse().ok()).is_some_and(|p| pids.contains(&p));
        if !wanted {
            continue;
        }
        // The last column takes the rest of the line.
        let command = fields.split_off(fields.len().min(titles.len() - 1)).join(" ");
        let mut row: Vec<String> = fields.into_iter().map(str::to_owned).collect();
        row.push(command);
        processes.push(row);
    }
    Ok(ContainerTop { processes, titles })
}

/// Counters of the interfaces in a process's network namespace.
fn interfaces(pid: i64) -> BTreeMap<String, NetworkStats> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let one = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let n: Vec<u64> = rest.split_whitespace().filter_map(|f| f.parse().ok()).collect();
        let stats = NetworkStats {
            rx_bytes: *n.first()?,
            rx_packets: *n.get(1)?,
            rx_errors: *n.get(2)?,
            rx_dropped: *n.get(3)?,
            tx_bytes: *n.get(8)?,
            tx_packets: *n.get(9)?,
            tx_errors: *n.get(10)?,
            tx_dropped: *n.get(11)?,
        };
        Some((name.trim().to_owned(), stats))
    };
    text.lines().skip(2).filter_map(one).filter(|(name, _)| name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ps_lines_are_picked_by_pid_and_keep_their_command_whole() {
        let text = "UID PID PPID CMD\nroot 7 1 sleep 10 20\nroot 8 1 other\n";
        let top = parse_ps(text, &[7]).unwrap();
        assert_eq!(top.processes, [["root", "7", "1", "sleep 10 20"]]);
        assert!(parse_ps("UID CMD\n", &[]).is_err());
    }
}
