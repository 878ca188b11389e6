//! Encrypted tunnels between nodes: WireGuard's protocol in user space, on an interface of its own.
//!
//! Every node has a second address, made from its underlay address, behind the interface `shoal.wg`; the packet road sends
//! what belongs to encrypted networks there. Keys are new at each start; the public one travels with the node's
//! description. Nothing of this ever falls back to plain text: the interface outlives the daemon, and below its routes lies
//! an "unreachable" one.
//!
//! ```text
//!  container ─► road ─► shoal.vxlan ─(IPv6, to the sealed address)─► shoal.wg ─► this thread ─(UDP, encrypted)─► peer
//! ```
use crate::error::NetworkError;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use datapath::{SEALED_BLOCK, sealed_address};
use kernel::netlink::{Mark, Netlink, Route};
use kernel::{sysctl, tun};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use wire::Refusal;

/// Name of the interface.
pub const INTERFACE: &str = "shoal.wg";
/// What a packet wears more than on a plain tunnel: the encryption (80, padding included) and the larger inner header (20).
pub const OVERHEAD: u32 = 100;
/// Below the underlay's MTU.
const ENCRYPTION: u32 = 80;
const UNREACHABLE_METRIC: u32 = u32::MAX - 1;
const PREFIX: u8 = 96;
const TICK: Duration = Duration::from_millis(250);
const PACKET_MAX: usize = 65_535;

/// The UDP port of the encryption, by that of the tunnels: 51820 for 4789.
pub fn port(data_path_port: u16) -> u16 {
    const DISTANCE: u16 = 51_820 - 4789;
    data_path_port.checked_add(DISTANCE).unwrap_or(data_path_port.wrapping_sub(1))
}

/// Who this node is to its peers, until the daemon ends.
#[derive(Clone)]
pub struct Identity {
    secret: StaticSecret,
}

impl Identity {
    /// A new one; `None` where the kernel cannot carry encrypted networks.
    pub fn fresh() -> Option<Self> {
        tun::is_here().then(|| Self { secret: StaticSecret::from(rand::random::<[u8; 32]>()) })
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        *PublicKey::from(&self.secret).as_bytes()
    }
}

/// The encrypted ways of this node. They end with it; the interface stays until [`Seal::close`].
pub struct Seal {
    peers: mpsc::UnboundedSender<BTreeMap<Ipv4Addr, [u8; 32]>>,
    told: BTreeMap<Ipv4Addr, [u8; 32]>,
}

impl Seal {
    /// Makes the interface, or takes it over, and starts the thread, in the namespace of the caller.
    pub fn open(
        netlink: &Netlink,
        mark: &Mark,
        identity: &Identity,
        own: Ipv4Addr,
        data_path_port: u16,
        underlay_mtu: u32,
    ) -> Result<Self, NetworkError> {
        let start = |source| NetworkError::Start { what: "encrypted tunnels", source };
        if let Some(other) = netlink.link_by_name(INTERFACE)?.and_then(|l| mark.other(&l)) {
            let text = format!(
                "encrypted networks of this network namespace belong to the engine with its data in {}",
                other.display()
            );
            return Err(Refusal::unavailable(text).into());
        }
        let socket = std::net::UdpSocket::bind((own, port(data_path_port))).map_err(start)?;
        socket.set_nonblocking(true).map_err(start)?;
        let device = tun::open(INTERFACE).map_err(start)?;
        let link = netlink.link(INTERFACE)?;
        mark.put(netlink, &link)?;
        let _ = sysctl::write(&format!("net.ipv6.conf.{}.disable_ipv6", INTERFACE.replace('.', "/")), "0");
        netlink.set_mtu(link.index, underlay_mtu.saturating_sub(ENCRYPTION).max(1280))?;
        netlink.add_unreachable(SEALED_BLOCK.into(), PREFIX, UNREACHABLE_METRIC)?;
        netlink.set_up(link.index)?;
        let address = IpAddr::V6(sealed_address(own));
        if !netlink.addresses()?.iter().any(|a| a.index == link.index && a.addr == address) {
            netlink.add_address(link.index, address, 128)?;
        }
        let route = Route {
            dst: (SEALED_BLOCK.into(), PREFIX),
            gateway: None,
            index: Some(link.index),
            metric: None,
            source: None,
        };
        netlink.add_route(&route)?;
        let (peers, told) = mpsc::unbounded_channel();
        let secret = identity.secret.clone();
        let port = port(data_path_port);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
        std::thread::Builder::new()
            .name("encryption".into())
            .spawn(move || {
                runtime.block_on(async move {
                    // Safe for a file: it owns its descriptor, which never becomes another one.
                    #[allow(deprecated)]
                    let ends = AsyncFd::new(device).and_then(|d| Ok((d, tokio::net::UdpSocket::from_std(socket)?)));
                    match ends {
                        Ok((device, socket)) => {
                            Ways { device, socket, secret, port, own, all: BTreeMap::new() }.run(told).await
                        }
                        Err(error) => tracing::error!(%error, "encrypted networks carry nothing"),
                    }
                });
            })
            .map_err(start)?;
        Ok(Self { peers, told: BTreeMap::new() })
    }

    /// The peers, by underlay address, with their public keys.
    pub fn set_peers(&mut self, peers: BTreeMap<Ipv4Addr, [u8; 32]>) {
        if self.told != peers {
            self.told.clone_from(&peers);
            let _ = self.peers.send(peers);
        }
    }

    /// Takes the interface away.
    pub fn close(self, netlink: &Netlink, mark: &Mark) -> Result<(), NetworkError> {
        drop(self);
        remove_leftovers(netlink, mark)
    }
}

/// Takes the interface of an earlier run away.
pub fn remove_leftovers(netlink: &Netlink, mark: &Mark) -> Result<(), NetworkError> {
    if netlink.link_by_name(INTERFACE)?.is_some_and(|l| mark.is_own(&l)) {
        netlink.del_link(INTERFACE)?;
        netlink.del_unreachable(SEALED_BLOCK.into(), PREFIX, UNREACHABLE_METRIC)?;
    }
    Ok(())
}

struct Way {
    key: [u8; 32],
    tunnel: Box<Tunn>,
}

/// What the thread owns.
struct Ways {
    device: AsyncFd<File>,
    socket: tokio::net::UdpSocket,
    secret: StaticSecret,
    port: u16,
    own: Ipv4Addr,
    all: BTreeMap<Ipv4Addr, Way>,
}

impl Ways {
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<BTreeMap<Ipv4Addr, [u8; 32]>>) {
        let (mut packet, mut datagram) = (vec![0; PACKET_MAX], vec![0; PACKET_MAX]);
        let mut out = vec![0; PACKET_MAX + 256];
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                peers = told.recv() => match peers {
                    Some(peers) => self.follow(peers),
                    None => return,
                },
                n = self.device.async_io(tokio::io::Interest::READABLE, |_| self.device.get_ref().read(&mut packet)) => {
                    let Ok(n) = n else { continue };
                    self.send(&packet[..n], &mut out).await;
                }
                got = self.socket.recv_from(&mut datagram) => {
                    // An error is that of an earlier datagram: the peer is not there (yet).
                    let Ok((n, from)) = got else { continue };
                    self.receive(&datagram[..n], from, &mut out).await;
                }
                _ = tick.tick() => self.tick(&mut out).await,
            }
        }
    }

    fn follow(&mut self, peers: BTreeMap<Ipv4Addr, [u8; 32]>) {
        self.all.retain(|addr, way| peers.get(addr) == Some(&way.key));
        for (addr, key) in peers {
            let secret = self.secret.clone();
            self.all.entry(addr).or_insert_with(|| {
                let index = u32::from(addr) & 0x00ff_ffff;
                let tunnel = Box::new(Tunn::new(secret, PublicKey::from(key), None, None, index, None));
                Way { key, tunnel }
            });
        }
    }

    /// A packet of the packet road, for the peer that its destination names.
    async fn send(&mut self, packet: &[u8], out: &mut [u8]) {
        let Some((_, to)) = ends(packet) else { return };
        let Some(way) = self.all.get_mut(&to) else { return };
        if let TunnResult::WriteToNetwork(sealed) = way.tunnel.encapsulate(packet, out) {
            let _ = self.socket.send_to(sealed, SocketAddr::new(to.into(), self.port)).await;
        }
    }

    /// A datagram from a peer's underlay address. Its content must bear that peer's sealed address.
    async fn receive(&mut self, datagram: &[u8], from: SocketAddr, out: &mut [u8]) {
        let IpAddr::V4(peer) = from.ip() else { return };
        let Some(way) = self.all.get_mut(&peer) else { return };
        let mut datagram = datagram;
        loop {
            match way.tunnel.decapsulate(Some(from.ip()), datagram, out) {
                TunnResult::WriteToNetwork(answer) => {
                    let _ = self.socket.send_to(answer, from).await;
                    // There may be more that waited for the handshake.
                    datagram = &[];
                }
                TunnResult::WriteToTunnelV6(packet, _) => {
                    if ends(packet) == Some((peer, self.own)) {
                        let packet = &*packet;
                        let _ = self
                            .device
                            .async_io(tokio::io::Interest::WRITABLE, |_| self.device.get_ref().write(packet))
                            .await;
                    }
                    return;
                }
                TunnResult::WriteToTunnelV4(..) | TunnResult::Done => return,
                TunnResult::Err(error) => return tracing::debug!(%peer, ?error, "an encrypted datagram is dropped"),
            }
        }
    }

    async fn tick(&mut self, out: &mut [u8]) {
        for (addr, way) in &mut self.all {
            match way.tunnel.update_timers(out) {
                TunnResult::WriteToNetwork(datagram) => {
                    let _ = self.socket.send_to(datagram, SocketAddr::new((*addr).into(), self.port)).await;
                }
                TunnResult::Err(boringtun::noise::errors::WireGuardError::ConnectionExpired) => {
                    // Silence for too long: the next packet begins anew.
                    let index = u32::from(*addr) & 0x00ff_ffff;
                    let key = PublicKey::from(way.key);
                    *way.tunnel = Tunn::new(self.secret.clone(), key, None, None, index, None);
                }
                _ => {}
            }
        }
    }
}

/// The underlay addresses that a packet between sealed addresses speaks of: from, to.
fn ends(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    if packet.first()? >> 4 != 6 {
        return None;
    }
    let end = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        let node = Ipv4Addr::from([octets[12], octets[13], octets[14], octets[15]]);
        (sealed_address(node).octets() == octets).then_some(node)
    };
    Some((end(8)?, end(24)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_follows_that_of_the_tunnels() {
        assert_eq!((port(4789), port(4790), port(49_000)), (51_820, 51_821, 48_999));
    }

    #[test]
    fn only_packets_between_sealed_addresses_are_anybodys() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let mut packet = vec![0x60; 40];
        packet[8..24].copy_from_slice(&sealed_address(a).octets());
        packet[24..40].copy_from_slice(&sealed_address(b).octets());
        assert_eq!(ends(&packet), Some((a, b)));
        packet[8] = 0xfe;
        assert_eq!(ends(&packet), None);
        assert_eq!(ends(&packet[..39]), None);
        assert_eq!(ends(&[0x45; 40]), None);
    }
}
