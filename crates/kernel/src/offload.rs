//! What a network device does itself: checksums and segmentation.
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::AsRawFd;

const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// Features that matter for tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Checksums of what is sent.
    TxChecksum,
    /// Checksums of what comes in.
    RxChecksum,
    /// Large segments are cut late.
    SegmentLate,
    /// Small segments are joined early.
    ReceiveJoin,
}

impl Offload {
    /// As ethtool names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TxChecksum => "tx-checksumming",
            Self::RxChecksum => "rx-checksumming",
            Self::SegmentLate => "generic-segmentation-offload",
            Self::ReceiveJoin => "generic-receive-offload",
        }
    }

    /// As `ethtool -K` takes it.
    pub fn switch(self) -> &'static str {
        match self {
            Self::TxChecksum => "tx",
            Self::RxChecksum => "rx",
            Self::SegmentLate => "gso",
            Self::ReceiveJoin => "gro",
        }
    }

    /// ETHTOOL_GTXCSUM, GRXCSUM, GGSO, GGRO.
    fn command(self) -> u32 {
        match self {
            Self::TxChecksum => 0x16,
            Self::RxChecksum => 0x14,
            Self::SegmentLate => 0x23,
            Self::ReceiveJoin => 0x2b,
        }
    }

    /// Whether a device of the current namespace does it.
    ///
    /// # Errors
    /// No such device, or one that cannot tell.
    pub fn is_on(self, device: &str) -> io::Result<bool> {
        #[repr(C)]
        struct Value {
            command: u32,
            data: u32,
        }
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        let mut value = Value { command: self.command(), data: 0 };
        // SAFETY: an ifreq of zeros is a value: a name without characters and a null pointer.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if device.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the request holds a name that ends with zero and a pointer to an ethtool_value (two u32), and both live
        // through the call, which is what SIOCETHTOOL with these commands reads and writes.
        let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data != 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Netlink, VethSpec};
    use crate::netns::NetNs;

    #[test]
    fn a_veth_tells_what_it_does() {
        let (here, there) = (NetNs::anonymous().unwrap(), NetNs::anonymous().unwrap());
        here.run(|| {
            let netlink = Netlink::open().unwrap();
            let spec = VethSpec { name: "a", peer: "b", peer_ns: Some(&there), mtu: None, mac: None, peer_mac: None };
            netlink.add_veth(&spec).unwrap();
            assert!(Offload::TxChecksum.is_on("a").unwrap());
            assert!(Offload::SegmentLate.is_on("a").unwrap());
            assert!(Offload::TxChecksum.is_on("nothing").is_err());
            assert!(Offload::TxChecksum.is_on("a-name-that-is-much-too-long").is_err());
        })
        .unwrap();
    }
}
