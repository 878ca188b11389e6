//! What a table says, as data.
use std::net::IpAddr;

/// Address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `ip`.
    Ipv4,
    /// `ip6`.
    Ipv6,
}

impl Family {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
        }
    }
    /// Whether `addr` is of this family.
    pub fn is_of(self, addr: IpAddr) -> bool {
        addr.is_ipv4() == (self == Self::Ipv4)
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Family.
    pub family: Family,
    /// Name.
    pub name: String,
    /// Port maps.
    pub maps: Vec<PortMap>,
    /// Chains; one that is jumped to comes before the one that jumps.
    pub chains: Vec<Chain>,
}

/// A map from (protocol, port), or (address, protocol, port), to (address, port), for DNAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMap {
    /// Name.
    pub name: String,
    /// Whether the destination address is part of the key.
    pub with_address: bool,
    /// Keys must be unique.
    pub entries: Vec<(PortKey, (IpAddr, u16))>,
}

/// Destination address (only if the map is `with_address`), protocol number, destination port.
pub type PortKey = (Option<IpAddr>, u8, u16);

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Name.
    pub name: String,
    /// Where the kernel calls it; `None`: only by jumps.
    pub base: Option<Base>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// Where the kernel calls a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Filter or NAT.
    pub kind: ChainKind,
    /// When.
    pub hook: Hook,
    /// Lower is earlier (-300 raw, -100 destination NAT, 0 filter, 100 source NAT).
    pub priority: i32,
}

/// What a chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ChainKind {
    Filter,
    Nat,
}

/// When a chain is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A rule: all matches hold, then the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Conditions.
    pub matches: Vec<Match>,
    /// What then.
    pub verdict: Verdict,
}

impl Rule {
    /// A rule.
    pub fn new(matches: impl Into<Vec<Match>>, verdict: Verdict) -> Self {
        Self { matches: matches.into(), verdict }
    }
}

/// Bits of `ct state`.
pub mod ct_state {
    /// `established`.
    pub const ESTABLISHED: u32 = 2;
    /// `related`.
    pub const RELATED: u32 = 4;
    /// `new`.
    pub const NEW: u32 = 8;
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// `iifname`, or `iifname !=`.
    In(String),
    /// `iifname !=`.
    NotIn(String),
    /// `oifname`.
    Out(String),
    /// `oifname !=`.
    NotOut(String),
    /// `ip saddr a/n`.
    Source(IpAddr, u8),
    /// `ip saddr != a/n`.
    NotSource(IpAddr, u8),
    /// `ip daddr a/n`.
    Destination(IpAddr, u8),
    /// `ip daddr != a/n`.
    NotDestination(IpAddr, u8),
    /// `fib daddr type local`.
    DestinationIsLocal,
    /// `fib saddr type local`.
    SourceIsLocal,
    /// `meta l4proto`.
    Protocol(u8),
    /// `th dport`; put [`Match::Protocol`] before it.
    DestinationPort(u16),
    /// `ct state`, any of these bits.
    CtState(u32),
    /// `ct status dnat`.
    CtDnat,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `accept`.
    Accept,
    /// `drop`.
    Drop,
    /// `return`.
    Return,
    /// `jump`.
    Jump(String),
    /// `dnat to address:port`.
    Dnat(IpAddr, u16),
    /// `dnat to … map @name`.
    DnatMap(String),
    /// `masquerade`.
    Masquerade,
}
