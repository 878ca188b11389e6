//! Why something of the network could not be done, and how a user is told.
use kernel::netlink::NetlinkError;
use kernel::netns::NetNsError;
use std::io;
use std::path::PathBuf;
use wire::Refusal;

/// Why the network's owner could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A file of ours.
    #[error("network state {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The saved state cannot be read.
    #[error("network state {} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A link, address or route.
    #[error("network interface setup")]
    Netlink(#[from] NetlinkError),
    /// A namespace.
    #[error("network namespace setup")]
    NetNs(#[from] NetNsError),
    /// A namespace could not be entered.
    #[error("cannot enter the network namespace {}", path.display())]
    Enter {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A kernel setting.
    #[error("kernel setting")]
    Sysctl(#[from] kernel::sysctl::SysctlError),
    /// Our nftables tables.
    #[error("nftables")]
    Nft(#[from] kernel::nft::NftError),
    /// The packet road.
    #[error("overlay data path")]
    Datapath(#[from] datapath::DatapathError),
    /// The name service.
    #[error("name service")]
    Dns(#[from] crate::dns::DnsError),
    /// A thread or a socket of ours.
    #[error("{what}")]
    Start {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The answer is a no that the user shall read.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The owner's thread has ended.
    #[error("the network's owner has ended")]
    Gone,
}

impl From<NetworkError> for Refusal {
    fn from(e: NetworkError) -> Self {
        match e {
            NetworkError::Refused(r) => r,
            e => Refusal::internal(chain(&e)),
        }
    }
}

/// An error with all that caused it, on one line.
pub fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        text.push_str(": ");
        text.push_str(&c.to_string());
        cause = c.source();
    }
    text
}
