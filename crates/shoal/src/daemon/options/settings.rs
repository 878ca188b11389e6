//! The daemon's settings, checked: what the rest of the program reads.
use super::given::Given;
use super::values;
use model::{IpamConfig, Subnet};
use node::containers::configure::Defaults;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub hosts: Vec<Listen>,
    /// Who may use the unix sockets besides root.
    pub group: Group,
    /// TLS on TCP.
    pub tls: Option<Tls>,
    /// Where `/metrics` is answered.
    pub metrics: Option<SocketAddr>,
    /// What outlives a reboot.
    pub data_root: PathBuf,
    /// What does not.
    pub exec_root: PathBuf,
    /// Where the process id goes.
    pub pidfile: Option<PathBuf>,
    /// What SIGHUP reads again.
    pub reloadable: Reloadable,
    /// How long containers that end with the daemon have for it; `None`: as long as they take.
    pub shutdown_timeout: Option<Duration>,
    /// Log level without `--debug`.
    pub log_level: String,
    /// Whether the log is JSON.
    pub log_json: bool,
    /// Whether the engine says that it is experimental.
    pub experimental: bool,
    /// How readily the kernel kills the daemon.
    pub oom_score: Option<i32>,
    /// Name of a bridge that the default network shall use; `none`: there shall be none.
    pub bridge: Option<String>,
    /// Subnets of the default bridge; of a family without one: the first free pool.
    pub bridge_subnets: Vec<IpamConfig>,
    /// Whether the default bridge has IPv6 too.
    pub bridge_ipv6: bool,
    /// Driver options of the default bridge, over the usual ones.
    pub bridge_options: BTreeMap<String, String>,
    /// Pools for local networks.
    pub pools: Vec<(Subnet, u8)>,
    /// Default options of new networks, by driver.
    pub network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// DNS defaults of containers.
    pub dns: model::DnsConfig,
    /// Address that `host-gateway` means.
    pub host_gateway: Option<IpAddr>,
    /// Default log driver.
    pub log_driver: String,
    /// Its options.
    pub log_opts: BTreeMap<String, String>,
    /// What containers get that do not say otherwise, as far as options say it.
    pub containers: Defaults,
    /// Default advertised address.
    pub advertise: Option<String>,
    /// How registries are reached.
    pub registries: images::RegistrySettings,
    /// Registries in clear, or with unknown certificates, as given.
    pub insecure_registries: Vec<String>,
    /// Mirrors of Docker Hub, as given.
    pub registry_mirrors: Vec<String>,
    /// Generic resources.
    pub generic_resources: Vec<model::GenericResource>,
    /// What was taken and changes nothing, for the log.
    pub idle: Vec<String>,
}

/// dockerd's time for containers to end with it, in seconds.
const SHUTDOWN_TIMEOUT_SECS: i64 = 15;

/// What a running daemon takes over when it is told to read its settings again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloadable {
    /// Containers live on when the daemon is stopped.
    pub live_restore: bool,
    /// Say more.
    pub debug: bool,
    /// `KEY=VALUE`.
    pub labels: Vec<String>,
}

/// Group of the unix sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// `docker`, if there is one.
    Usual,
    /// This one; it must exist.
    Named(String),
}

/// Certificates of the TCP doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whose certificates clients must show; `None`: anybody may enter.
    pub clients: Option<PathBuf>,
    /// The daemon's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// One place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A socket file.
    Unix(PathBuf),
    /// `address:port`.
    Tcp(String),
    /// What the service manager has opened: all of it, or what has this name.
    Activated(Option<String>),
}

impl Settings {
    /// Checks what was given.
    ///
    /// # Errors
    /// Every mistake, one a line.
    pub fn new(given: &Given) -> Result<Self, String> {
        let (mut wrong, mut idle) = given.judge();
        let text = |name: &str| given.text(name).filter(|t| !t.is_empty()).map(str::to_owned);
        let path = |name: &str, default: &str| text(name).map_or_else(|| PathBuf::from(default), PathBuf::from);
        let tls = tls(given);
        let hosts = match given.list("host") {
            [] => vec![Listen::Unix(values::DOCKER_SOCKET.into())],
            some => keep(some.iter().map(|h| values::listen(h, tls.is_some())), &mut wrong),
        };
        // Each door is opened once, however often it is given.
        let hosts = hosts.into_iter().fold(Vec::new(), |mut doors, door| {
            if !doors.contains(&door) {
                doors.push(door);
            }
            doors
        });
        let log_level = text("log-level").unwrap_or_else(|| "info".into());
        one_of("log-level", &log_level, &["trace", "debug", "info", "warn", "error", "fatal"], &mut wrong);
        let log_format = text("log-format").unwrap_or_else(|| "text".into());
        one_of("log-format", &log_format, &["text", "json"], &mut wrong);
        let log_driver = text("log-driver").unwrap_or_else(|| "json-file".into());
        one_of("log-driver", &log_driver, &["json-file", "local", "none"], &mut wrong);
        keep(given.list("feature").iter().map(|f| values::feature(f)), &mut wrong)
            .into_iter()
            .for_each(|f| idle.extend(f));
        let mut network_options: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (driver, key, value) in
            keep(given.list("default-network-opt").iter().map(|o| values::network_option(o)), &mut wrong)
        {
            network_options.entry(driver).or_default().insert(key, value);
        }
        let (insecure, mirrors) = (given.list("insecure-registry"), given.list("registry-mirror"));
        let mut registries = images::RegistrySettings::parse(insecure, mirrors).unwrap_or_else(|all| {
            wrong.extend(all);
            images::RegistrySettings::default()
        });
        let mut count = |name: &str| text(name).and_then(|n| keep_one(values::number(&n, 1, 1000), &mut wrong));
        if let Some(n) = count("max-concurrent-downloads") {
            registries.downloads_at_once = n as usize;
        }
        if let Some(n) = count("max-download-attempts") {
            registries.download_attempts = n as u32;
        }
        let settings = Self {
            hosts,
            registries,
            group: text("group").map_or(Group::Usual, Group::Named),
            tls,
            metrics: text("metrics-addr").and_then(|a| keep_one(values::metrics(&a), &mut wrong)),
            data_root: path("data-root", "/var/lib/shoal"),
            exec_root: path("exec-root", "/run/shoal"),
            pidfile: text("pidfile").map(PathBuf::from),
            reloadable: keep_one(Reloadable::new(given), &mut wrong).unwrap_or(Reloadable {
                live_restore: true,
                debug: false,
                labels: Vec::new(),
            }),
            shutdown_timeout: match text("shutdown-timeout").map(|n| values::number(&n, -1, i32::MAX)) {
                None => Some(SHUTDOWN_TIMEOUT_SECS),
                Some(secs) => keep_one(secs, &mut wrong).map(i64::from),
            }
            .and_then(|secs| u64::try_from(secs).ok())
            .map(Duration::from_secs),
            log_json: log_format == "json",
            log_level,
            experimental: given.switch("experimental").unwrap_or(false),
            oom_score: text("oom-score-adjust").and_then(|n| keep_one(values::number(&n, -1000, 1000), &mut wrong)),
            bridge_subnets: bridge_subnets(given, &mut wrong),
            bridge_ipv6: given.switch("ipv6").unwrap_or(false),
            bridge: text("bridge"),
            bridge_options: bridge_options(given, &mut wrong),
            pools: keep(given.list("default-address-pool").iter().map(|p| values::pool(p)), &mut wrong),
            network_options,
            dns: model::DnsConfig {
                nameservers: keep(given.list("dns").iter().map(|a| values::address("dns", a)), &mut wrong)
                    .into_iter()
                    .map(|a| a.to_string())
                    .collect(),
                search: given.list("dns-search").to_vec(),
                options: given.list("dns-opt").to_vec(),
            },
            host_gateway: text("host-gateway-ip")
                .and_then(|a| keep_one(values::address("host-gateway-ip", &a), &mut wrong)),
            log_driver,
            log_opts: keep(given.list("log-opt").iter().map(|o| values::pair("log option", o)), &mut wrong)
                .into_iter()
                .collect(),
            containers: container_defaults(given, &mut wrong),
            advertise: text("swarm-default-advertise-addr"),
            insecure_registries: insecure.to_vec(),
            registry_mirrors: mirrors.iter().map(|m| format!("{}/", m.trim_end_matches('/'))).collect(),
            generic_resources: keep(
                given.list("node-generic-resource").iter().map(|r| values::generic_resource(r)),
                &mut wrong,
            ),
            idle,
        };
        if settings.bridge.is_some() && (!settings.bridge_subnets.is_empty() || settings.bridge_ipv6) {
            let text = "--bridge and --bip, --fixed-cidr or --ipv6 are mutually exclusive: a bridge of your own has its own addresses";
            wrong.push(text.to_owned());
        }
        if !settings.bridge_ipv6 && settings.bridge_subnets.iter().any(is_ipv6) {
            wrong.push("--bip6 and --fixed-cidr-v6 need --ipv6".to_owned());
        }
        if wrong.is_empty() { Ok(settings) } else { Err(wrong.join("\n")) }
    }
}

impl Reloadable {
    /// The part of the settings that may change while the daemon runs.
    ///
    /// # Errors
    /// In dockerd's words.
    pub fn new(given: &Given) -> Result<Self, String> {
        let labels = given.list("label").iter().map(|l| values::pair("label", l).map(|_| l.clone()));
        let labels: Vec<String> = labels.collect::<Result<_, _>>()?;
        let mut seen = BTreeMap::new();
        for label in &labels {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            if seen.insert(key, value).is_some_and(|other| other != value) {
                return Err(format!("conflict labels for {key}={value} and {key}={}", seen[key]));
            }
        }
        let live_restore = given.switch("live-restore").unwrap_or(true);
        Ok(Self { live_restore, debug: given.switch("debug").unwrap_or(false), labels })
    }
}

fn keep<T>(parsed: impl Iterator<Item = Result<T, String>>, wrong: &mut Vec<String>) -> Vec<T> {
    parsed.filter_map(|p| keep_one(p, wrong)).collect()
}

fn keep_one<T>(parsed: Result<T, String>, wrong: &mut Vec<String>) -> Option<T> {
    parsed.map_err(|e| wrong.push(e)).ok()
}

fn one_of(name: &str, value: &str, allowed: &[&str], wrong: &mut Vec<String>) {
    if !allowed.contains(&value) {
        wrong.push(format!("--{name}={value} is not supported, only {}", allowed.join(", ")));
    }
}

fn tls(given: &Given) -> Option<Tls> {
    let verify = given.switch("tlsverify").unwrap_or(false);
    if !verify && !given.switch("tls").unwrap_or(false) {
        return None;
    }
    let home = || std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".docker");
    let usual = std::env::var_os("DOCKER_CERT_PATH").map_or_else(home, PathBuf::from);
    let file = |name: &str, default: &str| given.text(name).map_or_else(|| usual.join(default), PathBuf::from);
    let (certificate, key) = (file("tlscert", "cert.pem"), file("tlskey", "key.pem"));
    Some(Tls { clients: verify.then(|| file("tlscacert", "ca.pem")), certificate, key })
}

fn bridge_options(given: &Given, wrong: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut option = |name: &str, value: String| options.insert(format!("com.docker.network.{name}"), value);
    if let Some(mtu) = given.text("mtu")
        && let Some(n) = keep_one(values::number(mtu, 68, 65535), wrong)
    {
        option("driver.mtu", n.to_string());
    }
    if let Some(icc) = given.switch("icc") {
        option("bridge.enable_icc", icc.to_string());
    }
    if let Some(masq) = given.switch("ip-masq") {
        option("bridge.enable_ip_masquerade", masq.to_string());
    }
    if let Some(ip) = given.text("ip")
        && let Some(a) = keep_one(values::address("ip", ip), wrong)
    {
        option("bridge.host_binding_ipv4", a.to_string());
    }
    options
}

fn is_ipv6(c: &IpamConfig) -> bool {
    c.subnet.is_some_and(|s| !s.base.is_ipv4())
}

/// Of each family: the subnet around the bridge's address, and the part of it that containers get theirs from; or that
/// part alone.
fn bridge_subnets(given: &Given, wrong: &mut Vec<String>) -> Vec<IpamConfig> {
    let mut subnets = Vec::new();
    for (own, part, v4) in [("bip", "fixed-cidr", true), ("bip6", "fixed-cidr-v6", false)] {
        let mut read = |name: &str| {
            let text = given.text(name).filter(|t| !t.is_empty())?;
            let cidr = values::cidr(name, text).and_then(|(subnet, addr)| match addr.is_ipv4() == v4 {
                true => Ok((subnet, addr)),
                false => {
                    Err(format!("--{name} {text:?}: an address of {} is expected", if v4 { "IPv4" } else { "IPv6" }))
                }
            });
            keep_one(cidr, wrong)
        };
        let (own_cidr, part_cidr) = (read(own), read(part));
        let (subnet, gateway, range) = match (own_cidr, part_cidr) {
            (None, None) => continue,
            (Some((subnet, addr)), None) => (subnet, Some(addr), None),
            (None, Some((subnet, _))) => (subnet, None, None),
            (Some((subnet, addr)), Some((range, _))) => {
                if range.prefix < subnet.prefix || !subnet.contains(range.base) {
                    wrong.push(format!("--{part} {range} is not within the subnet {subnet} of --{own}"));
                }
                (subnet, Some(addr), Some(range))
            }
        };
        subnets.push(IpamConfig { subnet: Some(subnet), range, gateway, ..IpamConfig::default() });
    }
    subnets
}

fn container_defaults(given: &Given, wrong: &mut Vec<String>) -> Defaults {
    let text = |name: &str| given.text(name).filter(|t| !t.is_empty()).map(str::to_owned);
    let (ipc_mode, cgroupns_mode) = (text("default-ipc-mode"), text("default-cgroupns-mode"));
    if let Some(mode) = &ipc_mode {
        one_of("default-ipc-mode", mode, &["private", "shareable"], wrong);
    }
    if let Some(mode) = &cgroupns_mode {
        one_of("default-cgroupns-mode", mode, &["private", "host"], wrong);
    }
    Defaults {
        cgroup_parent: text("cgroup-parent"),
        ulimits: keep(given.list("default-ulimit").iter().map(|u| values::ulimit(u)), wrong),
        shm_size: text("default-shm-size").and_then(|s| keep_one(values::bytes(&s), wrong)),
        ipc_mode,
        cgroupns_mode,
        init: given.switch("init").unwrap_or(false),
        no_new_privileges: given.switch("no-new-privileges").unwrap_or(false),
        seccomp: text("seccomp-profile").and_then(|p| keep_one(values::seccomp(&p), wrong)),
        ..Defaults::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::given::from_flags;
    use super::*;
    use std::ffi::OsString;

    fn settings(words: &[&str]) -> Result<Settings, String> {
        let words = std::iter::once(&"dockerd").chain(words).map(OsString::from).collect();
        Settings::new(&from_flags(words).unwrap())
    }

    #[test]
    fn mistakes_are_reported_together() {
        let wrong =
            settings(&["-H", "nowhere://x", "--storage-driver", "zfs", "--mtu=12", "--label", "plain"]).unwrap_err();
        for part in ["nowhere", "zfs", "12", "plain"] {
            assert!(wrong.contains(part), "{part} is not in {wrong}");
        }
    }

    #[test]
    fn what_test_benches_say_to_dockerd() {
        let words = [
            "--data-root=/d",
            "--exec-root",
            "/e",
            "--pidfile",
            "/p",
            "-H",
            "unix:///s",
            "--host=tcp://127.0.0.1:0",
            "--containerd",
            "/x",
            "--containerd-namespace",
            "n",
            "--containerd-plugins-namespace",
            "p",
            "--debug",
            "--storage-driver",
            "overlay2",
            "--userland-proxy=false",
            "--iptables=false",
            "--experimental",
            "--default-address-pool",
            "base=10.5.0.0/16,size=24",
            "-b",
            "none",
            "--live-restore",
            "--label",
            "a=b",
            "--swarm-default-advertise-addr",
            "lo",
            "--exec-opt",
            "native.cgroupdriver=cgroupfs",
            "--dns",
            "10.0.0.1",
        ];
        let s = settings(&words).unwrap();
        assert_eq!(s.hosts, [Listen::Unix("/s".into()), Listen::Tcp("127.0.0.1:0".into())]);
        assert!(s.bridge.as_deref() == Some("none") && s.pools.len() == 1 && s.experimental && s.reloadable.debug);
        assert_eq!((s.reloadable.labels, s.dns.nameservers), (vec!["a=b".into()], vec!["10.0.0.1".into()]));
        assert!(s.reloadable.live_restore && s.shutdown_timeout == Some(Duration::from_secs(15)));
        assert_eq!(s.idle.len(), 5);
    }

    #[test]
    fn the_default_bridge_is_what_it_is_told_to_be() {
        let s = settings(&["--bip", "10.9.0.1/16", "--mtu", "1400", "--icc=false", "--ip=127.0.0.1"]).unwrap();
        let (subnet, gateway) = ("10.9.0.0/16".parse().ok(), "10.9.0.1".parse().ok());
        assert_eq!(s.bridge_subnets, [IpamConfig { subnet, gateway, ..IpamConfig::default() }]);
        assert_eq!(s.bridge_options["com.docker.network.bridge.enable_icc"], "false");
        assert_eq!(s.bridge_options["com.docker.network.driver.mtu"], "1400");
        let words = ["--bip=10.9.0.1/16", "--fixed-cidr", "10.9.128.0/17", "--ipv6", "--fixed-cidr-v6=fd09::/64"];
        let s = settings(&words).unwrap();
        let six = IpamConfig { subnet: "fd09::/64".parse().ok(), ..IpamConfig::default() };
        let four = IpamConfig { subnet, gateway, range: "10.9.128.0/17".parse().ok(), ..IpamConfig::default() };
        assert!(s.bridge_ipv6 && s.bridge_subnets == [four, six]);
        for (words, because) in [
            (
                &["--bip", "10.9.0.1/16", "--fixed-cidr", "10.8.0.0/17"][..],
                "is not within the subnet 10.9.0.0/16 of --bip",
            ),
            (&["--fixed-cidr", "fd09::/64"], "an address of IPv4 is expected"),
            (&["--fixed-cidr-v6", "fd09::/64"], "need --ipv6"),
            (&["-b", "br9", "--ipv6"], "mutually exclusive"),
        ] {
            let said = settings(words).unwrap_err();
            assert!(said.contains(because), "{words:?}: {said}");
        }
        assert!(settings(&["-b", "br9", "--bip", "10.9.0.1/16"]).unwrap_err().contains("mutually exclusive"));
    }

    #[test]
    fn a_door_given_twice_is_one() {
        let s = settings(&["-H", "unix:///s", "-H", "tcp://127.0.0.1:0", "-H=unix:///s"]).unwrap();
        assert_eq!(s.hosts, [Listen::Unix("/s".into()), Listen::Tcp("127.0.0.1:0".into())]);
    }

    #[test]
    fn tls_has_usual_places_and_ports() {
        let s =
            settings(&["--tlsverify", "--tlscert=/c", "--tlskey=/k", "--tlscacert=/a", "-H", "tcp://0.0.0.0"]).unwrap();
        assert_eq!(s.tls, Some(Tls { clients: Some("/a".into()), certificate: "/c".into(), key: "/k".into() }));
        assert_eq!(s.hosts, [Listen::Tcp("0.0.0.0:2376".into())]);
        assert_eq!(settings(&["--tls=false"]).unwrap().tls, None);
    }

    #[test]
    fn containers_defaults() {
        let words =
            ["--default-ulimit=nofile=1024:2048", "--default-shm-size=1g", "--init", "--seccomp-profile=unconfined"];
        let c = settings(&words).unwrap().containers;
        assert_eq!((c.ulimits[0].soft, c.ulimits[0].hard, c.shm_size), (1024, 2048, Some(1 << 30)));
        assert!(c.init && c.seccomp.as_deref() == Some("unconfined"));
        assert!(settings(&["--seccomp-profile=/nonexistent"]).is_err());
        assert!(settings(&["--label=a=b", "--label=a=c"]).unwrap_err().contains("conflict labels"));
    }
}
