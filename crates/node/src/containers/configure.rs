//! From a client's wish and an image's defaults to the configuration of a container. Pure.
use std::net::IpAddr;
use wire::Refusal;
use wire::engine::StrSlice;
use wire::engine::container::{ContainerConfig, ContainerCreateBody, HealthConfig, HostConfig, Ulimit};
use wire::engine::lenient;

/// The daemon's defaults for containers.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// Log driver.
    pub log_driver: String,
    /// Its options.
    pub log_opts: wire::engine::Map,
    /// Parent cgroup, if not the runtime's.
    pub cgroup_parent: Option<String>,
    /// DNS.
    pub dns: model::DnsConfig,
    /// Open files of a container that says nothing of them: soft and hard limit.
    pub open_files: Option<(u64, u64)>,
    /// Whether there is a default bridge network.
    pub default_bridge: bool,
    /// Resource limits, for each kind that a container does not limit itself.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<i64>,
    /// IPC namespace.
    pub ipc_mode: Option<String>,
    /// Control group namespace.
    pub cgroupns_mode: Option<String>,
    /// An init as process 1.
    pub init: bool,
    /// No new privileges.
    pub no_new_privileges: bool,
    /// Seccomp profile of containers that are neither privileged nor name one: its text, `builtin` or `unconfined`.
    pub seccomp: Option<String>,
    /// What `host-gateway` means; `None`: the default bridge's address.
    pub host_gateway: Option<IpAddr>,
}

/// Docker's smallest memory limit.
const MEMORY_MIN_BYTES: i64 = 6 << 20;

/// Checks the name of a container.
///
/// # Errors
/// 400 in Docker's words.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = name.len() >= 2 && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if first && rest {
        return Ok(());
    }
    Err(Refusal::invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

/// The image's defaults under the client's wish.
///
/// # Errors
/// 500 when the image's configuration cannot be read.
pub fn merge_image(mut wish: ContainerConfig, image: &images::RunConfig) -> Result<ContainerConfig, Refusal> {
    let json = serde_json::to_value(image).map_err(|e| Refusal::internal(e.to_string()))?;
    let image: ContainerConfig = lenient::from_value(json).map_err(|e| Refusal::internal(e.to_string()))?;
    let take = |mine: &mut String, theirs: String| {
        if mine.is_empty() {
            *mine = theirs;
        }
    };
    take(&mut wish.user, image.user);
    take(&mut wish.working_dir, image.working_dir);
    take(&mut wish.stop_signal, image.stop_signal);
    for (port, e) in image.exposed_ports {
        wish.exposed_ports.entry(port).or_insert(e);
    }
    for (key, value) in image.labels {
        wish.labels.entry(key).or_insert(value);
    }
    let mut volumes = wish.volumes.unwrap_or_default();
    volumes.extend(image.volumes.unwrap_or_default());
    wish.volumes = (!volumes.is_empty()).then_some(volumes);
    let mut env = wish.env.unwrap_or_default();
    let theirs = image.env.unwrap_or_default();
    let missing: Vec<String> = theirs.into_iter().filter(|t| env.iter().all(|m| key_of(m) != key_of(t))).collect();
    env.extend(missing);
    wish.env = Some(env);
    // An own entrypoint resets the image's command.
    if wish.entrypoint.words().is_empty() {
        if wish.cmd.words().is_empty() {
            wish.cmd = image.cmd;
        }
        if wish.entrypoint.0.is_none() {
            wish.entrypoint = image.entrypoint;
        }
    } else if wish.entrypoint.words() == [String::new()] {
        wish.entrypoint = StrSlice(None);
    }
    if wish.shell.words().is_empty() {
        wish.shell = image.shell;
    }
    wish.healthcheck = merge_health(wish.healthcheck, image.healthcheck);
    if wish.stop_timeout.is_none() {
        wish.stop_timeout = image.stop_timeout;
    }
    Ok(wish)
}

fn merge_health(wish: Option<HealthConfig>, image: Option<HealthConfig>) -> Option<HealthConfig> {
    let (Some(mut wish), image) = (wish.clone(), image.clone().unwrap_or_default()) else { return image };
    if wish.test.as_ref().is_none_or(Vec::is_empty) {
        wish.test = image.test;
    }
    let take = |mine: &mut i64, theirs: i64| {
        if *mine == 0 {
            *mine = theirs;
        }
    };
    take(&mut wish.interval, image.interval);
    take(&mut wish.timeout, image.timeout);
    take(&mut wish.start_period, image.start_period);
    take(&mut wish.start_interval, image.start_interval);
    take(&mut wish.retries, image.retries);
    Some(wish)
}

fn key_of(env: &str) -> &str {
    env.split('=').next().unwrap_or(env)
}

/// Program and arguments.
///
/// # Errors
/// 400 when there is none.
pub fn argv(config: &ContainerConfig) -> Result<Vec<String>, Refusal> {
    let argv: Vec<String> = config.entrypoint.words().iter().chain(config.cmd.words()).cloned().collect();
    // An empty entrypoint is none; an empty command is one that will not be found.
    let none = config.cmd.words().is_empty() && argv == [""];
    if argv.is_empty() || none {
        return Err(Refusal::invalid("no command specified"));
    }
    Ok(argv)
}

/// Fills in the daemon's defaults.
pub fn with_defaults(mut host: HostConfig, defaults: &Defaults) -> HostConfig {
    if matches!(host.network_mode.as_str(), "" | "default" | "bridge") {
        host.network_mode = if defaults.default_bridge { "bridge" } else { "none" }.to_owned();
    }
    if !kernel::cgroup::Layout::of_this_machine().is_v2() {
        host.oom_kill_disable.get_or_insert(false);
    }
    if host.log_config.typ.is_empty() {
        host.log_config.typ = defaults.log_driver.clone();
    }
    if host.log_config.typ == defaults.log_driver {
        for (name, value) in &defaults.log_opts {
            host.log_config.config.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    if host.shm_size == 0 {
        host.shm_size = defaults.shm_size.unwrap_or(64 << 20);
    }
    if host.ipc_mode.is_empty() {
        host.ipc_mode = defaults.ipc_mode.clone().unwrap_or_else(|| "private".into());
    }
    let limited: Vec<String> = host.ulimits.iter().flatten().map(|u| u.name.clone()).collect();
    let more = defaults.ulimits.iter().filter(|u| !limited.contains(&u.name)).cloned();
    let more: Vec<Ulimit> = more.collect();
    if !more.is_empty() {
        host.ulimits.get_or_insert_default().extend(more);
    }
    if !host.privileged {
        let (masked, readonly) = runtime::default_hidden_paths();
        let own = |paths: &[&str]| paths.iter().map(|p| (*p).to_owned()).collect();
        host.masked_paths.get_or_insert_with(|| own(masked));
        host.readonly_paths.get_or_insert_with(|| own(readonly));
    }
    let says = |host: &HostConfig, what: &str| {
        host.security_opt.iter().flatten().any(|o| o.split(['=', ':']).next() == Some(what))
    };
    if defaults.no_new_privileges && !says(&host, "no-new-privileges") {
        host.security_opt.get_or_insert_default().push("no-new-privileges".into());
    }
    if let Some(profile) = defaults.seccomp.as_ref().filter(|p| *p != "builtin" && !host.privileged)
        && !says(&host, "seccomp")
    {
        host.security_opt.get_or_insert_default().push(format!("seccomp={profile}"));
    }
    if host.cgroupns_mode.is_empty() {
        let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        // With the old control groups a privileged container sees the machine's.
        host.cgroupns_mode = match &defaults.cgroupns_mode {
            _ if host.privileged && !unified => "host".into(),
            Some(mode) => mode.clone(),
            None => if unified { "private" } else { "host" }.into(),
        };
    }
    if host.restart_policy.name.is_empty() {
        host.restart_policy.name = "no".into();
    }
    if host.runtime.is_empty() {
        host.runtime = "runc".into();
    }
    if host.cgroup_parent.is_empty() {
        host.cgroup_parent = defaults.cgroup_parent.clone().unwrap_or_default();
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory * 2;
    }
    host
}

/// Refuses what cannot be honoured.
///
/// # Errors
/// 400 or 501 naming the option.
pub fn check(body: &ContainerCreateBody) -> Result<(), Refusal> {
    let host = &body.host_config;
    check_resources(host)?;
    check_restart(host)?;
    let unsupported = [
        (!matches!(host.userns_mode.as_str(), "" | "host"), "user namespaces (UsernsMode)"),
        (!matches!(host.isolation.as_str(), "" | "default"), "Isolation"),
        (host.device_requests.as_ref().is_some_and(|d| !d.is_empty()), "DeviceRequests (--gpus)"),
        (!host.storage_opt.is_empty(), "StorageOpt"),
        (host.cpu_percent != 0, "CpuPercent (Windows)"),
        (host.io_maximum_iops != 0 || host.io_maximum_bandwidth != 0, "IOMaximumIOps and IOMaximumBandwidth (Windows)"),
        (host.kernel_memory != 0 || host.kernel_memory_tcp != 0, "KernelMemory"),
        (!host.cgroup.is_empty(), "Cgroup"),
        (host.blkio_weight_device.as_ref().is_some_and(|d| !d.is_empty()), "BlkioWeightDevice (--blkio-weight-device)"),
    ];
    if let Some((_, what)) = unsupported.iter().find(|(used, _)| *used) {
        return Err(Refusal::unimplemented(format!("{what} is not supported by this engine")));
    }
    if !matches!(host.runtime.as_str(), "" | "runc" | "io.containerd.runc.v2") {
        return Err(Refusal::invalid(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    super::log_options::check(&host.log_config)?;
    for opt in host.security_opt.iter().flatten() {
        let (key, value) = opt.split_once(['=', ':']).unwrap_or((opt, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true" | "false")
            | ("seccomp" | "apparmor" | "label" | "systempaths" | "writable-cgroups", _) => {}
            _ => return Err(Refusal::invalid(format!("invalid --security-opt 2: {opt:?}"))),
        }
    }
    if !body.config.stop_signal.is_empty() && super::signals::number(&body.config.stop_signal).is_none() {
        return Err(Refusal::invalid(format!("invalid signal: {}", body.config.stop_signal)));
    }
    if !matches!(host.cgroupns_mode.as_str(), "" | "host" | "private") {
        return Err(Refusal::invalid(format!("invalid cgroup namespace mode: {}", host.cgroupns_mode)));
    }
    if let Some(bad) = body.config.env.iter().flatten().find(|e| e.is_empty() || e.starts_with('=')) {
        return Err(Refusal::invalid(format!("invalid environment variable: {bad}")));
    }
    if let Some(h) = &body.config.healthcheck {
        for (value, what) in [(h.interval, "Interval"), (h.timeout, "Timeout"), (h.start_period, "StartPeriod")] {
            if value != 0 && value < 1_000_000 {
                return Err(Refusal::invalid(format!("{what} in Healthcheck cannot be less than 1ms")));
            }
        }
        if h.retries < 0 {
            return Err(Refusal::invalid("Retries in Healthcheck cannot be negative"));
        }
    }
    if !body.config.working_dir.is_empty() && !body.config.working_dir.starts_with('/') {
        return Err(Refusal::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            body.config.working_dir
        )));
    }
    let hostname = &body.config.hostname;
    if !hostname.is_empty() && (hostname.len() > 63 || hostname.contains(|c: char| c.is_whitespace() || c == '/')) {
        return Err(Refusal::invalid(format!("invalid hostname format: {hostname}")));
    }
    check_shared_network(body)
}

/// Who uses another container's network has no names, addresses and ports of its own.
fn check_shared_network(body: &ContainerCreateBody) -> Result<(), Refusal> {
    let (config, host) = (&body.config, &body.host_config);
    if !host.network_mode.starts_with("container:") {
        return Ok(());
    }
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|l| !l.is_empty());
    let published = host.publish_all_ports || host.port_bindings.values().flatten().any(|b| !b.is_empty());
    let conflicts = [
        (!config.hostname.is_empty(), "hostname and the network mode"),
        (host.dns.as_ref().is_some_and(|d| !d.is_empty()), "dns and the network mode"),
        (any(&host.extra_hosts), "custom host-to-IP mapping and the network mode"),
        (!config.mac_address.is_empty(), "mac-address and the network mode"),
        (published, "port publishing and the container type network mode"),
        (!config.exposed_ports.is_empty(), "port exposing and the container type network mode"),
    ];
    match conflicts.iter().find(|(conflict, _)| *conflict) {
        Some((_, what)) => Err(Refusal::invalid(format!("conflicting options: {what}"))),
        None => Ok(()),
    }
}

/// Refuses impossible limits.
///
/// # Errors
/// 400 in Docker's words.
pub fn check_resources(host: &HostConfig) -> Result<(), Refusal> {
    let invalid = |text: &str| Err(Refusal::invalid(text));
    if host.memory != 0 && host.memory < MEMORY_MIN_BYTES {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory > 0 && host.memory_reservation > host.memory {
        return invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if host.memory_swappiness.is_some_and(|s| !(-1..=100).contains(&s)) {
        return Err(Refusal::invalid(format!(
            "Invalid value: {}, valid memory swappiness range is 0-100",
            host.memory_swappiness.unwrap_or_default()
        )));
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as i64;
    if host.nano_cpus < 0 || host.nano_cpus > cpus * 1_000_000_000 {
        return Err(Refusal::invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    if host.nano_cpus > 0 && (host.cpu_quota != 0 || host.cpu_period != 0) {
        return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.");
    }
    if host.cpu_shares < 0 {
        return Err(Refusal::invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            host.cpu_shares
        )));
    }
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000");
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Refusal::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    Ok(())
}

/// Refuses impossible restart policies.
///
/// # Errors
/// 400 in Docker's words.
pub fn check_restart(host: &HostConfig) -> Result<(), Refusal> {
    let policy = &host.restart_policy;
    let restarts = match policy.name.as_str() {
        "" | "no" => false,
        "always" | "unless-stopped" => {
            if policy.maximum_retry_count > 0 {
                return Err(Refusal::invalid(
                    "invalid restart policy: maximum retry count can only be used with 'on-failure'",
                ));
            }
            true
        }
        "on-failure" => {
            if policy.maximum_retry_count < 0 {
                return Err(Refusal::invalid("invalid restart policy: maximum retry count cannot be negative"));
            }
            true
        }
        other => {
            return Err(Refusal::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    if restarts && host.auto_remove {
        return Err(Refusal::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|s| (*s).to_owned()).collect())
    }

    #[test]
    fn the_image_fills_in_what_the_client_left_open() {
        let image = images::RunConfig {
            env: vec!["PATH=/bin".into(), "A=image".into()],
            cmd: words(&["serve"]),
            entrypoint: words(&["/entry"]),
            ..Default::default()
        };
        let wish = ContainerConfig { env: words(&["A=mine"]), ..Default::default() };
        let got = merge_image(wish, &image).unwrap();
        assert_eq!(got.env, words(&["A=mine", "PATH=/bin"]));
        assert_eq!(argv(&got).unwrap(), ["/entry", "serve"]);
        let own = ContainerConfig { entrypoint: StrSlice(words(&["sh"])), ..Default::default() };
        assert_eq!(
            argv(&merge_image(own, &image).unwrap()).unwrap(),
            ["sh"],
            "an own entrypoint drops the image's command"
        );
        let reset =
            ContainerConfig { entrypoint: StrSlice(words(&[""])), cmd: StrSlice(words(&["ls"])), ..Default::default() };
        assert_eq!(argv(&merge_image(reset, &image).unwrap()).unwrap(), ["ls"]);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let mut body = ContainerCreateBody::default();
        body.host_config.memory = 1 << 20;
        assert_eq!(check(&body).unwrap_err().message, "Minimum memory limit allowed is 6MB");
        body.host_config.memory = 0;
        body.host_config.userns_mode = "remap".into();
        assert_eq!(check(&body).unwrap_err().kind.status(), 501);
        body.host_config.userns_mode.clear();
        body.host_config.blkio_weight_device = Some(vec![Default::default()]);
        assert!(check(&body).unwrap_err().message.contains("--blkio-weight-device"));
        body.host_config.blkio_weight_device = None;
        body.host_config.log_config.config = [("nope".to_owned(), "x".to_owned())].into();
        assert!(check(&body).unwrap_err().message.contains("nope"));
        body.host_config.log_config.config = [("max-size".to_owned(), "1m".to_owned())].into();
        body.host_config.restart_policy.name = "sometimes".into();
        assert!(check(&body).unwrap_err().message.contains("unknown policy 'sometimes'"));
        body.host_config.restart_policy.name.clear();
        body.host_config.network_mode = "container:web".into();
        check(&body).unwrap();
        body.host_config.publish_all_ports = true;
        let refusal = check(&body).unwrap_err();
        assert_eq!(refusal.message, "conflicting options: port publishing and the container type network mode");
        assert!(check_name("-x").is_err() && check_name("a").is_err() && check_name("web.1").is_ok());
    }
}
