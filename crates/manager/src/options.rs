//! What a new swarm is made of, and why it is not made.
use cluster::ca::{CaError, CredentialsError, LockError};
use cluster::raft::OpenError;
use model::{Availability, ClusterSpec, Subnet};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use wire::Refusal;

/// Docker's default tunnel port.
pub const DATA_PATH_PORT: u16 = 4789;
const DATA_PATH_PORTS: std::ops::RangeInclusive<u16> = 1024..=49151;
/// Docker's default prefix length of a network's subnet.
pub const SUBNET_SIZE: u8 = 24;
const SUBNET_SIZE_MAX: u8 = 29;

/// `swarm init`.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// `<data-root>/swarm`.
    pub dir: PathBuf,
    /// Where to listen (`0.0.0.0:2377`); port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where others find this manager. Port 0: the port that is listened on.
    pub advertise: SocketAddr,
    /// Address of this node's tunnel endpoint; `None`: the advertised one.
    pub data_path_addr: Option<IpAddr>,
    /// UDP port of the tunnels; 0: 4789.
    pub data_path_port: u16,
    /// Settings of the swarm.
    pub spec: ClusterSpec,
    /// Pools for overlay subnets; empty: `10.0.0.0/8`.
    pub default_addr_pool: Vec<Subnet>,
    /// Prefix length cut from the pools; 0: 24.
    pub subnet_size: u8,
    /// Wished availability of this node.
    pub availability: Availability,
    /// Hostname of this node.
    pub hostname: String,
    /// Make a swarm of one out of what this manager still knows.
    pub force_new_cluster: bool,
}

/// Why there is no swarm.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The options.
    #[error(transparent)]
    Options(Refusal),
    /// There is one already.
    #[error(
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one."
    )]
    Exists,
    /// The listening port.
    #[error("failed to listen on remote API address: listen tcp {addr}: bind: {why}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why, in Go's words.
        why: String,
    },
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Raft.
    #[error(transparent)]
    Raft(#[from] OpenError),
    /// Certificates.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Credentials on disk.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Keys.
    #[error(transparent)]
    Lock(LockError),
    /// A backup.
    #[error("the backup cannot be used: {0}")]
    Backup(String),
    /// The others did not take this manager in.
    #[error("{0}")]
    NotTaken(String),
    /// The first rows.
    #[error("the swarm's first objects cannot be written: {0}")]
    Rows(String),
}

impl From<LockError> for InitError {
    fn from(e: LockError) -> Self {
        Self::Lock(e)
    }
}

impl From<InitError> for Refusal {
    fn from(e: InitError) -> Self {
        match e {
            InitError::Options(r) => r,
            InitError::Lock(LockError::WrongKey) => Refusal::unauthorized(e.to_string()),
            InitError::Lock(LockError::NotAKey) | InitError::Backup(_) => Refusal::invalid(e.to_string()),
            InitError::Exists | InitError::NotTaken(_) | InitError::Lock(LockError::Locked) => {
                Refusal::unavailable(e.to_string())
            }
            _ => Refusal::internal(e.to_string()),
        }
    }
}

impl InitOptions {
    /// Fills in the defaults and checks the rest.
    pub(crate) fn checked(mut self) -> Result<Self, InitError> {
        let refuse = |text: String| Err(InitError::Options(Refusal::invalid(text)));
        if self.data_path_port == 0 {
            self.data_path_port = DATA_PATH_PORT;
        }
        if !DATA_PATH_PORTS.contains(&self.data_path_port) {
            return refuse(format!(
                "Datapath port number is not in valid range (1024-49151) : {}",
                self.data_path_port
            ));
        }
        if self.subnet_size == 0 {
            self.subnet_size = SUBNET_SIZE;
        }
        if self.subnet_size > SUBNET_SIZE_MAX {
            return refuse(format!("subnet size is out of range: {}", self.subnet_size));
        }
        if self.default_addr_pool.is_empty() {
            self.default_addr_pool = vec![Subnet { base: [10, 0, 0, 0].into(), prefix: 8 }];
        }
        for pool in &self.default_addr_pool {
            if pool.base.is_ipv4() && pool.prefix > self.subnet_size {
                return refuse(format!("Subnet size is too small for pool: {}", self.subnet_size));
            }
        }
        if self.advertise.ip().is_unspecified() {
            return refuse("advertise address must be a non-zero IP address".into());
        }
        self.spec.name = "default".into();
        crate::control::check_settings(&self.spec).map_err(InitError::Options)?;
        if !self.spec.signing_ca_cert.is_empty() {
            return Err(InitError::Options(Refusal::unimplemented(
                "a root certificate of your own is not taken when a swarm begins: rotate to it afterwards with docker swarm ca --rotate --ca-cert FILE --ca-key FILE",
            )));
        }
        Ok(self)
    }
}

/// What a manager must know of itself when it starts again; kept in `manager.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where others find it.
    pub advertise: SocketAddr,
    /// Whether that was an address of this machine itself, not one that somebody translates.
    #[serde(default)]
    pub own: bool,
}

/// Whether this machine has that address.
fn is_own(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

impl Place {
    pub(crate) fn new(listen: SocketAddr, advertise: SocketAddr) -> Self {
        Self { listen, advertise, own: is_own(advertise.ip()) }
    }

    /// Whether the machine has lost the address that others know it by.
    pub(crate) fn has_moved(&self) -> bool {
        self.own && !is_own(self.advertise.ip())
    }

    /// The machine's new address. One that was listened on alone goes with it.
    pub(crate) fn move_to(&mut self, ip: IpAddr) {
        if !self.listen.ip().is_unspecified() && !is_own(self.listen.ip()) {
            self.listen.set_ip(ip);
        }
        self.advertise.set_ip(ip);
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<(), InitError> {
        let path = dir.join("manager.json");
        let fresh = dir.join("manager.json.new");
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let write = || std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path));
        write().map_err(|source| InitError::File { path: path.clone(), source })
    }

    pub(crate) fn load(dir: &Path) -> Result<Self, InitError> {
        let path = dir.join("manager.json");
        let read = || Ok(serde_json::from_slice(&std::fs::read(&path)?)?);
        read().map_err(|source| InitError::File { path: path.clone(), source })
    }
}

/// Where the pieces are below `<data-root>/swarm`.
pub(crate) fn certificates(dir: &Path) -> PathBuf {
    dir.join("certificates")
}

/// The raft file.
pub(crate) fn raft_file(dir: &Path) -> PathBuf {
    dir.join("raft.redb")
}
