//! Networks whose containers are neighbours of the machine on one of its own links: no bridge, no translation, no ports.
use crate::error::NetworkError;
use crate::local::LocalNetwork;
use kernel::netlink::{Link, Mac, Mark, Netlink};
use kernel::netns::NetNs;
use kernel::sysctl;
use std::collections::BTreeMap;
use std::net::IpAddr;
use wire::Refusal;

/// Name of the driver.
pub const DRIVER: &str = "macvlan";
const PARENT: &str = "parent";
const MODE: &str = "macvlan_mode";
/// Docker's words and the kernel's numbers.
const MODES: [(&str, u32); 4] = [("bridge", 4), ("private", 1), ("vepa", 2), ("passthru", 8)];

fn mode(options: &BTreeMap<String, String>) -> Result<u32, Refusal> {
    let wish = options.get(MODE).map_or("bridge", String::as_str);
    let found = MODES.iter().find(|(name, _)| *name == wish).map(|(_, n)| *n);
    found.ok_or_else(|| {
        Refusal::invalid(format!(
            "requested macvlan mode {wish:?} is not valid: bridge, private, vepa or passthru is expected"
        ))
    })
}

/// A link and a VLAN on it, as Docker writes it: `eth0.50`.
fn vlan_of(name: &str) -> Option<(&str, u16)> {
    let (link, vlan) = name.rsplit_once('.')?;
    let vlan = vlan.parse().ok().filter(|v| (1..=4094).contains(v))?;
    Some((link, vlan))
}

fn asked_parent(options: &BTreeMap<String, String>) -> Option<&str> {
    options.get(PARENT).map(String::as_str).filter(|name| !name.is_empty())
}

/// Name of the link that comes and goes with the network: a VLAN that is not there yet, or, for a network without a
/// parent, one that leads nowhere (`dm-ID`, Docker's name for it). Empty: the parent is there.
///
/// # Errors
/// When no such network could be.
pub fn own_parent(netlink: &Netlink, id: &str, options: &BTreeMap<String, String>) -> Result<String, NetworkError> {
    mode(options)?;
    let Some(name) = asked_parent(options) else { return Ok(format!("dm-{}", &id[..12])) };
    if netlink.link_by_name(name)?.is_none()
        && let Some((link, _)) = vlan_of(name)
    {
        existing(netlink, link)?;
        return Ok(name.to_owned());
    }
    existing(netlink, name).map(|_| String::new())
}

/// Makes the network's own parent, if it has one.
pub fn ensure(netlink: &Netlink, n: &LocalNetwork, mark: &Mark) -> Result<(), NetworkError> {
    if n.interface.is_empty() {
        return Ok(());
    }
    let link = match asked_parent(&n.spec.options).and_then(vlan_of) {
        Some((link, vlan)) => netlink.add_vlan(&n.interface, existing(netlink, link)?.index, vlan)?,
        None => netlink.add_bridge(&n.interface, None)?,
    };
    mark.put(netlink, &link)?;
    // The machine itself has no business on it.
    let _ = sysctl::write(&format!("net.ipv6.conf.{}.disable_ipv6", n.interface.replace('.', "/")), "1");
    Ok(netlink.set_up(link.index)?)
}

fn existing(netlink: &Netlink, name: &str) -> Result<Link, NetworkError> {
    match netlink.link_by_name(name)? {
        Some(link) if link.loopback => {
            Err(Refusal::invalid(format!("loopback interface is not a valid macvlan parent link: {name}")).into())
        }
        Some(link) => Ok(link),
        None => Err(Refusal::invalid(format!(
            "invalid parent interface {name}: there is no such interface on this machine"
        ))
        .into()),
    }
}

/// Makes a container's interface, with its addresses, up. On an error nothing is left.
pub fn join(
    netlink: &Netlink,
    ns: &NetNs,
    n: &LocalNetwork,
    interface: &str,
    mac: Mac,
    addresses: &[(IpAddr, u8)],
) -> Result<u32, NetworkError> {
    let parent = existing(netlink, asked_parent(&n.spec.options).unwrap_or(&n.interface))?;
    let asked = n.spec.options.contains_key("com.docker.network.driver.mtu");
    let mtu = if asked { n.mtu() } else { parent.mtu };
    // Until it is there it has a name that nobody else has: older kernels (6.1) refuse one that is taken here, though it
    // is meant for there, and a machine has an eth0, too.
    let passing: String = std::iter::once("mv".to_owned()).chain(mac.iter().map(|b| format!("{b:02x}"))).collect();
    netlink.add_macvlan(&passing, parent.index, mode(&n.spec.options)?, mac, mtu, ns)?;
    let v6 = addresses.iter().any(|(a, _)| a.is_ipv6());
    let entered = |source| NetworkError::Enter { path: interface.into(), source };
    let done = ns
        .run(|| -> Result<(), NetworkError> {
            let inside = Netlink::open()?;
            let link = inside.link(&passing)?;
            inside.set_name(link.index, interface)?;
            let _ = sysctl::write(&format!("net.ipv6.conf.{interface}.disable_ipv6"), if v6 { "0" } else { "1" });
            inside.set_up(link.index)?;
            addresses.iter().try_for_each(|(addr, prefix)| Ok(inside.add_address(link.index, *addr, *prefix)?))
        })
        .map_err(entered)
        .and_then(|done| done);
    if done.is_err() {
        let _ = leave(ns, interface);
        let _ = leave(ns, &passing);
    }
    done.map(|()| mtu)
}

/// Takes a container's interface away; fine if it is gone.
pub fn leave(ns: &NetNs, interface: &str) -> Result<(), NetworkError> {
    let entered = |source| NetworkError::Enter { path: interface.into(), source };
    Ok(ns.run(|| Netlink::open().and_then(|n| n.del_link(interface))).map_err(entered)??)
}
