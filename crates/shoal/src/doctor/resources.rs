//! What containers share: control groups, disk, limits of the kernel.
use kernel::cgroup::Layout;
use std::path::Path;
use wire::engine::diagnosis::Finding;

/// What limits and reservations need.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
const DISK_PERCENT_MIN: u64 = 10;

pub(super) fn cgroups() -> Vec<Finding> {
    let layout = Layout::of_this_machine();
    let v2 = layout.v2.as_ref().and_then(|dir| std::fs::read_to_string(dir.join("cgroup.controllers")).ok());
    vec![judge(layout, &v2.unwrap_or_default())]
}

fn judge(layout: &Layout, v2: &str) -> Finding {
    const CHECK: &str = "control groups";
    let here = |c: &&str| layout.v1.contains_key(*c) || v2.split_whitespace().any(|w| w == *c);
    let missing: Vec<&str> = CONTROLLERS.iter().filter(|c| !here(c)).copied().collect();
    let version = if layout.is_v2() { "version 2" } else { "version 1" };
    if layout.v1.is_empty() && layout.v2.is_none() {
        return Finding::error(CHECK, "none are mounted", "`mount -t cgroup2 none /sys/fs/cgroup`");
    }
    if missing.is_empty() {
        return Finding::good(CHECK, format!("{version}, with cpu, memory and pids"));
    }
    Finding::error(
        CHECK,
        format!("{version}, without {}", missing.join(", ")),
        "boot the kernel with `cgroup_enable=memory swapaccount=1`, or mount the controller; limits cannot be kept without",
    )
}

pub(super) fn disk(data_root: &Path) -> Vec<Finding> {
    let there = data_root.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let Ok(stat) = nix::sys::statvfs::statvfs(there) else { return Vec::new() };
    let (free, all) = (stat.blocks_available(), stat.blocks().max(1));
    let percent = free * 100 / all;
    let gigabytes = free * stat.fragment_size() / (1 << 30);
    let found = format!("{gigabytes} GiB free ({percent} %) under {}", data_root.display());
    let finding = if percent < DISK_PERCENT_MIN {
        Finding::warning("disk", found, "`shoal system prune -a`, or move the data with --data-root")
    } else {
        Finding::good("disk", found)
    };
    vec![finding]
}

pub(super) fn limits() -> Vec<Finding> {
    let table = [("fs.inotify.max_user_instances", 128), ("kernel.pid_max", 32768), ("fs.file-max", 100_000)];
    table.iter().filter_map(|(name, least)| limit(name, *least, &kernel::sysctl::read(name).ok()?)).collect()
}

/// Only what is too small is told.
fn limit(name: &str, least: u64, text: &str) -> Option<Finding> {
    let value: u64 = text.trim().parse().ok()?;
    let fix = format!("`sysctl -w {name}={}`, and put it into /etc/sysctl.d", least * 4);
    (value < least).then(|| Finding::warning(name, format!("{value}: little for many containers"), fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_controllers_are_named() {
        let v1 = Layout::parse("1 2 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        let finding = judge(&v1, "");
        assert_eq!((finding.level.as_str(), finding.found.as_str()), ("error", "version 1, without cpu, pids"));
        let v2 = Layout::parse("1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(judge(&v2, "cpuset cpu io memory pids").level, "ok");
        assert_eq!(judge(&Layout::default(), "").level, "error");
    }

    #[test]
    fn only_small_limits_are_told() {
        assert!(limit("x.y", 128, "127\n").unwrap().fix.contains("x.y=512"));
        assert!(limit("x.y", 128, "128\n").is_none());
    }
}
