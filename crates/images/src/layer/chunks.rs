//! A bounded pipe of byte chunks between threads, so that reading, hashing, inflating and unpacking overlap.
use bytes::{Buf, Bytes};
use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

/// Bytes in a chunk that we cut ourselves.
pub(crate) const CHUNK: usize = 256 << 10;
const CHUNKS_AHEAD: usize = 16;

/// A new pipe. Dropping the writing end is the end of the stream; dropping the reading end fails the next write.
pub(crate) fn pipe() -> (SyncSender<io::Result<Bytes>>, ChunkReader) {
    let (tx, rx) = sync_channel(CHUNKS_AHEAD);
    (tx, ChunkReader { rx, current: Bytes::new() })
}

/// The reading end.
pub(crate) struct ChunkReader {
    rx: Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.rx.recv() {
                Ok(chunk) => self.current = chunk?,
                Err(_) => return Ok(0),
            }
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// Reads until the buffer is full or the stream ends.
pub(crate) fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match reader.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
