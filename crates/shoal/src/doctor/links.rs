//! Uplinks: their MTU, what they do themselves, and the way to the other nodes.
use kernel::netlink::{Link, Netlink};
use kernel::offload::Offload;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use std::net::{IpAddr, UdpSocket};
use wire::engine::diagnosis::Finding;

/// A tunnel's headers: IPv4, UDP, VXLAN, Ethernet.
const OVERHEAD: u32 = 50;
const USUAL: u32 = 1500;
const SMALLEST: u32 = 1280 + OVERHEAD;

pub(super) fn examine(peers: &[IpAddr]) -> Vec<Finding> {
    let mut findings = Vec::new();
    match uplinks() {
        Ok(links) if links.is_empty() => findings.push(Finding::warning(
            "uplink",
            "no default route and no device with an address",
            "give --advertise-addr to `swarm init` or `swarm join`",
        )),
        Ok(links) => {
            for link in links {
                findings.push(mtu(&link.name, link.mtu));
                findings.extend(offloads(&link.name));
            }
        }
        Err(e) => findings.push(Finding::error("uplink", e.to_string(), "run as root")),
    }
    findings.extend(peers.iter().map(|peer| path(*peer)));
    findings
}

/// The devices of default routes; without one, those with an address that others can reach.
fn uplinks() -> Result<Vec<Link>, kernel::netlink::NetlinkError> {
    let netlink = Netlink::open()?;
    let links = netlink.links()?;
    let mut wanted: Vec<u32> = netlink.routes()?.iter().filter(|r| r.is_default()).filter_map(|r| r.index).collect();
    if wanted.is_empty() {
        wanted = netlink.addresses()?.iter().filter(|a| !a.addr.is_loopback()).map(|a| a.index).collect();
    }
    let ours = |l: &Link| {
        let begins = ["docker", "br-", "ve"].iter().any(|word| l.name.starts_with(word));
        begins || l.kind.as_deref() == Some("vxlan")
    };
    Ok(links.into_iter().filter(|l| wanted.contains(&l.index) && l.up && !l.loopback && !ours(l)).collect())
}

fn mtu(name: &str, mtu: u32) -> Finding {
    let check = format!("MTU of {name}");
    if mtu < SMALLEST {
        let fix = format!("`ip link set {name} mtu {USUAL}`, if the network behind it bears that");
        return Finding::error(&check, format!("{mtu}: too small for IPv6 in a tunnel"), fix);
    }
    if mtu < USUAL {
        let inside = mtu - OVERHEAD;
        let fix = format!(
            "nothing, if the network bears no more: overlays are given {inside}. Else `ip link set {name} mtu {USUAL}`"
        );
        return Finding::warning(&check, format!("{mtu}, so {inside} inside overlays"), fix);
    }
    Finding::good(&check, format!("{mtu}, so {} inside overlays", mtu - OVERHEAD))
}

fn offloads(name: &str) -> Option<Finding> {
    let all = [Offload::TxChecksum, Offload::RxChecksum, Offload::SegmentLate, Offload::ReceiveJoin];
    // A device that cannot tell (a bridge, a dummy) does no work of its own.
    let off: Vec<Offload> = all.into_iter().filter(|o| matches!(o.is_on(name), Ok(false))).collect();
    let check = format!("offload of {name}");
    if off.is_empty() {
        return Some(Finding::good(&check, "checksums and segmentation are the device's"));
    }
    let names: Vec<&str> = off.iter().map(|o| o.name()).collect();
    let switches: Vec<String> = off.iter().map(|o| format!("{} on", o.switch())).collect();
    Some(Finding::warning(
        &check,
        format!("{} off: more work for the processors", names.join(", ")),
        format!("`ethtool -K {name} {}`", switches.join(" ")),
    ))
}

/// What the kernel knows of the path to another node.
fn path(peer: IpAddr) -> Finding {
    let check = format!("path to {peer}");
    match path_mtu(peer) {
        Ok(mtu) if mtu < SMALLEST => {
            Finding::error(&check, format!("MTU {mtu}"), "find the hop with the small MTU: `tracepath` to that node")
        }
        Ok(mtu) => Finding::good(&check, format!("MTU {mtu}")),
        Err(e) => Finding::error(&check, format!("no way there: {e}"), format!("look at `ip route get {peer}`")),
    }
}

fn path_mtu(peer: IpAddr) -> std::io::Result<u32> {
    let own: IpAddr = if peer.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((own, 0))?;
    socket.connect((peer, 9))?;
    // Nothing is sent: the kernel is asked what it has learnt.
    let mtu = if peer.is_ipv4() {
        let _ = setsockopt(&socket, sockopt::Ipv4Ttl, &64);
        getsockopt(&socket, sockopt::IpMtu)?
    } else {
        return Ok(USUAL);
    };
    u32::try_from(mtu).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_is_judged_by_what_is_left_inside() {
        for (size, level) in [(9000, "ok"), (1500, "ok"), (1450, "warning"), (1400, "warning"), (1300, "error")] {
            assert_eq!(mtu("eth0", size).level, level, "{size}");
        }
        assert!(mtu("eth0", 1450).found.contains("1400 inside"));
    }

    #[test]
    fn the_path_to_oneself_is_known() {
        assert!(path_mtu([127, 0, 0, 1].into()).unwrap() >= 1500);
    }
}
