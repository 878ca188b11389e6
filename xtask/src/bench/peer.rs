//! The peer: dockerd on two nodes.
use super::engine::Engine;
use super::figures::Of;
use super::stand::Stand;
use anyhow::Result;
use std::path::Path;

/// How dockerd is started, besides its directories.
pub const DOCKERD: [&str; 3] = ["dockerd", "--storage-driver", "overlay2"];

/// The nodes; they go when this is dropped.
pub struct Peer {
    _nodes: Vec<Stand>,
}

/// Whether the kernel can do what dockerd balances with.
fn has_ipvs() -> bool {
    Path::new("/proc/net/ip_vs").exists()
}

impl Peer {
    /// Starts a daemon in each of the namespaces in `seats`.
    pub fn raise(seats: &[usize], work: &Path) -> Result<(Self, Engine)> {
        let (mut stands, mut nodes) = (Vec::new(), Vec::new());
        for (i, seat) in seats.iter().enumerate() {
            let mut stand = Stand::new(*seat, &format!("peer-{}", i + 1), work, &DOCKERD)?;
            nodes.push(stand.start()?.0);
            stands.push(stand);
        }
        Ok((Self { _nodes: stands }, Engine { of: Of::Docker, nodes, balances: has_ipvs() }))
    }
}
