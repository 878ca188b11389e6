//! The tunnel device.
use crate::error::DatapathError;
use kernel::netlink::{Link, Mark, Netlink, NetlinkError};

/// Name of the tunnel device on the usual port. On another port its number is part of the name: engines that share a
/// namespace have different ports.
pub const TUNNEL_DEVICE: &str = "shoal.vxlan";
const USUAL_PORT: u16 = 4789;
const PREFIX: &str = "shoal.vx";

/// Name of the device for a port.
pub fn name(port: u16) -> String {
    if port == USUAL_PORT { TUNNEL_DEVICE.to_owned() } else { format!("{PREFIX}{port}") }
}

/// Whether an interface is a tunnel device of some engine.
pub fn is_tunnel(link: &Link) -> bool {
    link.kind.as_deref() == Some("vxlan") && link.name.starts_with(PREFIX)
}

/// Makes the device, or finds it; its index.
pub fn make(port: u16, mark: &Mark) -> Result<u32, DatapathError> {
    let name = name(port);
    let fail = |source| DatapathError::Device { name: name.clone(), source };
    let netlink = Netlink::open().map_err(fail)?;
    let found = netlink.link_by_name(&name).map_err(fail)?;
    if let Some(other) = found.as_ref().and_then(|l| mark.other(l)) {
        let devices = format!("{name}, of the engine with its data in {}", other.display());
        return Err(DatapathError::PortTaken { port, devices });
    }
    let link = netlink.add_vxlan_external(&name, port).map_err(|e| taken(&netlink, &name, port, e))?;
    let done = mark.put(&netlink, &link).and_then(|()| netlink.set_up(link.index));
    if let Err(e) = done {
        if found.is_none() {
            let _ = netlink.del_link(&name);
        }
        return Err(taken(&netlink, &name, port, e));
    }
    Ok(link.index)
}

/// The kernel says "exists" or "in use" when another device of the namespace has the port.
fn taken(netlink: &Netlink, name: &str, port: u16, source: NetlinkError) -> DatapathError {
    if source.errno() != libc::EADDRINUSE && source.errno() != libc::EEXIST {
        return DatapathError::Device { name: name.to_owned(), source };
    }
    let links = netlink.links().unwrap_or_default();
    let others = links.into_iter().filter(|l| l.kind.as_deref() == Some("vxlan") && l.name != name);
    DatapathError::PortTaken { port, devices: others.map(|l| l.name).collect::<Vec<_>>().join(", ") }
}

/// Removes this engine's tunnel devices but this one; fine if there are none.
pub fn remove(mark: &Mark, but: Option<u32>) -> Result<(), DatapathError> {
    let fail = |source| DatapathError::Device { name: PREFIX.to_owned(), source };
    let netlink = Netlink::open().map_err(fail)?;
    for link in netlink.links().map_err(fail)?.iter().filter(|l| is_tunnel(l) && mark.is_own(l) && Some(l.index) != but)
    {
        netlink.del_link_index(link.index).map_err(fail)?;
    }
    Ok(())
}
