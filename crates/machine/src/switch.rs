//! The lab's switch: a namespace with bridges and no uplink, so that nothing can leave.
use crate::error::{MachineError, Result};
use kernel::netlink::{Netlink, VethSpec};
use kernel::netns::NetNs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

const MAIN: &str = "switch0";
/// Prefix length of the lab's network.
pub const PREFIX: u8 = 24;

/// The switch of one lab.
pub struct Switch {
    ns: NetNs,
}

/// A machine's way of being cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// With everybody.
    Main,
    /// On an island with the others that were cut off together with it.
    Island,
}

/// Where the switch's namespace is mounted.
pub fn path(run: &Path) -> PathBuf {
    run.join("shoal-switch")
}

/// The switch's end of the cable to a machine.
fn port(address: Ipv4Addr) -> String {
    format!("port{}", address.octets()[3])
}

impl Switch {
    /// Finds the switch, or makes it.
    ///
    /// # Errors
    /// When the namespace or the bridge cannot be made.
    pub fn ensure(run: &Path) -> Result<Self> {
        let path = path(run);
        let ns = match NetNs::open(&path) {
            Ok(ns) => ns,
            Err(_) => NetNs::create_at(&path)?,
        };
        let switch = Self { ns };
        switch.bridge(MAIN)?;
        Ok(switch)
    }

    /// The switch, if there is one.
    pub fn find(run: &Path) -> Option<Self> {
        NetNs::open(&path(run)).ok().map(|ns| Self { ns })
    }

    /// Takes it away.
    ///
    /// # Errors
    /// When its mount stays.
    pub fn remove(run: &Path) -> Result<()> {
        Ok(NetNs::remove(&path(run))?)
    }

    fn netlink(&self) -> Result<Netlink> {
        Ok(Netlink::open_in(&self.ns)?)
    }

    fn bridge(&self, name: &str) -> Result<u32> {
        let netlink = self.netlink()?;
        let bridge = match netlink.link_by_name(name)? {
            Some(bridge) => bridge,
            None => netlink.add_bridge(name, None)?,
        };
        netlink.set_up(bridge.index)?;
        Ok(bridge.index)
    }

    /// Lays a cable: `eth0` in `machine` with `address`, the other end in the switch.
    ///
    /// # Errors
    /// When the kernel refuses a step.
    pub fn plug(&self, machine: &NetNs, address: Ipv4Addr) -> Result<()> {
        let bridge = self.bridge(MAIN)?;
        let netlink = self.netlink()?;
        let name = port(address);
        netlink.del_link(&name)?;
        let cable = VethSpec { name: &name, peer: "eth0", peer_ns: Some(machine), ..VethSpec::default() };
        let near = netlink.add_veth(&cable)?;
        netlink.set_master(near.index, Some(bridge))?;
        netlink.set_up(near.index)?;
        let inside = Netlink::open_in(machine)?;
        let lo = inside.link("lo")?;
        inside.set_up(lo.index)?;
        let far = inside.link("eth0")?;
        inside.add_address(far.index, address.into(), PREFIX)?;
        inside.set_up(far.index)?;
        Ok(())
    }

    /// Takes the cable out.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unplug(&self, address: Ipv4Addr) -> Result<()> {
        Ok(self.netlink()?.del_link(&port(address))?)
    }

    /// Moves machines to a side. The cable stays in and the carrier on: packets just no longer arrive, as when a link
    /// far away is cut.
    ///
    /// # Errors
    /// When a machine has no cable, or the kernel refuses.
    pub fn move_to(&self, addresses: &[Ipv4Addr], side: Side) -> Result<()> {
        let bridge = match (side, addresses) {
            (Side::Main, _) | (_, []) => self.bridge(MAIN)?,
            (Side::Island, [first, ..]) => self.bridge(&format!("island{}", first.octets()[3]))?,
        };
        let netlink = self.netlink()?;
        for address in addresses {
            let link = netlink.link(&port(*address))?;
            netlink.set_master(link.index, Some(bridge))?;
        }
        // An island that nobody is on any more.
        let links = netlink.links()?;
        for l in links.iter().filter(|l| l.name.starts_with("island")) {
            if links.iter().all(|p| p.master != Some(l.index)) {
                netlink.del_link(&l.name)?;
            }
        }
        Ok(())
    }

    /// The machines that are on an island.
    ///
    /// # Errors
    /// When the kernel refuses the list.
    pub fn is_cut_off(&self, address: Ipv4Addr) -> Result<bool> {
        let links = self.netlink()?.links()?;
        let main = links.iter().find(|l| l.name == MAIN).map(|l| l.index);
        Ok(links.iter().any(|l| l.name == port(address) && l.master != main))
    }

    /// Delays every packet to and from a machine by `milliseconds`; 0 ends it.
    ///
    /// # Errors
    /// When the kernel has no netem or there is no `tc`.
    pub fn delay(&self, address: Ipv4Addr, milliseconds: u32) -> Result<()> {
        let port = port(address);
        let (delay, mut words) = (format!("{milliseconds}ms"), vec!["qdisc"]);
        if milliseconds == 0 {
            words.extend(["del", "dev", &port, "root"]);
        } else {
            words.extend(["replace", "dev", &port, "root", "netem", "delay", &delay]);
        }
        let output = self.ns.run(|| std::process::Command::new("tc").args(&words).output());
        match output.and_then(|o| o) {
            Ok(o) if o.status.success() => Ok(()),
            Ok(o) => Err(MachineError::NoDelay(String::from_utf8_lossy(&o.stderr).trim().to_owned())),
            Err(e) => Err(MachineError::NoDelay(format!("tc: {e}"))),
        }
    }
}
