//! A manager's beginning and end.
use crate::backup::{self, Backup};
use crate::clock;
use crate::control::Control;
use crate::dispatcher::{Dispatcher, NodeReport, Tunnel};
use crate::driver;
use crate::first_rows::FirstRows;
use crate::members;
use crate::options::{InitError, InitOptions, Place, certificates, raft_file};
use crate::server::{self, EngineHandler, Server};
use cluster::Store;
use cluster::ca::{Credentials, KeyRing, Peer, RootCa, UnlockKey, crypto};
use cluster::channel::{Channel, ChannelError, PeerTransport, Session};
use cluster::raft::{self, Member, RaftOptions};
use model::{ClusterId, Node, NodeId, NodeRole, StoreAction, Tables};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Refusal;
use wire::agent::{JoinAnswer, ManagerPeer, TunnelRequest};

const LEAD_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
const SNAPSHOT_ENTRIES: u64 = 2000;
const MESSAGES_MAX: usize = 256;
/// A manager that had no room on its disk begins anew when it has so much: some snapshots and changes.
const ROOM_BYTES: usize = 4 << 20;

/// A running manager. Clones are handles; [`Manager::shutdown`] ends it for all.
#[derive(Clone)]
pub struct Manager {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    place: Place,
    store: Store,
    ring: KeyRing,
    credentials: Credentials,
    channel: Channel,
    dispatcher: Dispatcher,
    control: Control,
    server: Arc<Server>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Manager {
    /// `swarm init`: a new swarm with this manager in it. When it fails, nothing of it is left.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn bootstrap(options: InitOptions) -> Result<Self, InitError> {
        let options = options.checked()?;
        if raft::exists(&raft_file(&options.dir)) {
            if options.force_new_cluster {
                let ring = KeyRing::open(&options.dir, None)?;
                let credentials = Credentials::load(&certificates(&options.dir), Some(ring.data_key()))?;
                return Self::force_new(options, ring, Channel::new(credentials, Vec::new())).await;
            }
            return Err(InitError::Exists);
        }
        // The port first: it is what most often stands in the way.
        let listener = server::bind(options.listen).await?;
        let made = Self::make(&options, listener).await;
        if made.is_err() {
            remove_files(&options.dir);
        }
        made
    }

    async fn make(options: &InitOptions, listener: TcpListener) -> Result<Self, InitError> {
        let (root, root_key) = RootCa::generate()?;
        let peer = Peer { node: clock::fresh(), role: NodeRole::Manager, cluster: clock::fresh() };
        let (key, csr) = crypto::key_and_request()?;
        let cert = root.sign(&csr, &peer, options.spec.node_cert_expiry)?;
        let credentials = Credentials::create(&certificates(&options.dir), &cert, &key, root.cert_pem())?;
        let place = place(&listener, options.listen, options.advertise);
        place.save(&options.dir)?;
        let ring = KeyRing::open(&options.dir, None)?;
        let store = open_store(&options.dir, &credentials, &ring).await?;
        let me = Member { node: peer.node.to_string(), addr: place.advertise.to_string() };
        store.raft().initialize(me).await?;
        wait_until_leader(&store).await?;
        let first = FirstRows {
            options,
            root: root.cert_pem(),
            root_key: &root_key,
            peer: &peer,
            place: &place,
            raft_id: store.raft().id(),
        };
        let written = store.update(|tables| Ok::<_, String>((first.actions(tables)?, ()))).await;
        if let Err(e) = written {
            store.shutdown().await;
            return Err(InitError::Rows(e.to_string()));
        }
        tracing::info!(node = %peer.node, cluster = %peer.cluster, listen = %place.listen, "a new swarm");
        Ok(Self::run(options.dir.clone(), place, store, ring, Channel::new(credentials, Vec::new()), listener))
    }

    /// The manager again, after a restart of the daemon. When its address is not this machine's any more, `own_address`
    /// says the new one, given the address of another manager if there is one. `unlock` is needed where it is locked.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn open(
        dir: PathBuf,
        unlock: Option<&UnlockKey>,
        own_address: impl Fn(Option<SocketAddr>) -> Option<IpAddr> + Send,
    ) -> Result<Self, InitError> {
        let mut place = Place::load(&dir)?;
        let ring = KeyRing::open(&dir, unlock)?;
        let credentials = Credentials::load(&certificates(&dir), Some(ring.data_key()))?;
        let store = open_store(&dir, &credentials, &ring).await?;
        if place.has_moved() {
            let me = store.raft().id();
            let other =
                store.raft().voters().into_iter().find(|(id, _)| *id != me).and_then(|(_, m)| m.addr.parse().ok());
            if let Some(ip) = own_address(other) {
                tracing::info!(from = %place.advertise, to = %ip, "this machine has a new address");
                place.move_to(ip);
                place.save(&dir)?;
            }
        }
        let opened = async {
            let listener = server::bind(place.listen).await?;
            Ok(Self::run(dir, place, store.clone(), ring, Channel::new(credentials, Vec::new()), listener))
        };
        let opened = opened.await;
        if opened.is_err() {
            store.shutdown().await;
        }
        opened
    }

    /// Whether it opens with the unlock key only.
    pub fn is_locked(dir: &Path) -> bool {
        KeyRing::is_locked(dir)
    }

    /// Everything that this manager knows, to be kept in a safe place: with it a swarm can be had back. It is sealed with
    /// the unlock key if there is one, and else holds the authority's key in clear.
    ///
    /// # Errors
    /// When the swarm's rows are not known yet.
    pub fn backup(&self) -> Result<Vec<u8>, Refusal> {
        let inner = &self.inner;
        backup::pack(&inner.store, &self.node_id(), &inner.place, inner.ring.unlock_key().as_deref())
    }

    /// A swarm out of a backup, on a machine that is in none: with its services, networks and secrets, under the id of
    /// the manager that was backed up, as its only manager.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn restore(
        dir: PathBuf,
        bytes: &[u8],
        unlock: Option<&UnlockKey>,
        listen: Option<SocketAddr>,
        advertise: impl FnOnce(SocketAddr) -> SocketAddr + Send,
    ) -> Result<Self, InitError> {
        if raft::exists(&raft_file(&dir)) {
            return Err(InitError::Exists);
        }
        let backup = backup::unpack(bytes, unlock)?;
        let listen = listen.unwrap_or(backup.listen);
        let listener = server::bind(listen).await?;
        let place = place(&listener, listen, advertise(backup.advertise));
        let restored = Self::restore_into(&dir, place, backup, listener).await;
        if restored.is_err() {
            remove_files(&dir);
        }
        restored
    }

    async fn restore_into(dir: &Path, place: Place, backup: Backup, listener: TcpListener) -> Result<Self, InitError> {
        let credentials = backup.credentials(&certificates(dir))?;
        place.save(dir)?;
        let ring = KeyRing::open(dir, None)?;
        let me = Member { node: backup.node.to_string(), addr: place.advertise.to_string() };
        let raft_id = u64::from_be_bytes(crypto::random()) >> 11 | 1;
        raft::plant(&raft_file(dir), ring.data_key().clone(), raft_id, me, backup.tables).await?;
        let store = open_store(dir, &credentials, &ring).await?;
        wait_until_leader(&store).await?;
        let own = backup.node;
        let written = store.update(|tables| Ok::<_, Infallible>((only_manager(tables, &own), ())));
        written.await.map_err(|e| InitError::Rows(e.to_string()))?;
        Ok(Self::run(dir.to_owned(), place, store, ring, Channel::new(credentials, Vec::new()), listener))
    }

    /// Whether there is a manager to open in this directory.
    pub fn exists(dir: &Path) -> bool {
        raft::exists(&raft_file(dir)) && Credentials::exist(&certificates(dir))
    }

    /// A further manager: this machine is a member with a manager's certificate (that of `channel`, which is in `dir`),
    /// starts an empty raft and asks the others to be taken in.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn join(
        dir: PathBuf,
        channel: Channel,
        listen: SocketAddr,
        advertise: SocketAddr,
    ) -> Result<Self, InitError> {
        let listener = server::bind(listen).await?;
        // What a former time as manager may have left: it would be another member's log.
        remove_raft(&dir);
        let place = place(&listener, listen, advertise);
        place.save(&dir)?;
        let credentials = channel.credentials().clone();
        let ring = KeyRing::open(&dir, None)?;
        let store = open_store(&dir, &credentials, &ring).await?;
        let me = Member { node: credentials.peer().node.to_string(), addr: place.advertise.to_string() };
        let raft_id = store.raft().id();
        let others: Vec<Member> =
            channel.managers().iter().map(|m| Member { node: m.node.to_string(), addr: m.addr.to_string() }).collect();
        let manager = Self::run(dir, place, store, ring, channel, listener);
        let transport = PeerTransport::new(credentials);
        let deadline = Instant::now() + LEAD_TIMEOUT;
        loop {
            match transport.add_me(&others, raft_id, &me).await {
                Ok(()) => break,
                // The leader may just be changing.
                Err(ChannelError::Elsewhere(..) | ChannelError::Unreachable(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(e) => {
                    manager.resign().await;
                    return Err(InitError::NotTaken(e.to_string()));
                }
            }
        }
        Ok(manager)
    }

    /// Whether the machine has lost the address that the other managers know.
    pub fn has_moved(&self) -> bool {
        self.inner.place.has_moved()
    }

    /// The same manager at the machine's new address; this one ends.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn move_to(&self, ip: IpAddr) -> Result<Self, InitError> {
        let mut place = self.inner.place.clone();
        place.move_to(ip);
        place.save(&self.inner.dir)?;
        self.again_at(place).await
    }

    /// The same manager from what is on disk, after its raft has ended by itself (see [`raft::Raft::broken`]); this one
    /// ends. When it fails it may be tried again. It is not begun on a disk without room: a leader would only end again,
    /// and keep the others from electing one that can write.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn again(&self) -> Result<Self, InitError> {
        self.shutdown().await;
        room(&self.inner.dir)?;
        self.again_at(self.inner.place.clone()).await
    }

    async fn again_at(&self, place: Place) -> Result<Self, InitError> {
        self.shutdown().await;
        let inner = &self.inner;
        let listener = server::bind(place.listen).await?;
        let store = open_store(&inner.dir, &inner.credentials, &inner.ring).await?;
        Ok(Self::run(inner.dir.clone(), place, store, inner.ring.clone(), inner.channel.clone(), listener))
    }

    /// Resolves when this manager has been told to end.
    pub async fn ending(&self) {
        self.inner.stop.cancelled().await;
    }

    /// Whether both are handles on one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// `swarm init --force-new-cluster` where this manager was until now: it ends, and the one that is returned goes on
    /// with what it knew, alone.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn alone(&self, options: InitOptions) -> Result<Self, InitError> {
        let options = options.checked()?;
        self.shutdown().await;
        Self::force_new(options, self.inner.ring.clone(), self.inner.channel.clone()).await
    }

    /// The key that opens this manager, if it is guarded by one.
    pub fn unlock_key(&self) -> Option<Arc<UnlockKey>> {
        self.inner.ring.unlock_key()
    }

    /// What this manager still knows, with it as the only manager.
    async fn force_new(options: InitOptions, ring: KeyRing, channel: Channel) -> Result<Self, InitError> {
        let credentials = channel.credentials().clone();
        let listener = server::bind(options.listen).await?;
        let place = place(&listener, options.listen, options.advertise);
        let me = Member { node: credentials.peer().node.to_string(), addr: place.advertise.to_string() };
        raft::force_sole(&raft_file(&options.dir), ring.data_key().clone(), me).await?;
        place.save(&options.dir)?;
        let store = open_store(&options.dir, &credentials, &ring).await?;
        wait_until_leader(&store).await?;
        let written = store.update(|tables| Ok::<_, Infallible>((only_manager(tables, &credentials.peer().node), ())));
        written.await.map_err(|e| InitError::Rows(e.to_string()))?;
        Ok(Self::run(options.dir, place, store, ring, channel, listener))
    }

    fn run(dir: PathBuf, place: Place, store: Store, ring: KeyRing, channel: Channel, listener: TcpListener) -> Self {
        let credentials = channel.credentials().clone();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let own = credentials.peer().node;
        let dispatcher = Dispatcher::start(store.clone(), own.clone(), stop.clone());
        let control = Control::new(store.clone(), own.clone());
        let server = Server::new(
            store.clone(),
            credentials.clone(),
            dispatcher.clone(),
            control.clone(),
            stop.clone(),
            tasks.clone(),
        );
        tasks.spawn(server.clone().accept(listener));
        tasks.spawn(server.clone().watch_removals());
        tasks.spawn(driver::drive(store.clone(), stop.clone()));
        tasks.spawn(members::watch(store.clone(), own.clone(), stop.clone()));
        let me = Member { node: own.to_string(), addr: place.advertise.to_string() };
        let transport = Arc::new(PeerTransport::new(credentials.clone()));
        tasks.spawn(members::obey_settings(store.clone(), ring.clone(), credentials.clone(), stop.clone()));
        tasks.spawn(members::announce(store.clone(), transport, me, stop.clone()));
        let inner = Inner { dir, place, store, ring, credentials, channel, dispatcher, control, server, stop, tasks };
        Self { inner: Arc::new(inner) }
    }

    /// Ends everything; the state stays on disk.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks of the manager did not end in time");
        }
        self.inner.store.shutdown().await;
    }

    /// `swarm leave --force`: ends everything and removes the state.
    pub async fn demolish(&self) {
        self.shutdown().await;
        remove_files(&self.inner.dir);
    }

    /// After a demotion: ends everything and removes what only managers keep. The machine stays a member.
    pub async fn resign(&self) {
        self.shutdown().await;
        remove_raft(&self.inner.dir);
        if let Err(e) = self.inner.credentials.guard(None) {
            tracing::error!("the certificate's key is still sealed: {e}");
        }
    }

    /// Before `swarm leave --force`: the others shall go on without this manager, if they can.
    ///
    /// # Errors
    /// When there is no leader, or the others cannot.
    pub async fn part(&self) -> Result<(), Refusal> {
        if self.inner.store.is_leader() {
            return self.inner.control.node_left(&self.node_id()).await;
        }
        self.know_others();
        self.inner.channel.leave().await.map_err(|e| Refusal::unavailable(e.to_string()))
    }

    /// A new certificate for this manager itself, from the authority's key that it holds.
    ///
    /// # Errors
    /// While the swarm's row has not been read yet.
    pub async fn renew(&self) -> Result<(), Refusal> {
        self.inner.control.renew_own(&self.inner.credentials).await
    }

    /// Validated changes and look-ups.
    pub fn control(&self) -> &Control {
        &self.inner.control
    }

    /// The tables and their changes.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// This node's id.
    pub fn node_id(&self) -> NodeId {
        self.inner.credentials.peer().node
    }

    /// The swarm's id.
    pub fn cluster_id(&self) -> ClusterId {
        self.inner.credentials.peer().cluster
    }

    /// This node's credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.inner.credentials
    }

    /// Where it listens (with the port that it got).
    pub fn listen_addr(&self) -> SocketAddr {
        self.inner.place.listen
    }

    /// Where others find it.
    pub fn advertise_addr(&self) -> SocketAddr {
        self.inner.place.advertise
    }

    /// The managers, leader first.
    pub fn managers(&self) -> Vec<ManagerPeer> {
        self.inner.dispatcher.managers()
    }

    /// Gives the API that answers requests which nodes forward.
    pub fn set_engine(&self, handler: EngineHandler) {
        self.inner.server.engine.store(Some(Arc::new(handler)));
    }

    /// A session for this machine's own node, in process. The dispatcher treats it like any other.
    pub fn local_session(&self) -> Session {
        let (send, from) = mpsc::channel(MESSAGES_MAX);
        let (to, receive) = mpsc::channel(MESSAGES_MAX);
        let dispatcher = self.inner.dispatcher.clone();
        let (node, addr, hang_up) = (self.node_id(), self.advertise_addr(), self.inner.stop.child_token());
        self.inner.tasks.spawn(async move { dispatcher.serve(node, addr.ip(), from, to, hang_up).await });
        Session { send, receive, manager: addr, local: addr }
    }

    /// The session of this machine's own node with whoever leads: in process when that is this manager.
    ///
    /// # Errors
    /// As [`Channel::session`].
    pub async fn node_session(&self) -> Result<Session, ChannelError> {
        if self.inner.store.is_leader() {
            return Ok(self.local_session());
        }
        self.know_others();
        self.inner.channel.session().await
    }

    /// Tells the channel where the other managers are, by raft's word and by the swarm's rows, and who leads.
    fn know_others(&self) {
        let own = self.node_id();
        let mut others = self.managers();
        for m in self.inner.store.raft().voters().into_values() {
            if let (Ok(node), Ok(addr)) = (m.node.parse(), m.addr.parse())
                && !others.iter().any(|o| o.addr == addr)
            {
                others.push(ManagerPeer { node, addr });
            }
        }
        others.retain(|m| m.node != own);
        let leader = self.leader().map(|m| m.addr);
        others.sort_by_key(|m| Some(m.addr) != leader);
        self.inner.channel.set_managers(others);
        leader.into_iter().for_each(|leader| self.inner.channel.led_by(leader));
    }

    /// The stream that [`wire::agent::ToNode::OpenTunnel`] asked this machine's own node for, on [`Self::node_session`].
    ///
    /// # Errors
    /// As [`Channel::tunnel`].
    pub async fn node_tunnel(&self, id: u64) -> Result<Tunnel, ChannelError> {
        match self.local_tunnel(id) {
            Some(stream) => Ok(Tunnel::local(stream)),
            None => Ok(Tunnel::remote(self.inner.channel.tunnel(id).await?)),
        }
    }

    /// The channel of this machine's membership.
    pub fn own_channel(&self) -> &Channel {
        &self.inner.channel
    }

    /// The way to the other managers, for requests that the leader must answer.
    pub fn channel(&self) -> &Channel {
        self.know_others();
        &self.inner.channel
    }

    /// Who leads, as far as this manager knows.
    pub fn leader(&self) -> Option<ManagerPeer> {
        let leader = self.inner.store.leadership().borrow().leader.clone()?;
        Some(ManagerPeer { node: leader.node.parse().ok()?, addr: leader.addr.parse().ok()? })
    }

    /// The nodes, with who leads as this manager knows it now: a new leader writes that into the rows only after it has
    /// asked all managers.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        let leader = self.leader().map(|l| l.node);
        let now = |node: &Arc<Node>| {
            let leads = leader.as_ref() == Some(&node.id);
            let mut node = node.clone();
            if node.manager.as_ref().is_some_and(|m| m.leader != leads) {
                Arc::make_mut(&mut node).manager.as_mut().into_iter().for_each(|m| m.leader = leads);
            }
            node
        };
        self.inner.store.tables().nodes().map(now).collect()
    }

    /// The in-process stream that this machine's own node was asked for.
    pub fn local_tunnel(&self, id: u64) -> Option<DuplexStream> {
        self.inner.dispatcher.local_tunnel(id)
    }

    /// A stream to a node, on which it answers Engine API requests (HTTP/1.1).
    ///
    /// # Errors
    /// `Unavailable` when the node is not connected or does not answer.
    pub async fn tunnel(&self, node: &NodeId, request: TunnelRequest) -> Result<Tunnel, Refusal> {
        self.inner.dispatcher.tunnel(node, request).await
    }

    /// The revision that every node which is there has applied.
    pub fn barrier(&self) -> watch::Receiver<u64> {
        self.inner.dispatcher.barrier()
    }

    /// What the nodes that are there have told of their data planes.
    pub fn reports(&self) -> HashMap<NodeId, NodeReport> {
        self.inner.dispatcher.reports()
    }

    /// What a machine that joined would have been told; for the node beside this manager.
    pub fn membership(&self) -> JoinAnswer {
        let current = self.inner.credentials.current();
        JoinAnswer {
            node: self.node_id(),
            role: NodeRole::Manager,
            cert: current.cert_pem.clone(),
            root: current.root_pem.clone(),
            managers: self.managers(),
        }
    }
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Manager {} at {}", self.node_id(), self.listen_addr())
    }
}

/// The asked-for place with the port that the listener really has.
fn place(listener: &TcpListener, listen: SocketAddr, advertise: SocketAddr) -> Place {
    let port = listener.local_addr().map_or(listen.port(), |a| a.port());
    let advertise_port = if advertise.port() == 0 { port } else { advertise.port() };
    Place::new(SocketAddr::new(listen.ip(), port), SocketAddr::new(advertise.ip(), advertise_port))
}

/// The rows of a swarm in which only this one is a manager: the others will find out when they come back.
fn only_manager(tables: &Tables, own: &NodeId) -> Vec<StoreAction> {
    let others = tables.nodes().filter(|n| n.id != *own && n.spec.role == NodeRole::Manager);
    let as_worker = |n: &Arc<Node>| {
        let mut node = (**n).clone();
        node.spec.role = NodeRole::Worker;
        node.role = NodeRole::Worker;
        node.manager = None;
        StoreAction::Update(node.into())
    };
    others.map(as_worker).collect()
}

async fn open_store(dir: &Path, credentials: &Credentials, ring: &KeyRing) -> Result<Store, InitError> {
    let options = RaftOptions {
        path: raft_file(dir),
        // Small enough for a JSON number.
        raft_id: u64::from_be_bytes(crypto::random()) >> 11 | 1,
        transport: Arc::new(PeerTransport::new(credentials.clone())),
        clock: Arc::new(clock::now),
        snapshot_entries: SNAPSHOT_ENTRIES,
        data_key: ring.data_key().clone(),
    };
    Ok(raft::open(options).await?)
}

/// Whether a manager can write for a while.
fn room(dir: &Path) -> Result<(), InitError> {
    let path = dir.join("room");
    let tried =
        std::fs::File::create(&path).and_then(|mut f| f.write_all(&vec![1; ROOM_BYTES]).and_then(|()| f.sync_all()));
    removed(dir, [std::fs::remove_file(&path)]);
    tried.map_err(|source| InitError::File { path, source })
}

async fn wait_until_leader(store: &Store) -> Result<(), InitError> {
    let mut leadership = store.leadership();
    match tokio::time::timeout(LEAD_TIMEOUT, leadership.wait_for(|l| l.here)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(InitError::Rows("this manager could not become the leader".into())),
    }
}

/// Certificates, log and place; what else is in the directory belongs to others.
fn remove_files(dir: &Path) {
    remove_raft(dir);
    removed(dir, [std::fs::remove_dir_all(certificates(dir))]);
}

/// What only a manager keeps.
fn remove_raft(dir: &Path) {
    removed(
        dir,
        [std::fs::remove_file(raft_file(dir)), std::fs::remove_file(dir.join("manager.json")), KeyRing::forget(dir)],
    );
}

fn removed<const N: usize>(dir: &Path, tried: [std::io::Result<()>; N]) {
    for e in tried.into_iter().filter_map(Result::err).filter(|e| e.kind() != std::io::ErrorKind::NotFound) {
        tracing::warn!(dir = %dir.display(), "a file of the manager cannot be removed: {e}");
    }
}
