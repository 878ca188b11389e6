//! What of this machine stands in a swarm's way: each finding says what is there and what to do about it.
//!
//! Looking changes nothing: devices are tried out in a namespace of their own that goes away with the question.
mod clock;
mod firewall;
mod kernel_features;
mod links;
mod ports;
mod resources;

use std::net::IpAddr;
use std::path::PathBuf;
use wire::engine::diagnosis::Finding;

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The daemon's disk.
    pub data_root: PathBuf,
    /// Whether this process is the daemon, and part of a swarm: then it holds the swarm's ports itself.
    pub in_swarm: bool,
    /// Whether it is a manager.
    pub manager: bool,
    /// The port of the tunnels.
    pub tunnel_port: u16,
    /// The other nodes.
    pub peers: Vec<IpAddr>,
}

impl Subject {
    /// This machine, without a daemon.
    pub fn alone() -> Self {
        Self { data_root: "/var/lib/shoal".into(), tunnel_port: 4789, ..Self::default() }
    }
}

/// Looks at everything. Blocks for as long as it takes, seconds at most.
pub fn examine(subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(kernel_features::examine());
    findings.extend(resources::cgroups());
    findings.extend(resources::disk(&subject.data_root));
    findings.extend(resources::limits());
    findings.extend(ports::examine(subject));
    findings.extend(links::examine(&subject.peers));
    findings.extend(firewall::examine());
    findings.push(clock::examine());
    findings
}

/// For the command line, when no daemon answers.
pub fn alone() -> Vec<Finding> {
    examine(&Subject::alone())
}
