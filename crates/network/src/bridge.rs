//! The kernel's side of a bridge network: the bridge itself, and the pair that joins a sandbox to it.
use crate::error::NetworkError;
use crate::local::LocalNetwork;
use kernel::netlink::{Mac, Mark, Netlink, VethSpec};
use kernel::netns::NetNs;
use kernel::sysctl;
use std::net::IpAddr;

/// Makes the bridge be as the network says. Made already: only what is missing is added.
pub fn ensure(netlink: &Netlink, n: &LocalNetwork, mark: &Mark) -> Result<u32, NetworkError> {
    if n.is_foreign() {
        // Somebody else's: it must be there, and stays as it is.
        let index = netlink.link(&n.interface)?.index;
        allow_forwarding(n)?;
        return Ok(index);
    }
    let existed = netlink.link_by_name(&n.interface)?.is_some();
    let link = netlink.add_bridge(&n.interface, Some(stable_mac(&n.id)))?;
    let done = mark.put(netlink, &link).map_err(NetworkError::from).and_then(|()| fill(netlink, n, link.index));
    if done.is_err() && !existed {
        // The first error is the one to tell.
        let _ = netlink.del_link(&n.interface);
    }
    done.map(|()| link.index)
}

fn fill(netlink: &Netlink, n: &LocalNetwork, index: u32) -> Result<(), NetworkError> {
    let v6 = n.pools.iter().any(|p| p.subnet.base.is_ipv6());
    let own = |setting: &str| format!("net.{setting}").replace("IF", &n.interface.replace('.', "/"));
    if !v6 {
        // Fails where the machine has no IPv6 at all, which is what is wanted.
        let _ = sysctl::write(&own("ipv6.conf.IF.disable_ipv6"), "1");
    } else {
        sysctl::write(&own("ipv6.conf.IF.disable_ipv6"), "0")?;
        let _ = sysctl::write(&own("ipv6.conf.IF.accept_ra"), "0");
        sysctl::write("net.ipv6.conf.all.forwarding", "1")?;
    }
    netlink.set_mtu(index, n.mtu())?;
    netlink.set_up(index)?;
    let there = netlink.addresses()?;
    for pool in &n.pools {
        if !there.iter().any(|a| a.index == index && a.addr == pool.gateway) {
            netlink.add_address(index, pool.gateway, pool.subnet.prefix)?;
        }
    }
    allow_forwarding(n)
}

fn allow_forwarding(n: &LocalNetwork) -> Result<(), NetworkError> {
    sysctl::write("net.ipv4.ip_forward", "1")?;
    // Ports are published on 127.0.0.1 too; the firewall keeps the bridge from using this the other way round.
    sysctl::write(&format!("net.ipv4.conf.{}.route_localnet", n.interface.replace('.', "/")), "1")?;
    Ok(())
}

/// What a pair shall be.
pub struct Pair<'a> {
    /// Host side.
    pub host: &'a str,
    /// Inside.
    pub inside: &'a str,
    /// Hardware address inside.
    pub mac: Mac,
    /// MTU of both.
    pub mtu: u32,
    /// Addresses inside.
    pub addresses: &'a [(IpAddr, u8)],
}

/// Makes a pair with the far end inside `ns`, with its addresses, up. The host side stays down. Its index.
/// On an error nothing is left.
pub fn join(netlink: &Netlink, ns: &NetNs, pair: &Pair<'_>) -> Result<u32, NetworkError> {
    // One that a crash left behind is not to be trusted.
    netlink.del_link(pair.host)?;
    let spec = VethSpec {
        name: pair.host,
        peer: pair.inside,
        peer_ns: Some(ns),
        mtu: Some(pair.mtu),
        mac: Some(stable_mac(pair.host)),
        peer_mac: Some(pair.mac),
    };
    let near = netlink.add_veth(&spec)?;
    let fill = || -> Result<(), NetworkError> {
        let _ = sysctl::write(&format!("net.ipv6.conf.{}.disable_ipv6", pair.host), "1");
        let v6 = pair.addresses.iter().any(|(a, _)| a.is_ipv6());
        let disable = format!("net.ipv6.conf.{}.disable_ipv6", pair.inside);
        let entered = |source| NetworkError::Enter { path: pair.inside.into(), source };
        ns.run(|| {
            let _ = sysctl::write(&disable, if v6 { "0" } else { "1" });
            let inside = Netlink::open()?;
            let link = inside.link(pair.inside)?;
            inside.set_up(link.index)?;
            for (addr, prefix) in pair.addresses {
                inside.add_address(link.index, *addr, *prefix)?;
            }
            Ok(())
        })
        .map_err(entered)?
    };
    match fill() {
        Ok(()) => Ok(near.index),
        Err(e) => {
            let _ = netlink.del_link(pair.host);
            Err(e)
        }
    }
}

/// Puts the host side of a pair on a bridge and brings it up.
pub fn plug(netlink: &Netlink, port: u32, n: &LocalNetwork) -> Result<(), NetworkError> {
    let bridge = netlink.link(&n.interface)?;
    netlink.set_master(port, Some(bridge.index))?;
    netlink.set_bridge_port(port, !n.icc(), true)?;
    netlink.set_up(port)?;
    Ok(())
}

/// A locally administered address that stays the same for the same text.
pub fn stable_mac(text: &str) -> Mac {
    let h = fnv(text.as_bytes()).to_be_bytes();
    [0x02, 0x42, h[4], h[5], h[6], h[7]]
}

/// Docker's address of a bridge endpoint: `02:42` and the four bytes of its IPv4 address.
pub fn mac_of(addr: IpAddr, endpoint: &str) -> Mac {
    match addr {
        IpAddr::V4(a) => {
            let o = a.octets();
            [0x02, 0x42, o[0], o[1], o[2], o[3]]
        }
        IpAddr::V6(_) => stable_mac(endpoint),
    }
}

/// FNV-1a, 64 bits.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}
