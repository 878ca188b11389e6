//! Web clients at a steady rate: each sends its next request when it is due, however long the last one took, and keeps
//! what came of every one.
use kernel::netns::NetNs;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A request that takes so long has failed.
const GIVE_UP: Duration = Duration::from_secs(5);
/// What one run may keep.
const RECORDS_MAX: usize = 1_000_000;

/// How a client treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// One for each request.
    Fresh,
    /// One for so many requests.
    KeepAlive(u32),
    /// One for as long as the server keeps it.
    Faithful,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was due, since the load began.
    pub at: Duration,
    /// On which road.
    pub road: &'static str,
    /// By which kind of client.
    pub manner: Manner,
    /// How long it took from when it was due, and who answered; or what went wrong.
    pub end: Result<(Duration, String), String>,
}

/// Clients at work.
pub struct Load {
    began: Instant,
    stop: Arc<AtomicBool>,
    records: Arc<Mutex<Vec<Record>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// No clients yet.
    pub fn new() -> Self {
        Self { began: Instant::now(), stop: Arc::default(), records: Arc::default(), clients: Vec::new() }
    }

    /// Puts clients, one of each manner given, into a network namespace: each asks `to` so often in a second.
    pub fn add(&mut self, road: &'static str, seat: &NetNs, to: SocketAddr, manners: &[Manner], per_second: u32) {
        for (n, manner) in manners.iter().copied().enumerate() {
            let (seat, stop, records, began) =
                (seat.try_clone().unwrap(), self.stop.clone(), self.records.clone(), self.began);
            let pace = Duration::from_secs(1) / per_second;
            // Not all at the same moment.
            let mut due = Instant::now() + pace * n as u32 / manners.len() as u32;
            self.clients.push(std::thread::spawn(move || {
                seat.enter().unwrap();
                let mut client = Client { to, manner, open: None };
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let end = client.ask().map(|who| (due.elapsed(), who));
                    let mut records = records.lock().unwrap();
                    if records.len() < RECORDS_MAX {
                        records.push(Record { at: due - began, road, manner, end });
                    }
                    // Who was held up does not send all that was missed at once.
                    due = (due + pace).max(Instant::now() - pace);
                }
            }));
        }
    }

    /// How long it has gone on.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends it; everything that was asked.
    pub fn end(mut self) -> Vec<Record> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        std::mem::take(&mut *self.records.lock().unwrap())
    }
}

struct Client {
    to: SocketAddr,
    manner: Manner,
    open: Option<(BufReader<TcpStream>, u32)>,
}

impl Client {
    fn ask(&mut self) -> Result<String, String> {
        let (mut connection, used) = match self.open.take() {
            Some(open) => open,
            None => (self.connect()?, 0),
        };
        let close = match self.manner {
            Manner::Fresh => true,
            Manner::KeepAlive(most) => used + 1 >= most,
            Manner::Faithful => false,
        };
        let word = if close { "close" } else { "keep-alive" };
        let from = connection.get_ref().local_addr().map(|a| a.port()).unwrap_or_default();
        let said = (|| {
            let request = format!("GET / HTTP/1.1\r\nHost: steady\r\nConnection: {word}\r\n\r\n");
            connection.get_mut().write_all(request.as_bytes())?;
            answer(&mut connection)
        })();
        let (who, closes) = said.map_err(|e| format!("request {} from port {from}: {e}", used + 1))?;
        if !closes && !close {
            self.open = Some((connection, used + 1));
        }
        Ok(who)
    }

    fn connect(&self) -> Result<BufReader<TcpStream>, String> {
        let stream = TcpStream::connect_timeout(&self.to, GIVE_UP).map_err(|e| format!("connect: {e}"))?;
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(GIVE_UP)));
        set.map_err(|e| format!("connect: {e}"))?;
        Ok(BufReader::new(stream))
    }
}

/// Who answered, and whether the server closes the connection.
fn answer(connection: &mut BufReader<TcpStream>) -> std::io::Result<(String, bool)> {
    let bad = |what: &str| std::io::Error::other(what.to_owned());
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(bad("closed without an answer"));
    }
    if line.trim_end() != "HTTP/1.1 200 OK" {
        return Err(bad(&line));
    }
    let (mut length, mut closes) = (0, false);
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(bad("closed in the middle of an answer"));
        }
        match line.trim_end().split_once(": ") {
            None => break,
            Some(("Content-Length", n)) => length = n.parse().map_err(|_| bad("no length"))?,
            Some(("Connection", word)) => closes = word == "close",
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((String::from_utf8_lossy(&body).into_owned(), closes))
}

/// What happened in one part of a run, on one road.
#[derive(Debug)]
pub struct Summary {
    /// Requests.
    pub asked: usize,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, usize>,
    /// 50 %, 99 % and 100 % of the requests took no longer.
    pub took: [Duration; 3],
    /// Who answered.
    pub answered: BTreeSet<String>,
}

/// Sums up what was due in a span of time.
pub fn sum_up<'a>(records: impl Iterator<Item = &'a Record>) -> Summary {
    let mut summary =
        Summary { asked: 0, errors: BTreeMap::new(), took: Default::default(), answered: BTreeSet::new() };
    let mut times = Vec::new();
    for record in records {
        summary.asked += 1;
        match &record.end {
            Ok((took, who)) => {
                times.push(*took);
                summary.answered.insert(who.clone());
            }
            Err(e) => {
                let what = format!("{:?} at {:.2} s: {e}", record.manner, record.at.as_secs_f64());
                *summary.errors.entry(what).or_default() += 1;
            }
        }
    }
    times.sort();
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    summary.took = [0.5, 0.99, 1.0].map(|share| at(share).copied().unwrap_or_default());
    summary
}

/// The web service as a static program.
pub fn build_server(dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load/steady.rs");
    let program = dir.join("steady");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"]).arg(&program).arg(&source);
    let output = command.output().expect("rustc is there: it has built this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}
