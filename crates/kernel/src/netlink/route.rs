//! Routes and neighbours.
use super::message::{Message, attributes, u32_at};
use super::socket::CREATE_OR_REPLACE;
use super::{Mac, Netlink, Result, address_of, dump_request, family, octets};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTN_UNREACHABLE: u8 = 7;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NUD_NOARP: u16 = 0x40;

/// A unicast route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination and prefix length; `0.0.0.0/0` or `::/0` is the default route.
    pub dst: (IpAddr, u8),
    /// Next hop; `None`: on the link.
    pub gateway: Option<IpAddr>,
    /// Interface.
    pub index: Option<u32>,
    /// Metric (`ip route … metric`).
    pub metric: Option<u32>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
}

impl Route {
    /// The default route through `gateway`.
    pub fn default_via(gateway: IpAddr, index: u32) -> Self {
        let any = match gateway {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { dst: (any, 0), gateway: Some(gateway), index: Some(index), metric: None, source: None }
    }

    /// Whether it is a default route.
    pub fn is_default(&self) -> bool {
        self.dst.1 == 0
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.dst.0, self.dst.1)?;
        if let Some(g) = self.gateway {
            write!(f, " via {g}")?;
        }
        self.index.map_or(Ok(()), |i| write!(f, " on link {i}"))
    }
}

/// A neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Interface.
    pub index: u32,
    /// Protocol address.
    pub addr: IpAddr,
    /// Hardware address, once known.
    pub mac: Option<Mac>,
    /// Whether it was set by hand.
    pub permanent: bool,
}

fn message(kind: u16, flags: u16, r: &Route) -> Message {
    let scope = if r.gateway.is_some() || r.dst.0.is_ipv6() { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
    let fixed = [family(r.dst.0), r.dst.1, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0, 0, 0, 0];
    let mut m = Message::new(kind, flags, &fixed);
    if r.dst.1 > 0 {
        m.attr(RTA_DST, &octets(r.dst.0));
    }
    if let Some(g) = r.gateway {
        m.attr(RTA_GATEWAY, &octets(g));
    }
    if let Some(i) = r.index {
        m.u32(RTA_OIF, i);
    }
    if let Some(p) = r.metric {
        m.u32(RTA_PRIORITY, p);
    }
    if let Some(s) = r.source {
        m.attr(RTA_PREFSRC, &octets(s));
    }
    m
}

fn parse(body: &[u8]) -> Option<Route> {
    let fixed = body.get(..12)?;
    let any: IpAddr = match i32::from(fixed[0]) {
        libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut table = u32::from(fixed[4]);
    let mut r = Route { dst: (any, fixed[1]), gateway: None, index: None, metric: None, source: None };
    for (kind, value) in attributes(&body[12..]) {
        match kind {
            RTA_DST => r.dst.0 = address_of(value)?,
            RTA_GATEWAY => r.gateway = address_of(value),
            RTA_OIF => r.index = u32_at(value, 0),
            RTA_PRIORITY => r.metric = u32_at(value, 0),
            RTA_PREFSRC => r.source = address_of(value),
            RTA_TABLE => table = u32_at(value, 0)?,
            _ => {}
        }
    }
    (table == u32::from(RT_TABLE_MAIN) && fixed[7] == RTN_UNICAST).then_some(r)
}

fn neighbour(kind: u16, flags: u16, index: u32, addr: IpAddr, state: u16) -> Message {
    let mut fixed = [0; 12];
    fixed[0] = family(addr);
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..10].copy_from_slice(&state.to_ne_bytes());
    let mut m = Message::new(kind, flags, &fixed);
    m.attr(NDA_DST, &octets(addr));
    m
}

fn parse_neighbour(body: &[u8]) -> Option<Neighbour> {
    let index = u32_at(body, 4)?;
    let state = super::message::u16_at(body, 8)?;
    if state & NUD_NOARP != 0 {
        return None;
    }
    let (mut addr, mut mac) = (None, None);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            NDA_DST => addr = address_of(value),
            NDA_LLADDR => mac = value.try_into().ok(),
            _ => {}
        }
    }
    Some(Neighbour { index, addr: addr?, mac, permanent: state & NUD_PERMANENT != 0 })
}

impl Netlink {
    /// Unicast routes of the main table, both families.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn routes(&self) -> Result<Vec<Route>> {
        self.dump("routes", || dump_request(RTM_GETROUTE, &[0; 12]), parse)
    }

    /// Undoes [`Self::add_unreachable`]; fine if it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn del_unreachable(&self, dst: IpAddr, prefix: u8, metric: u32) -> Result<()> {
        let fixed = [family(dst), prefix, 0, 0, RT_TABLE_MAIN, 0, RT_SCOPE_UNIVERSE, RTN_UNREACHABLE, 0, 0, 0, 0];
        let mut m = Message::new(RTM_DELROUTE, 0, &fixed);
        m.attr(RTA_DST, &octets(dst)).u32(RTA_PRIORITY, metric);
        self.ask_unless("remove unreachable route", &format!("{dst}/{prefix}"), m, &[libc::ESRCH])
    }

    /// Answers "unreachable" for a block, unless a route with a smaller metric leads there. Fine if it is so already.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add_unreachable(&self, dst: IpAddr, prefix: u8, metric: u32) -> Result<()> {
        let fixed =
            [family(dst), prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNREACHABLE, 0, 0, 0, 0];
        let mut m = Message::new(RTM_NEWROUTE, CREATE_OR_REPLACE, &fixed);
        m.attr(RTA_DST, &octets(dst)).u32(RTA_PRIORITY, metric);
        self.ask("add unreachable route", &format!("{dst}/{prefix}"), m)
    }

    /// Adds a route, or replaces the one with the same destination and metric.
    ///
    /// # Errors
    /// When the next hop is not on the link, or the kernel refuses.
    pub fn add_route(&self, route: &Route) -> Result<()> {
        let m = message(RTM_NEWROUTE, CREATE_OR_REPLACE, route);
        self.ask_unless("add route", &route.to_string(), m, &[libc::EEXIST])
    }

    /// Removes a route; fine if it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn del_route(&self, route: &Route) -> Result<()> {
        let m = message(RTM_DELROUTE, 0, route);
        self.ask_unless("remove route", &route.to_string(), m, &[libc::ESRCH, libc::ENODEV])
    }

    /// Sets a permanent neighbour entry.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn add_neighbour(&self, index: u32, addr: IpAddr, mac: Mac) -> Result<()> {
        let mut m = neighbour(RTM_NEWNEIGH, CREATE_OR_REPLACE, index, addr, NUD_PERMANENT);
        m.attr(NDA_LLADDR, &mac);
        self.ask("add neighbour", &format!("{addr} on link {index}"), m)
    }

    /// Removes a neighbour entry; fine if it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn del_neighbour(&self, index: u32, addr: IpAddr) -> Result<()> {
        let m = neighbour(RTM_DELNEIGH, 0, index, addr, 0);
        let object = format!("{addr} of link {index}");
        self.ask_unless("remove neighbour", &object, m, &[libc::ENOENT, libc::ENODEV])
    }

    /// Neighbour entries of all interfaces.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn neighbours(&self) -> Result<Vec<Neighbour>> {
        self.dump("neighbours", || dump_request(RTM_GETNEIGH, &[0; 12]), parse_neighbour)
    }
}
