//! Connections that a socket of the daemon accepted, carried on to where they belong by a thread that lives in the
//! network namespace from which the target is reached.
use kernel::netns::NetNs;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// Connections of one port at a time.
const TCP_MAX: usize = 4096;
/// Clients of one UDP port at a time.
const UDP_CLIENTS_MAX: usize = 1024;
const UDP_IDLE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
const DATAGRAM_MAX: usize = 65_535;

/// A thread with its own small runtime. It ends, with all it serves, when this is dropped.
#[derive(Debug)]
pub struct Relay {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

/// A port that is served as long as this lives.
#[derive(Debug)]
pub struct Served(AbortHandle);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A socket that holds a port of the machine.
#[derive(Debug)]
pub enum Door {
    /// A listener.
    Tcp(TcpListener),
    /// A bound socket.
    Udp(UdpSocket),
}

impl Relay {
    /// Starts the thread in `ns` (`None`: where the caller is).
    pub fn start(name: &str, ns: Option<&NetNs>) -> io::Result<Self> {
        let ns = ns.map(NetNs::try_clone).transpose()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let made = ns
                .map_or(Ok(()), |ns| ns.enter())
                .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
            match made {
                Ok(runtime) => {
                    let _ = tell.send(Ok(runtime.handle().clone()));
                    let _ = runtime.block_on(stopped);
                }
                Err(e) => drop(tell.send(Err(e))),
            }
        })?;
        let gone = || io::Error::other("the relay's thread has ended");
        let handle = told.recv().map_err(|_| gone())??;
        Ok(Self { handle, _stop: stop })
    }

    /// Serves `door` (its sockets must be non-blocking) with connections to `target`.
    pub fn serve(&self, door: Door, target: SocketAddr) -> Served {
        let task = self.handle.spawn(async move {
            let ended = match door {
                Door::Tcp(l) => tcp(l, target).await,
                Door::Udp(s) => udp(s, target).await,
            };
            if let Err(error) = ended {
                tracing::error!(%target, %error, "a published port is not served to this machine's own clients");
            }
        });
        Served(task.abort_handle())
    }
}

async fn tcp(listener: TcpListener, target: SocketAddr) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(TCP_MAX));
    // Dropped with the task: connections end with the port.
    let mut all = JoinSet::new();
    loop {
        let Ok(seat) = room.clone().acquire_owned().await else { return Ok(()) };
        let mut client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(_) => {
                // Out of descriptors, or a client that has gone.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        while all.try_join_next().is_some() {}
        all.spawn(async move {
            let _seat = seat;
            match tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(target)).await {
                Ok(Ok(mut server)) => {
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
                // A reset, not an end: nobody has answered.
                Ok(Err(_)) | Err(_) => drop(client.set_zero_linger()),
            }
        });
    }
}

async fn udp(socket: UdpSocket, target: SocketAddr) -> io::Result<()> {
    let socket = Arc::new(tokio::net::UdpSocket::from_std(socket)?);
    let mut clients: HashMap<SocketAddr, (Arc<tokio::net::UdpSocket>, AbortHandle)> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let (n, client) = match socket.recv_from(&mut buffer).await {
            Ok(x) => x,
            // An ICMP error of an earlier answer.
            Err(_) => continue,
        };
        while answers.try_join_next().is_some() {}
        clients.retain(|_, (_, task)| !task.is_finished());
        if !clients.contains_key(&client) {
            if clients.len() >= UDP_CLIENTS_MAX {
                continue;
            }
            let any: SocketAddr =
                if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
            let onward = Arc::new(tokio::net::UdpSocket::bind(any).await?);
            onward.connect(target).await?;
            let task = answers.spawn(udp_answers(onward.clone(), socket.clone(), client));
            clients.insert(client, (onward, task));
        }
        if let Some((onward, _)) = clients.get(&client) {
            let _ = onward.send(&buffer[..n]).await;
        }
    }
}

async fn udp_answers(from: Arc<tokio::net::UdpSocket>, to: Arc<tokio::net::UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok(Ok(n)) = tokio::time::timeout(UDP_IDLE, from.recv(&mut buffer)).await {
        let _ = to.send_to(&buffer[..n], client).await;
    }
}
