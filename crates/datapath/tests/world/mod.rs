//! A small world: nodes, containers and an outside client, on a switch without an uplink. All namespaces are nameless
//! and end with the test.
#![allow(dead_code)]
use datapath::*;
use kernel::netlink::{Mark, Netlink, Route, VethSpec};
use kernel::netns::NetNs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const WAIT: Duration = Duration::from_secs(3);
static SERIAL: AtomicU32 = AtomicU32::new(0);

pub struct Node {
    pub ns: NetNs,
    pub addr: Ipv4Addr,
    pub uplink: u32,
    pub pins: PathBuf,
    pub road: Option<Datapath>,
}

pub struct Container {
    pub ns: NetNs,
    pub node: usize,
    pub vni: u32,
    pub addrs: Vec<(IpAddr, u8)>,
    pub mac: [u8; 6],
    pub ifindex: u32,
}

pub struct World {
    pub switch: NetNs,
    pub client: NetNs,
    pub nodes: Vec<Node>,
    pub containers: Vec<Container>,
    pub services: Vec<(u32, IpAddr, Service)>,
    pub mesh: Vec<(model::Protocol, u16, MeshPort)>,
    pub ingress: Option<u32>,
    stop: Arc<AtomicBool>,
}

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 100);

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn write(path: &str, value: &str) {
    let _ = std::fs::write(path, value);
}

/// A seat on the switch: an interface `eth0` with an address.
fn seat(switch: &NetNs, bridge: u32, name: &str, addr: Ipv4Addr) -> (NetNs, u32) {
    let ns = NetNs::anonymous().unwrap();
    let on_switch = Netlink::open_in(switch).unwrap();
    let port = on_switch
        .add_veth(&VethSpec { name, peer: "eth0", peer_ns: Some(&ns), mtu: Some(1500), ..VethSpec::default() })
        .unwrap();
    on_switch.set_master(port.index, Some(bridge)).unwrap();
    on_switch.set_up(port.index).unwrap();
    let inside = Netlink::open_in(&ns).unwrap();
    let eth0 = inside.link("eth0").unwrap().index;
    inside.add_address(eth0, addr.into(), 24).unwrap();
    inside.set_up(eth0).unwrap();
    (ns, eth0)
}

impl World {
    pub fn new(nodes: usize) -> Self {
        let switch = NetNs::anonymous().unwrap();
        let on_switch = Netlink::open_in(&switch).unwrap();
        let bridge = on_switch.add_bridge("br", None).unwrap().index;
        on_switch.set_up(bridge).unwrap();
        let (client, _) = seat(&switch, bridge, "client", CLIENT);
        let nodes = (0..nodes)
            .map(|i| {
                let addr = Ipv4Addr::new(192, 168, 77, 1 + i as u8);
                let (ns, uplink) = seat(&switch, bridge, &format!("n{i}"), addr);
                let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
                let pins = PathBuf::from(format!("/run/shoal-datapath-test-{}-{serial}", std::process::id()));
                Node { ns, addr, uplink, pins, road: None }
            })
            .collect();
        let mut world = Self {
            switch,
            client,
            nodes,
            containers: Vec::new(),
            services: Vec::new(),
            mesh: Vec::new(),
            ingress: None,
            stop: Arc::default(),
        };
        for i in 0..world.nodes.len() {
            world.open(i);
            let uplink = world.nodes[i].uplink;
            world.on(i, |road| road.attach_uplink(uplink)).unwrap();
        }
        world
    }

    pub fn config(&self, node: usize) -> Config {
        Config {
            flow_entries: Some(65536),
            events_per_second: 1000,
            ..Config::new(&self.nodes[node].pins, Mark::new(&self.nodes[node].pins))
        }
    }

    pub fn open(&mut self, node: usize) {
        let config = self.config(node);
        let n = &mut self.nodes[node];
        n.road = Some(n.ns.run(|| Datapath::open(config)).unwrap().unwrap());
    }

    /// Runs in the node's namespace, as the daemon would.
    pub fn on<T: Send>(&mut self, node: usize, f: impl FnOnce(&mut Datapath) -> T + Send) -> T {
        let n = &mut self.nodes[node];
        let road = n.road.as_mut().unwrap();
        n.ns.run(|| f(road)).unwrap()
    }

    /// A container with one overlay interface `eth0`; its index in `containers`.
    pub fn container(&mut self, node: usize, vni: u32, addrs: &[(&str, u8)]) -> usize {
        let ns = NetNs::anonymous().unwrap();
        let ifindex = self.interface(&ns, node, vni, "eth0", addrs);
        ns.run(|| {
            for at in ["all", "default", "eth0"] {
                write(&format!("/proc/sys/net/ipv4/conf/{at}/rp_filter"), "0");
            }
        })
        .unwrap();
        let n = self.containers.len() as u8 + 1;
        let mac = [2, 0x42, 10, 0, 0, n];
        let addrs = addrs.iter().map(|(a, p)| (ip(a), *p)).collect();
        self.containers.push(Container { ns, node, vni, addrs, mac, ifindex });
        self.containers.len() - 1
    }

    fn interface(&mut self, ns: &NetNs, node: usize, vni: u32, name: &str, addrs: &[(&str, u8)]) -> u32 {
        let n = self.containers.len() as u8 + 1;
        let mac = [2, 0x42, 10, 0, 0, n];
        let host = Netlink::open_in(&self.nodes[node].ns).unwrap();
        let veth = format!("ve{n}");
        let port = host
            .add_veth(&VethSpec {
                name: &veth,
                peer: name,
                peer_ns: Some(ns),
                mtu: Some(1450),
                peer_mac: Some(mac),
                ..VethSpec::default()
            })
            .unwrap();
        host.set_up(port.index).unwrap();
        ns.run(|| {
            // Duplicate detection would keep an IPv6 address from being used for a second.
            write(&format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0");
        })
        .unwrap();
        let inside = Netlink::open_in(ns).unwrap();
        let eth = inside.link(name).unwrap().index;
        for (addr, prefix) in addrs {
            inside.add_address(eth, ip(addr), *prefix).unwrap();
        }
        inside.set_up(eth).unwrap();
        let addresses = addrs.iter().map(|(a, _)| ip(a)).collect();
        let p = Port { ifindex: port.index, vni, addresses };
        self.on(node, |road| road.attach_port(&p)).unwrap();
        port.index
    }

    /// Default route through the overlay interface (as an ingress gateway would be used).
    pub fn default_route_by_overlay(&self, container: usize, gateway: &str) {
        let inside = Netlink::open_in(&self.containers[container].ns).unwrap();
        let eth0 = inside.link("eth0").unwrap().index;
        inside.add_route(&Route::default_via(ip(gateway), eth0)).unwrap();
    }

    /// A second way out, as `docker_gwbridge` is: a bridge on the node, default route through it, exit gate attached.
    pub fn exit(&mut self, container: usize) {
        let node = self.containers[container].node;
        let host = Netlink::open_in(&self.nodes[node].ns).unwrap();
        let bridge = host.add_bridge("gw", None).unwrap().index;
        let gateway = ip("172.18.0.1");
        host.add_address(bridge, gateway, 16).unwrap();
        host.set_up(bridge).unwrap();
        let veth = format!("vb{container}");
        let ns = &self.containers[container].ns;
        let port =
            host.add_veth(&VethSpec { name: &veth, peer: "eth1", peer_ns: Some(ns), ..VethSpec::default() }).unwrap();
        host.set_master(port.index, Some(bridge)).unwrap();
        host.set_up(port.index).unwrap();
        let inside = Netlink::open_in(ns).unwrap();
        let eth1 = inside.link("eth1").unwrap().index;
        inside.add_address(eth1, IpAddr::from([172, 18, 0, 10 + container as u8]), 16).unwrap();
        inside.set_up(eth1).unwrap();
        inside.add_route(&Route::default_via(gateway, eth1)).unwrap();
        let ingress: Vec<IpAddr> = self.containers[container].addrs.iter().map(|(a, _)| *a).collect();
        self.on(node, |road| road.attach_exit(port.index, &ingress)).unwrap();
    }

    pub fn desired(&self, node: usize) -> Desired {
        let mut d = Desired { mtu: 1450, ingress_vni: self.ingress, ..Desired::default() };
        for c in &self.containers {
            for (addr, _) in &c.addrs {
                let e = if c.node == node {
                    Endpoint::Local { ifindex: c.ifindex, mac: c.mac }
                } else {
                    Endpoint::Remote { node: self.nodes[c.node].addr }
                };
                d.endpoints.insert((c.vni, *addr), e);
            }
        }
        d.services = self.services.iter().map(|(v, a, s)| ((*v, *a), s.clone())).collect();
        d.mesh = self.mesh.iter().map(|(p, n, m)| ((*p, *n), m.clone())).collect();
        d.local_addresses = [IpAddr::from(self.nodes[node].addr)].into();
        d.peers = self.nodes.iter().map(|n| n.addr).filter(|a| *a != self.nodes[node].addr).collect();
        if let Some(vni) = self.ingress {
            d.endpoints.insert((vni, ip("10.0.0.1")), Endpoint::Gateway);
        }
        d
    }

    pub fn apply(&mut self) {
        for i in 0..self.nodes.len() {
            let desired = self.desired(i);
            self.on(i, |road| road.apply(&desired)).unwrap();
        }
    }

    pub fn counters(&mut self) -> Vec<Counters> {
        (0..self.nodes.len()).map(|i| self.on(i, |road| road.counters()).unwrap()).collect()
    }

    /// Serves TCP and UDP at a port of a container. TCP: a line of `name peer`, then echo. UDP: `name peer`.
    pub fn serve(&self, container: usize, port: u16) {
        let c = &self.containers[container];
        let name = format!("c{container}");
        let any: IpAddr = if c.addrs.iter().any(|(a, _)| a.is_ipv6()) { ip("::") } else { ip("0.0.0.0") };
        let (tcp, udp) =
            c.ns.run(|| (TcpListener::bind((any, port)).unwrap(), UdpSocket::bind((any, port)).unwrap())).unwrap();
        serve_tcp(tcp, name.clone(), self.stop.clone());
        serve_udp(udp, name, self.stop.clone());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for n in &mut self.nodes {
            let road = n.road.take();
            let pins = n.pins.clone();
            let _ = n.ns.run(|| match road {
                Some(road) => road.close_and_remove(),
                None => Datapath::remove_leftovers(&pins, &Mark::new(&pins)),
            });
            let _ = std::fs::remove_dir(&n.pins);
        }
    }
}

fn canonical(a: SocketAddr) -> String {
    a.ip().to_canonical().to_string()
}

pub fn serve_tcp(listener: TcpListener, name: String, stop: Arc<AtomicBool>) {
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let Ok((mut s, peer)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let (name, stop) = (name.clone(), stop.clone());
            std::thread::spawn(move || {
                s.set_nonblocking(false).unwrap();
                s.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let _ = s.write_all(format!("{name} {}\n", canonical(peer)).as_bytes());
                let mut buffer = vec![0; 65536];
                while !stop.load(Ordering::Relaxed) {
                    match s.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(n) => {
                            if s.write_all(&buffer[..n]).is_err() {
                                break;
                            }
                        }
                        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
            });
        }
    });
}

pub fn serve_udp(socket: UdpSocket, name: String, stop: Arc<AtomicBool>) {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((n, peer)) = socket.recv_from(&mut buffer) {
                let mut answer = format!("{name} {}\n", canonical(peer)).into_bytes();
                answer.extend_from_slice(&buffer[..n]);
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
}

/// An open connection, past the server's greeting.
pub struct Connection {
    pub stream: TcpStream,
    pub server: String,
    pub seen_as: String,
}

pub fn connect(ns: &NetNs, to: &str) -> std::io::Result<Connection> {
    let to: SocketAddr = to.parse().unwrap();
    ns.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, WAIT)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_nodelay(true)?;
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).unwrap();
        let (server, seen_as) = line.trim().split_once(' ').unwrap();
        Ok(Connection { stream, server: server.to_owned(), seen_as: seen_as.to_owned() })
    })?
}

impl Connection {
    /// Sends so many bytes and reads them back.
    pub fn echo(&mut self, bytes: usize) -> std::io::Result<()> {
        let sent: Vec<u8> = (0..bytes).map(|i| (i * 7 + i / 251) as u8).collect();
        let mut writer = self.stream.try_clone()?;
        std::thread::scope(|s| {
            let w = s.spawn(|| writer.write_all(&sent));
            let mut got = vec![0; bytes];
            self.stream.read_exact(&mut got)?;
            w.join().unwrap()?;
            assert!(got == sent, "the bytes came back changed");
            Ok(())
        })
    }
}

/// One datagram and its answer: (server, seen as).
pub fn ask_udp(ns: &NetNs, to: &str, bytes: usize) -> std::io::Result<(String, String)> {
    let to: SocketAddr = to.parse().unwrap();
    ns.run(|| {
        let any = if to.is_ipv4() { ip("0.0.0.0") } else { ip("::") };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        ask_with(&socket, bytes)
    })?
}

pub fn ask_with(socket: &UdpSocket, bytes: usize) -> std::io::Result<(String, String)> {
    socket.set_read_timeout(Some(WAIT))?;
    let payload = vec![7; bytes];
    socket.send(&payload)?;
    let mut buffer = vec![0; 65536];
    let n = socket.recv(&mut buffer)?;
    let end = buffer.iter().position(|b| *b == b'\n').unwrap();
    assert_eq!(buffer[end + 1..n], payload);
    let line = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let (server, seen_as) = line.split_once(' ').unwrap();
    Ok((server.to_owned(), seen_as.to_owned()))
}

pub fn ping(ns: &NetNs, to: &str) -> bool {
    ns.run(|| {
        let mut c = std::process::Command::new("ping");
        c.args(["-c1", "-W2", "-n", to]).output().unwrap().status.success()
    })
    .unwrap()
}

/// Polls until it is so.
pub fn until(what: &str, mut f: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT;
    while !f() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn ready(addrs: &[&str]) -> Vec<Backend> {
    addrs.iter().map(|a| Backend { addr: ip(a), state: BackendState::Ready }).collect()
}

pub fn service(addrs: &[&str]) -> Service {
    Service { backends: ready(addrs), ..Service::default() }
}
