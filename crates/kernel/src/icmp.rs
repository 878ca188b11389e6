//! Echo requests (ping) from the current network namespace.
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// A way to one address.
#[derive(Debug)]
pub struct Echo {
    socket: OwnedFd,
    v4: bool,
    id: u16,
}

impl Echo {
    /// Needs CAP_NET_RAW. `id`: tells our answers from others'.
    ///
    /// # Errors
    /// No way to the address, or no right to ask.
    pub fn open(to: IpAddr, id: u16) -> io::Result<Self> {
        let (family, protocol) = match to {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let address = SockaddrStorage::from(SocketAddr::new(to, 0));
        let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        connect(socket.as_raw_fd(), &address)?;
        Ok(Self { socket, v4: to.is_ipv4(), id })
    }

    /// Asks once. `None`: no answer in time.
    ///
    /// # Errors
    /// The network says that there is no way.
    pub fn ask(&self, sequence: u16, within: Duration) -> io::Result<Option<Duration>> {
        let begun = Instant::now();
        send(self.socket.as_raw_fd(), &request(self.v4, self.id, sequence), nix::sys::socket::MsgFlags::empty())?;
        let mut buffer = [0u8; 1500];
        loop {
            let Some(left) = within.checked_sub(begun.elapsed()).filter(|d| !d.is_zero()) else { return Ok(None) };
            // Zero would mean for ever.
            let micros = i64::try_from(left.as_micros()).unwrap_or(i64::MAX).max(1);
            setsockopt(&self.socket, sockopt::ReceiveTimeout, &TimeVal::microseconds(micros))?;
            match recv(self.socket.as_raw_fd(), &mut buffer, nix::sys::socket::MsgFlags::empty()) {
                Ok(n) if is_reply(self.v4, &buffer[..n], self.id, sequence) => return Ok(Some(begun.elapsed())),
                Ok(_) | Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn request(v4: bool, id: u16, sequence: u16) -> Vec<u8> {
    let mut packet = vec![if v4 { REQUEST_V4 } else { REQUEST_V6 }, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(*b"is anybody there, in the shoal? ");
    if v4 {
        // The kernel computes it for ICMPv6 only.
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// IPv4 packets come with their header.
fn is_reply(v4: bool, packet: &[u8], id: u16, sequence: u16) -> bool {
    let header = if v4 { usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4 } else { 0 };
    let Some(icmp) = packet.get(header..header + 8) else { return false };
    icmp[0] == if v4 { REPLY_V4 } else { REPLY_V6 }
        && icmp[4..6] == id.to_be_bytes()
        && icmp[6..8] == sequence.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Netlink;
    use crate::netns::NetNs;

    #[test]
    fn loopback_answers_and_nobody_does_not() {
        let ns = NetNs::anonymous().unwrap();
        ns.run(|| {
            let netlink = Netlink::open().unwrap();
            netlink.set_up(netlink.link("lo").unwrap().index).unwrap();
            for address in ["127.0.0.1", "::1"] {
                let echo = Echo::open(address.parse().unwrap(), 7).unwrap();
                assert!(echo.ask(1, Duration::from_secs(2)).unwrap().is_some(), "{address}");
                assert!(echo.ask(2, Duration::from_secs(2)).unwrap().is_some(), "{address}");
            }
            let nowhere = Echo::open("10.255.1.1".parse().unwrap(), 7);
            assert!(nowhere.is_err(), "there is no route");
        })
        .unwrap();
    }

    #[test]
    fn checksums_are_the_internets() {
        assert_eq!(checksum(&[8, 0, 0, 0, 0, 1, 0, 9]), 0xf7f5);
        let packet = request(true, 1, 2);
        assert_eq!(checksum(&packet), 0, "over a packet with its own sum");
    }
}
