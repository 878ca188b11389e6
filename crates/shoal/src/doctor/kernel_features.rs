//! The kernel: its version, and the things that containers and overlays are made of, tried out.
use kernel::netlink::{Netlink, VethSpec};
use kernel::netns::NetNs;
use std::path::Path;
use wire::engine::diagnosis::Finding;

/// tc programs with the helpers that the packet road uses.
const OLDEST: (u32, u32) = (5, 10);

pub(super) fn examine() -> Vec<Finding> {
    let mut findings = vec![privileges(), version(&crate::daemon::engine::kernel_version())];
    findings.extend(file_systems(&std::fs::read_to_string("/proc/filesystems").unwrap_or_default()));
    findings.extend(devices());
    findings.push(programs());
    findings
}

fn privileges() -> Finding {
    if nix::unistd::geteuid().is_root() {
        Finding::good("privileges", "root")
    } else {
        Finding::error("privileges", "not root", "run the daemon, and this command, as root: `sudo shoal doctor`")
    }
}

fn version(text: &str) -> Finding {
    let mut numbers = text.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= OLDEST {
        return Finding::good("kernel", text);
    }
    Finding::error(
        "kernel",
        text,
        format!("Linux {}.{} or newer is needed: install a newer kernel", OLDEST.0, OLDEST.1),
    )
}

fn file_systems(known: &str) -> Vec<Finding> {
    let table =
        [("overlay", "images and containers", "overlay"), ("tmpfs", "secrets", ""), ("bpf", "the packet road", "")];
    let is_known = |name: &str| known.lines().any(|l| l.split_whitespace().next_back() == Some(name));
    table
        .into_iter()
        .map(|(name, what, module)| {
            let check = format!("file system {name}");
            if is_known(name) {
                return Finding::good(&check, format!("there, for {what}"));
            }
            let fix = match module {
                "" => format!("build the kernel with {name}"),
                module => format!("load it: `modprobe {module}`, and put {module} into /etc/modules-load.d"),
            };
            Finding::error(&check, format!("not there; {what} need it"), fix)
        })
        .collect()
}

/// Makes each kind of device, in a namespace that nobody else sees.
fn devices() -> Vec<Finding> {
    let (ns, far) = match (NetNs::anonymous(), NetNs::anonymous()) {
        (Ok(ns), Ok(far)) => (ns, far),
        (Err(e), _) | (_, Err(e)) => {
            let fix = "run as root, outside a container that may not make namespaces";
            return vec![Finding::error("network namespaces", e.to_string(), fix)];
        }
    };
    let tried = ns.run(|| {
        let netlink = Netlink::open()?;
        let spec = VethSpec { name: "a", peer: "b", peer_ns: Some(&far), mtu: None, mac: None, peer_mac: None };
        let veth = netlink.add_veth(&spec).map(drop);
        let bridge = netlink.add_bridge("c", None).map(drop);
        let vxlan = netlink.add_vxlan_external("d", 4789).map(drop);
        Ok::<_, kernel::netlink::NetlinkError>([
            ("veth", "containers", veth),
            ("bridge", "networks of one machine", bridge),
            ("vxlan", "overlay networks", vxlan),
        ])
    });
    let tried = match tried {
        Ok(Ok(tried)) => tried,
        Ok(Err(e)) => return vec![Finding::error("netlink", e.to_string(), "run as root")],
        Err(e) => return vec![Finding::error("network namespaces", e.to_string(), "run as root")],
    };
    let judge = |(kind, what, result): (&str, &str, Result<(), kernel::netlink::NetlinkError>)| {
        let check = format!("device {kind}");
        match result {
            Ok(()) => Finding::good(&check, format!("can be made, for {what}")),
            Err(e) => Finding::error(&check, e.to_string(), format!("load it: `modprobe {kind}`; {what} need it")),
        }
    };
    tried.into_iter().map(judge).collect()
}

/// eBPF: the file system for pins, and the type information that makes programs readable.
fn programs() -> Finding {
    let jit = std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").unwrap_or_default();
    match jit.trim() {
        "" if !Path::new("/sys/kernel/btf/vmlinux").exists() => Finding::warning(
            "eBPF",
            "the kernel does not say whether it compiles programs",
            "build the kernel with CONFIG_BPF_JIT, and CONFIG_DEBUG_INFO_BTF for tools",
        ),
        "0" => Finding::warning(
            "eBPF",
            "programs are interpreted, which costs throughput",
            "`sysctl -w net.core.bpf_jit_enable=1`, and put it into /etc/sysctl.d",
        ),
        _ => Finding::good("eBPF", "programs are compiled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (text, level) in
            [("6.1.0-18-amd64", "ok"), ("5.10.0", "ok"), ("5.9.16", "error"), ("4.19.0", "error"), ("", "error")]
        {
            assert_eq!(version(text).level, level, "{text}");
        }
    }

    #[test]
    fn a_missing_file_system_has_its_fix() {
        let found = file_systems("nodev\ttmpfs\nnodev\tbpf\n\text4\n");
        let levels: Vec<_> = found.iter().map(|f| (f.check.as_str(), f.level.as_str())).collect();
        assert_eq!(levels, [("file system overlay", "error"), ("file system tmpfs", "ok"), ("file system bpf", "ok")]);
        assert!(found[0].fix.contains("modprobe overlay"));
    }
}
