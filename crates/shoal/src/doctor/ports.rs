//! The ports that a swarm needs: free, or held by this daemon itself.
use super::Subject;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use wire::engine::diagnosis::Finding;

const CONTROL: u16 = 2377;

pub(super) fn examine(subject: &Subject) -> Vec<Finding> {
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let control = match kernel::socket::listen_tcp(any(CONTROL)) {
        Ok(_) if subject.manager => {
            Finding::error("port 2377/tcp", "this manager does not listen", "restart the daemon, and look into its log")
        }
        Ok(_) => Finding::good("port 2377/tcp", "free, for managers"),
        Err(_) if subject.manager => Finding::good("port 2377/tcp", "held by this manager"),
        Err(e) => taken("port 2377/tcp", CONTROL, &e, Table::Tcp),
    };
    let port = subject.tunnel_port;
    let check = format!("port {port}/udp");
    let tunnel = match kernel::socket::bind_udp(any(port)) {
        Ok(_) if subject.in_swarm => {
            let fix = "restart the daemon: the tunnel's device `shoal.vxlan` is gone";
            Finding::error(&check, "no tunnel listens, overlays do not reach other nodes", fix)
        }
        Ok(_) => Finding::good(&check, "free, for overlay networks"),
        Err(_) if subject.in_swarm => Finding::good(&check, "held by this node's tunnel"),
        Err(e) => taken(&check, port, &e, Table::Udp),
    };
    vec![control, tunnel]
}

fn taken(check: &str, port: u16, error: &io::Error, table: Table) -> Finding {
    let who = match holder(port, table) {
        Some((pid, name)) => format!("held by {name} (process {pid})"),
        // A tunnel's device holds its port without a process.
        None if table == Table::Udp => "held by a device of the kernel: `ip -d link show type vxlan` names it".into(),
        None => error.to_string(),
    };
    let fix = match table {
        Table::Tcp => "stop that program, or begin the swarm with --listen-addr on another port".to_owned(),
        Table::Udp => "stop that program, or begin the swarm with --data-path-port on another port".to_owned(),
    };
    Finding::error(check, who, fix)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Tcp,
    Udp,
}

/// The process that has a socket on a port.
fn holder(port: u16, table: Table) -> Option<(u32, String)> {
    let files = match table {
        Table::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Table::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let inode = files.iter().find_map(|file| inode_of(&std::fs::read_to_string(file).ok()?, port, table))?;
    let wanted = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(fds) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let has = |fd: std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|to| to == Path::new(&wanted));
        if fds.flatten().any(has) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}

/// The inode of the socket on a port: of a TCP table only what listens.
fn inode_of(text: &str, port: u16, table: Table) -> Option<u64> {
    const LISTEN: &str = "0A";
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let own = fields.get(1)?.rsplit_once(':')?.1;
        let listens = table == Table::Udp || *fields.get(3)? == LISTEN;
        (listens && u16::from_str_radix(own, 16) == Ok(port)).then(|| fields.get(9)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ports_holder_is_found() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000:0949 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n   1: 0100007F:0950 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        assert_eq!(inode_of(text, 2377, Table::Tcp), Some(4711));
        assert_eq!(inode_of(text, 2384, Table::Tcp), None, "a connection is no listener");
        assert_eq!(inode_of(text, 2384, Table::Udp), Some(4712));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (pid, _) = holder(listener.local_addr().unwrap().port(), Table::Tcp).unwrap();
        assert_eq!(pid, std::process::id());
    }
}
