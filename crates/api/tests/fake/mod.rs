//! A house without rooms behind the door: everything is in memory, and a container is a little function.
#![allow(dead_code)]
mod node_side;
mod swarm_side;

use api::backend::*;
use api::{Backends, Server};
use bytes::Bytes;
use model::*;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::engine::container::*;
use wire::engine::exec::ExecConfig;
use wire::engine::volume::Volume;

pub type Pipe = (Option<tokio::io::DuplexStream>, mpsc::UnboundedReceiver<(StdStream, Bytes)>);

/// A container, or an exec.
pub struct Process {
    pub id: String,
    pub name: String,
    pub config: ContainerConfig,
    pub host_config: HostConfig,
    pub exec: Option<(String, ExecConfig)>,
    pub created: Timestamp,
    pub exit: watch::Sender<Option<i64>>,
    pub started: bool,
    pub stdin: Option<tokio::io::DuplexStream>,
    pub outputs: Vec<mpsc::UnboundedSender<(StdStream, Bytes)>>,
    pub log: Arc<Mutex<Vec<(StdStream, Bytes)>>>,
}

#[derive(Default)]
pub struct State {
    pub processes: BTreeMap<String, Process>,
    pub volumes: BTreeMap<String, Volume>,
    pub cluster: Option<Arc<Cluster>>,
    pub nodes: Vec<Arc<Node>>,
    pub services: Vec<Arc<Service>>,
    pub tasks: Vec<Arc<Task>>,
    pub networks: Vec<Arc<Network>>,
    pub secrets: Vec<Arc<Secret>>,
    pub configs: Vec<Arc<Config>>,
    pub role: SwarmRole,
    pub counter: u64,
    pub uploaded: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<State>>);

impl Fake {
    pub fn backends(&self) -> Backends {
        let f = Arc::new(self.clone());
        Backends {
            system: f.clone(),
            containers: f.clone(),
            execs: f.clone(),
            images: f.clone(),
            volumes: f.clone(),
            plugins: f.clone(),
            networks: f.clone(),
            swarm: f.clone(),
            nodes: f.clone(),
            services: f.clone(),
            diagnosis: f.clone(),
            tasks: f.clone(),
            secrets: f.clone(),
            configs: f,
        }
    }
    pub fn next(&self) -> u64 {
        let mut s = self.0.lock();
        s.counter += 1;
        s.counter
    }
    pub fn swarm_id<I: Id>(&self) -> I {
        let mut bytes = [7u8; 17];
        // Spread, so that ids differ from their first characters on.
        bytes[..8].copy_from_slice(&self.next().wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        I::from_random(bytes)
    }
    pub fn meta(&self) -> Meta {
        Meta { version: self.next(), created_at: now(), updated_at: now() }
    }
}

pub fn now() -> Timestamp {
    api::http::time::now()
}

/// A server on a unix socket of its own.
pub struct Running {
    pub fake: Fake,
    pub server: Server,
    pub socket: PathBuf,
    _dir: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn run() -> Running {
    run_with(|s| s)
}

pub fn run_with(change: impl FnOnce(Server) -> Server) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let fake = Fake::default();
    let server = change(Server::new(fake.backends()));
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(server.clone().serve_unix(listener, stop.clone()));
    Running { fake, server, socket, _dir: dir, stop }
}
