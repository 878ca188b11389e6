//! Networks whose containers are neighbours of the machine on one of its own links: no bridge, no translation, no ports.
use crate::error::NetworkError;
use crate::local::LocalNetwork;
use kernel::netlink::{Link, Mac, Netlink};
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

fn parent(netlink: &Netlink, options: &BTreeMap<String, String>) -> Result<Link, NetworkError> {
    let Some(name) = options.get(PARENT).filter(|n| !n.is_empty()) else {
        return Err(Refusal::invalid("a macvlan network needs a link of this machine: -o parent=INTERFACE").into());
    };
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

/// Whether such a network could be.
pub fn check(netlink: &Netlink, options: &BTreeMap<String, String>) -> Result<(), NetworkError> {
    mode(options)?;
    parent(netlink, options).map(drop)
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
    let parent = parent(netlink, &n.spec.options)?;
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
