//! Addresses as people write them on `swarm init` and `swarm join`, and as this machine has them.
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use wire::Refusal;

/// Docker's port.
const PORT: u16 = 2377;

/// `0.0.0.0:2377`, `eth0`, `eth0:2377`, `10.0.0.1`.
pub(super) fn listen_addr(text: &str) -> Result<SocketAddr, Refusal> {
    let text = if text.is_empty() { "0.0.0.0:2377" } else { text };
    let (host, port) = split_port(text)?;
    Ok(SocketAddr::new(address_of(&host)?, port.unwrap_or(PORT)))
}

pub(super) fn advertise_addr(text: &str, default: Option<&str>, listen: SocketAddr) -> Result<SocketAddr, Refusal> {
    let wish = if text.is_empty() { default.unwrap_or_default() } else { text };
    if wish.is_empty() {
        let ip = if listen.ip().is_unspecified() { only_address()? } else { listen.ip() };
        return Ok(SocketAddr::new(ip, listen.port()));
    }
    let (host, port) = split_port(wish)?;
    let ip = address_of(&host)?;
    if ip.is_unspecified() {
        return Err(Refusal::invalid(
            "advertise address must be a non-zero IP address or network interface (with optional port number)",
        ));
    }
    Ok(SocketAddr::new(ip, port.unwrap_or(listen.port())))
}

fn split_port(text: &str) -> Result<(String, Option<u16>), Refusal> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok((addr.ip().to_string(), Some(addr.port())));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().map_err(|_| Refusal::invalid(format!("invalid address {text}: invalid port")))?;
            Ok((host.to_owned(), Some(port)))
        }
        None => Ok((text.to_owned(), None)),
    }
}

/// An address, or the first one of an interface.
pub(super) fn address_of(text: &str) -> Result<IpAddr, Refusal> {
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    let links = kernel::netlink::Netlink::open().map_err(|e| Refusal::internal(e.to_string()))?;
    let addresses = addresses_by_interface(&links)?;
    addresses.into_iter().find(|(name, ip)| name == text && ip.is_ipv4()).map(|(_, ip)| ip).ok_or_else(|| {
        Refusal::invalid(format!(
            "could not find an IP address for interface \"{text}\": use an address of this machine"
        ))
    })
}

fn addresses_by_interface(links: &kernel::netlink::Netlink) -> Result<Vec<(String, IpAddr)>, Refusal> {
    let refuse = |e: kernel::netlink::NetlinkError| Refusal::internal(e.to_string());
    let names: BTreeMap<u32, String> = links.links().map_err(refuse)?.into_iter().map(|l| (l.index, l.name)).collect();
    let all = links.addresses().map_err(refuse)?;
    Ok(all.into_iter().filter_map(|a| Some((names.get(&a.index)?.clone(), a.addr))).collect())
}

/// The one address of this machine that others may know.
fn only_address() -> Result<IpAddr, Refusal> {
    let links = kernel::netlink::Netlink::open().map_err(|e| Refusal::internal(e.to_string()))?;
    let own = |name: &str| {
        name == "lo"
            || name.starts_with("docker")
            || name.starts_with("br-")
            || name.starts_with("ve")
            || name.starts_with("vb")
    };
    let mut all = addresses_by_interface(&links)?;
    all.retain(|(name, ip)| !own(name) && ip.is_ipv4());
    match &all[..] {
        [(_, ip)] => Ok(*ip),
        [] => Err(Refusal::invalid("could not find the system's IP address - specify one with --advertise-addr")),
        [(n1, a1), (n2, a2), ..] if n1 != n2 => Err(Refusal::invalid(format!(
            "could not choose an IP address to advertise since this system has multiple addresses on different interfaces ({a1} on {n1} and {a2} on {n2}) - specify one with --advertise-addr"
        ))),
        [(n, a1), (_, a2), ..] => Err(Refusal::invalid(format!(
            "could not choose an IP address to advertise since this system has multiple addresses on interface {n} ({a1} and {a2}) - specify one with --advertise-addr"
        ))),
    }
}

pub(super) async fn remote_addr(text: &str) -> Result<SocketAddr, Refusal> {
    let (host, port) = split_port(text)?;
    let port = port.unwrap_or(PORT);
    if let Ok(ip) = host.parse() {
        return Ok(SocketAddr::new(ip, port));
    }
    let mut found = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|e| Refusal::unavailable(format!("could not resolve address {text}: {e}")))?;
    found.next().ok_or_else(|| Refusal::unavailable(format!("could not resolve address {text}")))
}

/// No packet is sent: the kernel only chooses the source.
pub(super) fn own_address_towards(manager: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if manager.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(manager)?;
    Ok(socket.local_addr()?.ip())
}

/// Whether this machine has that address.
pub(super) fn is_own(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// The address that this machine would be found by, on the way to another manager if there is one.
pub(super) fn own_address(other: Option<SocketAddr>) -> Option<IpAddr> {
    match other {
        Some(other) => own_address_towards(other).ok(),
        None => only_address().ok(),
    }
}
