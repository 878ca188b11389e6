//! Typed, blocking rtnetlink: links, addresses, routes and neighbours of one network namespace.
//!
//! Adding what is there already is no error; neither is removing what is gone. Every error names the object.
mod address;
mod link;
mod mark;
pub(crate) mod message;
mod route;
pub(crate) mod socket;

pub use address::Address;
pub use link::{Link, VethSpec};
pub use mark::Mark;
pub use route::{Neighbour, Route};

use crate::netns::NetNs;
use message::Message;
use socket::{Conversation, DUMP, Nack};
use std::io;
use std::net::IpAddr;

/// A link's hardware address.
pub type Mac = [u8; 6];

/// What the kernel refused, and on which object.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {object}{}", words.as_ref().map(|w| format!(" ({w})")).unwrap_or_default())]
pub struct NetlinkError {
    /// "add link", say.
    pub action: &'static str,
    /// Its name.
    pub object: String,
    /// The kernel's own words.
    pub words: Option<String>,
    /// The error number.
    #[source]
    pub source: io::Error,
}

impl NetlinkError {
    /// The error number, as in `errno(3)`.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::ENXIO)
    }
}

/// Result of a netlink request.
pub type Result<T> = std::result::Result<T, NetlinkError>;

/// A conversation with one namespace's network stack. It stays with that namespace wherever it is used from.
#[derive(Debug)]
pub struct Netlink {
    socket: Conversation,
}

impl Netlink {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn open() -> Result<Self> {
        let socket = Conversation::open(netlink_sys::protocols::NETLINK_ROUTE)
            .map_err(|e| error("open", "netlink socket", e.into()))?;
        Ok(Self { socket })
    }

    /// Opens it in `ns`.
    ///
    /// # Errors
    /// When `ns` cannot be entered or no socket can be made.
    pub fn open_in(ns: &NetNs) -> Result<Self> {
        ns.run(Self::open).unwrap_or_else(|e| Err(error("enter", "network namespace", e.into())))
    }

    fn ask(&self, action: &'static str, object: &str, message: Message) -> Result<()> {
        self.socket.ask(message, &mut |_| {}).map_err(|n| error(action, object, n))
    }

    /// [`Self::ask`], where `fine` error numbers mean that it is so already.
    fn ask_unless(&self, action: &'static str, object: &str, message: Message, fine: &[i32]) -> Result<()> {
        match self.socket.ask(message, &mut |_| {}) {
            Err(n) if fine.contains(&n.errno) => Ok(()),
            r => r.map_err(|n| error(action, object, n)),
        }
    }

    fn dump<T>(
        &self,
        what: &'static str,
        m: impl Fn() -> Message,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        // A change during the dump makes it inconsistent: ask again, a few times.
        for _ in 0..8 {
            let mut all = Vec::new();
            match self.socket.ask(m(), &mut |r| all.extend(parse(r.body))) {
                Err(n) if n.errno == libc::EINTR => {}
                r => return r.map(|()| all).map_err(|n| error("list", what, n)),
            }
        }
        Err(error("list", what, Nack { errno: libc::EINTR, words: None }))
    }
}

pub(crate) fn error(action: &'static str, object: &str, n: Nack) -> NetlinkError {
    NetlinkError { action, object: object.to_owned(), words: n.words, source: io::Error::from_raw_os_error(n.errno) }
}

fn dump_request(kind: u16, fixed: &[u8]) -> Message {
    Message::new(kind, DUMP, fixed)
}

fn family(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests;
