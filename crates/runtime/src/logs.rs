//! Reads what containers wrote: Docker's json-file lines, across rotated and compressed files, following the live end.
pub(crate) mod aside;
mod kept;
mod line;
mod rotating;
mod writer;

pub(crate) use writer::LogWriter;

use crate::launch::{LogConfig, LogDriver};
use crate::stdio::StdStream;
use bytes::Bytes;
use kept::Kept;
use kernel::watch::DirWatch;
use line::Parser;
use model::Timestamp;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Read at once.
const CHUNK: usize = 256 << 10;

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Not before this instant.
    pub since: Option<Timestamp>,
    /// Not after this instant.
    pub until: Option<Timestamp>,
    /// Only the last so many; `None` = all.
    pub tail: Option<usize>,
    /// Go on with new lines until the container has ended.
    pub follow: bool,
}

/// One line (or a part of a very long one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Which output.
    pub stream: StdStream,
    /// When it was read from the container.
    pub time: Timestamp,
    /// The text, with its newline unless it is a part.
    pub line: Bytes,
    /// Labels and environment of the log options.
    pub attrs: BTreeMap<String, String>,
}

/// Reads the lines of a container. `ended` is asked while following: resolves when nothing more will be written.
///
/// Runs on a thread of its own, which ends when the receiver is dropped. Must be called within a tokio runtime.
pub fn read(
    config: &LogConfig,
    query: LogQuery,
    ended: impl Future<Output = ()> + Send + 'static,
) -> mpsc::Receiver<io::Result<LogLine>> {
    let (sender, receiver) = mpsc::channel(1024);
    if config.driver == LogDriver::None {
        return receiver;
    }
    let over = Arc::new(AtomicBool::new(false));
    let (wake, waker) = match std::os::unix::net::UnixStream::pair() {
        Ok((wake, waker)) => (OwnedFd::from(wake), waker),
        Err(error) => {
            let _ = sender.try_send(Err(error));
            return receiver;
        }
    };
    if query.follow {
        let (over, sender) = (over.clone(), sender.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended => {}
                () = sender.closed() => {}
            }
            over.store(true, Ordering::Release);
            // Closing it wakes the reader.
            drop(waker);
        });
    }
    let reader = Reader { path: config.path.clone(), max_files: config.max_files.max(1), query, sender, over, wake };
    let spawned = std::thread::Builder::new().name("log-reader".to_owned()).spawn(move || {
        if let Err(error) = reader.run() {
            let _ = reader.sender.blocking_send(Err(error));
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "cannot start a log reader");
    }
    receiver
}

struct Reader {
    path: PathBuf,
    max_files: u32,
    query: LogQuery,
    sender: mpsc::Sender<io::Result<LogLine>>,
    over: Arc<AtomicBool>,
    wake: OwnedFd,
}

/// Nobody wants more.
struct Enough;

impl Reader {
    fn run(&self) -> io::Result<()> {
        // Watched before anything is read, so that nothing is missed in between.
        let watch = match (self.query.follow, self.path.parent()) {
            (true, Some(dir)) => Some(DirWatch::new(dir)?),
            _ => None,
        };
        let mut files = kept::files(&self.path, self.max_files)?;
        let mut current = None;
        if let Some(tail) = self.query.tail {
            let (skip, last) = self.tail(files, tail)?;
            files = Vec::new();
            for (index, mut file) in last.into_iter().enumerate() {
                file.seek(SeekFrom::Start(if index == 0 { skip } else { 0 }))?;
                let mut open = Open::at(file);
                if self.drain(&mut open)?.is_err() {
                    return Ok(());
                }
                current = Some(open);
            }
        }
        if self.read_through(files, &mut current)?.is_err() {
            return Ok(());
        }
        match watch {
            Some(watch) => self.follow(&watch, current),
            None => Ok(()),
        }
    }

    /// Sends all of these files, and leaves the last one open.
    fn read_through(&self, files: Vec<Kept>, current: &mut Option<Open>) -> io::Result<Result<(), Enough>> {
        for file in files {
            let mut open = Open::at(file.plain(&self.path)?);
            if self.drain(&mut open)?.is_err() {
                return Ok(Err(Enough));
            }
            *current = Some(open);
        }
        Ok(Ok(()))
    }

    /// The files that hold the last lines, oldest first, and where to begin in the first of them.
    fn tail(&self, files: Vec<Kept>, tail: usize) -> io::Result<(u64, Vec<File>)> {
        let (mut wanted, mut last) = (tail, Vec::new());
        for file in files.into_iter().rev() {
            let mut file = file.plain(&self.path)?;
            let found = last_lines(&mut file, wanted)?;
            last.insert(0, file);
            match found {
                Ok(offset) => return Ok((offset, last)),
                Err(found) => wanted -= found,
            }
        }
        Ok((0, last))
    }

    /// Sends every whole line up to the end of the file.
    fn drain(&self, open: &mut Open) -> io::Result<Result<(), Enough>> {
        loop {
            let old = open.buffer.len();
            open.buffer.resize(old + CHUNK, 0);
            let count = open.file.read(&mut open.buffer[old..])?;
            open.buffer.truncate(old + count);
            if count == 0 {
                return Ok(Ok(()));
            }
            let whole = memchr::memrchr(b'\n', &open.buffer).map_or(0, |at| at + 1);
            for line in open.parser.lines(&open.buffer[..whole]) {
                if self.query.since.is_some_and(|since| line.time < since) {
                    continue;
                }
                if self.query.until.is_some_and(|until| line.time > until) {
                    return Ok(Err(Enough));
                }
                if self.sender.blocking_send(Ok(line)).is_err() {
                    return Ok(Err(Enough));
                }
            }
            open.buffer.drain(..whole);
        }
    }

    fn follow(&self, watch: &DirWatch, mut current: Option<Open>) -> io::Result<()> {
        loop {
            // Asked before reading: what was written before the end is read after the answer.
            let over = self.over.load(Ordering::Acquire);
            if let Some(open) = &mut current {
                if open.file.metadata()?.len() < open.file.stream_position()? {
                    open.file.seek(SeekFrom::Start(0))?;
                    open.buffer.clear();
                }
                if self.drain(open)?.is_err() {
                    return Ok(());
                }
            }
            if self.was_replaced(current.as_ref()) {
                // Read once more: it may have grown between the last read and its being put away.
                if let Some(open) = &mut current
                    && self.drain(open)?.is_err()
                {
                    return Ok(());
                }
                // It may have been moved aside more than once: what came in between is read too.
                let mut newer = kept::files(&self.path, self.max_files)?;
                if let Some(open) = &current
                    && let Some(ours) = newer.iter().position(|kept| kept.is(&open.file))
                {
                    newer.drain(..=ours);
                }
                if self.read_through(newer, &mut current)?.is_err() {
                    return Ok(());
                }
                continue;
            }
            if over || self.sender.is_closed() {
                return Ok(());
            }
            watch.wait(self.wake.as_fd(), 5000)?;
        }
    }

    fn was_replaced(&self, current: Option<&Open>) -> bool {
        let now = std::fs::metadata(&self.path).ok().map(|meta| meta.ino());
        let open = current.and_then(|open| open.file.metadata().ok()).map(|meta| meta.ino());
        now.is_some() && now != open
    }
}

struct Open {
    file: File,
    parser: Parser,
    buffer: Vec<u8>,
}

impl Open {
    fn at(file: File) -> Self {
        Self { file, parser: Parser::default(), buffer: Vec::new() }
    }
}

/// Where the last `wanted` lines begin, or how many lines there are when there are fewer.
fn last_lines(file: &mut File, wanted: usize) -> io::Result<Result<u64, usize>> {
    let mut end = file.metadata()?.len();
    if wanted == 0 {
        return Ok(Ok(end));
    }
    let mut found = 0;
    let mut block = vec![0; 64 << 10];
    let mut first = true;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        // The newline that ends the last line separates nothing.
        let mut looked_at = part.len();
        if first && part.ends_with(b"\n") {
            looked_at -= 1;
        }
        first = false;
        while let Some(at) = memchr::memrchr(b'\n', &part[..looked_at]) {
            found += 1;
            if found == wanted {
                return Ok(Ok(start + at as u64 + 1));
            }
            looked_at = at;
        }
        end = start;
    }
    let lines = if first { 0 } else { found + 1 };
    if lines == wanted { Ok(Ok(0)) } else { Ok(Err(lines)) }
}

/// All files of a log: the current one and the older ones.
pub fn files(config: &LogConfig) -> Vec<PathBuf> {
    let older = (1..config.max_files.max(1))
        .flat_map(|number| [rotating::rotated(&config.path, number), rotating::packed(&config.path, number)]);
    std::iter::once(config.path.clone()).chain(older).filter(|path| Path::exists(path)).collect()
}

#[cfg(test)]
mod tests;
