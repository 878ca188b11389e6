//! The bare kernel: namespaces on a bridge without an uplink, and the two ways of tunnelling between them that need no
//! engine. The peer's nodes stand on it too.
use crate::program;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// All of ours begin so.
const PREFIX: &str = "shoal-bench-";
const SWITCH: &str = "shoal-bench-switch";
/// Where the server listens, on every path.
pub const PORT: &str = "7000";

/// The namespaces; they go when this is dropped.
pub struct Ground {
    servers: Vec<Child>,
}

/// A way between the two bare namespaces.
#[derive(Clone, Copy)]
pub struct Path2 {
    /// What it is made of.
    pub name: &'static str,
    /// Where one stands.
    pub from: &'static str,
    /// Where the server answers.
    pub to: &'static str,
}

/// The ways, the barest first.
pub const PATHS: [Path2; 3] = [
    Path2 { name: "veth and bridge, no tunnel", from: "shoal-bench-1", to: "10.99.0.12" },
    Path2 { name: "addresses on a VXLAN device", from: "shoal-bench-1", to: "10.98.0.12" },
    Path2 { name: "veth, bridge, VXLAN, bridge, veth", from: "shoal-bench-c1", to: "10.97.0.12" },
];

/// The namespace of node `i`.
pub fn namespace(i: usize) -> String {
    format!("{PREFIX}{i}")
}

/// Its address on the switch.
pub fn address(i: usize) -> String {
    format!("10.99.0.1{i}")
}

impl Ground {
    /// Lays the switch and `nodes` namespaces; tunnels between the first two, and servers in the second of each pair.
    pub fn lay(nodes: usize, load: &Path, cpu: &str) -> Result<Self> {
        sweep();
        let mut ground = Self { servers: Vec::new() };
        sh(&format!(
            "ip netns add {SWITCH}; ip -n {SWITCH} link set lo up
             ip -n {SWITCH} link add br0 type bridge stp_state 0 forward_delay 0; ip -n {SWITCH} link set br0 up"
        ))?;
        for i in 1..=nodes {
            let (ns, address) = (namespace(i), address(i));
            sh(&format!(
                "ip netns add {ns}; ip -n {ns} link set lo up
                 ip -n {ns} link add eth0 type veth peer name v{i} netns {SWITCH}
                 ip -n {SWITCH} link set v{i} master br0 up
                 ip -n {ns} addr add {address}/24 dev eth0; ip -n {ns} link set eth0 up
                 ip netns exec {ns} sysctl -qw net.ipv4.ip_forward=1"
            ))?;
        }
        for (i, other) in [(1, 2), (2, 1)] {
            let (ns, c) = (namespace(i), format!("{PREFIX}c{i}"));
            let tunnel = format!("dstport 4790 local {} remote {} dev eth0", address(i), address(other));
            sh(&format!(
                "ip -n {ns} link add vx type vxlan id 4100 {tunnel}
                 ip -n {ns} addr add 10.98.0.1{i}/24 dev vx; ip -n {ns} link set vx mtu 1450 up
                 ip netns add {c}; ip -n {c} link set lo up
                 ip -n {ns} link add br0 type bridge stp_state 0 forward_delay 0; ip -n {ns} link set br0 up
                 ip -n {ns} link add vxb type vxlan id 4101 {tunnel}; ip -n {ns} link set vxb mtu 1450 master br0 up
                 ip -n {c} link add eth0 mtu 1450 type veth peer name vc netns {ns} mtu 1450
                 ip -n {ns} link set vc master br0 up
                 ip -n {c} addr add 10.97.0.1{i}/24 dev eth0; ip -n {c} link set eth0 up"
            ))?;
        }
        for ns in ["shoal-bench-2", "shoal-bench-c2"] {
            let mut server = Command::new("ip");
            server.args(["netns", "exec", ns]).arg(load).args(["-c", cpu, "serve", PORT]).stdin(Stdio::null());
            ground.servers.push(server.spawn()?);
        }
        Ok(ground)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // Ended already is as good.
            let _ = server.kill();
            let _ = server.wait();
        }
        sweep();
    }
}

/// Takes away what a run left, this one or one that was killed.
pub fn sweep() {
    let list = program::output(Path::new("/"), &["ip", "netns", "list"]).unwrap_or_default();
    for ns in list.lines().filter_map(|l| l.split(' ').next()).filter(|n| n.starts_with(PREFIX)) {
        // Servers of a run that was killed keep a namespace alive that no longer has a name.
        let pids = program::output(Path::new("/"), &["ip", "netns", "pids", ns]).unwrap_or_default();
        for pid in pids.lines() {
            let _ = program::output(Path::new("/"), &["kill", "-9", pid]);
        }
        let _ = program::output(Path::new("/"), &["ip", "netns", "del", ns]);
    }
}

/// A few lines of shell, which must all work.
pub fn sh(script: &str) -> Result<()> {
    let out = Command::new("sh").args(["-ec", script]).stdin(Stdio::null()).output()?;
    if !out.status.success() {
        bail!("{}\n  in: {script}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}
