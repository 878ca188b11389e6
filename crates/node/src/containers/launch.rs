//! From a container's record to what the runtime needs. Almost pure: only `container:` namespaces are looked up.
use super::record::Record;
use super::{Containers, signals};
use runtime::{BlkioRate, Device, Launch, MountKind, MountPoint, NamespaceMode, Resources, Seccomp, Ulimit, User};
use std::path::{Path, PathBuf};
use wire::Refusal;
use wire::engine::container::{HostConfig, ThrottleDevice};

impl Containers {
    pub(super) fn launch_of(&self, r: &Record, rootfs: &Path, network_ns: Option<PathBuf>) -> Result<Launch, Refusal> {
        let host = &r.host_config;
        let mut env = r.config.env.clone().unwrap_or_default();
        // `-e NAME` without value takes NAME away.
        env.retain(|e| e.contains('='));
        let mut linked = self.linked_variables(r)?;
        linked.retain(|l| !env.iter().any(|e| e.split('=').next() == l.split('=').next()));
        env.splice(0..0, linked);
        let security = Security::of(host)?;
        super::propagation::check(&r.mounts)?;
        let mut mounts = name_files(r, &self.sandbox_owner(r));
        mounts.extend(r.mounts.iter().map(mount_point));
        Ok(Launch {
            id: r.id.clone(),
            rootfs: rootfs.to_owned(),
            hostname: if host.uts_mode == "host" { String::new() } else { r.config.hostname.clone() },
            domainname: r.config.domainname.clone(),
            args: r.argv.clone(),
            env,
            cwd: r.config.working_dir.clone(),
            user: User::Named(r.config.user.clone()),
            group_add: host.group_add.clone().unwrap_or_default(),
            tty: r.config.tty,
            console_size: (host.console_size.0 as u16, host.console_size.1 as u16),
            open_stdin: r.config.open_stdin,
            stdin_once: r.config.stdin_once,
            mounts,
            network_ns,
            pid: self.namespace(&host.pid_mode, "pid")?,
            ipc: self.namespace(&host.ipc_mode, "ipc")?,
            uts: if host.uts_mode == "host" || host.network_mode == "host" && r.config.hostname.is_empty() {
                NamespaceMode::Host
            } else {
                NamespaceMode::Private
            },
            cgroup_ns: match host.cgroupns_mode.as_str() {
                "host" => Some(NamespaceMode::Host),
                "private" => Some(NamespaceMode::Private),
                _ => None,
            },
            resources: resources(host),
            cap_add: host.cap_add.words().to_vec(),
            cap_drop: host.cap_drop.words().to_vec(),
            privileged: host.privileged,
            devices: devices(host),
            device_rules: host.device_cgroup_rules.clone().unwrap_or_default(),
            ulimits: ulimits(host, self.inner.base.defaults.open_files),
            read_only: host.readonly_rootfs,
            sysctls: host
                .sysctls
                .iter()
                .filter(|(k, _)| !k.starts_with("net."))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            seccomp: security.seccomp,
            no_new_privileges: security.no_new_privileges,
            masked_paths: if security.all_paths { Some(Vec::new()) } else { host.masked_paths.clone() },
            readonly_paths: if security.all_paths { Some(Vec::new()) } else { host.readonly_paths.clone() },
            init: host.init.unwrap_or(self.inner.base.defaults.init),
            oom_score_adj: host.oom_score_adj as i32,
            cgroup_parent: host.cgroup_parent.clone(),
            log: self.log_config(r),
            shm_size: if host.ipc_mode == "none" { -1 } else { host.shm_size },
        })
    }

    /// The folder of the container whose network, and with it names, this one uses: mostly its own.
    fn sandbox_owner(&self, r: &Record) -> PathBuf {
        let mut id = r.id.clone();
        let mut mode = r.host_config.network_mode.clone();
        // A container may join one that has joined another; a circle cannot start.
        for _ in 0..64 {
            let Some(Ok(other)) = mode.strip_prefix("container:").map(|other| self.find(other)) else { break };
            id.clone_from(&other.id);
            mode.clone_from(&other.record.read().host_config.network_mode);
        }
        Record::dir(&self.inner.base.dir, &id)
    }

    fn namespace(&self, mode: &str, kind: &str) -> Result<NamespaceMode, Refusal> {
        match mode {
            "host" => Ok(NamespaceMode::Host),
            m => match m.strip_prefix("container:") {
                None => Ok(NamespaceMode::Private),
                Some(other) => {
                    let other = self.find(other)?;
                    let r = other.record.read();
                    if !r.state.status.is_up() {
                        return Err(Refusal::conflict(format!(
                            "cannot join {} of a non running container: {}",
                            kind.to_uppercase(),
                            r.id
                        )));
                    }
                    Ok(NamespaceMode::Path(format!("/proc/{}/ns/{kind}", r.state.pid).into()))
                }
            },
        }
    }
}

/// What is asked for, and the usual limit of open files: the daemon's own is higher.
fn ulimits(host: &HostConfig, open_files: Option<(u64, u64)>) -> Vec<Ulimit> {
    let asked = host.ulimits.iter().flatten().map(|u| Ulimit { name: u.name.clone(), soft: u.soft, hard: u.hard });
    let mut all: Vec<Ulimit> = asked.collect();
    if let Some((soft, hard)) = open_files.filter(|_| all.iter().all(|u| u.name != "nofile")) {
        let number = |n: u64| i64::try_from(n).unwrap_or(-1);
        all.push(Ulimit { name: "nofile".into(), soft: number(soft), hard: number(hard) });
    }
    all
}

/// `/etc/hosts` and its kin, unless the user mounts something there.
fn name_files(r: &Record, dir: &Path) -> Vec<MountPoint> {
    let own = |target: &str| r.mounts.iter().any(|m| m.point.destination == target);
    [("/etc/resolv.conf", "resolv.conf"), ("/etc/hostname", "hostname"), ("/etc/hosts", "hosts")]
        .into_iter()
        .filter(|(target, file)| !own(target) && dir.join(file).exists())
        .map(|(target, file)| MountPoint {
            source: dir.join(file),
            target: target.into(),
            propagation: "rprivate".into(),
            ..MountPoint::default()
        })
        .collect()
}

fn mount_point(m: &super::record::MountRecord) -> MountPoint {
    MountPoint {
        source: m.point.source.clone().into(),
        subpath: m.subpath.clone().into(),
        target: m.point.destination.clone().into(),
        kind: if m.point.typ == "tmpfs" { MountKind::Tmpfs } else { MountKind::Bind },
        read_only: !m.point.rw,
        propagation: m.point.propagation.clone(),
        non_recursive: m.non_recursive,
        options: m.options.clone(),
    }
}

fn devices(host: &HostConfig) -> Vec<Device> {
    let one = |d: &wire::engine::container::DeviceMapping| Device {
        host: d.path_on_host.clone().into(),
        container: if d.path_in_container.is_empty() { &d.path_on_host } else { &d.path_in_container }.clone().into(),
        permissions: if d.cgroup_permissions.is_empty() { "rwm".into() } else { d.cgroup_permissions.clone() },
    };
    host.devices.iter().flatten().map(one).collect()
}

/// The limits, as the runtime takes them.
pub fn resources(host: &HostConfig) -> Resources {
    let rates = |list: &Option<Vec<ThrottleDevice>>| {
        list.iter().flatten().map(|t| BlkioRate { path: t.path.clone().into(), rate: t.rate }).collect()
    };
    Resources {
        memory_bytes: host.memory,
        memory_swap_bytes: host.memory_swap,
        memory_reservation_bytes: host.memory_reservation,
        memory_swappiness: host.memory_swappiness.filter(|s| *s >= 0),
        nano_cpus: host.nano_cpus,
        cpu_shares: host.cpu_shares,
        cpu_quota_us: host.cpu_quota,
        cpu_period_us: host.cpu_period,
        cpu_rt_runtime_us: host.cpu_realtime_runtime,
        cpu_rt_period_us: host.cpu_realtime_period,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpuset_mems: host.cpuset_mems.clone(),
        pids_limit: host.pids_limit.unwrap_or(0),
        blkio_weight: host.blkio_weight,
        blkio_weight_device: host
            .blkio_weight_device
            .iter()
            .flatten()
            .map(|w| BlkioRate { path: w.path.clone().into(), rate: u64::from(w.weight) })
            .collect(),
        blkio_read_bps: rates(&host.blkio_device_read_bps),
        blkio_write_bps: rates(&host.blkio_device_write_bps),
        blkio_read_iops: rates(&host.blkio_device_read_iops),
        blkio_write_iops: rates(&host.blkio_device_write_iops),
        oom_kill_disable: host.oom_kill_disable.unwrap_or(false),
    }
}

struct Security {
    seccomp: Seccomp,
    no_new_privileges: bool,
    all_paths: bool,
}

impl Security {
    fn of(host: &HostConfig) -> Result<Self, Refusal> {
        let mut s = Self { seccomp: Seccomp::Default, no_new_privileges: false, all_paths: host.privileged };
        for opt in host.security_opt.iter().flatten() {
            let (key, value) = opt.split_once(['=', ':']).unwrap_or((opt, ""));
            match (key, value) {
                ("no-new-privileges", v) => s.no_new_privileges = v != "false",
                ("seccomp", "unconfined") => s.seccomp = Seccomp::Unconfined,
                ("seccomp", "builtin" | "") => s.seccomp = Seccomp::Default,
                ("seccomp", json) => {
                    if serde_json::from_str::<serde_json::Value>(json).is_err() {
                        return Err(Refusal::invalid("decoding seccomp profile failed: the profile is not JSON"));
                    }
                    s.seccomp = Seccomp::Json(json.to_owned());
                }
                ("systempaths", "unconfined") => s.all_paths = true,
                // There is no AppArmor or SELinux behind these: nothing to confine, nothing to unconfine.
                _ => {}
            }
        }
        Ok(s)
    }
}

/// The signal that asks a container to end.
pub(super) fn stop_signal(r: &Record) -> i32 {
    signals::number(&r.config.stop_signal).unwrap_or(signals::TERM)
}
