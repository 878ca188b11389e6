//! How a service is reached: published ports, virtual addresses, resolution.
use crate::NetworkId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP (accepted in specs; only host-mode ports of it can be served).
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp` or `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
    /// The IP protocol number (IANA).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Protocol {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "" | "tcp" | "TCP" => Ok(Self::Tcp),
            "udp" | "UDP" => Ok(Self::Udp),
            "sctp" | "SCTP" => Ok(Self::Sctp),
            other => Err(format!("unknown protocol {other:?}: tcp, udp or sctp is expected")),
        }
    }
}

/// Where a published port listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PublishMode {
    /// On every node, through the routing mesh.
    #[default]
    Ingress,
    /// Only on the nodes that run a task.
    Host,
}

/// One published port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortConfig {
    /// Free text, may be empty.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// The port inside the container.
    pub target_port: u16,
    /// The port outside; 0 in a spec means "choose one" (30000–32767).
    pub published_port: u16,
    /// Mesh or host.
    pub publish_mode: PublishMode,
    /// Only at this address of each node that has it; `None`: at all of them.
    #[serde(default)]
    pub host_ip: Option<IpAddr>,
}

/// How the service's name resolves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResolutionMode {
    /// To a virtual address.
    #[default]
    Vip,
    /// To all task addresses, rotated.
    DnsRr,
}

/// The user's wish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Virtual address or round-robin names.
    pub mode: ResolutionMode,
    /// Published ports.
    pub ports: Vec<PortConfig>,
}

/// One virtual address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualIp {
    /// On which network.
    pub network: NetworkId,
    /// The address.
    pub addr: IpAddr,
    /// Prefix length of the network's subnet (Docker prints `10.0.1.2/24`).
    pub prefix: u8,
}
