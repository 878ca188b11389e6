//! Sockets with options that the standard library cannot set before `bind`.
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

fn bound(addr: SocketAddr, kind: SockType) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if addr.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    if kind == SockType::Stream {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(addr))?;
    Ok(fd)
}

/// A non-blocking listener that, for an IPv6 address, leaves the same port of IPv4 to others.
///
/// # Errors
/// When the address is not ours or the port is taken.
pub fn listen_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let fd = bound(addr, SockType::Stream)?;
    listen(&fd, Backlog::new(1024)?)?;
    Ok(fd.into())
}

/// A non-blocking UDP socket that, for an IPv6 address, leaves the same port of IPv4 to others.
///
/// # Errors
/// When the address is not ours or the port is taken.
pub fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    Ok(bound(addr, SockType::Datagram)?.into())
}

nix::ioctl_read_bad!(
    /// `SIOCOUTQ`, by the name under which it is known to the C library.
    outq,
    nix::libc::TIOCOUTQ,
    nix::libc::c_int
);

/// Bytes that were written to a stream socket and have not yet been taken: on a unix socket by the peer's process, on a
/// TCP socket by the peer's machine. (A unix socket counts the kernel's own overhead too: only 0 is exact.)
///
/// # Errors
/// When it is no socket.
pub fn unread_by_peer(socket: std::os::fd::BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: nix::libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes one int, to which we give a valid pointer; the descriptor is
    // borrowed, so it is open.
    unsafe { outq(socket.as_raw_fd(), &raw mut bytes) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::NetNs;

    #[test]
    fn what_a_peer_has_not_read_is_seen() {
        use std::io::{Read, Write};
        use std::os::fd::AsFd;
        let (mut a, mut b) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(a.as_fd()).unwrap(), 0);
        a.write_all(b"head").unwrap();
        assert!(unread_by_peer(a.as_fd()).unwrap() >= 4);
        b.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unread_by_peer(a.as_fd()).unwrap(), 0);
        assert!(unread_by_peer(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }

    #[test]
    fn both_families_have_the_same_port_side_by_side() {
        let ns = NetNs::anonymous().unwrap();
        ns.run(|| {
            let v4 = listen_tcp("0.0.0.0:80".parse().unwrap()).unwrap();
            let _v6 = listen_tcp("[::]:80".parse().unwrap()).unwrap();
            let taken = listen_tcp("127.0.0.1:80".parse().unwrap()).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
            drop(v4);
            let _udp4 = bind_udp("0.0.0.0:80".parse().unwrap()).unwrap();
            let _udp6 = bind_udp("[::]:80".parse().unwrap()).unwrap();
        })
        .unwrap();
    }
}
