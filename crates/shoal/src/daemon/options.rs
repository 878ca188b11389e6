//! The daemon's settings: dockerd's flags and `daemon.json`, read once into types.
use super::tls::TlsFiles;
use clap::Parser;
use model::Subnet;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `shoal daemon` (and `dockerd`, when the binary is called so).
#[derive(Clone, Debug, Parser)]
#[command(name = "shoal daemon", version, about = "Runs containers and takes part in a swarm", no_binary_name = false)]
pub struct Options {
    /// Where to listen: unix://PATH or tcp://ADDRESS:PORT (repeatable)
    #[arg(short = 'H', long = "host", value_name = "SOCKET")]
    pub hosts: Vec<String>,
    /// What outlives a reboot
    #[arg(short = 'g', long = "data-root", alias = "graph", default_value = "/var/lib/shoal")]
    pub data_root: PathBuf,
    /// What does not: sockets, namespaces, pins
    #[arg(long = "exec-root", default_value = "/run/shoal")]
    pub exec_root: PathBuf,
    /// Where the daemon's process id is written
    #[arg(short = 'p', long = "pidfile")]
    pub pidfile: Option<PathBuf>,
    /// Settings file
    #[arg(long = "config-file", default_value = "/etc/docker/daemon.json")]
    pub config_file: PathBuf,
    /// Say more
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// How much is logged: debug, info, warn, error or fatal
    #[arg(short = 'l', long = "log-level", default_value = "info")]
    pub log_level: String,
    /// Labels of this engine, KEY=VALUE (repeatable)
    #[arg(long = "label")]
    pub labels: Vec<String>,
    /// Only overlay2
    #[arg(short = 's', long = "storage-driver")]
    pub storage_driver: Option<String>,
    /// Options of the storage driver
    #[arg(long = "storage-opt")]
    pub storage_opts: Vec<String>,
    /// Address of the default bridge, CIDR
    #[arg(long = "bip")]
    pub bip: Option<String>,
    /// Name of the default bridge; "none" for no default bridge network
    #[arg(short = 'b', long = "bridge")]
    pub bridge: Option<String>,
    /// Pools for local networks, base=CIDR,size=N (repeatable)
    #[arg(long = "default-address-pool")]
    pub default_address_pools: Vec<String>,
    /// DNS servers of containers
    #[arg(long = "dns")]
    pub dns: Vec<String>,
    /// DNS options of containers
    #[arg(long = "dns-option", alias = "dns-opt")]
    pub dns_options: Vec<String>,
    /// DNS search domains of containers
    #[arg(long = "dns-search")]
    pub dns_search: Vec<String>,
    /// Default log driver: json-file, local or none
    #[arg(long = "log-driver", default_value = "json-file")]
    pub log_driver: String,
    /// Default options of the log driver, KEY=VALUE
    #[arg(long = "log-opt")]
    pub log_opts: Vec<String>,
    /// Address or interface to be reached at by other nodes
    #[arg(long = "swarm-default-advertise-addr")]
    pub swarm_default_advertise_addr: Option<String>,
    /// Parent cgroup of containers
    #[arg(long = "cgroup-parent")]
    pub cgroup_parent: Option<String>,
    /// Serve tcp:// sockets with TLS; implied by --tlsverify
    #[arg(long)]
    pub tls: bool,
    /// Serve tcp:// sockets with TLS, and let in only clients with a certificate of --tlscacert
    #[arg(long)]
    pub tlsverify: bool,
    /// The CA of clients (~/.docker/ca.pem)
    #[arg(long, value_name = "FILE")]
    pub tlscacert: Option<PathBuf>,
    /// The daemon's certificate (~/.docker/cert.pem)
    #[arg(long, value_name = "FILE")]
    pub tlscert: Option<PathBuf>,
    /// The daemon's key (~/.docker/key.pem)
    #[arg(long, value_name = "FILE")]
    pub tlskey: Option<PathBuf>,
    /// Registries that may be asked in clear or with unknown certificates
    #[arg(long = "insecure-registry")]
    pub insecure_registries: Vec<String>,
    /// Mirrors of Docker Hub, URL (repeatable)
    #[arg(long = "registry-mirror")]
    pub registry_mirrors: Vec<String>,
    /// Generic resources of this node, KIND=VALUE
    #[arg(long = "node-generic-resource")]
    pub node_generic_resources: Vec<String>,
    /// Kept for dockerd's users: packet rules are nftables of our own
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub iptables: Option<bool>,
    /// As --iptables
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub ip6tables: Option<bool>,
    /// Kept for dockerd's users: only true is possible
    #[arg(long = "ip-forward", num_args = 0..=1, default_missing_value = "true")]
    pub ip_forward: Option<bool>,
    /// Kept for dockerd's users: only true is possible
    #[arg(long = "ip-masq", num_args = 0..=1, default_missing_value = "true")]
    pub ip_masq: Option<bool>,
    /// Kept for dockerd's users: containers always live on while the daemon is away
    #[arg(long = "live-restore", num_args = 0..=1, default_missing_value = "true")]
    pub live_restore: Option<bool>,
    /// Kept for dockerd's users: there is no proxy process
    #[arg(long = "userland-proxy", num_args = 0..=1, default_missing_value = "true")]
    pub userland_proxy: Option<bool>,
    /// Tell clients that experimental options may be used
    #[arg(long = "experimental", num_args = 0..=1, default_missing_value = "true")]
    pub experimental: Option<bool>,
    /// Kept for dockerd's users: there is no containerd
    #[arg(long = "containerd")]
    pub containerd: Option<String>,
    /// Kept for dockerd's users: there is no containerd
    #[arg(long = "containerd-namespace")]
    pub containerd_namespace: Option<String>,
    /// Kept for dockerd's users: there is no containerd
    #[arg(long = "containerd-plugins-namespace")]
    pub containerd_plugins_namespace: Option<String>,
}

/// `daemon.json`, the keys we know. An unknown key is an error, as in dockerd.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    hosts: Vec<String>,
    data_root: Option<PathBuf>,
    exec_root: Option<PathBuf>,
    pidfile: Option<PathBuf>,
    debug: Option<bool>,
    log_level: Option<String>,
    labels: Vec<String>,
    storage_driver: Option<String>,
    storage_opts: Vec<String>,
    bip: Option<String>,
    bridge: Option<String>,
    default_address_pools: Vec<Pool>,
    dns: Vec<String>,
    dns_opts: Vec<String>,
    dns_search: Vec<String>,
    log_driver: Option<String>,
    log_opts: BTreeMap<String, String>,
    swarm_default_advertise_addr: Option<String>,
    cgroup_parent: Option<String>,
    tls: Option<bool>,
    tlsverify: Option<bool>,
    tlscacert: Option<PathBuf>,
    tlscert: Option<PathBuf>,
    tlskey: Option<PathBuf>,
    insecure_registries: Vec<String>,
    registry_mirrors: Vec<String>,
    node_generic_resources: Vec<String>,
    iptables: Option<bool>,
    ip6tables: Option<bool>,
    live_restore: Option<bool>,
    userland_proxy: Option<bool>,
    experimental: Option<bool>,
    features: BTreeMap<String, bool>,
}

#[derive(Clone, Debug, Deserialize)]
struct Pool {
    base: String,
    size: u8,
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub hosts: Vec<Listen>,
    /// What outlives a reboot.
    pub data_root: PathBuf,
    /// What does not.
    pub exec_root: PathBuf,
    /// Where the process id goes.
    pub pidfile: Option<PathBuf>,
    /// Whether clients are told that this engine is experimental.
    pub experimental: bool,
    /// Log filter.
    pub log_level: String,
    /// Whether `--debug` was given.
    pub debug: bool,
    /// `KEY=VALUE`.
    pub labels: Vec<String>,
    /// Asked-for subnet and address of the default bridge.
    pub bip: Option<(Subnet, std::net::IpAddr)>,
    /// Name of a bridge that the default network shall use; `none`: there shall be none.
    pub bridge: Option<String>,
    /// Pools for local networks.
    pub pools: Vec<(Subnet, u8)>,
    /// DNS defaults of containers.
    pub dns: model::DnsConfig,
    /// Default log driver.
    pub log_driver: String,
    /// Its options.
    pub log_opts: BTreeMap<String, String>,
    /// Default advertised address.
    pub advertise: Option<String>,
    /// Parent cgroup.
    pub cgroup_parent: Option<String>,
    /// How registries are reached.
    pub registries: images::RegistrySettings,
    /// Mirrors of Docker Hub, as given.
    pub registry_mirrors: Vec<String>,
    /// How tcp:// sockets are served; `None`: in clear.
    pub tls: Option<TlsFiles>,
    /// Registries in clear.
    pub insecure_registries: Vec<String>,
    /// Generic resources.
    pub generic_resources: Vec<model::GenericResource>,
}

/// One place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A socket file.
    Unix(PathBuf),
    /// `address:port`, with TLS if there are files for it.
    Tcp(String),
}

impl Settings {
    /// Flags over `daemon.json` over defaults.
    ///
    /// # Errors
    /// Every mistake, one a line.
    pub fn load(o: Options) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let file = read_file(&o.config_file).unwrap_or_else(|e| {
            wrong.push(e);
            File::default()
        });
        let driver = o.storage_driver.or(file.storage_driver);
        if let Some(driver) = driver.filter(|d| d != "overlay2" && d != "overlay") {
            wrong.push(format!("storage driver {driver:?} is not supported: overlay2 is"));
        }
        for opt in o.storage_opts.iter().chain(&file.storage_opts) {
            wrong.push(format!("storage option {opt:?} is not supported"));
        }
        let off = |name: &str, flag: Option<bool>, wrong: &mut Vec<String>| {
            if flag == Some(false) {
                wrong.push(format!("--{name}=false is not supported"));
            }
        };
        off("ip-forward", o.ip_forward, &mut wrong);
        off("ip-masq", o.ip_masq, &mut wrong);
        // Accepted either way: rules live in a table of ours, containers always live on, there is no proxy process.
        let _ = (o.iptables.or(file.iptables), o.ip6tables.or(file.ip6tables), o.live_restore.or(file.live_restore));
        let _ = (o.userland_proxy.or(file.userland_proxy), file.features);
        let _ = (o.containerd, o.containerd_namespace, o.containerd_plugins_namespace);

        let hosts = if o.hosts.is_empty() { file.hosts } else { o.hosts };
        let hosts = if hosts.is_empty() { vec!["unix:///var/run/docker.sock".to_owned()] } else { hosts };
        let hosts = hosts.iter().filter_map(|h| Listen::parse(h).map_err(|e| wrong.push(e)).ok()).collect();

        let bridge = o.bridge.or(file.bridge).filter(|name| !name.is_empty());
        if bridge.is_some() && (o.bip.is_some() || file.bip.is_some()) {
            wrong
                .push("--bridge and --bip are mutually exclusive: a bridge of your own has its own address".to_owned());
        }
        let bip = o.bip.or(file.bip).and_then(|b| parse_bip(&b).map_err(|e| wrong.push(e)).ok());
        let file_pools = file.default_address_pools.iter().map(|p| format!("base={},size={}", p.base, p.size));
        let pools = if o.default_address_pools.is_empty() { file_pools.collect() } else { o.default_address_pools };
        let pools = pools.iter().filter_map(|p| parse_pool(p).map_err(|e| wrong.push(e)).ok()).collect();
        let either = |flag: Vec<String>, file: Vec<String>| if flag.is_empty() { file } else { flag };
        let mut log_opts = file.log_opts;
        for opt in &o.log_opts {
            match opt.split_once('=') {
                Some((k, v)) => drop(log_opts.insert(k.to_owned(), v.to_owned())),
                None => wrong.push(format!("log option {opt:?}: KEY=VALUE is expected")),
            }
        }
        let log_driver =
            if o.log_driver == "json-file" { file.log_driver.unwrap_or(o.log_driver) } else { o.log_driver };
        if !["json-file", "local", "none"].contains(&log_driver.as_str()) {
            wrong.push(format!("log driver {log_driver:?} is not supported: json-file, local or none is"));
        }
        let mut generic_resources = Vec::new();
        for r in either(o.node_generic_resources, file.node_generic_resources) {
            match r.split_once('=') {
                Some((kind, value)) => generic_resources.push(match value.parse() {
                    Ok(value) => model::GenericResource::Discrete { kind: kind.into(), value },
                    Err(_) => model::GenericResource::Named { kind: kind.into(), value: value.into() },
                }),
                None => wrong.push(format!("generic resource {r:?}: KIND=VALUE is expected")),
            }
        }
        let verify = o.tlsverify || file.tlsverify == Some(true);
        let tls = (verify || o.tls || file.tls == Some(true)).then(|| {
            let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".docker");
            let path =
                |flag: Option<PathBuf>, file: Option<PathBuf>, name: &str| flag.or(file).unwrap_or(home.join(name));
            TlsFiles {
                verify,
                ca: path(o.tlscacert, file.tlscacert, "ca.pem"),
                cert: path(o.tlscert, file.tlscert, "cert.pem"),
                key: path(o.tlskey, file.tlskey, "key.pem"),
            }
        });
        let defaults = (Path::new("/var/lib/shoal"), Path::new("/run/shoal"));
        let insecure_registries = either(o.insecure_registries, file.insecure_registries);
        let registry_mirrors = either(o.registry_mirrors, file.registry_mirrors);
        let registries = images::RegistrySettings::parse(&insecure_registries, &registry_mirrors);
        let registries = registries.unwrap_or_else(|all| {
            wrong.extend(all);
            images::RegistrySettings::default()
        });
        let settings = Self {
            hosts,
            data_root: if o.data_root == defaults.0 { file.data_root.unwrap_or(o.data_root) } else { o.data_root },
            exec_root: if o.exec_root == defaults.1 { file.exec_root.unwrap_or(o.exec_root) } else { o.exec_root },
            pidfile: o.pidfile.or(file.pidfile),
            debug: o.debug || file.debug == Some(true),
            log_level: if o.log_level == "info" { file.log_level.unwrap_or(o.log_level) } else { o.log_level },
            labels: either(o.labels, file.labels),
            bip,
            bridge,
            pools,
            dns: model::DnsConfig {
                nameservers: either(o.dns, file.dns),
                search: either(o.dns_search, file.dns_search),
                options: either(o.dns_options, file.dns_opts),
            },
            log_driver,
            log_opts,
            advertise: o.swarm_default_advertise_addr.or(file.swarm_default_advertise_addr),
            cgroup_parent: o.cgroup_parent.or(file.cgroup_parent),
            registries,
            insecure_registries,
            registry_mirrors,
            tls,
            generic_resources,
            experimental: o.experimental.or(file.experimental) == Some(true),
        };
        if wrong.is_empty() { Ok(settings) } else { Err(wrong.join("\n")) }
    }
}

impl Listen {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp", addr)) if !addr.is_empty() => Ok(Self::Tcp(addr.to_owned())),
            Some(("fd", _)) => {
                Err("fd:// (socket activation) is not supported: use unix:///var/run/docker.sock".into())
            }
            _ => Err(format!("cannot listen on {text:?}: unix:///PATH or tcp://ADDRESS:PORT is expected")),
        }
    }
}

fn read_file(path: &Path) -> Result<File, String> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(File::default()),
        Ok(text) => serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

fn parse_bip(text: &str) -> Result<(Subnet, std::net::IpAddr), String> {
    let wrong = || format!("--bip {text:?}: ADDRESS/LENGTH is expected");
    let (addr, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let addr: std::net::IpAddr = addr.parse().map_err(|_| wrong())?;
    let prefix = prefix.parse().map_err(|_| wrong())?;
    Ok((Subnet::containing(addr, prefix), addr))
}

fn parse_pool(text: &str) -> Result<(Subnet, u8), String> {
    let wrong = || format!("address pool {text:?}: base=CIDR,size=LENGTH is expected");
    let (mut base, mut size) = (None, None);
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("base", v)) => base = Some(v.parse::<Subnet>().map_err(|_| wrong())?),
            Some(("size", v)) => size = Some(v.parse::<u8>().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    match (base, size) {
        (Some(b), Some(s)) if s >= b.prefix && s <= b.width() => Ok((b, s)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_reported_together() {
        let args = ["shoal daemon", "-H", "nowhere", "--storage-driver", "zfs", "--config-file", "/nonexistent"];
        let wrong = Settings::load(Options::parse_from(args)).unwrap_err();
        assert!(wrong.contains("nowhere") && wrong.contains("zfs"), "{wrong}");
    }

    #[test]
    fn tls_has_its_files() {
        let settings = |line: &str| {
            let args = ["dockerd", "--config-file", "/nonexistent"].into_iter().chain(line.split_whitespace());
            Settings::load(Options::parse_from(args)).unwrap().tls
        };
        assert_eq!(settings(""), None);
        assert!(!settings("--tls").unwrap().verify);
        let tls = settings("--tlsverify --tlscacert /ca --tlscert /cert --tlskey /key").unwrap();
        assert_eq!(tls, TlsFiles { verify: true, ca: "/ca".into(), cert: "/cert".into(), key: "/key".into() });
        let why = tls.load().unwrap_err().to_string();
        assert!(why.contains("TLS certificate /cert"), "{why}");
    }

    #[test]
    fn dockerds_flags_are_taken() {
        let args = [
            "dockerd",
            "--data-root",
            "/d",
            "--exec-root",
            "/e",
            "-H",
            "unix:///s",
            "--default-address-pool",
            "base=10.5.0.0/16,size=24",
            "--iptables=false",
            "-b",
            "none",
            "--containerd",
            "/x",
            "--experimental",
            "--config-file",
            "/nonexistent",
            "--userland-proxy=false",
        ];
        let s = Settings::load(Options::parse_from(args)).unwrap();
        assert_eq!(s.hosts, [Listen::Unix("/s".into())]);
        assert!(s.bridge.as_deref() == Some("none") && s.pools.len() == 1);
        assert!(Options::try_parse_from(["dockerd", "--no-such-flag"]).is_err());
    }
}
