//! A bounded ring between a container and its log (`mode=non-blocking`): the container never waits for the disk, and
//! lines that find no room are lost.
use super::rotating::RotatingFile;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub(super) struct Ring {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

struct Shared {
    room: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// Taken by the writer and not yet written.
    in_hand: usize,
    over: bool,
}

impl Ring {
    /// Starts the thread that writes.
    pub(super) fn start(file: RotatingFile, room: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared { room, queue: Mutex::default(), changed: Condvar::new() });
        let theirs = shared.clone();
        let writer = std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || theirs.write_to(file))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Takes as many of these whole lines as there is room for. A line longer than the ring is taken by an empty one.
    pub(super) fn offer(&self, lines: &[u8]) {
        let mut queue = self.shared.lock();
        let mut rest = lines;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            let used = queue.waiting.len() + queue.in_hand;
            if used == 0 || used + line.len() <= self.shared.room {
                queue.waiting.extend_from_slice(line);
            }
        }
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Waits until everything taken is written; nothing is taken any more.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the log's writer panicked")))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let _ = self.settle();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut file: RotatingFile) -> io::Result<()> {
        let mut result = Ok(());
        loop {
            let mut queue = self.lock();
            queue.in_hand = 0;
            while queue.waiting.is_empty() {
                if queue.over {
                    return result;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut queue.waiting);
            queue.in_hand = lines.len();
            drop(queue);
            // A full disk loses lines, and says so at the end; later ones may find room again.
            result = result.and(file.put(&lines));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::LogConfig;
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    /// A pipe that nobody reads is the slowest disk there is.
    #[test]
    fn a_stuck_disk_holds_nobody_back_and_costs_only_what_finds_no_room() {
        let dir = std::env::temp_dir().join(format!("shoal-ring-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let file = RotatingFile::open(&LogConfig { path, ..LogConfig::default() }).unwrap();
        let room = 100_000;
        let mut ring = Ring::start(file, room).unwrap();
        let batch: Vec<u8> = (0..1000).flat_map(|n| format!("{n:0>99}\n").into_bytes()).collect();
        for _ in 0..50 {
            ring.offer(&batch);
        }
        {
            let queue = ring.shared.lock();
            assert!(queue.waiting.len() + queue.in_hand <= room, "{}", queue.waiting.len());
        }
        let settled = std::thread::spawn(move || ring.settle());
        let mut text = Vec::new();
        while !settled.is_finished() || text.is_empty() {
            let mut buffer = [0; 8192];
            match reader.read(&mut buffer) {
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
            }
        }
        settled.join().unwrap().unwrap();
        let _ = reader.read_to_end(&mut text);
        // The ring and what the pipe itself holds.
        assert!(text.len() >= room && text.len() < room + (64 << 10) + 200, "{}", text.len());
        assert!(text.starts_with(&batch[..room.min(batch.len())][..1000]), "the first lines are kept, not the last");
        assert!(text.chunks(100).all(|line| line.len() == 100 && line[99] == b'\n'), "only whole lines");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
