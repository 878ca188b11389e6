//! Takes the bytes of one layer as they come, unpacks them on another thread, and tells the digests.
//!
//! ```text
//! plain:       caller (sha256) ─────────────────────► unpack
//! compressed:  caller (sha256 of the blob) ─► inflate (sha256 of the tar) ─► unpack
//! ```
use super::{Compression, Limits, chunks, unpack};
use crate::{digest, error::ImageError};
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::SyncSender,
    thread::JoinHandle,
};

/// The packed form of a layer, as a registry or archive has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub digest: String,
    pub size: u64,
    pub compression: Compression,
}

/// A layer on its way into the store; its directory is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    pub dir: Staging,
    pub diff_id: String,
    pub blob: Blob,
    pub outcome: unpack::Outcome,
}

/// A directory that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    keep: bool,
}

impl Staging {
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir(&path)?;
        Ok(Self { path, keep: false })
    }
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
    /// It has been moved away.
    pub(crate) fn kept(mut self) {
        self.keep = true;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.keep
            && let Err(e) = std::fs::remove_dir_all(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), error = %e, "cannot remove a staging directory");
        }
    }
}

type Pipe = SyncSender<io::Result<Bytes>>;

/// Receives a layer's bytes.
pub(crate) struct LayerWriter {
    head: BytesMut,
    state: Option<Running>,
    staging: Option<Staging>,
    limits: Limits,
    hasher: Sha256,
    size: u64,
    limit_hit: bool,
}

struct Running {
    compression: Compression,
    pipe: Option<Pipe>,
    inflate: Option<JoinHandle<Result<String, ImageError>>>,
    unpack: JoinHandle<Result<unpack::Outcome, ImageError>>,
}

/// Enough to see how it is packed.
const HEAD: usize = 6;

impl LayerWriter {
    pub(crate) fn new(staging: Staging, limits: Limits) -> Self {
        Self {
            head: BytesMut::new(),
            state: None,
            staging: Some(staging),
            limits,
            hasher: Sha256::new(),
            size: 0,
            limit_hit: false,
        }
    }

    /// Takes the next bytes. A failure of the unpacking side is told by [`Self::finish`], which must then be called.
    pub(crate) fn write(&mut self, chunk: Bytes) -> Result<(), ImageError> {
        if self.state.is_none() {
            self.head.extend_from_slice(&chunk);
            if self.head.len() < HEAD {
                return Ok(());
            }
            self.start()?;
            let head = std::mem::take(&mut self.head).freeze();
            return self.send(head);
        }
        self.send(chunk)
    }

    fn send(&mut self, chunk: Bytes) -> Result<(), ImageError> {
        self.size += chunk.len() as u64;
        if self.size > self.limits.bytes_max.saturating_mul(2) {
            self.limit_hit = true;
            return Err(ImageError::LayerLimit { what: "size of the stream", limit: self.limits.bytes_max });
        }
        let pipe = self.state.as_ref().and_then(|s| s.pipe.clone());
        // Sent first, so that the other side works on it while it is hashed here.
        let sent = pipe.is_some_and(|pipe| pipe.send(Ok(chunk.clone())).is_ok());
        self.hasher.update(&chunk);
        if sent { Ok(()) } else { Err(ImageError::Cancelled) }
    }

    fn start(&mut self) -> Result<(), ImageError> {
        let compression = Compression::detect(&self.head);
        let dir = self.staging.as_ref().map(|s| s.path().to_owned()).unwrap_or_default();
        let limits = self.limits;
        let (pipe, reader) = chunks::pipe();
        let (inflate, reader) = if compression == Compression::Plain {
            (None, reader)
        } else {
            let (to, from) = chunks::pipe();
            (Some(spawn("layer-inflate", move || inflate(reader, compression, &to, limits))?), from)
        };
        let unpack = spawn("layer-unpack", move || unpack::layer(reader, &dir, limits))?;
        self.state = Some(Running { compression, pipe: Some(pipe), inflate, unpack });
        Ok(())
    }

    /// Waits for the unpacking; tells the digests.
    pub(crate) fn finish(mut self) -> Result<Staged, ImageError> {
        if self.limit_hit {
            return Err(ImageError::LayerLimit { what: "size of the stream", limit: self.limits.bytes_max });
        }
        if self.state.is_none() {
            self.start()?;
            let head = std::mem::take(&mut self.head).freeze();
            if !head.is_empty() {
                self.send(head)?;
            }
        }
        let Some(mut running) = self.state.take() else { return Err(ImageError::Cancelled) };
        running.pipe = None;
        let unpacked = join(running.unpack);
        let diff_id = running.inflate.map(join);
        // An unpack error is the cause when the inflater only found its reader gone.
        let outcome = match (unpacked, &diff_id) {
            (Err(_), Some(Err(e))) if !matches!(e, ImageError::Cancelled) => {
                return Err(diff_id.and_then(Result::err).unwrap_or(ImageError::Cancelled));
            }
            (Err(e), _) => return Err(e),
            (Ok(outcome), _) => outcome,
        };
        let blob_digest = digest::finish(std::mem::take(&mut self.hasher));
        let diff_id = diff_id.transpose()?.unwrap_or_else(|| blob_digest.clone());
        let Some(dir) = self.staging.take() else { return Err(ImageError::Cancelled) };
        let blob = Blob { digest: blob_digest, size: self.size, compression: running.compression };
        Ok(Staged { dir, diff_id, blob, outcome })
    }
}

impl Drop for LayerWriter {
    /// Waits for the threads, so that nothing writes into the staging directory while it is removed.
    fn drop(&mut self) {
        if let Some(mut running) = self.state.take() {
            if let Some(pipe) = running.pipe.take() {
                pipe.send(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the stream was given up"))).ok();
            }
            running.inflate.map(|t| t.join().ok());
            running.unpack.join().ok();
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, ImageError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|e| ImageError::Io {
        what: "start thread",
        path: name.to_owned(),
        source: e,
    })
}

fn join<T>(thread: JoinHandle<Result<T, ImageError>>) -> Result<T, ImageError> {
    thread.join().unwrap_or_else(|_| Err(ImageError::Worker("a layer thread panicked".into())))
}

fn inflate(
    reader: chunks::ChunkReader,
    compression: Compression,
    to: &Pipe,
    limits: Limits,
) -> Result<String, ImageError> {
    let bad = |e: io::Error| ImageError::malformed("decompressing layer", e);
    let mut reader = compression.decoder(io::BufReader::with_capacity(chunks::CHUNK, reader)).map_err(bad)?;
    let (mut hasher, mut total) = (Sha256::new(), 0u64);
    loop {
        let mut buffer = vec![0u8; chunks::CHUNK];
        let n = match chunks::fill(&mut reader, &mut buffer) {
            Ok(n) => n,
            Err(e) => {
                let copy = io::Error::new(e.kind(), e.to_string());
                to.send(Err(copy)).ok();
                return Err(bad(e));
            }
        };
        if n == 0 {
            return Ok(digest::finish(hasher));
        }
        buffer.truncate(n);
        total += n as u64;
        if total > limits.bytes_max.saturating_mul(2) {
            to.send(Err(io::Error::new(io::ErrorKind::FileTooLarge, "stream exceeds the limit"))).ok();
            return Err(ImageError::LayerLimit { what: "size of the stream", limit: limits.bytes_max });
        }
        let chunk = Bytes::from(buffer);
        if to.send(Ok(chunk.clone())).is_err() {
            return Err(ImageError::Cancelled);
        }
        hasher.update(&chunk);
    }
}
