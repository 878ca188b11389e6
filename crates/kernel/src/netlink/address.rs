//! Addresses of interfaces.
use super::message::{Message, attributes, u32_at};
use super::socket::CREATE_OR_REPLACE;
use super::{Netlink, Result, address_of, dump_request, family, octets};
use std::net::IpAddr;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// No duplicate address detection: addresses are unique by construction, and must work at once.
const IFA_F_NODAD: u8 = 0x02;

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Of the interface.
    pub index: u32,
    /// The address.
    pub addr: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// `RT_SCOPE_*`: 0 for everywhere, 253 for the link, 254 for this host.
    pub scope: u8,
}

fn parse(body: &[u8]) -> Option<Address> {
    let mut addr = None;
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            // On point-to-point links IFA_ADDRESS is the other side.
            IFA_LOCAL => addr = address_of(value),
            IFA_ADDRESS if addr.is_none() => addr = address_of(value),
            _ => {}
        }
    }
    Some(Address { index: u32_at(body, 4)?, addr: addr?, prefix: body[1], scope: body[3] })
}

fn message(kind: u16, flags: u16, index: u32, addr: IpAddr, prefix: u8) -> Message {
    let mut fixed = [family(addr), prefix, if addr.is_ipv6() { IFA_F_NODAD } else { 0 }, 0, 0, 0, 0, 0];
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    let mut m = Message::new(kind, flags, &fixed);
    m.attr(IFA_LOCAL, &octets(addr)).attr(IFA_ADDRESS, &octets(addr));
    m
}

impl Netlink {
    /// All addresses.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn addresses(&self) -> Result<Vec<Address>> {
        self.dump("addresses", || dump_request(RTM_GETADDR, &[0; 8]), parse)
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn add_address(&self, index: u32, addr: IpAddr, prefix: u8) -> Result<()> {
        let mut m = message(RTM_NEWADDR, CREATE_OR_REPLACE, index, addr, prefix);
        if let IpAddr::V4(a) = addr
            && prefix < 31
        {
            let broadcast = u32::from(a) | (u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0));
            m.attr(IFA_BROADCAST, &broadcast.to_be_bytes());
        }
        self.ask_unless("add address", &format!("{addr}/{prefix} to link {index}"), m, &[libc::EEXIST])
    }

    /// Takes an address away; fine if it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn del_address(&self, index: u32, addr: IpAddr, prefix: u8) -> Result<()> {
        let m = message(RTM_DELADDR, 0, index, addr, prefix);
        let object = format!("{addr}/{prefix} of link {index}");
        self.ask_unless("remove address", &object, m, &[libc::EADDRNOTAVAIL, libc::ENODEV])
    }
}
