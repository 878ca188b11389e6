//! Layers: unpacking a tar stream into overlayfs' format, remembering how to put the same bytes together again, and
//! making a tar stream of a tree.
pub(crate) mod chunks;
pub(crate) mod pack;
pub(crate) mod recipe;
pub(crate) mod unpack;
pub(crate) mod writer;

use crate::error::{ImageError, IoContext};
use std::io::{BufRead, BufReader, Read};

/// What one layer may be; a stream beyond is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the uncompressed stream, and of the files in it.
    pub bytes_max: u64,
    /// Entries.
    pub entries_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 256 << 30, entries_max: 4_000_000 }
    }
}

/// How a layer's stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
    /// Known, and not supported.
    Other(&'static str),
}

impl Compression {
    /// By the first bytes.
    pub(crate) fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Other("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Other("xz"),
            _ => Self::Plain,
        }
    }
}

/// A stream without its compression.
pub(crate) fn decompressed<'a>(reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ImageError> {
    let mut reader = BufReader::with_capacity(chunks::CHUNK, reader);
    // A first read may bring one byte only; then it is not recognised, and the tar reader says what it found.
    let head = reader.fill_buf().at("read", "archive")?;
    Ok(match Compression::detect(head) {
        Compression::Plain => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader).at("decompress", "archive")?),
        Compression::Other(name) => return Err(unsupported(name)),
    })
}

pub(crate) fn unsupported(name: &str) -> ImageError {
    ImageError::Unimplemented(format!("{name}-compressed archives are not supported: use gzip, zstd or none"))
}
