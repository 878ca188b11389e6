//! The flags of `run` and `create`, and the request they make.
use super::health::HealthFlags;
use crate::spec::network::Attachment;
use crate::spec::{env, mount, pairs, port, units};
use clap::Args;
use wire::engine::Empty;
use wire::engine::container::{
    ContainerConfig, ContainerCreateBody, DeviceMapping, HostConfig, LogConfig, NetworkingConfig, RestartPolicy, Ulimit,
};
use wire::engine::network::EndpointSettings;

/// What a container is made of.
#[derive(Args, Default)]
#[command(next_help_heading = "Container")]
pub(crate) struct ContainerFlags {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long)]
    add_host: Vec<String>,
    /// Add an annotation to the container
    #[arg(long)]
    annotation: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long)]
    pub(super) attach: Vec<String>,
    /// Block IO (relative weight), between 10 and 1000
    #[arg(long)]
    blkio_weight: Option<u16>,
    /// Add Linux capabilities
    #[arg(long)]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long)]
    cap_drop: Vec<String>,
    /// Optional parent cgroup for the container
    #[arg(long)]
    cgroup_parent: Option<String>,
    /// Cgroup namespace to use (host|private)
    #[arg(long)]
    cgroupns: Option<String>,
    /// Write the container ID to the file
    #[arg(long)]
    pub(super) cidfile: Option<String>,
    /// Limit CPU CFS period
    #[arg(long)]
    cpu_period: Option<i64>,
    /// Limit CPU CFS quota
    #[arg(long)]
    cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long)]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_parser = units::nano_cpus)]
    cpus: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    cpuset_mems: Option<String>,
    /// Add a host device to the container
    #[arg(long)]
    device: Vec<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long)]
    device_cgroup_rule: Vec<String>,
    /// Set custom DNS servers
    #[arg(long)]
    dns: Vec<String>,
    /// Set DNS options
    #[arg(long, alias = "dns-opt")]
    dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long)]
    dns_search: Vec<String>,
    /// Container NIS domain name
    #[arg(long)]
    domainname: Option<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long)]
    entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long)]
    env_file: Vec<String>,
    /// Expose a port or a range of ports
    #[arg(long)]
    expose: Vec<String>,
    /// Add additional groups to join
    #[arg(long)]
    group_add: Vec<String>,
    #[command(flatten)]
    health: HealthFlags,
    /// Container host name
    #[arg(short = 'h', long)]
    hostname: Option<String>,
    /// Print usage
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long)]
    ip: Option<String>,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long)]
    ip6: Option<String>,
    /// IPC mode to use
    #[arg(long)]
    ipc: Option<String>,
    /// Set meta data on a container
    #[arg(short, long)]
    label: Vec<String>,
    /// Read in a line delimited file of labels
    #[arg(long)]
    label_file: Vec<String>,
    /// Add link to another container
    #[arg(long)]
    link: Vec<String>,
    /// Logging driver for the container
    #[arg(long)]
    log_driver: Option<String>,
    /// Log driver options
    #[arg(long)]
    log_opt: Vec<String>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long)]
    mac_address: Option<String>,
    /// Memory limit
    #[arg(short, long, value_parser = units::bytes)]
    memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_parser = units::bytes)]
    memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_parser = units::bytes_or_unlimited)]
    memory_swap: Option<i64>,
    /// Tune container memory swappiness (0 to 100)
    #[arg(long)]
    memory_swappiness: Option<i64>,
    /// Attach a filesystem mount to the container
    #[arg(long, value_parser = mount::mount)]
    mount: Vec<wire::engine::mount::Mount>,
    /// Assign a name to the container
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Connect a container to a network
    #[arg(long, alias = "net")]
    network: Vec<Attachment>,
    /// Add network-scoped alias for the container
    #[arg(long, alias = "net-alias")]
    network_alias: Vec<String>,
    /// Disable OOM Killer
    #[arg(long)]
    oom_kill_disable: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long)]
    oom_score_adj: Option<i64>,
    /// PID namespace to use
    #[arg(long)]
    pid: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long)]
    pids_limit: Option<i64>,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    pub(super) platform: Option<String>,
    /// Give extended privileges to this container
    #[arg(long)]
    privileged: bool,
    /// Publish a container's port(s) to the host
    #[arg(short, long)]
    publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Pull image before creating ("always", "missing", "never")
    #[arg(long, default_value = "missing")]
    pub(super) pull: String,
    /// Suppress the pull output
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    read_only: bool,
    /// Restart policy to apply when a container exits
    #[arg(long)]
    restart: Option<String>,
    /// Automatically remove the container when it exits
    #[arg(long)]
    pub(super) rm: bool,
    /// Runtime to use for this container
    #[arg(long)]
    runtime: Option<String>,
    /// Security Options
    #[arg(long)]
    security_opt: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_parser = units::bytes)]
    shm_size: Option<i64>,
    /// Signal to stop the container
    #[arg(long)]
    stop_signal: Option<String>,
    /// Timeout (in seconds) to stop a container
    #[arg(long)]
    stop_timeout: Option<i64>,
    /// Storage driver options for the container
    #[arg(long)]
    storage_opt: Vec<String>,
    /// Sysctl options
    #[arg(long)]
    sysctl: Vec<String>,
    /// Mount a tmpfs directory
    #[arg(long)]
    tmpfs: Vec<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Ulimit options
    #[arg(long, value_parser = ulimit)]
    ulimit: Vec<Ulimit>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long)]
    user: Option<String>,
    /// User namespace to use
    #[arg(long)]
    userns: Option<String>,
    /// UTS namespace to use
    #[arg(long)]
    uts: Option<String>,
    /// Bind mount a volume
    #[arg(short, long)]
    volume: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long)]
    volume_driver: Option<String>,
    /// Mount volumes from the specified container(s)
    #[arg(long)]
    volumes_from: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long)]
    workdir: Option<String>,
    /// Image, command and its arguments
    #[arg(required = true, trailing_var_arg = true, num_args = 1.., value_name = "IMAGE [COMMAND] [ARG...]")]
    words: Vec<String>,
}

/// `nofile=1024:2048`.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let bad = || format!("invalid ulimit argument: {text}");
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (soft.parse().map_err(|_| bad())?, hard.parse().map_err(|_| bad())?);
    if hard >= 0 && (soft > hard || soft == -1) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}

impl ContainerFlags {
    pub(crate) fn image(&self) -> &str {
        &self.words[0]
    }

    /// The request, and whether stdin, stdout and stderr are attached to.
    pub(crate) fn body(&self, detach: bool) -> anyhow::Result<ContainerCreateBody> {
        let fail = |flag: &str, e: String| anyhow::anyhow!("invalid argument for \"--{flag}\" flag: {e}");
        let wants = |stream: &str| self.attach.iter().any(|a| a.eq_ignore_ascii_case(stream));
        if let Some(bad) =
            self.attach.iter().find(|a| !["stdin", "stdout", "stderr"].contains(&a.to_lowercase().as_str()))
        {
            anyhow::bail!(
                "invalid argument \"{bad}\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR"
            );
        }
        let all = self.attach.is_empty() && !detach;
        let mut healthcheck = None;
        self.health.apply(&mut healthcheck)?;
        let mut config = ContainerConfig {
            hostname: self.hostname.clone().unwrap_or_default(),
            domainname: self.domainname.clone().unwrap_or_default(),
            user: self.user.clone().unwrap_or_default(),
            attach_stdin: self.interactive && (all || wants("stdin")),
            attach_stdout: all || wants("stdout"),
            attach_stderr: all || wants("stderr"),
            tty: self.tty,
            open_stdin: self.interactive,
            env: Some(env::environment(&self.env, &self.env_file, &|k| std::env::var(k).ok())?),
            image: self.image().to_owned(),
            working_dir: self.workdir.clone().unwrap_or_default(),
            labels: pairs::labels(&self.label, &self.label_file)?,
            stop_signal: self.stop_signal.clone().unwrap_or_default(),
            stop_timeout: self.stop_timeout,
            healthcheck,
            ..ContainerConfig::default()
        };
        config.stdin_once = config.attach_stdin;
        if self.words.len() > 1 {
            config.cmd = self.words[1..].to_vec().into();
        }
        if let Some(entrypoint) = &self.entrypoint {
            // An empty entrypoint takes the image's away.
            config.entrypoint = vec![entrypoint.clone()].into();
        }
        let mut host = self.host(detach)?;
        for text in &self.expose {
            for name in port::exposed(text).map_err(|e| fail("expose", e))? {
                config.exposed_ports.insert(name, Empty {});
            }
        }
        for text in &self.publish {
            port::publish(text, &mut config.exposed_ports, &mut host.port_bindings).map_err(|e| fail("publish", e))?;
        }
        let mut binds = Vec::new();
        for text in &self.volume {
            match text.split_once(':') {
                None => {
                    config.volumes.get_or_insert_default().insert(text.clone(), Empty {});
                }
                Some((source, rest)) if source.starts_with('.') => {
                    binds.push(format!("{}:{rest}", mount::absolute(source)))
                }
                Some(_) => binds.push(text.clone()),
            }
        }
        host.binds = (!binds.is_empty()).then_some(binds);
        let networking_config = self.networks(&mut host)?;
        Ok(ContainerCreateBody { config, host_config: host, networking_config })
    }

    fn host(&self, detach: bool) -> anyhow::Result<HostConfig> {
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Ok(HostConfig {
            log_config: LogConfig { typ: text(&self.log_driver), config: pairs::map(&self.log_opt) },
            restart_policy: self.restart.as_deref().map(restart_policy).transpose()?.unwrap_or_default(),
            auto_remove: self.rm,
            volume_driver: text(&self.volume_driver),
            volumes_from: some(&self.volumes_from),
            console_size: match detach {
                false => crate::terminal::size().map_or((0, 0), |(h, w)| (h.into(), w.into())),
                true => (0, 0),
            },
            annotations: pairs::map(&self.annotation),
            cap_add: wire::engine::StrSlice(some(&self.cap_add)),
            cap_drop: wire::engine::StrSlice(some(&self.cap_drop)),
            cgroupns_mode: text(&self.cgroupns),
            dns: Some(self.dns.clone()),
            dns_options: Some(self.dns_option.clone()),
            dns_search: Some(self.dns_search.clone()),
            extra_hosts: some(
                &self.add_host.iter().map(|h| h.replacen('=', ":", usize::from(!h.contains(':')))).collect(),
            ),
            group_add: some(&self.group_add),
            ipc_mode: text(&self.ipc),
            links: some(&self.link),
            oom_score_adj: self.oom_score_adj.unwrap_or(0),
            pid_mode: text(&self.pid),
            privileged: self.privileged,
            publish_all_ports: self.publish_all,
            readonly_rootfs: self.read_only,
            security_opt: some(&security_options(&self.security_opt)?),
            storage_opt: pairs::map(&self.storage_opt),
            tmpfs: self
                .tmpfs
                .iter()
                .map(|t| t.split_once(':').unwrap_or((t, "")))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            uts_mode: text(&self.uts),
            userns_mode: text(&self.userns),
            shm_size: self.shm_size.unwrap_or(0),
            sysctls: pairs::map(&self.sysctl),
            runtime: text(&self.runtime),
            cpu_shares: self.cpu_shares.unwrap_or(0),
            memory: self.memory.unwrap_or(0),
            nano_cpus: self.cpus.unwrap_or(0),
            cgroup_parent: text(&self.cgroup_parent),
            blkio_weight: self.blkio_weight.unwrap_or(0),
            cpu_period: self.cpu_period.unwrap_or(0),
            cpu_quota: self.cpu_quota.unwrap_or(0),
            cpuset_cpus: text(&self.cpuset_cpus),
            cpuset_mems: text(&self.cpuset_mems),
            devices: some_devices(&self.device),
            device_cgroup_rules: some(&self.device_cgroup_rule),
            memory_reservation: self.memory_reservation.unwrap_or(0),
            memory_swap: self.memory_swap.unwrap_or(0),
            memory_swappiness: self.memory_swappiness,
            oom_kill_disable: self.oom_kill_disable.then_some(true),
            pids_limit: self.pids_limit,
            ulimits: (!self.ulimit.is_empty()).then(|| self.ulimit.clone()),
            mounts: self.mount.clone(),
            init: self.init.then_some(true),
            ..HostConfig::default()
        })
    }

    fn networks(&self, host: &mut HostConfig) -> anyhow::Result<NetworkingConfig> {
        let mut out = NetworkingConfig::default();
        let first = self.network.first().cloned().unwrap_or_default();
        host.network_mode = if first.target.is_empty() { "default".into() } else { first.target.clone() };
        let mut chosen = first.clone();
        chosen.aliases.extend(self.network_alias.iter().cloned());
        if let Some(ip) = &self.ip {
            chosen.ip.clone_from(ip);
        }
        if let Some(ip) = &self.ip6 {
            chosen.ip6.clone_from(ip);
        }
        if let Some(mac) = &self.mac_address {
            chosen.mac.clone_from(mac);
        }
        let endpoint = chosen.endpoint();
        let special = matches!(host.network_mode.as_str(), "default" | "bridge" | "host" | "none")
            || host.network_mode.starts_with("container:");
        if matches!(host.network_mode.as_str(), "default" | "host" | "none") && !chosen.aliases.is_empty() {
            anyhow::bail!("conflicting options: network-scoped aliases are only supported for user-defined networks");
        }
        if endpoint != EndpointSettings::default() || (!special && self.network.len() > 1) {
            let name = if host.network_mode == "default" { "bridge".into() } else { host.network_mode.clone() };
            out.endpoints_config.insert(name, Some(endpoint));
        }
        for other in self.network.iter().skip(1) {
            let known = out.endpoints_config.insert(other.target.clone(), Some(other.endpoint()));
            anyhow::ensure!(known.is_none(), "network {:?} is specified multiple times", other.target);
        }
        Ok(out)
    }
}

/// `on-failure:3`.
pub(crate) fn restart_policy(text: &str) -> anyhow::Result<RestartPolicy> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    anyhow::ensure!(
        !name.is_empty() || count.is_empty(),
        "invalid restart policy format: no policy provided before colon"
    );
    let maximum_retry_count = match count {
        "" => 0,
        count => count
            .parse()
            .map_err(|_| anyhow::anyhow!("invalid restart policy format: maximum retry count must be an integer"))?,
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

fn some_devices(list: &[String]) -> Option<Vec<DeviceMapping>> {
    let devices: Vec<DeviceMapping> = list
        .iter()
        .map(|text| {
            let parts: Vec<&str> = text.split(':').collect();
            let is_mode = |t: &str| !t.is_empty() && t.chars().all(|c| "rwm".contains(c));
            let (inside, mode) = match parts[1..] {
                [mode] if is_mode(mode) => (parts[0], mode),
                [inside] => (inside, "rwm"),
                [inside, mode, ..] => (inside, mode),
                [] => (parts[0], "rwm"),
            };
            DeviceMapping {
                path_on_host: parts[0].to_owned(),
                path_in_container: inside.to_owned(),
                cgroup_permissions: mode.to_owned(),
            }
        })
        .collect();
    (!devices.is_empty()).then_some(devices)
}

/// A seccomp profile is a file here and its text in the request.
fn security_options(list: &[String]) -> anyhow::Result<Vec<String>> {
    list.iter()
        .map(|text| {
            let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
            if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
                return Ok(text.clone());
            }
            let profile = std::fs::read_to_string(value)
                .map_err(|e| anyhow::anyhow!("opening seccomp profile ({value}) failed: {e}"))?;
            let profile: serde_json::Value = serde_json::from_str(&profile)
                .map_err(|e| anyhow::anyhow!("compacting json for seccomp profile ({value}) failed: {e}"))?;
            Ok(format!("seccomp={profile}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn body(line: &str) -> anyhow::Result<serde_json::Value> {
        let words = crate::spec::words::split(line).unwrap();
        let command =
            crate::tune(ContainerFlags::augment_args(Command::new("run").disable_help_flag(true).no_binary_name(true)));
        let flags = ContainerFlags::from_arg_matches(&command.try_get_matches_from(words)?)?;
        Ok(serde_json::to_value(flags.body(false)?)?)
    }

    #[test]
    fn flags_become_the_request() {
        let table = [
            ("busybox sh -c 'echo -n x' --rm", "/Cmd", r#"["sh","-c","echo -n x","--rm"]"#),
            ("busybox -x", "/Cmd", r#"["-x"]"#),
            ("-it busybox", "/Tty", "true"),
            ("-it busybox", "/OpenStdin", "true"),
            ("-i=false --tty=true busybox", "/OpenStdin", "false"),
            ("--rm busybox", "/HostConfig/AutoRemove", "true"),
            ("-e A=b -e C=d x", "/Env", r#"["A=b","C=d"]"#),
            ("-l k=v --label j x", "/Labels", r#"{"j":"","k":"v"}"#),
            (
                "-p 127.0.0.1:4100:8080 x",
                "/HostConfig/PortBindings",
                r#"{"8080/tcp":[{"HostIp":"127.0.0.1","HostPort":"4100"}]}"#,
            ),
            ("-p 80 x", "/ExposedPorts", r#"{"80/tcp":{}}"#),
            ("-v vol:/v:ro -v /anon x", "/HostConfig/Binds", r#"["vol:/v:ro"]"#),
            ("-v /anon x", "/Volumes", r#"{"/anon":{}}"#),
            (
                "--network n --network-alias a --ip 10.0.0.9 x",
                "/NetworkingConfig/EndpointsConfig/n/Aliases",
                r#"["a"]"#,
            ),
            (
                "--network n --ip 10.0.0.9 x",
                "/NetworkingConfig/EndpointsConfig/n/IPAMConfig",
                r#"{"IPv4Address":"10.0.0.9"}"#,
            ),
            ("--network n x", "/HostConfig/NetworkMode", r#""n""#),
            ("--net host x", "/NetworkingConfig/EndpointsConfig", "{}"),
            ("--network a --network b x", "/NetworkingConfig/EndpointsConfig/b/MacAddress", r#""""#),
            ("x", "/HostConfig/NetworkMode", r#""default""#),
            ("-m 64m --memory-swap -1 x", "/HostConfig/MemorySwap", "-1"),
            ("-m 64m x", "/HostConfig/Memory", "67108864"),
            ("--cpus 0.5 x", "/HostConfig/NanoCpus", "500000000"),
            ("--restart on-failure:3 x", "/HostConfig/RestartPolicy", r#"{"MaximumRetryCount":3,"Name":"on-failure"}"#),
            ("--entrypoint '' x", "/Entrypoint", r#"[""]"#),
            (
                "--health-cmd 'true' --health-interval 1s x",
                "/Healthcheck",
                r#"{"Interval":1000000000,"Test":["CMD-SHELL","true"]}"#,
            ),
            ("--no-healthcheck x", "/Healthcheck/Test", r#"["NONE"]"#),
            (
                "--device /dev/a:/dev/b:r x",
                "/HostConfig/Devices",
                r#"[{"CgroupPermissions":"r","PathInContainer":"/dev/b","PathOnHost":"/dev/a"}]"#,
            ),
            ("--ulimit nofile=1:2 x", "/HostConfig/Ulimits", r#"[{"Hard":2,"Name":"nofile","Soft":1}]"#),
            ("--tmpfs /t:size=1m x", "/HostConfig/Tmpfs", r#"{"/t":"size=1m"}"#),
            ("-h web x", "/Hostname", r#""web""#),
            ("--sysctl a.b=1 x", "/HostConfig/Sysctls", r#"{"a.b":"1"}"#),
        ];
        for (line, pointer, wanted) in table {
            let got = body(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let got = got.pointer(pointer).unwrap_or_else(|| panic!("{line}: no {pointer} in {got}"));
            assert_eq!(got.to_string(), wanted, "{line}");
        }
    }

    #[test]
    fn wrong_flags_are_refused() {
        for line in [
            "",
            "--nope x",
            "-p x:y:z:a b",
            "-m lots x",
            "--mount type=bind x",
            "--restart on-failure:x i",
            "-a nowhere x",
            "--network-alias a x",
            "--no-healthcheck --health-cmd t x",
        ] {
            assert!(body(line).is_err(), "{line}");
        }
    }
}
