//! Machines for tests: a network namespace each, on a switch without an uplink.
#![allow(dead_code)]
use kernel::netlink::{Netlink, Route, VethSpec};
use kernel::netns::NetNs;
use network::{Attach, Config, EndpointInfo, LocalAttach, Networks, SandboxSpec};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// 64 digits that begin with `n`.
pub fn container(n: u8) -> String {
    format!("{n:02x}").repeat(32)
}

/// A namespace with a bridge; machines and clients are plugged in. Its own seat is 10.88.0.254.
pub struct Switch {
    pub ns: NetNs,
    netlink: Netlink,
    bridge: u32,
}

impl Switch {
    pub fn new() -> Self {
        let ns = NetNs::anonymous().unwrap();
        let netlink = Netlink::open_in(&ns).unwrap();
        let bridge = netlink.add_bridge("switch", None).unwrap().index;
        netlink.set_up(bridge).unwrap();
        netlink.add_address(bridge, ip("10.88.0.254"), 24).unwrap();
        Self { ns, netlink, bridge }
    }

    pub fn plug(&self, ns: &NetNs, n: u8) {
        let near = format!("p{n}");
        let spec = VethSpec { name: &near, peer: "eth0", peer_ns: Some(ns), ..VethSpec::default() };
        let link = self.netlink.add_veth(&spec).unwrap();
        self.netlink.set_master(link.index, Some(self.bridge)).unwrap();
        self.netlink.set_up(link.index).unwrap();
        let inside = Netlink::open_in(ns).unwrap();
        let eth0 = inside.link("eth0").unwrap();
        inside.set_up(eth0.index).unwrap();
        inside.add_address(eth0.index, ip(&format!("10.88.0.{n}")), 24).unwrap();
        inside.add_route(&Route::default_via(ip("10.88.0.254"), eth0.index)).unwrap();
    }
}

pub struct Machine {
    pub ns: NetNs,
    pub runtime: Option<Runtime>,
    pub networks: Option<Networks>,
    pub dir: tempfile::TempDir,
}

impl Machine {
    pub fn new(switch: &Switch, n: u8) -> Self {
        let ns = NetNs::anonymous().unwrap();
        switch.plug(&ns, n);
        Self::beside(ns)
    }

    /// An engine in a namespace that may have others.
    pub fn beside(ns: NetNs) -> Self {
        let dir = tempfile::Builder::new().prefix("shoal-network-test-").tempdir().unwrap();
        let mut machine = Self { ns, runtime: None, networks: None, dir };
        machine.start();
        machine
    }

    pub fn config(&self) -> Config {
        let at = |name: &str| self.dir.path().join(name);
        std::fs::write(at("resolv.conf"), "nameserver 10.88.0.254\n").unwrap();
        Config {
            data_dir: at("data"),
            exec_dir: at("exec"),
            pin_dir: at("bpf"),
            bridge: Default::default(),
            bridge_subnets: Vec::new(),
            bridge_ipv6: false,
            bridge_options: Default::default(),
            pools: Vec::new(),
            host_resolv_conf: at("resolv.conf"),
        }
    }

    /// Opens the networks on threads that live in the machine.
    pub fn start(&mut self) {
        let config = self.config();
        let opened = self.ns.run(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let networks = runtime.block_on(Networks::open(config)).unwrap();
            (runtime, networks)
        });
        let (runtime, networks) = opened.unwrap();
        (self.runtime, self.networks) = (Some(runtime), Some(networks));
    }

    /// The daemon dies: no farewell.
    pub fn kill(&mut self) {
        self.networks = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    pub fn block_on<T>(&self, f: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(f)
    }

    pub fn net(&self) -> &Networks {
        self.networks.as_ref().unwrap()
    }

    pub fn sandbox(&self, n: u8) -> NetNs {
        let spec = SandboxSpec {
            container_id: container(n),
            container_name: format!("c{n}"),
            hostname: format!("host{n}"),
            ..SandboxSpec::default()
        };
        let path: PathBuf = self.block_on(self.net().create_sandbox(spec)).unwrap().unwrap();
        NetNs::open(&path).unwrap()
    }

    pub fn connect(&self, n: u8, wish: LocalAttach) -> Result<EndpointInfo, wire::Refusal> {
        self.block_on(self.net().connect(&container(n), Attach::Local(wish)))
    }

    pub fn netns_dir(&self) -> PathBuf {
        self.config().exec_dir.join("netns")
    }

    pub fn namespaces(&self) -> BTreeSet<PathBuf> {
        std::fs::read_dir(self.netns_dir()).unwrap().map(|f| f.unwrap().path()).collect()
    }

    pub fn links(&self) -> Vec<String> {
        Netlink::open_in(&self.ns).unwrap().links().unwrap().into_iter().map(|l| l.name).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.networks.is_some() {
            let net = self.net().clone();
            let _ = self.block_on(net.leave_swarm());
            let _ = self.block_on(net.reap(Default::default()));
        }
        self.kill();
        for entry in std::fs::read_dir(self.netns_dir()).into_iter().flatten().flatten() {
            let _ = NetNs::remove(&entry.path());
        }
        let _ = kernel::bpffs::unmount(&self.dir.path().join("bpf"));
    }
}

/// Accepts for ever (until the process ends) and says `word` and who asked.
pub fn serve(ns: &NetNs, at: &str, word: &str) {
    let at: SocketAddr = at.parse().unwrap();
    let listener = ns.run(|| TcpListener::bind(at).unwrap()).unwrap();
    let udp = ns.run(|| UdpSocket::bind(at).unwrap()).unwrap();
    let (tcp_word, udp_word) = (word.to_owned(), word.to_owned());
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let word = tcp_word.clone();
            std::thread::spawn(move || {
                let _ = write!(stream, "{word} {}", from.ip());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(format!("{udp_word} {}", from.ip()).as_bytes(), from);
        }
    });
}

/// Connects from `ns` and returns what was said.
pub fn ask(ns: &NetNs, to: &str) -> std::io::Result<String> {
    ask_within(ns, to, Duration::from_secs(3))
}

pub fn ask_within(ns: &NetNs, to: &str, wait: Duration) -> std::io::Result<String> {
    let to: SocketAddr = to.parse().unwrap();
    ns.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, wait)?;
        stream.set_read_timeout(Some(wait))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        if text.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(text)
    })?
}

pub fn ask_udp(ns: &NetNs, to: &str) -> std::io::Result<String> {
    let to: SocketAddr = to.parse().unwrap();
    ns.run(|| {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut buffer = [0; 64];
        for _ in 0..6 {
            socket.send_to(b"?", to)?;
            if let Ok(n) = socket.recv(&mut buffer) {
                return Ok(String::from_utf8_lossy(&buffer[..n]).into_owned());
            }
        }
        Err(std::io::ErrorKind::TimedOut.into())
    })?
}

/// Nothing comes through in a short while.
pub fn refused(ns: &NetNs, to: &str) -> bool {
    ask_within(ns, to, Duration::from_millis(400)).is_err()
}

pub fn eventually(what: &str, mut f: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn nft(ns: &NetNs, arguments: &[&str]) -> String {
    let out = ns.run(|| std::process::Command::new("nft").args(arguments).output().unwrap()).unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The default route's gateway, as seen inside.
pub fn default_gateway(ns: &NetNs) -> Vec<IpAddr> {
    let routes = Netlink::open_in(ns).unwrap().routes().unwrap();
    routes.into_iter().filter(|r| r.is_default()).filter_map(|r| r.gateway).collect()
}

/// The IPv4 addresses that the embedded server gives for `name`.
pub fn resolve(ns: &NetNs, name: &str) -> Vec<IpAddr> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let answer = ns
        .run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.send_to(&query, "127.0.0.11:53").unwrap();
            let mut buffer = vec![0; 512];
            let n = socket.recv(&mut buffer).expect("an answer from 127.0.0.11:53");
            buffer.truncate(n);
            buffer
        })
        .unwrap();
    // Every record: name (a pointer), type, class, TTL, length, four bytes.
    let records = answer[query.len()..].chunks_exact(16).take(usize::from(answer[7]));
    records.map(|r| IpAddr::from([r[12], r[13], r[14], r[15]])).collect()
}
