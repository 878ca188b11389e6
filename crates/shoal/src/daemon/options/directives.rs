//! Every setting of the daemon, once: its flag, its key in `daemon.json`, its shape, and what it does here.

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `--debug`, `--debug=false`; `true` in the file.
    Switch,
    /// One word.
    Text,
    /// One whole number.
    Number,
    /// Repeatable; a list in the file.
    List,
    /// Repeatable `KEY=VALUE`; an object of strings in the file.
    Pairs,
    /// Repeatable `base=CIDR,size=N`; a list of `{"base": …, "size": …}` in the file.
    Pools,
    /// Repeatable `NAME=SOFT:HARD`; an object of `{"Name", "Soft", "Hard"}` in the file.
    Ulimits,
    /// Repeatable `DRIVER=KEY=VALUE`; an object of objects in the file.
    NetworkOptions,
    /// An object that only the file can hold.
    Object,
}

/// What a setting does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is honoured.
    Used,
    /// It is taken and changes nothing, because of what the text says. Documented in `docs/daemon.md`.
    Nothing(&'static str),
    /// Only these values, for the reason in the text.
    Only(&'static [&'static str], &'static str),
    /// It is refused, for the reason in the text.
    Refused(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// Long flag, without the dashes; empty if only the file can hold it.
    pub flag: &'static str,
    /// Short flag.
    pub short: Option<char>,
    /// Key in `daemon.json`; empty if only a flag can say it.
    pub key: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// What it does.
    pub meaning: Meaning,
    /// For `--help`.
    pub help: &'static str,
}

use Meaning::{Nothing, Only, Refused, Used};
use Shape::{List, NetworkOptions, Number, Object, Pairs, Pools, Switch, Text, Ulimits};

const fn d(
    flag: &'static str,
    short: Option<char>,
    key: &'static str,
    shape: Shape,
    meaning: Meaning,
    help: &'static str,
) -> Directive {
    Directive { flag, short, key, shape, meaning, help }
}

const OWN_TABLE: &str = "packet rules live in an nftables table of our own, which touches nobody else's";
const NO_CONTAINERD: &str = "there is no containerd";
const NO_OCI: &str = "containers are made by this binary, not by an OCI runtime";
const NO_PROXY: &str = "published ports are served by the kernel and the daemon, not by a process for each";
const GATEWAY: &str = "the bridge itself is the gateway; give its address with --bip";

/// All of them, in `--help`'s order.
pub const DIRECTIVES: &[Directive] = &[
    // Doors.
    d("host", Some('H'), "hosts", List, Used, "Where to listen: unix://PATH, tcp://ADDRESS:PORT or fd:// (repeatable)"),
    d("group", Some('G'), "group", Text, Used, "Group of the unix socket [docker]"),
    d("tls", None, "tls", Switch, Used, "TLS on TCP; implied by --tlsverify"),
    d("tlsverify", None, "tlsverify", Switch, Used, "TLS on TCP, only for clients with a certificate of the CA"),
    d(
        "tlscacert",
        None,
        "tlscacert",
        Text,
        Used,
        "The CA that clients' certificates are checked against [~/.docker/ca.pem]",
    ),
    d("tlscert", None, "tlscert", Text, Used, "The daemon's certificate [~/.docker/cert.pem]"),
    d("tlskey", None, "tlskey", Text, Used, "Its key [~/.docker/key.pem]"),
    d("metrics-addr", None, "metrics-addr", Text, Used, "ADDRESS:PORT that answers /metrics for Prometheus"),
    // Places.
    d("data-root", Some('g'), "data-root", Text, Used, "What outlives a reboot [/var/lib/shoal]"),
    d("exec-root", None, "exec-root", Text, Used, "What does not: sockets, namespaces, pins [/run/shoal]"),
    d("pidfile", Some('p'), "pidfile", Text, Used, "Where the daemon's process id is written"),
    d("config-file", None, "", Text, Used, "Settings file [/etc/docker/daemon.json]"),
    d("validate", None, "", Switch, Used, "Check the settings and end"),
    // Words.
    d("debug", Some('D'), "debug", Switch, Used, "Say more"),
    d("log-level", Some('l'), "log-level", Text, Used, "How much is said: debug, info, warn, error or fatal [info]"),
    d("log-format", None, "log-format", Text, Used, "How: text or json [text]"),
    d("raw-logs", None, "raw-logs", Switch, Nothing("there are no colours to leave out"), "Without colours"),
    d("label", None, "labels", List, Used, "Label of this engine, KEY=VALUE (repeatable)"),
    d("experimental", None, "experimental", Switch, Used, "Say that this engine is experimental"),
    // Containers.
    d("log-driver", None, "log-driver", Text, Used, "Default log driver: json-file, local or none [json-file]"),
    d("log-opt", None, "log-opts", Pairs, Used, "Default option of the log driver, KEY=VALUE (repeatable)"),
    d("cgroup-parent", None, "cgroup-parent", Text, Used, "Parent control group of containers"),
    d(
        "default-ulimit",
        None,
        "default-ulimits",
        Ulimits,
        Used,
        "Default limit of containers, NAME=SOFT[:HARD] (repeatable)",
    ),
    d("default-shm-size", None, "default-shm-size", Text, Used, "Default size of /dev/shm [64m]"),
    d(
        "default-ipc-mode",
        None,
        "default-ipc-mode",
        Text,
        Used,
        "Default IPC namespace: private or shareable [private]",
    ),
    d(
        "default-cgroupns-mode",
        None,
        "default-cgroupns-mode",
        Text,
        Used,
        "Default control group namespace: private or host",
    ),
    d("init", None, "init", Switch, Used, "An init as process 1 of containers that do not say otherwise"),
    d("no-new-privileges", None, "no-new-privileges", Switch, Used, "Containers gain no privileges unless they say so"),
    d("seccomp-profile", None, "seccomp-profile", Text, Used, "Default seccomp profile: a file, builtin or unconfined"),
    d(
        "node-generic-resource",
        None,
        "node-generic-resources",
        List,
        Used,
        "Generic resource of this node, KIND=VALUE (repeatable)",
    ),
    d(
        "oom-score-adjust",
        None,
        "oom-score-adjust",
        Number,
        Used,
        "How readily the kernel kills the daemon, -1000 to 1000",
    ),
    d(
        "exec-opt",
        None,
        "exec-opts",
        List,
        Only(&["native.cgroupdriver=cgroupfs"], "control groups are made directly"),
        "native.cgroupdriver=cgroupfs",
    ),
    d("init-path", None, "init-path", Text, Refused("the init is a part of this binary"), "Not supported"),
    d("default-runtime", None, "default-runtime", Text, Only(&["runc", "io.containerd.runc.v2"], NO_OCI), "Only runc"),
    d("add-runtime", None, "", List, Refused(NO_OCI), "Not supported"),
    d("", None, "runtimes", Object, Refused(NO_OCI), ""),
    d("userns-remap", None, "userns-remap", Text, Refused("containers share the host's user ids"), "Not supported"),
    d("rootless", None, "", Switch, Only(&["false"], "networks and control groups need root"), "Not supported"),
    d(
        "selinux-enabled",
        None,
        "selinux-enabled",
        Switch,
        Only(&["false"], "there are no SELinux labels"),
        "Not supported",
    ),
    d(
        "cpu-rt-period",
        None,
        "cpu-rt-period",
        Number,
        Only(&["0"], "real-time scheduling is not handed out"),
        "Not supported",
    ),
    d(
        "cpu-rt-runtime",
        None,
        "cpu-rt-runtime",
        Number,
        Only(&["0"], "real-time scheduling is not handed out"),
        "Not supported",
    ),
    d(
        "cdi-spec-dir",
        None,
        "cdi-spec-dirs",
        List,
        Refused("CDI devices are not supported: give devices with --device"),
        "Not supported",
    ),
    d(
        "live-restore",
        None,
        "live-restore",
        Switch,
        Used,
        "Whether containers live on when the daemon is stopped [true]",
    ),
    d(
        "shutdown-timeout",
        None,
        "shutdown-timeout",
        Number,
        Used,
        "Seconds that containers have to end with the daemon, when they do; -1: as long as they take [15]",
    ),
    // Images.
    d(
        "storage-driver",
        Some('s'),
        "storage-driver",
        Text,
        Only(&["overlay2", "overlay"], "root file systems are overlayfs"),
        "Only overlay2",
    ),
    d("storage-opt", None, "storage-opts", List, Refused("overlay2 has no options here"), "Not supported"),
    d(
        "insecure-registry",
        None,
        "insecure-registries",
        List,
        Used,
        "Registry that may be asked in clear or with an unknown certificate (repeatable)",
    ),
    d("registry-mirror", None, "registry-mirrors", List, Used, "Mirror of Docker Hub that is asked first (repeatable)"),
    d(
        "max-concurrent-downloads",
        None,
        "max-concurrent-downloads",
        Number,
        Used,
        "How many layers of one pull arrive at the same time [3]",
    ),
    d(
        "max-concurrent-uploads",
        None,
        "max-concurrent-uploads",
        Number,
        Nothing("layers of one push leave one after another"),
        "Layers leave one after another",
    ),
    d(
        "max-download-attempts",
        None,
        "max-download-attempts",
        Number,
        Used,
        "How often a broken download of a layer is taken up, at most [5]",
    ),
    d("http-proxy", None, "", Text, Refused("registries are asked directly"), "Not supported"),
    d("https-proxy", None, "", Text, Refused("registries are asked directly"), "Not supported"),
    d("no-proxy", None, "", Text, Nothing("registries are asked directly"), "Always so"),
    d("", None, "proxies", Object, Refused("registries are asked directly"), ""),
    d("", None, "builder", Object, Nothing("the build cache consists of images: prune those"), ""),
    d(
        "feature",
        None,
        "features",
        Pairs,
        Used,
        "KEY=BOOL; only buildkit and containerd-snapshotter are known, and both are off",
    ),
    // Networks.
    d(
        "bridge",
        Some('b'),
        "bridge",
        Text,
        Used,
        "A bridge of your own for the default network, or none for no default network [docker0]",
    ),
    d("bip", None, "bip", Text, Used, "Address of the default bridge, CIDR"),
    d(
        "fixed-cidr",
        None,
        "fixed-cidr",
        Text,
        Used,
        "Where on the default bridge containers get their addresses from, CIDR",
    ),
    d("ipv6", None, "ipv6", Switch, Used, "The default bridge has IPv6 too"),
    d("bip6", None, "bip6", Text, Used, "IPv6 address of the default bridge, CIDR"),
    d("fixed-cidr-v6", None, "fixed-cidr-v6", Text, Used, "As --fixed-cidr, for IPv6"),
    d("default-gateway", None, "default-gateway", Text, Refused(GATEWAY), "Not supported"),
    d("default-gateway-v6", None, "default-gateway-v6", Text, Refused(GATEWAY), "Not supported"),
    d("mtu", None, "mtu", Number, Used, "MTU of the default bridge [1500]"),
    d("icc", None, "icc", Switch, Used, "Containers on the default bridge hear each other [true]"),
    d("ip", None, "ip", Text, Used, "Where ports of the default bridge are published [0.0.0.0]"),
    d("ip-masq", None, "ip-masq", Switch, Used, "What leaves the default bridge wears the machine's address [true]"),
    d("ip-forward", None, "ip-forward", Switch, Only(&["true"], "bridge networks need forwarding"), "Only true"),
    d(
        "ip-forward-no-drop",
        None,
        "ip-forward-no-drop",
        Switch,
        Nothing("the policy of the forward chain is never changed"),
        "Always so",
    ),
    d("iptables", None, "iptables", Switch, Nothing(OWN_TABLE), "Rules are nftables of our own"),
    d("ip6tables", None, "ip6tables", Switch, Nothing(OWN_TABLE), "Rules are nftables of our own"),
    d("firewall-backend", None, "firewall-backend", Text, Only(&["nftables"], OWN_TABLE), "Only nftables"),
    d(
        "allow-direct-routing",
        None,
        "allow-direct-routing",
        Switch,
        Only(&["true"], "routed packets are not filtered"),
        "Only true",
    ),
    d("bridge-accept-fwmark", None, "bridge-accept-fwmark", Text, Refused(OWN_TABLE), "Not supported"),
    d("userland-proxy", None, "userland-proxy", Switch, Nothing(NO_PROXY), "There is no proxy process"),
    d("userland-proxy-path", None, "userland-proxy-path", Text, Nothing(NO_PROXY), "There is no proxy process"),
    d(
        "default-address-pool",
        None,
        "default-address-pools",
        Pools,
        Used,
        "Pool for local networks, base=CIDR,size=N (repeatable)",
    ),
    d(
        "default-network-opt",
        None,
        "default-network-opts",
        NetworkOptions,
        Used,
        "Default option of new networks, DRIVER=KEY=VALUE (repeatable)",
    ),
    d(
        "host-gateway-ip",
        None,
        "host-gateway-ip",
        Text,
        Used,
        "What host-gateway means in --add-host [the default bridge's address]",
    ),
    d("dns", None, "dns", List, Used, "DNS server of containers (repeatable)"),
    d("dns-opt", None, "dns-opts", List, Used, "DNS option of containers (repeatable)"),
    d("dns-search", None, "dns-search", List, Used, "DNS search domain of containers (repeatable)"),
    // The swarm.
    d(
        "swarm-default-advertise-addr",
        None,
        "swarm-default-advertise-addr",
        Text,
        Used,
        "Address or interface to be reached at by other nodes",
    ),
    d(
        "network-control-plane-mtu",
        None,
        "network-control-plane-mtu",
        Number,
        Nothing("nodes speak TCP with each other"),
        "Nodes speak TCP with each other",
    ),
    // Others' parts.
    d("containerd", None, "containerd", Text, Nothing(NO_CONTAINERD), "There is none"),
    d("containerd-namespace", None, "containerd-namespace", Text, Nothing(NO_CONTAINERD), "There is none"),
    d(
        "containerd-plugins-namespace",
        None,
        "containerd-plugins-namespace",
        Text,
        Nothing(NO_CONTAINERD),
        "There is none",
    ),
    d("cri-containerd", None, "cri-containerd", Switch, Nothing(NO_CONTAINERD), "There is none"),
    d("authorization-plugin", None, "authorization-plugins", List, Refused("there are no plugins"), "Not supported"),
];
