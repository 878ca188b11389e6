//! Managers on loopback, and nodes that only talk.
#![allow(dead_code)]
use cluster::channel::{Channel, ChannelError, JoinOptions, Session, join};
use manager::{InitOptions, Manager};
use model::{
    Availability, ClusterSpec, ContainerSpec, Directory, NodeDescription, NodeId, ServiceMode, ServiceSpec, TaskId,
    TaskState, TaskStatus,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use wire::agent::{Assignment, FromNode, ToNode, TunnelRequest};

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub fn init(dir: &Path) -> InitOptions {
    InitOptions {
        dir: dir.to_owned(),
        listen: SocketAddr::new(LOOPBACK, 0),
        advertise: SocketAddr::new(LOOPBACK, 0),
        data_path_addr: None,
        data_path_port: 0,
        spec: ClusterSpec::default(),
        default_addr_pool: Vec::new(),
        subnet_size: 0,
        availability: Availability::Active,
        hostname: "boss".into(),
        force_new_cluster: false,
    }
}

pub async fn swarm() -> (TempDir, Manager) {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::bootstrap(init(dir.path())).await.unwrap();
    (dir, manager)
}

pub fn wish(manager: &Manager, token: &str, dir: &Path, hostname: &str) -> JoinOptions {
    JoinOptions {
        managers: vec![manager.listen_addr()],
        token: token.into(),
        hostname: hostname.into(),
        data_path_addr: None,
        advertise_addr: None,
        availability: Availability::Active,
        dir: dir.join("certificates"),
    }
}

/// A worker that obeys: it says of every task what is wanted of it.
pub struct Worker {
    pub dir: TempDir,
    pub channel: Channel,
    pub id: NodeId,
    pub seen: Arc<Mutex<Seen>>,
    task: Option<AbortOnDropHandle<()>>,
}

/// What a node has been told.
#[derive(Default)]
pub struct Seen {
    pub welcome: u32,
    pub heard: u32,
    pub directory: Directory,
    pub deltas: u32,
    pub work: BTreeMap<TaskId, Assignment>,
    pub sequence: u64,
    /// So many are here.
    pub secrets: usize,
    pub all_applied: u64,
    pub tunnels: Vec<(u64, TunnelRequest)>,
    pub disconnected: Option<(String, bool)>,
    pub ended: bool,
}

impl Worker {
    pub async fn join(manager: &Manager, hostname: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = manager.control().join_tokens().unwrap().worker;
        let (credentials, answer) = join(&wish(manager, &token, dir.path(), hostname)).await.unwrap();
        let id = answer.node.clone();
        assert_eq!(credentials.peer().node, id);
        let channel = Channel::new(credentials, answer.managers);
        Self { dir, channel, id, seen: Arc::default(), task: None }
    }

    /// Opens a session and obeys; `beat`: also sends heartbeats.
    pub async fn work(&mut self, beat: bool) -> Result<(), ChannelError> {
        let session = self.channel.session().await?;
        self.task = Some(AbortOnDropHandle::new(tokio::spawn(obey(session, self.seen.clone(), "worker", beat))));
        Ok(())
    }

    /// Falls silent without a word.
    pub fn fall_silent(&mut self) {
        self.task = None;
    }
}

/// A node that obeys, on any session.
pub async fn obey(session: Session, seen: Arc<Mutex<Seen>>, hostname: &str, beat: bool) {
    let Session { send, mut receive, .. } = session;
    let description = NodeDescription { hostname: hostname.into(), ..Default::default() };
    let hello = FromNode::Hello { description, data_path_addr: Some([10, 9, 0, 1].into()), directory: 0 };
    if send.send(hello).await.is_err() {
        return;
    }
    let mut beats = tokio::time::interval(Duration::from_millis(300));
    loop {
        tokio::select! {
            _ = beats.tick(), if beat => {
                let applied = seen.lock().unwrap().directory.revision;
                let _ = send.send(FromNode::Heartbeat { applied, digest: 7, repaired: 0 }).await;
            }
            message = receive.recv() => match message {
                None => break,
                Some(m) => hear(m, &seen, &send).await,
            }
        }
    }
    seen.lock().unwrap().ended = true;
}

async fn hear(message: ToNode, seen: &Arc<Mutex<Seen>>, send: &mpsc::Sender<FromNode>) {
    let mut answers = Vec::new();
    {
        let mut s = seen.lock().unwrap();
        match message {
            ToNode::Welcome { .. } => s.welcome += 1,
            ToNode::Heard => s.heard += 1,
            ToNode::Directory(d) => {
                answers.push(FromNode::Applied(d.revision));
                s.directory = d;
            }
            ToNode::DirectoryDelta(d) => {
                s.directory.apply(d).unwrap();
                s.deltas += 1;
                answers.push(FromNode::Applied(s.directory.revision));
            }
            ToNode::Assignments(a) => {
                if a.sequence == 1 {
                    s.work.clear();
                } else {
                    assert_eq!(a.sequence, s.sequence + 1);
                }
                s.sequence = a.sequence;
                for secret in a.secrets.values() {
                    if secret.is_some() { s.secrets += 1 } else { s.secrets -= 1 }
                }
                let mut told = Vec::new();
                for (id, work) in a.tasks {
                    match work {
                        Some(w) => {
                            told.push((id.clone(), wanted(&w)));
                            s.work.insert(id, w);
                        }
                        None => drop(s.work.remove(&id)),
                    }
                }
                answers.push(FromNode::Status(told));
            }
            // A new leader learns it anew.
            ToNode::AllApplied(r) => s.all_applied = r.max(s.all_applied),
            ToNode::OpenTunnel { id, request } => s.tunnels.push((id, request)),
            ToNode::Disconnect { why, removed } => s.disconnected = Some((why, removed)),
            ToNode::Node { .. } | ToNode::Managers(_) | ToNode::Renew => {}
        }
    }
    for a in answers {
        let _ = send.send(a).await;
    }
}

fn wanted(w: &Assignment) -> TaskStatus {
    let state = if w.task.desired.wants_to_run() { TaskState::Running } else { TaskState::Shutdown };
    TaskStatus { state, message: "obeyed".into(), ready: state == TaskState::Running, ..Default::default() }
}

pub async fn eventually(what: &str, within: Duration, f: impl Fn() -> bool) {
    let end = Instant::now() + within;
    while !f() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn service(name: &str, replicas: u64) -> ServiceSpec {
    let container = ContainerSpec { image: "busybox".into(), ..Default::default() };
    ServiceSpec {
        name: name.into(),
        task: model::TaskSpec { container: Some(container), ..Default::default() },
        mode: ServiceMode::Replicated { replicas },
        ..Default::default()
    }
}
