//! Published ports are held by sockets of the daemon, so that every other process sees them taken.
use crate::endpoint::{BoundPort, PortBinding};
use crate::firewall::Forward;
use crate::relay::{Door, Relay, Served};
use kernel::{socket, sysctl};
use model::Protocol;
use rand::Rng;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Random ports that are tried before giving up.
const TRIES_MAX: usize = 256;
/// How long a daemon that is just ending may hold a port.
const PATIENCE: Duration = Duration::from_secs(1);

/// The ports of all containers, by container id.
#[derive(Debug, Default)]
pub struct Ports {
    held: BTreeMap<String, Vec<Held>>,
}

/// One port with what holds it.
#[derive(Debug)]
struct Held {
    port: BoundPort,
    /// Where it leads: the container's address of either family.
    to: IpAddr,
    /// Ends with this. None for SCTP.
    _served: Option<Served>,
}

/// Ports that are held but not published yet.
#[derive(Debug)]
pub struct Reserved(Vec<(BoundPort, Option<Door>)>);

impl Reserved {
    /// Which.
    pub fn ports(&self) -> Vec<BoundPort> {
        self.0.iter().map(|(p, _)| *p).collect()
    }
}

/// Why a port cannot be had, in Docker's words (without the part that names the endpoint).
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another container has it.
    #[error("Bind for {} failed: port is already allocated", display(*.0, *.1))]
    Allocated(IpAddr, u16),
    /// Another process has it, or the address is not ours.
    #[error("failed to bind host port for {}: {}", display(*.0, *.1), words(.2))]
    Bind(IpAddr, u16, #[source] io::Error),
    /// No port of the range is free.
    #[error("all ports are allocated")]
    None,
}

fn display(addr: IpAddr, port: u16) -> String {
    SocketAddr::new(addr, port).to_string()
}

fn words(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::AddrInUse => "address already in use".into(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => e.to_string(),
    }
}

impl Ports {
    /// Reserves ports, all or none.
    pub fn reserve(&self, wishes: &[PortBinding], default_ip: Option<IpAddr>) -> Result<Reserved, PortError> {
        let mut all = Reserved(Vec::new());
        for wish in wishes {
            let wish = PortBinding { host_ip: wish.host_ip.or(default_ip), ..*wish };
            let got = self.reserve_one(&wish, &all)?;
            all.0.extend(got);
        }
        Ok(all)
    }

    /// Takes exactly these again, after a restart. The sockets of a daemon that is just ending may still hold them: a
    /// short wait. One that stays taken is published all the same (the container has had it all the time), but not held.
    pub fn reserve_again(&self, ports: &[BoundPort]) -> Reserved {
        let deadline = Instant::now() + PATIENCE;
        let mut all = Reserved(Vec::new());
        for port in ports {
            let door = loop {
                match self.hold(port.protocol, port.host_ip, port.host_port, &all) {
                    Ok(door) => break door,
                    Err(PortError::Bind(..)) if Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    Err(error) => {
                        tracing::error!(%error, "a published port cannot be held after the restart");
                        break None;
                    }
                }
            };
            all.0.push((*port, door));
        }
        all
    }

    fn reserve_one(&self, wish: &PortBinding, so_far: &Reserved) -> Result<Vec<(BoundPort, Option<Door>)>, PortError> {
        let addresses: Vec<IpAddr> = match wish.host_ip {
            Some(a) => vec![a],
            None if ipv6_is_here() => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            None => vec![Ipv4Addr::UNSPECIFIED.into()],
        };
        let attempt = |port: u16| -> Result<Vec<_>, PortError> {
            let hold = |a: &IpAddr| {
                let door = self.hold(wish.protocol, *a, port, so_far)?;
                let container_port = wish.container_port;
                Ok((BoundPort { protocol: wish.protocol, container_port, host_ip: *a, host_port: port }, door))
            };
            addresses.iter().map(hold).collect()
        };
        if wish.host_port != 0 && wish.host_port_end <= wish.host_port {
            return attempt(wish.host_port);
        }
        if wish.host_port != 0 {
            let range = wish.host_port..=wish.host_port_end;
            return range.into_iter().find_map(|p| attempt(p).ok()).ok_or(PortError::None);
        }
        let (low, high) = ephemeral();
        let mut random = rand::rng();
        for _ in 0..TRIES_MAX {
            match attempt(random.random_range(low..=high)) {
                // Another address would not help either.
                Err(PortError::Bind(a, p, e)) if e.kind() != io::ErrorKind::AddrInUse => {
                    return Err(PortError::Bind(a, p, e));
                }
                Err(_) => {}
                ok => return ok,
            }
        }
        Err(PortError::None)
    }

    fn hold(&self, protocol: Protocol, addr: IpAddr, port: u16, so_far: &Reserved) -> Result<Option<Door>, PortError> {
        let ours = self.held.values().flatten().map(|h| &h.port).chain(so_far.0.iter().map(|(p, _)| p));
        let clash = |p: &BoundPort| {
            let same_address = p.host_ip == addr || p.host_ip.is_unspecified() || addr.is_unspecified();
            p.protocol == protocol && p.host_port == port && p.host_ip.is_ipv4() == addr.is_ipv4() && same_address
        };
        if ours.into_iter().any(clash) {
            return Err(PortError::Allocated(addr, port));
        }
        let at = SocketAddr::new(addr, port);
        let bound = match protocol {
            Protocol::Tcp => socket::listen_tcp(at).map(|l| Some(Door::Tcp(l))),
            Protocol::Udp => socket::bind_udp(at).map(|s| Some(Door::Udp(s))),
            // Nobody holds SCTP ports; the firewall alone serves them.
            Protocol::Sctp => Ok(None),
        };
        bound.map_err(|e| PortError::Bind(addr, port, e))
    }

    /// Publishes what was reserved. What the firewall does not redirect (IPv6 to a container without) is relayed.
    pub fn publish(&mut self, container: &str, reserved: Reserved, addresses: &[IpAddr], relay: &Relay) {
        let held = self.held.entry(container.to_owned()).or_default();
        for (port, door) in reserved.0 {
            let same_family = addresses.iter().find(|a| a.is_ipv4() == port.host_ip.is_ipv4());
            let Some(to) = same_family.or(addresses.first()).copied() else { continue };
            let served = door.map(|d| relay.serve(d, SocketAddr::new(to, port.container_port)));
            held.push(Held { port, to, _served: served });
        }
    }

    /// Lets go of those ports of a container that lead to these addresses.
    pub fn release(&mut self, container: &str, addresses: &[IpAddr]) {
        if let Some(held) = self.held.get_mut(container) {
            held.retain(|h| !addresses.contains(&h.to));
            if held.is_empty() {
                self.held.remove(container);
            }
        }
    }

    /// For the firewall.
    pub fn forwards(&self) -> Vec<Forward> {
        self.held.values().flatten().map(|h| Forward { port: h.port, to: h.to }).collect()
    }
}

fn ipv6_is_here() -> bool {
    sysctl::read("net.ipv6.conf.all.disable_ipv6").is_ok_and(|v| v == "0")
}

fn ephemeral() -> (u16, u16) {
    let text = sysctl::read("net.ipv4.ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|n| n.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(low), Some(high)) if low < high => (low, high),
        _ => (49_153, 65_535),
    }
}
