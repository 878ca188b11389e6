//! Network interfaces.
use super::message::{Message, NESTED, attributes, text, u32_at};
use super::socket::{CREATE_NEW, Nack};
use super::{Mac, Netlink, Result, dump_request, error};
use crate::netns::NetNs;
use std::os::fd::AsRawFd;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_PROTINFO: u16 = 12;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_COLLECT_METADATA: u16 = 25;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;

/// An interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `veth`, `bridge`, `vxlan`…; `None` for hardware.
    pub kind: Option<String>,
    /// MTU.
    pub mtu: u32,
    /// Hardware address, if it has one of six bytes.
    pub mac: Option<Mac>,
    /// Administratively up.
    pub up: bool,
    /// Whether it is a loopback.
    pub loopback: bool,
    /// The bridge it belongs to.
    pub master: Option<u32>,
    /// For a veth: the peer's index (in the peer's namespace).
    pub peer: Option<u32>,
    /// Whether the peer is in another namespace.
    pub peer_elsewhere: bool,
    /// Words that somebody wrote on it.
    pub alias: Option<String>,
}

/// A pair of interfaces to be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct VethSpec<'a> {
    /// The near end.
    pub name: &'a str,
    /// The far end.
    pub peer: &'a str,
    /// Where the far end goes; `None`: stays here.
    pub peer_ns: Option<&'a NetNs>,
    /// MTU of both.
    pub mtu: Option<u32>,
    /// Hardware address of the near end.
    pub mac: Option<Mac>,
    /// Hardware address of the far end.
    pub peer_mac: Option<Mac>,
}

fn info(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut b = [0; 16];
    b[4..8].copy_from_slice(&index.to_ne_bytes());
    b[8..12].copy_from_slice(&flags.to_ne_bytes());
    b[12..16].copy_from_slice(&change.to_ne_bytes());
    b
}

fn parse(body: &[u8]) -> Option<Link> {
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        name: String::new(),
        kind: None,
        mtu: 0,
        mac: None,
        up: flags & libc::IFF_UP as u32 != 0,
        loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
        master: None,
        peer: None,
        peer_elsewhere: false,
        alias: None,
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINK => link.peer = u32_at(value, 0),
            IFLA_IFALIAS => link.alias = Some(text(value)),
            IFLA_LINK_NETNSID => link.peer_elsewhere = true,
            IFLA_LINKINFO => {
                link.kind = attributes(value).find(|(k, _)| *k == IFLA_INFO_KIND).map(|(_, v)| text(v));
            }
            _ => {}
        }
    }
    Some(link)
}

impl Netlink {
    /// All interfaces.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn links(&self) -> Result<Vec<Link>> {
        self.dump("links", || dump_request(RTM_GETLINK, &info(0, 0, 0)), parse)
    }

    /// The interface with this name, if there is one.
    ///
    /// # Errors
    /// When the kernel refuses the question.
    pub fn link_by_name(&self, name: &str) -> Result<Option<Link>> {
        let mut m = Message::new(RTM_GETLINK, 0, &info(0, 0, 0));
        m.text(IFLA_IFNAME, name);
        self.one_link(name, m)
    }

    /// The interface with this index, if there is one.
    ///
    /// # Errors
    /// When the kernel refuses the question.
    pub fn link_by_index(&self, index: u32) -> Result<Option<Link>> {
        self.one_link(&format!("link {index}"), Message::new(RTM_GETLINK, 0, &info(index, 0, 0)))
    }

    fn one_link(&self, object: &str, mut m: Message) -> Result<Option<Link>> {
        // Without statistics the answer is small.
        m.u32(IFLA_EXT_MASK, 1 << 3);
        let mut found = None;
        match self.socket.ask(m, &mut |r| found = parse(r.body)) {
            Err(n) if n.errno == libc::ENODEV => Ok(None),
            r => r.map(|()| found).map_err(|n| error("find link", object, n)),
        }
    }

    /// The interface with this name.
    ///
    /// # Errors
    /// Also when there is none.
    pub fn link(&self, name: &str) -> Result<Link> {
        let none = || error("find link", name, Nack { errno: libc::ENODEV, words: None });
        self.link_by_name(name)?.ok_or_else(none)
    }

    /// Makes a pair. If both ends are there already nothing is done; the near end is returned.
    ///
    /// # Errors
    /// When a name is taken by something else, or the kernel refuses.
    pub fn add_veth(&self, v: &VethSpec<'_>) -> Result<Link> {
        let mut m = Message::new(RTM_NEWLINK, CREATE_NEW, &info(0, 0, 0));
        m.text(IFLA_IFNAME, v.name);
        ends(&mut m, v.mtu, v.mac);
        let linkinfo = m.nest(IFLA_LINKINFO | NESTED);
        m.text(IFLA_INFO_KIND, "veth");
        let data = m.nest(IFLA_INFO_DATA | NESTED);
        let peer = m.nest(VETH_INFO_PEER | NESTED);
        m.raw(&info(0, 0, 0));
        m.text(IFLA_IFNAME, v.peer);
        ends(&mut m, v.mtu, v.peer_mac);
        if let Some(ns) = v.peer_ns {
            m.u32(IFLA_NET_NS_FD, ns.as_fd().as_raw_fd() as u32);
        }
        m.end(peer);
        m.end(data);
        m.end(linkinfo);
        self.add_link(v.name, "veth", m)
    }

    /// Makes a bridge.
    ///
    /// # Errors
    /// When the name is taken by something else, or the kernel refuses.
    pub fn add_bridge(&self, name: &str, mac: Option<Mac>) -> Result<Link> {
        let mut m = Message::new(RTM_NEWLINK, CREATE_NEW, &info(0, 0, 0));
        m.text(IFLA_IFNAME, name);
        ends(&mut m, None, mac);
        let linkinfo = m.nest(IFLA_LINKINFO | NESTED);
        m.text(IFLA_INFO_KIND, "bridge");
        m.end(linkinfo);
        self.add_link(name, "bridge", m)
    }

    /// Makes a macvlan interface on `parent` inside of `ns`. `mode` is the kernel's number.
    ///
    /// # Errors
    /// When the name is taken there, the parent is no Ethernet interface, or the kernel refuses.
    pub fn add_macvlan(&self, name: &str, parent: u32, mode: u32, mac: Mac, mtu: u32, ns: &NetNs) -> Result<()> {
        let mut m = Message::new(RTM_NEWLINK, CREATE_NEW, &info(0, 0, 0));
        m.text(IFLA_IFNAME, name);
        m.u32(IFLA_LINK, parent);
        ends(&mut m, Some(mtu), Some(mac));
        m.u32(IFLA_NET_NS_FD, ns.as_fd().as_raw_fd() as u32);
        let linkinfo = m.nest(IFLA_LINKINFO | NESTED);
        m.text(IFLA_INFO_KIND, "macvlan");
        let data = m.nest(IFLA_INFO_DATA | NESTED);
        m.u32(IFLA_MACVLAN_MODE, mode);
        m.end(data);
        m.end(linkinfo);
        self.ask("add macvlan", name, m)
    }

    /// Makes a link of its own for one VLAN (802.1Q) of `parent`. One that is there already stays.
    ///
    /// # Errors
    /// When the name is taken by something else, or the kernel refuses.
    pub fn add_vlan(&self, name: &str, parent: u32, vlan: u16) -> Result<Link> {
        let mut m = Message::new(RTM_NEWLINK, CREATE_NEW, &info(0, 0, 0));
        m.text(IFLA_IFNAME, name);
        m.u32(IFLA_LINK, parent);
        let linkinfo = m.nest(IFLA_LINKINFO | NESTED);
        m.text(IFLA_INFO_KIND, "vlan");
        let data = m.nest(IFLA_INFO_DATA | NESTED);
        m.attr(IFLA_VLAN_ID, &vlan.to_ne_bytes());
        m.end(data);
        m.end(linkinfo);
        self.add_link(name, "vlan", m)
    }

    /// Makes a VXLAN device in external mode: the network and the remote are told per packet.
    ///
    /// # Errors
    /// When the name is taken by something else, or the port by another VXLAN device (when it comes up).
    pub fn add_vxlan_external(&self, name: &str, port: u16) -> Result<Link> {
        let mut m = Message::new(RTM_NEWLINK, CREATE_NEW, &info(0, 0, 0));
        m.text(IFLA_IFNAME, name);
        let linkinfo = m.nest(IFLA_LINKINFO | NESTED);
        m.text(IFLA_INFO_KIND, "vxlan");
        let data = m.nest(IFLA_INFO_DATA | NESTED);
        m.u8(IFLA_VXLAN_COLLECT_METADATA, 1).u8(IFLA_VXLAN_LEARNING, 0);
        m.attr(IFLA_VXLAN_PORT, &port.to_be_bytes());
        m.end(data);
        m.end(linkinfo);
        self.add_link(name, "vxlan", m)
    }

    fn add_link(&self, name: &str, kind: &str, m: Message) -> Result<Link> {
        match self.socket.ask(m, &mut |_| {}) {
            Ok(()) => {}
            Err(n) if n.errno == libc::EEXIST => {
                let same = self.link_by_name(name)?.filter(|l| l.kind.as_deref() == Some(kind));
                return same.ok_or_else(|| error("add link", name, n));
            }
            Err(n) => return Err(error("add link", name, n)),
        }
        self.link(name)
    }

    /// Removes an interface; fine if it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn del_link(&self, name: &str) -> Result<()> {
        let mut m = Message::new(RTM_DELLINK, 0, &info(0, 0, 0));
        m.text(IFLA_IFNAME, name);
        self.ask_unless("remove link", name, m, &[libc::ENODEV])
    }

    /// Removes an interface by its index; fine if it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn del_link_index(&self, index: u32) -> Result<()> {
        let m = Message::new(RTM_DELLINK, 0, &info(index, 0, 0));
        self.ask_unless("remove link", &format!("link {index}"), m, &[libc::ENODEV])
    }

    fn change(&self, action: &'static str, index: u32, edit: impl FnOnce(&mut Message)) -> Result<()> {
        let mut m = Message::new(RTM_SETLINK, 0, &info(index, 0, 0));
        edit(&mut m);
        self.ask(action, &format!("link {index}"), m)
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// When there is none, or the kernel refuses (a VXLAN port that is taken shows here).
    pub fn set_up(&self, index: u32) -> Result<()> {
        let up = libc::IFF_UP as u32;
        self.ask("bring up", &format!("link {index}"), Message::new(RTM_SETLINK, 0, &info(index, up, up)))
    }

    /// Takes an interface down.
    ///
    /// # Errors
    /// When there is none, or the kernel refuses.
    pub fn set_down(&self, index: u32) -> Result<()> {
        let up = libc::IFF_UP as u32;
        self.ask("take down", &format!("link {index}"), Message::new(RTM_SETLINK, 0, &info(index, 0, up)))
    }

    /// Sets the MTU.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<()> {
        self.change("set the MTU of", index, |m| {
            m.u32(IFLA_MTU, mtu);
        })
    }

    /// Sets the hardware address.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn set_mac(&self, index: u32, mac: Mac) -> Result<()> {
        self.change("set the hardware address of", index, |m| {
            m.attr(IFLA_ADDRESS, &mac);
        })
    }

    /// Writes words on an interface.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn set_alias(&self, index: u32, words: &str) -> Result<()> {
        self.change("set the alias of", index, |m| {
            m.text(IFLA_IFALIAS, words);
        })
    }

    /// Makes it a port of a bridge, or (`None`) of none.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn set_master(&self, index: u32, master: Option<u32>) -> Result<()> {
        self.change("set the bridge of", index, |m| {
            m.u32(IFLA_MASTER, master.unwrap_or(0));
        })
    }

    /// Renames an interface (it must be down on older kernels).
    ///
    /// # Errors
    /// When the name is taken, or the kernel refuses.
    pub fn set_name(&self, index: u32, name: &str) -> Result<()> {
        self.change("rename", index, |m| {
            m.text(IFLA_IFNAME, name);
        })
    }

    /// Moves an interface into another namespace.
    ///
    /// # Errors
    /// When its name is taken there, or the kernel refuses.
    pub fn move_to_ns(&self, index: u32, ns: &NetNs) -> Result<()> {
        self.change("move", index, |m| {
            m.u32(IFLA_NET_NS_FD, ns.as_fd().as_raw_fd() as u32);
        })
    }

    /// Sets a bridge port's `isolated` (ports that have it do not hear each other) and hairpin flags.
    ///
    /// # Errors
    /// When it is no bridge port, or the kernel refuses.
    pub fn set_bridge_port(&self, index: u32, isolated: bool, hairpin: bool) -> Result<()> {
        let mut fixed = info(index, 0, 0);
        fixed[0] = libc::AF_BRIDGE as u8;
        let mut m = Message::new(RTM_SETLINK, 0, &fixed);
        let port = m.nest(IFLA_PROTINFO | NESTED);
        m.u8(IFLA_BRPORT_MODE, u8::from(hairpin)).u8(IFLA_BRPORT_ISOLATED, u8::from(isolated));
        m.end(port);
        self.ask("set bridge port flags of", &format!("link {index}"), m)
    }
}

fn ends(m: &mut Message, mtu: Option<u32>, mac: Option<Mac>) {
    if let Some(mtu) = mtu {
        m.u32(IFLA_MTU, mtu);
    }
    if let Some(mac) = mac {
        m.attr(IFLA_ADDRESS, &mac);
    }
}
