//! A log that never holds its container back (`mode=non-blocking`): a process of its own writes it, in which so much may
//! wait as was asked for. What finds no room there, or in the pipe to it, is dropped.
//!
//! A process and not a thread, because the shim forks. In the pipe, all in little endian:
//!
//! ```text
//! | flags: u8 (1 stderr, 2 something before this was dropped) | time: u64, ns since 1970 | length: u32 | bytes |
//! ```
//! A frame is no longer than `PIPE_BUF`, so that it is written as a whole or not at all.
use super::LogWriter;
use super::writer::since_1970;
use crate::launch::LogConfig;
use crate::stdio::StdStream;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// First argument of the process that writes.
pub(crate) const LOG_ROLE: &str = "shim-log";

const HEADER: usize = 13;
const BODY_MAX: usize = libc::PIPE_BUF - HEADER;
const STDERR: u8 = 1;
const LOST: u8 = 2;
/// The pipe, where the kernel gives that much.
const PIPE_BYTES: libc::c_int = 1 << 20;

/// The shim's end of the pipe.
pub(crate) struct LogPipe {
    pipe: Option<File>,
    writer: u32,
    lost: [bool; 2],
}

impl LogPipe {
    /// Starts the writer for the shim in this directory.
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        let (from, to) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        // It need not be large: the writer takes out at once what comes.
        let _ = fcntl(&to, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        fcntl(&to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(LOG_ROLE).arg(dir).stdin(from).stdout(Stdio::null()).stderr(Stdio::null());
        // The shim reaps it with its other children.
        let writer = command.spawn()?.id();
        Ok(Self { pipe: Some(to.into()), writer, lost: [false; 2] })
    }

    pub(crate) fn write(&mut self, stream: StdStream, data: &[u8]) {
        let time = since_1970().as_nanos() as u64;
        let Some(pipe) = &mut self.pipe else { return };
        let lost = &mut self.lost[stream as usize];
        let mut rest = data;
        while !rest.is_empty() {
            let fits = rest.len().min(BODY_MAX);
            // Whole lines, so that whole lines are dropped.
            let take = memchr::memrchr(b'\n', &rest[..fits]).map_or(fits, |at| at + 1);
            let (body, after) = rest.split_at(take);
            rest = after;
            let mut frame = [0; libc::PIPE_BUF];
            frame[0] = if stream == StdStream::Stderr { STDERR } else { 0 } | if *lost { LOST } else { 0 };
            frame[1..9].copy_from_slice(&time.to_le_bytes());
            frame[9..HEADER].copy_from_slice(&(body.len() as u32).to_le_bytes());
            frame[HEADER..HEADER + body.len()].copy_from_slice(body);
            *lost = pipe.write(&frame[..HEADER + body.len()]).is_err();
        }
    }

    /// Lets the writer end, once it has written what is in the pipe.
    pub(crate) fn close(&mut self) {
        self.pipe = None;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// The process that writes.
    pub(crate) fn writer(&self) -> u32 {
        self.writer
    }
}

/// Writes the log of a container until its shim has closed the pipe.
pub(crate) fn run(config: &LogConfig) -> io::Result<()> {
    let Some(log) = LogWriter::open(config)? else { return Ok(()) };
    let pipe = io::stdin().as_fd().try_clone_to_owned()?;
    let waiting = Arc::new(AtomicU64::new(0));
    let (sender, receiver) = mpsc::channel();
    let written = waiting.clone();
    let writer =
        std::thread::Builder::new().name("log-writer".into()).spawn(move || write(log, &receiver, &written))?;
    let mut pipe = BufReader::with_capacity(64 << 10, File::from(pipe));
    let mut header = [0; HEADER];
    let mut lost = [false; 2];
    while pipe.read_exact(&mut header).is_ok() {
        let [flags, rest @ ..] = header;
        let (time, length) = rest.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
        let stream = if flags & STDERR == 0 { StdStream::Stdout } else { StdStream::Stderr };
        let mut body = vec![0; number(length) as usize];
        pipe.read_exact(&mut body)?;
        let lost = &mut lost[stream as usize];
        *lost |= flags & LOST != 0;
        if waiting.load(Ordering::Acquire) + body.len() as u64 > config.buffer_bytes {
            *lost = true;
            continue;
        }
        waiting.fetch_add(body.len() as u64, Ordering::AcqRel);
        let piece = Piece { stream, time: Duration::from_nanos(number(time)), lost: std::mem::take(lost), body };
        if sender.send(piece).is_err() {
            break;
        }
    }
    drop(sender);
    writer.join().map_err(|_| io::Error::other("the log's writer panicked"))
}

/// What waits to be written.
struct Piece {
    stream: StdStream,
    time: Duration,
    /// Something before it was dropped.
    lost: bool,
    body: Vec<u8>,
}

/// What cannot be written, as on a full disk, is dropped: it must not stop what comes after it.
fn write(mut log: LogWriter, pieces: &mpsc::Receiver<Piece>, waiting: &AtomicU64) {
    while let Ok(piece) = pieces.recv() {
        if piece.lost {
            let _ = log.end(piece.stream);
        }
        let _ = log.write_at(piece.stream, &piece.body, piece.time);
        waiting.fetch_sub(piece.body.len() as u64, Ordering::AcqRel);
    }
    for stream in [StdStream::Stdout, StdStream::Stderr] {
        let _ = log.end(stream);
    }
}
