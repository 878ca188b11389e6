//! Against the real kernel, in namespaces of the test's own.
use super::*;

fn own() -> (NetNs, Netlink) {
    let ns = NetNs::anonymous().unwrap();
    let n = Netlink::open_in(&ns).unwrap();
    (ns, n)
}

#[test]
fn a_bridge_with_a_port_in_another_namespace_carries_traffic() {
    let (ns, here) = own();
    let (other_ns, there) = own();
    let bridge = here.add_bridge("br0", Some([2, 0, 0, 0, 0, 1])).unwrap();
    assert_eq!(here.add_bridge("br0", None).unwrap().index, bridge.index);
    let spec = VethSpec {
        name: "va",
        peer: "eth0",
        peer_ns: Some(&other_ns),
        mtu: Some(1400),
        mac: Some([2, 0, 0, 0, 0, 2]),
        peer_mac: Some([2, 0, 0, 0, 0, 3]),
    };
    let near = here.add_veth(&spec).unwrap();
    assert!(near.peer_elsewhere && near.mtu == 1400 && near.mac == spec.mac);
    let far = there.link("eth0").unwrap();
    assert_eq!((far.mac, far.mtu, near.peer), (spec.peer_mac, 1400, Some(far.index)));
    here.set_master(near.index, Some(bridge.index)).unwrap();
    here.set_bridge_port(near.index, true, false).unwrap();
    for (n, i) in [(&here, bridge.index), (&here, near.index), (&there, far.index)] {
        n.set_up(i).unwrap();
    }
    let (a, b): (IpAddr, IpAddr) = ("10.9.0.1".parse().unwrap(), "10.9.0.2".parse().unwrap());
    here.add_address(bridge.index, a, 24).unwrap();
    here.add_address(bridge.index, a, 24).unwrap();
    there.add_address(far.index, b, 24).unwrap();
    let default = Route::default_via(a, far.index);
    there.add_route(&default).unwrap();
    there.add_route(&default).unwrap();
    let routes = there.routes().unwrap();
    assert!(routes.iter().any(|r| r.is_default() && r.gateway == Some(a)), "{routes:?}");
    assert!(routes.iter().any(|r| r.dst == ("10.9.0.0".parse().unwrap(), 24)), "{routes:?}");

    let listener = ns.run(|| std::net::TcpListener::bind((a, 80))).unwrap().unwrap();
    other_ns.run(|| std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()).unwrap();

    there.del_route(&default).unwrap();
    there.del_route(&default).unwrap();
    here.del_address(bridge.index, a, 24).unwrap();
    here.del_address(bridge.index, a, 24).unwrap();
    here.del_link("va").unwrap();
    here.del_link("va").unwrap();
    assert!(there.link_by_name("eth0").unwrap().is_none());
}

#[test]
fn ipv6_addresses_work_at_once() {
    let (ns, n) = own();
    let d = n.add_bridge("d0", None).unwrap();
    n.set_up(d.index).unwrap();
    let a: IpAddr = "fd00::1".parse().unwrap();
    n.add_address(d.index, a, 64).unwrap();
    ns.run(|| std::net::TcpListener::bind((a, 0)).unwrap()).unwrap();
    n.add_route(&Route::default_via("fd00::2".parse().unwrap(), d.index)).unwrap();
    assert!(n.routes().unwrap().iter().any(|r| r.is_default() && r.dst.0.is_ipv6()));
    n.add_neighbour(d.index, "fd00::2".parse().unwrap(), [2, 0, 0, 0, 0, 9]).unwrap();
    let seen = n.neighbours().unwrap();
    assert!(seen.iter().any(|x| x.permanent && x.mac == Some([2, 0, 0, 0, 0, 9])), "{seen:?}");
    n.del_neighbour(d.index, "fd00::2".parse().unwrap()).unwrap();
}

#[test]
fn two_external_vxlans_on_one_port_are_refused_and_the_error_names_the_link() {
    let (_ns, n) = own();
    let first = n.add_vxlan_external("vx0", 4789).unwrap();
    n.set_up(first.index).unwrap();
    let error = n.add_vxlan_external("vx1", 4789).and_then(|l| n.set_up(l.index)).unwrap_err();
    assert!(error.to_string().contains("vx1") || error.to_string().contains("link"), "{error}");
    let taken = n.add_bridge("vx0", None).unwrap_err();
    assert_eq!((taken.errno(), taken.object.as_str()), (libc::EEXIST, "vx0"));
    assert!(n.set_up(9999).unwrap_err().is_not_found());
}

#[test]
fn links_are_renamed_and_moved() {
    let (_a, here) = own();
    let (b, there) = own();
    let d = here.add_veth(&VethSpec { name: "d0", peer: "p0", ..VethSpec::default() }).unwrap();
    here.set_mtu(d.index, 1280).unwrap();
    here.set_mac(d.index, [2, 1, 1, 1, 1, 1]).unwrap();
    here.set_name(d.index, "d1").unwrap();
    here.move_to_ns(d.index, &b).unwrap();
    assert!(here.link_by_index(d.index).unwrap().is_none());
    let l = there.link("d1").unwrap();
    assert_eq!((l.mtu, l.mac, l.up), (1280, Some([2, 1, 1, 1, 1, 1]), false));
}
