//! The sockets of the name service: one pair per sandbox, opened inside it, served by the daemon's runtime.
use super::forward::{Inside, Relay};
use super::lookup::{Desk, Outcome, Scope};
use super::packet;
use super::table::NameTable;
use arc_swap::ArcSwap;
use kernel::netns::NetNs;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Where a sandbox's resolver listens; its port 53 is redirected to the port given to [`DnsServer::new`].
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const QUERY_MAX: usize = 4096;
const FORWARDS_PER_SANDBOX_MAX: usize = 256;
const TCP_PER_SANDBOX_MAX: usize = 64;
const TCP_IDLE: Duration = Duration::from_secs(10);
/// After so many packets in a row the other tasks of the runtime get a turn.
const BURST: usize = 64;

/// Why a sandbox has no name service.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The namespace could not be entered.
    #[error("cannot enter the network namespace of container {container}")]
    Enter {
        /// Whose.
        container: String,
        /// Why.
        source: io::Error,
    },
    /// A socket could not be opened (is `lo` up?).
    #[error("cannot listen on {addr} in the network namespace of container {container}")]
    Listen {
        /// Whose.
        container: String,
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no such sandbox.
    #[error("container {0} has no name service")]
    NotAttached(String),
}

/// The name service of the node. Handles are cheap to clone; all share one table.
#[derive(Clone)]
pub struct DnsServer {
    house: Arc<House>,
}

struct House {
    port: u16,
    runtime: Handle,
    table: ArcSwap<NameTable>,
    relay: Relay,
    doors: Mutex<HashMap<String, Door>>,
}

/// One sandbox's service; its tasks and sockets end with it.
struct Door {
    desk: Arc<Sandbox>,
    _tasks: JoinSet<()>,
}

struct Sandbox {
    house: std::sync::Weak<House>,
    scope: ArcSwap<Scope>,
    inside: Inside,
}

impl DnsServer {
    /// A service that listens on `port` of 127.0.0.11 in each sandbox, on the given runtime.
    pub fn new(port: u16, runtime: Handle) -> Self {
        let house =
            House { port, runtime, table: ArcSwap::default(), relay: Relay::default(), doors: Mutex::default() };
        Self { house: Arc::new(house) }
    }

    /// Opens the resolver of `container` inside `ns` (blocking, short). A second call replaces the first.
    ///
    /// # Errors
    /// See [`DnsError`].
    pub fn attach(&self, container: &str, ns: &NetNs, scope: Scope) -> Result<(), DnsError> {
        // The old sockets hold the port.
        self.detach(container);
        let addr = SocketAddr::from((RESOLVER, self.house.port));
        let enter = |source| DnsError::Enter { container: container.to_owned(), source };
        let listen = |source| DnsError::Listen { container: container.to_owned(), addr, source };
        let inside = Inside::new(ns.try_clone().map_err(enter)?);
        let (udp, tcp) = ns
            .run(|| {
                let sockets = open_patiently(addr)?;
                sockets.0.set_nonblocking(true)?;
                sockets.1.set_nonblocking(true)?;
                Ok(sockets)
            })
            .map_err(enter)?
            .map_err(listen)?;
        let desk =
            Arc::new(Sandbox { house: Arc::downgrade(&self.house), scope: ArcSwap::from_pointee(scope), inside });
        let _runtime = self.house.runtime.enter();
        let udp = UdpSocket::from_std(udp).map_err(listen)?;
        let tcp = TcpListener::from_std(tcp).map_err(listen)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::new(udp), desk.clone()));
        tasks.spawn(serve_tcp(tcp, desk.clone()));
        self.house.doors.lock().insert(container.to_owned(), Door { desk, _tasks: tasks });
        Ok(())
    }

    /// Closes the resolver of `container`; fine if there is none.
    pub fn detach(&self, container: &str) {
        let door = self.house.doors.lock().remove(container);
        drop(door);
    }

    /// Changes what `container` may ask for.
    ///
    /// # Errors
    /// When it has no resolver.
    pub fn set_scope(&self, container: &str, scope: Scope) -> Result<(), DnsError> {
        let doors = self.house.doors.lock();
        let door = doors.get(container).ok_or_else(|| DnsError::NotAttached(container.to_owned()))?;
        door.desk.scope.store(Arc::new(scope));
        Ok(())
    }

    /// The scope of `container`, if it has a resolver.
    pub fn scope(&self, container: &str) -> Option<Arc<Scope>> {
        self.house.doors.lock().get(container).map(|d| d.desk.scope.load_full())
    }

    /// Answers by `table` from now on.
    pub fn publish(&self, table: Arc<NameTable>) {
        self.house.table.store(table);
    }

    /// The table that is answered by.
    pub fn table(&self) -> Arc<NameTable> {
        self.house.table.load_full()
    }
}

/// The sockets of a replaced resolver close when its tasks have ended, which is soon, but not at once.
fn open_patiently(addr: SocketAddr) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let deadline = std::time::Instant::now() + Duration::from_secs(1);
    loop {
        let opened = std::net::UdpSocket::bind(addr).and_then(|udp| Ok((udp, std::net::TcpListener::bind(addr)?)));
        match opened {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && std::time::Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            done => return done,
        }
    }
}

impl Sandbox {
    /// Answers from the table; a forward is the caller's to do.
    fn look(&self, desk: &mut Desk, packet: &[u8], limit: Option<usize>) -> Outcome {
        let Some(house) = self.house.upgrade() else { return Outcome::Ignore };
        desk.handle(&house.table.load(), &self.scope.load(), packet, limit)
    }

    /// Hands a question on; always ends with something to say.
    async fn relay(&self, query: &[u8], tcp: bool) -> Vec<u8> {
        let code = match self.house.upgrade() {
            Some(house) => {
                let scope = self.scope.load_full();
                match house.relay.ask(query, &scope.upstreams, &self.inside, tcp).await {
                    Ok(answer) => return answer,
                    Err(e) => e.code(),
                }
            }
            None => packet::Code::ServFail,
        };
        let mut desk = Desk::default();
        desk.refuse(query, code);
        desk.out
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, sandbox: Arc<Sandbox>) {
    let mut desk = Desk::default();
    let mut packet = vec![0; QUERY_MAX];
    let mut in_a_row = 0;
    // They end with this task, so that no late answer holds the socket of a sandbox that is gone.
    let mut forwards = JoinSet::new();
    loop {
        let (length, from) = match socket.try_recv_from(&mut packet) {
            Ok(received) => received,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                in_a_row = 0;
                if socket.readable().await.is_err() {
                    return;
                }
                continue;
            }
            // An ICMP error of an answer that its client no longer waits for.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        let query = &packet[..length];
        match sandbox.look(&mut desk, query, None) {
            Outcome::Ignore => {}
            Outcome::Reply => send(&socket, &desk.out, from).await,
            Outcome::Forward => {
                while forwards.try_join_next().is_some() {}
                if forwards.len() < FORWARDS_PER_SANDBOX_MAX {
                    forwards.spawn(relay_udp(socket.clone(), sandbox.clone(), query.to_vec(), from));
                } else {
                    desk.refuse(query, packet::Code::Refused);
                    send(&socket, &desk.out, from).await;
                }
            }
        }
        in_a_row += 1;
        if in_a_row >= BURST {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }
}

async fn relay_udp(socket: Arc<UdpSocket>, sandbox: Arc<Sandbox>, query: Vec<u8>, from: SocketAddr) {
    let mut answer = sandbox.relay(&query, false).await;
    if packet::Query::parse(&query).is_ok_and(|q| answer.len() > q.udp_limit()) {
        packet::truncate(&mut answer);
    }
    send(&socket, &answer, from).await;
}

/// Sends without waiting where that is possible; a client that is gone is no error of ours.
async fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    if let Err(e) = socket.try_send_to(answer, to)
        && e.kind() == io::ErrorKind::WouldBlock
    {
        drop(socket.send_to(answer, to).await);
    }
}

async fn serve_tcp(listener: TcpListener, sandbox: Arc<Sandbox>) {
    let places = Arc::new(Semaphore::new(TCP_PER_SANDBOX_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let sandbox = sandbox.clone();
                connections.spawn(async move {
                    // Whatever ends a connection ends only that connection.
                    drop(serve_connection(stream, &sandbox).await);
                    drop(place);
                });
            }
            Err(e) => {
                tracing::debug!(error = %e, "a resolver connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn serve_connection(mut stream: TcpStream, sandbox: &Sandbox) -> io::Result<()> {
    let mut desk = Desk::default();
    let mut query = Vec::new();
    loop {
        let length = tokio::time::timeout(TCP_IDLE, stream.read_u16()).await??;
        query.resize(usize::from(length), 0);
        tokio::time::timeout(TCP_IDLE, stream.read_exact(&mut query)).await??;
        match sandbox.look(&mut desk, &query, Some(usize::from(u16::MAX))) {
            Outcome::Ignore => return Ok(()),
            Outcome::Reply => {}
            Outcome::Forward => desk.out = sandbox.relay(&query, true).await,
        }
        let length = u16::try_from(desk.out.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        desk.out.splice(0..0, length.to_be_bytes());
        tokio::time::timeout(TCP_IDLE, stream.write_all(&desk.out)).await??;
    }
}
