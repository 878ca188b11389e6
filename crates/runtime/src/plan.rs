//! Decides everything about a container before anything is done: `Launch` in, `Plan` out. Pure.
mod defaults;

pub(crate) use defaults::HIDDEN;
#[cfg(test)]
mod tests;

use crate::account::{Account, resolve};
use crate::capability;
use crate::error::LaunchError;
use crate::launch::{Launch, MountKind, MountPoint, NamespaceMode, Resources, User};
use kernel::cgroup::{DeviceRule, Layout, Limits, Rate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Path of our init in a container.
pub(crate) const INIT_PATH: &str = "/sbin/docker-init";

/// What the pure part must know of the machine and of the root file system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) cgroups: Layout,
    pub(crate) passwd: String,
    pub(crate) group: String,
    /// Capabilities that can be handed on at all.
    pub(crate) capabilities: u64,
    /// Device nodes of the host: of each wanted host path, or (privileged) all under their own path.
    pub(crate) nodes: BTreeMap<PathBuf, Vec<HostNode>>,
    /// Our init on the host.
    pub(crate) init_binary: PathBuf,
}

/// A device node of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostNode {
    pub(crate) path: PathBuf,
    pub(crate) kind: char,
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Everything to be done for one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) rootfs: PathBuf,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) namespaces: Namespaces,
    pub(crate) cgroup: PathBuf,
    pub(crate) device_rules: Vec<DeviceRule>,
    pub(crate) mounts: Vec<PlannedMount>,
    /// Symbolic links to be made after the mounts: (where, what it says).
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    pub(crate) read_only_root: bool,
    pub(crate) process: Process,
}

/// Which namespaces are made, which are joined; what is neither is the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespaces {
    pub(crate) network: Option<PathBuf>,
    pub(crate) pid: NamespaceMode,
    pub(crate) ipc: NamespaceMode,
    pub(crate) uts: NamespaceMode,
    pub(crate) cgroup: NamespaceMode,
}

/// One mount, in the order they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedMount {
    pub(crate) target: PathBuf,
    /// `bind` or a file system type.
    pub(crate) kind: String,
    pub(crate) source: PathBuf,
    /// Path below the source, if not the source itself is meant.
    #[serde(default)]
    pub(crate) subpath: PathBuf,
    pub(crate) options: Vec<String>,
}

/// One device node to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) path: PathBuf,
    pub(crate) kind: char,
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A process in a container: process 1, or an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) capabilities: u64,
    /// Resource number, soft, hard.
    pub(crate) limits: Vec<(i32, u64, u64)>,
    pub(crate) no_new_privileges: bool,
    /// A compiled filter; `None` = unconfined.
    pub(crate) seccomp: Option<PathBuf>,
    pub(crate) oom_score_adj: i32,
    pub(crate) tty: bool,
    pub(crate) console_size: (u16, u16),
}

/// Decides how a container is made.
pub(crate) fn plan(launch: &Launch, here: &Surroundings) -> Result<Plan, LaunchError> {
    if launch.args.is_empty() {
        return Err(refused("no command specified".to_owned()));
    }
    let account = resolve(&launch.user, &launch.group_add, &here.passwd, &here.group)?;
    let wanted = capability::chosen(launch.privileged, &launch.cap_add, &launch.cap_drop)?;
    let cgroup_ns = launch.cgroup_ns.clone().unwrap_or(if here.cgroups.is_v2() && !launch.privileged {
        NamespaceMode::Private
    } else {
        NamespaceMode::Host
    });
    let (nodes, device_rules) = devices(launch, here)?;
    let cgroup = cgroup_path(launch);
    let mut links: Vec<(PathBuf, PathBuf)> =
        defaults::LINKS.iter().map(|(link, text)| (PathBuf::from(link), PathBuf::from(text))).collect();
    let mut mounts = defaults::mounts(launch, here, &cgroup, &mut links);
    let mut own: Vec<&MountPoint> = launch.mounts.iter().collect();
    own.sort_by_key(|mount| mount.target.components().count());
    mounts.extend(own.into_iter().map(user_mount));
    let mut args = launch.args.clone();
    if launch.init {
        mounts.push(bind(here.init_binary.clone(), INIT_PATH, &["rbind", "ro", "rprivate"]));
        args.splice(0..0, [INIT_PATH.to_owned(), "--".to_owned()]);
    }
    let own_uts = launch.uts == NamespaceMode::Private;
    let (masked, readonly) = if launch.privileged { (&[][..], &[][..]) } else { HIDDEN };
    let texts = |list: &Option<Vec<String>>, default: &[&str]| match list {
        Some(list) => list.clone(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    };
    let mut readonly_paths = texts(&launch.readonly_paths, readonly);
    if !here.cgroups.is_v2() && !launch.privileged && cgroup_is_default(launch) {
        readonly_paths.push("/sys/fs/cgroup".to_owned());
    }
    Ok(Plan {
        rootfs: launch.rootfs.clone(),
        hostname: (own_uts && !launch.hostname.is_empty()).then(|| launch.hostname.clone()),
        domainname: (own_uts && !launch.domainname.is_empty()).then(|| launch.domainname.clone()),
        namespaces: Namespaces {
            network: launch.network_ns.clone(),
            pid: launch.pid.clone(),
            ipc: launch.ipc.clone(),
            uts: launch.uts.clone(),
            cgroup: cgroup_ns,
        },
        cgroup,
        device_rules,
        mounts,
        links,
        nodes,
        sysctls: launch.sysctls.clone(),
        masked_paths: texts(&launch.masked_paths, masked),
        readonly_paths,
        read_only_root: launch.read_only,
        process: Process {
            env: environment(launch, &account),
            args,
            cwd: if launch.cwd.is_empty() { "/".to_owned() } else { launch.cwd.clone() },
            uid: account.uid,
            gid: account.gid,
            groups: account.groups,
            capabilities: capability::mask(&wanted) & here.capabilities,
            limits: limits(launch)?,
            no_new_privileges: launch.no_new_privileges,
            seccomp: None,
            oom_score_adj: launch.oom_score_adj,
            tty: launch.tty,
            console_size: launch.console_size,
        },
    })
}

/// `<parent>/<id>`; the parent is `docker` unless said otherwise.
pub(crate) fn cgroup_path(launch: &Launch) -> PathBuf {
    let parent = if launch.cgroup_parent.is_empty() { "docker" } else { launch.cgroup_parent.as_str() };
    kernel::cgroup::Cgroup::at(Path::new(parent).join(&launch.id)).path().to_owned()
}

fn cgroup_is_default(launch: &Launch) -> bool {
    !launch.mounts.iter().any(|mount| Path::new("/sys/fs/cgroup").starts_with(&mount.target))
}

fn refused(message: String) -> LaunchError {
    LaunchError { message, exit_code: 128 }
}

fn bind(source: PathBuf, target: &str, options: &[&str]) -> PlannedMount {
    PlannedMount {
        target: PathBuf::from(target),
        kind: "bind".to_owned(),
        source,
        subpath: PathBuf::new(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    }
}

fn user_mount(mount: &MountPoint) -> PlannedMount {
    let mut options: Vec<String> = Vec::new();
    let mut add = |option: &str| options.push(option.to_owned());
    match mount.kind {
        MountKind::Tmpfs => ["noexec", "nosuid", "nodev"].into_iter().for_each(&mut add),
        MountKind::Bind => {
            add(if mount.non_recursive { "bind" } else { "rbind" });
            add(if mount.propagation.is_empty() { "rprivate" } else { &mount.propagation });
        }
    }
    if mount.read_only {
        add("ro");
    }
    mount.options.iter().for_each(|option| add(option));
    PlannedMount {
        target: mount.target.clone(),
        kind: if mount.kind == MountKind::Tmpfs { "tmpfs" } else { "bind" }.to_owned(),
        source: if mount.kind == MountKind::Tmpfs { "tmpfs".into() } else { mount.source.clone() },
        subpath: mount.subpath.clone(),
        options,
    }
}

fn environment(launch: &Launch, account: &Account) -> Vec<String> {
    let mut env = vec![format!("PATH={}", defaults::PATH)];
    if !launch.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", launch.hostname));
    }
    if launch.tty {
        env.push("TERM=xterm".to_owned());
    }
    merge(&mut env, &launch.env);
    merge_missing(&mut env, format!("HOME={}", account.home));
    env
}

/// Replaces or adds; a name without `=` removes.
pub(crate) fn merge(env: &mut Vec<String>, changes: &[String]) {
    for change in changes {
        let (name, value) = change.split_once('=').map_or((change.as_str(), None), |(n, v)| (n, Some(v)));
        let place = env.iter().position(|entry| entry.split('=').next() == Some(name));
        match (place, value) {
            (Some(place), Some(_)) => env[place].clone_from(change),
            (Some(place), None) => drop(env.remove(place)),
            (None, Some(_)) => env.push(change.clone()),
            (None, None) => {}
        }
    }
}

fn merge_missing(env: &mut Vec<String>, entry: String) {
    let name = entry.split('=').next();
    if !env.iter().any(|present| present.split('=').next() == name) {
        env.push(entry);
    }
}

fn limits(launch: &Launch) -> Result<Vec<(i32, u64, u64)>, LaunchError> {
    let unlimited = |value: i64| if value < 0 { u64::MAX } else { value as u64 };
    launch
        .ulimits
        .iter()
        .map(|limit| {
            let number = kernel::process::limit_number(&limit.name)
                .ok_or_else(|| refused(format!("invalid ulimit type: {}", limit.name)))?;
            Ok((number, unlimited(limit.soft), unlimited(limit.hard)))
        })
        .collect()
}

fn devices(launch: &Launch, here: &Surroundings) -> Result<(Vec<Node>, Vec<DeviceRule>), LaunchError> {
    let mut nodes = defaults::nodes();
    let rule = |allow: bool, kind: char, major: Option<u64>, minor: Option<u64>, access: &str| DeviceRule {
        allow,
        kind,
        major,
        minor,
        access: access.to_owned(),
    };
    if launch.privileged {
        for host in here.nodes.values().flatten() {
            if !nodes.iter().any(|node| node.path == host.path) && !defaults::is_own_device(&host.path) {
                nodes.push(node_of(host, host.path.clone()));
            }
        }
        return Ok((nodes, vec![rule(true, 'a', None, None, "rwm")]));
    }
    let mut rules = vec![rule(false, 'a', None, None, "rwm")];
    rules.extend(
        defaults::DEVICE_RULES.iter().map(|(kind, major, minor, access)| rule(true, *kind, *major, *minor, access)),
    );
    for device in &launch.devices {
        let found = here.nodes.get(&device.host).filter(|found| !found.is_empty()).ok_or_else(|| {
            let path = device.host.display();
            refused(format!(
                "error gathering device information while adding custom device \"{path}\": no such file or directory"
            ))
        })?;
        let access = if device.permissions.is_empty() { "rwm" } else { device.permissions.as_str() };
        for host in found {
            let below = host.path.strip_prefix(&device.host).unwrap_or(Path::new(""));
            let base = if device.container.as_os_str().is_empty() { &device.host } else { &device.container };
            let path = if below.as_os_str().is_empty() { base.clone() } else { base.join(below) };
            nodes.retain(|node| node.path != path);
            nodes.push(node_of(host, path));
            rules.push(rule(true, host.kind, Some(host.major), Some(host.minor), access));
        }
    }
    for text in &launch.device_rules {
        rules.push(parse_rule(text).ok_or_else(|| refused(format!("invalid device cgroup rule format: '{text}'")))?);
    }
    Ok((nodes, rules))
}

fn node_of(host: &HostNode, path: PathBuf) -> Node {
    let HostNode { kind, major, minor, mode, uid, gid, .. } = *host;
    Node { path, kind, major, minor, mode, uid, gid }
}

/// `c 42:* rmw`.
fn parse_rule(text: &str) -> Option<DeviceRule> {
    let mut fields = text.split_whitespace();
    let (kind, numbers, access) = (fields.next()?, fields.next()?, fields.next()?);
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
    let good = matches!(kind, "a" | "b" | "c")
        && !access.is_empty()
        && access.chars().all(|c| "rwm".contains(c))
        && fields.next().is_none();
    good.then_some(())?;
    Some(DeviceRule {
        allow: true,
        kind: kind.chars().next()?,
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

/// Docker's resources in the kernel's terms. `device` finds the numbers of a block device.
pub(crate) fn limits_of(
    resources: &Resources,
    device: impl Fn(&Path) -> Option<(u64, u64)>,
) -> Result<Limits, LaunchError> {
    let positive = |value: i64| (value > 0).then_some(value);
    let rates = |list: &[crate::launch::BlkioRate]| {
        list.iter()
            .map(|entry| {
                let (major, minor) = device(&entry.path)
                    .ok_or_else(|| refused(format!("{}: no such block device", entry.path.display())))?;
                Ok(Rate { major, minor, rate: entry.rate })
            })
            .collect::<Result<Vec<_>, LaunchError>>()
    };
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let memory = if resources.memory_bytes == -1 { Some(-1) } else { positive(resources.memory_bytes) };
    let (period, quota) = match positive(resources.nano_cpus) {
        Some(nano) => (Some(100_000), Some((nano / 10_000).max(1000))),
        None => (
            positive(resources.cpu_period_us).map(|us| us as u64),
            (resources.cpu_quota_us != 0).then_some(resources.cpu_quota_us),
        ),
    };
    Ok(Limits {
        memory,
        memory_and_swap: match (memory, resources.memory_swap_bytes) {
            (None | Some(-1), 0) => memory,
            (Some(memory), 0) => Some(memory.saturating_mul(2)),
            (_, swap) => Some(swap),
        },
        memory_soft: positive(resources.memory_reservation_bytes),
        swappiness: resources.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        no_oom_kill: resources.oom_kill_disable,
        cpu_shares: positive(resources.cpu_shares).map(|shares| shares as u64),
        cpu_quota_us: quota,
        cpu_period_us: period,
        cpu_rt_runtime_us: positive(resources.cpu_rt_runtime_us),
        cpu_rt_period_us: positive(resources.cpu_rt_period_us).map(|us| us as u64),
        cpus: text(&resources.cpuset_cpus),
        mems: text(&resources.cpuset_mems),
        pids: match resources.pids_limit {
            0 => None,
            limit if limit < 0 => Some(-1),
            limit => Some(limit),
        },
        io_weight: (resources.blkio_weight > 0).then_some(resources.blkio_weight),
        read_bps: rates(&resources.blkio_read_bps)?,
        write_bps: rates(&resources.blkio_write_bps)?,
        read_iops: rates(&resources.blkio_read_iops)?,
        write_iops: rates(&resources.blkio_write_iops)?,
    })
}

/// Decides how a process joins a container that was made from `base`.
pub(crate) fn exec_process(
    base: &Process,
    spec: &crate::launch::ExecSpec,
    here: &Surroundings,
    filter_of_all: Option<PathBuf>,
) -> Result<Process, LaunchError> {
    if spec.args.is_empty() {
        return Err(refused("No exec command specified".to_owned()));
    }
    let default = User::Resolved { uid: base.uid, gid: base.gid, groups: base.groups.clone() };
    let user = spec.user.as_ref().unwrap_or(&default);
    let account = resolve(user, &[], &here.passwd, &here.group)?;
    let mut env = base.env.clone();
    if spec.user.is_some() {
        env.retain(|entry| !entry.starts_with("HOME="));
    }
    if spec.tty {
        merge_missing(&mut env, "TERM=xterm".to_owned());
    }
    merge(&mut env, &spec.env);
    merge_missing(&mut env, format!("HOME={}", account.home));
    Ok(Process {
        args: spec.args.clone(),
        env,
        cwd: spec.cwd.clone().filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| base.cwd.clone()),
        uid: account.uid,
        gid: account.gid,
        groups: account.groups,
        capabilities: if spec.privileged { here.capabilities } else { base.capabilities },
        limits: base.limits.clone(),
        no_new_privileges: base.no_new_privileges,
        seccomp: if spec.privileged { filter_of_all } else { base.seccomp.clone() },
        oom_score_adj: base.oom_score_adj,
        tty: spec.tty,
        console_size: spec.console_size,
    })
}
