//! The tunnel device.
use crate::error::DatapathError;
use kernel::netlink::{Netlink, NetlinkError};

/// Name of the tunnel device.
pub const TUNNEL_DEVICE: &str = "shoal.vxlan";

/// Makes the device, or finds it; its index.
pub fn make(port: u16) -> Result<u32, DatapathError> {
    let fail = |source| DatapathError::Device { name: TUNNEL_DEVICE, source };
    let netlink = Netlink::open().map_err(fail)?;
    let existed = netlink.link_by_name(TUNNEL_DEVICE).map_err(fail)?.is_some();
    let link = netlink.add_vxlan_external(TUNNEL_DEVICE, port).map_err(|e| taken(&netlink, port, e))?;
    if let Err(e) = netlink.set_up(link.index) {
        if !existed {
            let _ = netlink.del_link(TUNNEL_DEVICE);
        }
        return Err(taken(&netlink, port, e));
    }
    Ok(link.index)
}

/// The kernel says "exists" or "in use" when another device of the namespace has the port.
fn taken(netlink: &Netlink, port: u16, source: NetlinkError) -> DatapathError {
    if source.errno() != libc::EADDRINUSE && source.errno() != libc::EEXIST {
        return DatapathError::Device { name: TUNNEL_DEVICE, source };
    }
    let links = netlink.links().unwrap_or_default();
    let others = links.into_iter().filter(|l| l.kind.as_deref() == Some("vxlan") && l.name != TUNNEL_DEVICE);
    DatapathError::PortTaken { port, devices: others.map(|l| l.name).collect::<Vec<_>>().join(", ") }
}

/// Removes the device; fine if it is gone.
pub fn remove() -> Result<(), DatapathError> {
    Netlink::open()
        .and_then(|n| n.del_link(TUNNEL_DEVICE))
        .map_err(|source| DatapathError::Device { name: TUNNEL_DEVICE, source })
}
