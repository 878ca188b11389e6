//! Questions that are not ours, relayed byte by byte to the resolvers of the host (or of the container).
//!
//! Bytes are passed on as they are, so that EDNS, DNSSEC and types that we have never heard of survive. Each upstream
//! has a few connected sockets with ports of the kernel's choice; every question gets a random id of ours. The
//! upstreams are asked one after the other at short distances, without waiting for the one before to fail.
use super::lookup::Upstream;
use super::packet::{self, Code, HEADER};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kernel::netns::NetNs;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

const TIMEOUT: Duration = Duration::from_secs(2);
const STAGGER: Duration = Duration::from_millis(150);
const SECOND_ROUND: Duration = Duration::from_millis(800);
const CONCURRENT_MAX: usize = 1024;
const UPSTREAMS_MAX: usize = 4;
const LINES: usize = 4;
const PENDING_PER_LINE_MAX: usize = 1024;
const ANSWER_MAX: usize = 16 * 1024;
const CACHE_MAX: usize = 4096;
const CACHED_ANSWER_MAX: usize = 4096;
const TTL_MAX: u32 = 3600;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Too many questions are under way.
    Busy,
    /// No upstream answered in time.
    Silence,
}

impl NoAnswer {
    /// What the client is told.
    pub fn code(self) -> Code {
        match self {
            Self::Busy => Code::Refused,
            Self::Silence => Code::ServFail,
        }
    }
}

/// The relay of the whole daemon.
pub struct Relay {
    permits: Semaphore,
    of_host: Mutex<HashMap<SocketAddr, Arc<Lines>>>,
    cache: Mutex<Cache>,
}

/// The sockets of one sandbox towards its own upstreams.
pub struct Inside {
    ns: NetNs,
    lines: Mutex<HashMap<SocketAddr, Arc<Lines>>>,
}

impl Inside {
    /// For the sandbox in `ns`.
    pub fn new(ns: NetNs) -> Self {
        Self { ns, lines: Mutex::default() }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self { permits: Semaphore::new(CONCURRENT_MAX), of_host: Mutex::default(), cache: Mutex::default() }
    }
}

impl Relay {
    /// The upstreams' answer to `query`, over TCP if the client asked over TCP.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn ask(
        &self,
        query: &[u8],
        upstreams: &[Upstream],
        inside: &Inside,
        tcp: bool,
    ) -> Result<Vec<u8>, NoAnswer> {
        let upstreams = &upstreams[..upstreams.len().min(UPSTREAMS_MAX)];
        // What a container's own resolvers say is nobody else's business.
        let shared = upstreams.iter().all(|u| !u.inside) && !tcp;
        if shared && let Some(answer) = self.cache.lock().get(upstreams, query) {
            return Ok(answer);
        }
        let _permit = self.permits.try_acquire().map_err(|_| NoAnswer::Busy)?;
        let asked = tokio::time::timeout(TIMEOUT, self.race(query, upstreams, inside, tcp)).await;
        let Some(answer) = asked.ok().flatten() else {
            // The host may have moved to another network since its sockets were connected: new ones next time.
            for u in upstreams {
                let pool = if u.inside { &inside.lines } else { &self.of_host };
                pool.lock().remove(&u.addr);
            }
            return Err(NoAnswer::Silence);
        };
        if shared {
            self.cache.lock().put(upstreams, query, &answer);
        }
        Ok(answer)
    }

    /// Asks the upstreams at short distances, the next one at once if one fails, and the silent ones a second time.
    async fn race(&self, query: &[u8], upstreams: &[Upstream], inside: &Inside, tcp: bool) -> Option<Vec<u8>> {
        let attempt = |i: usize| async move {
            let upstream = upstreams[i];
            let result = if tcp {
                ask_over_tcp(query, upstream, inside).await
            } else {
                match self.lines_to(upstream, inside) {
                    Ok(lines) => lines.ask(query).await,
                    Err(e) => Err(e),
                }
            };
            (i, result)
        };
        let started = Instant::now();
        let mut waiting: Vec<(Instant, usize)> =
            (0..upstreams.len()).map(|i| (started + STAGGER * i as u32, i)).rev().collect();
        let mut failed = [false; UPSTREAMS_MAX];
        let mut second_round = !tcp;
        let mut second_best = None;
        let mut running = FuturesUnordered::new();
        loop {
            if waiting.is_empty() && second_round {
                second_round = false;
                let at = started + SECOND_ROUND;
                waiting = (0..upstreams.len()).map(|i| (at + STAGGER * i as u32, i)).rev().collect();
            }
            waiting.retain(|(_, i)| !failed[*i]);
            if waiting.is_empty() && !second_round && running.is_empty() {
                return second_best;
            }
            let next = waiting.last().map_or(started, |(at, _)| *at);
            tokio::select! {
                () = tokio::time::sleep_until(next), if !waiting.is_empty() => {
                    if let Some((_, i)) = waiting.pop() {
                        running.push(attempt(i));
                    }
                }
                Some((i, result)) = running.next(), if !running.is_empty() => match result {
                    Ok(answer) if matches!(packet::code_of(&answer), 0 | 3) => return Some(answer),
                    other => {
                        failed[i] = true;
                        match other {
                            // It knows that it does not know; the others may.
                            Ok(answer) => second_best = Some(answer),
                            Err(e) => tracing::trace!(error = %e, upstream = %upstreams[i].addr, "not asked"),
                        }
                        if let Some(next) = waiting.last_mut() {
                            next.0 = Instant::now().min(next.0);
                        }
                    }
                },
            }
        }
    }

    fn lines_to(&self, upstream: Upstream, inside: &Inside) -> io::Result<Arc<Lines>> {
        let pool = if upstream.inside { &inside.lines } else { &self.of_host };
        if let Some(lines) = pool.lock().get(&upstream.addr) {
            return Ok(lines.clone());
        }
        let sockets =
            if upstream.inside { inside.ns.run(|| connect_all(upstream.addr))?? } else { connect_all(upstream.addr)? };
        let fresh = Arc::new(Lines::open(sockets)?);
        Ok(pool.lock().entry(upstream.addr).or_insert(fresh).clone())
    }
}

async fn ask_over_tcp(query: &[u8], upstream: Upstream, inside: &Inside) -> io::Result<Vec<u8>> {
    let open = || if upstream.addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let mut stream: TcpStream = if upstream.inside {
        // A socket stays in the namespace that it was made in.
        let handle = tokio::runtime::Handle::current();
        let socket = inside.ns.run(move || {
            let _guard = handle.enter();
            open()
        })??;
        socket.connect(upstream.addr).await?
    } else {
        open()?.connect(upstream.addr).await?
    };
    let length = u16::try_from(query.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(query);
    stream.write_all(&message).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answer.len() < HEADER || answer[..2] != query[..2] || !packet::answers(query, &answer) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(answer)
}

fn connect_all(addr: SocketAddr) -> io::Result<Vec<std::net::UdpSocket>> {
    let any: IpAddr = if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    (0..LINES)
        .map(|_| {
            let socket = std::net::UdpSocket::bind((any, 0))?;
            socket.connect(addr)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .collect()
}

/// The connected sockets towards one upstream.
struct Lines {
    lines: Vec<Line>,
    next: AtomicUsize,
}

struct Line {
    socket: Arc<UdpSocket>,
    waiting: Arc<Mutex<HashMap<u16, Waiting>>>,
    reader: AbortHandle,
}

struct Waiting {
    query: Vec<u8>,
    to: oneshot::Sender<Vec<u8>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Lines {
    fn open(sockets: Vec<std::net::UdpSocket>) -> io::Result<Self> {
        let lines = sockets.into_iter().map(Line::open).collect::<io::Result<_>>()?;
        Ok(Self { lines, next: AtomicUsize::new(0) })
    }

    async fn ask(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let line = &self.lines[self.next.fetch_add(1, Ordering::Relaxed) % self.lines.len()];
        line.ask(query).await
    }
}

/// Takes a question back when its asker has lost patience.
struct Withdraw<'a> {
    waiting: &'a Mutex<HashMap<u16, Waiting>>,
    id: u16,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.id);
    }
}

impl Line {
    fn open(socket: std::net::UdpSocket) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let waiting: Arc<Mutex<HashMap<u16, Waiting>>> = Arc::default();
        let reader = tokio::spawn(read_answers(socket.clone(), waiting.clone())).abort_handle();
        Ok(Self { socket, waiting, reader })
    }

    async fn ask(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let (to, answer) = oneshot::channel();
        let mut sent = query.to_vec();
        let id = {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= PENDING_PER_LINE_MAX {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let id = loop {
                let id: u16 = rand::random();
                if !waiting.contains_key(&id) {
                    break id;
                }
            };
            sent[..2].copy_from_slice(&id.to_be_bytes());
            waiting.insert(id, Waiting { query: sent.clone(), to });
            id
        };
        let _withdraw = Withdraw { waiting: &self.waiting, id };
        // An error of an earlier datagram ("connection refused") may be reported here: once more, then give up.
        if self.socket.send(&sent).await.is_err() {
            self.socket.send(&sent).await?;
        }
        let mut answer = answer.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        answer[..2].copy_from_slice(&query[..2]);
        Ok(answer)
    }
}

async fn read_answers(socket: Arc<UdpSocket>, waiting: Arc<Mutex<HashMap<u16, Waiting>>>) {
    let mut buffer = vec![0; ANSWER_MAX];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) if length >= HEADER => {
                let answer = &buffer[..length];
                let id = u16::from_be_bytes([answer[0], answer[1]]);
                let mut waiting = waiting.lock();
                if waiting.get(&id).is_some_and(|w| packet::answers(&w.query, answer))
                    && let Some(w) = waiting.remove(&id)
                {
                    let mut answer = answer.to_vec();
                    if length == ANSWER_MAX {
                        // More than we have room for; the client will come back over TCP.
                        packet::truncate(&mut answer);
                    }
                    drop(w.to.send(answer));
                }
            }
            Ok(_) => {}
            // Nobody listens there, or there is no way: whoever waits need not wait on.
            Err(e) => {
                tracing::trace!(error = %e, "an upstream resolver does not take questions");
                waiting.lock().clear();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Who was asked, and what.
type CacheKey = (Box<[Upstream]>, Box<[u8]>);

#[derive(Default)]
struct Cache {
    answers: HashMap<CacheKey, Cached>,
}

struct Cached {
    answer: Vec<u8>,
    ttl_places: Vec<usize>,
    since: Instant,
    until: Instant,
}

impl Cache {
    fn get(&self, upstreams: &[Upstream], query: &[u8]) -> Option<Vec<u8>> {
        let now = Instant::now();
        let cached = self.answers.get(&key(upstreams, query)).filter(|c| c.until > now)?;
        let mut answer = cached.answer.clone();
        packet::grow_older(&mut answer, &cached.ttl_places, (now - cached.since).as_secs() as u32);
        answer[..2].copy_from_slice(&query[..2]);
        // The client's own spelling of the name: some check it.
        let end = query.len().min(answer.len());
        let question = packet::question_end(query).filter(|q| *q <= end)?;
        answer[HEADER..question].copy_from_slice(&query[HEADER..question]);
        Some(answer)
    }

    fn put(&mut self, upstreams: &[Upstream], query: &[u8], answer: &[u8]) {
        if !matches!(packet::code_of(answer), 0 | 3) || packet::is_truncated(answer) || answer.len() > CACHED_ANSWER_MAX
        {
            return;
        }
        let Some((ttl, ttl_places)) = packet::lifetime(answer) else { return };
        let now = Instant::now();
        if self.answers.len() >= CACHE_MAX {
            self.answers.retain(|_, c| c.until > now);
        }
        if self.answers.len() >= CACHE_MAX {
            // Full of live ones: half of them go, whichever.
            let mut keep = false;
            self.answers.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        let until = now + Duration::from_secs(u64::from(ttl.min(TTL_MAX)));
        self.answers.insert(key(upstreams, query), Cached { answer: answer.to_vec(), ttl_places, since: now, until });
    }
}

/// The whole query but its id: two clients that differ in EDNS or DNSSEC wishes do not share an answer.
fn key(upstreams: &[Upstream], query: &[u8]) -> CacheKey {
    (upstreams.into(), query.get(2..).unwrap_or_default().to_ascii_lowercase().into())
}
