//! Layers: unpacking a tar stream into overlayfs' format, remembering how to put the same bytes together again, and
//! making a tar stream of a tree.
pub(crate) mod chunks;
pub(crate) mod pack;
pub(crate) mod recipe;
pub(crate) mod unpack;
pub(crate) mod writer;

use crate::error::{ImageError, IoContext};
use std::io::{self, BufRead, BufReader, Read};

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
    Bzip2,
    Xz,
    Zstd,
}

/// Most memory that a packed stream may ask for: xz says by itself how much of it must be kept.
const DICTIONARY_KIB_MAX: u32 = 256 << 10;

impl Compression {
    /// By the first bytes.
    pub(crate) fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// The stream without it.
    pub(crate) fn decoder<'a>(self, reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Plain => Box::new(reader),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, DICTIONARY_KIB_MAX)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        })
    }
}

/// A stream without its compression.
pub(crate) fn decompressed<'a>(reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ImageError> {
    let mut reader = BufReader::with_capacity(chunks::CHUNK, reader);
    // A first read may bring one byte only; then it is not recognised, and the tar reader says what it found.
    let head = reader.fill_buf().at("read", "archive")?;
    Compression::detect(head).decoder(reader).at("decompress", "archive")
}

/// Whether a stream begins like a tar, packed or not. A file that cannot be read is none.
pub(crate) fn looks_like_archive(reader: &mut impl Read) -> bool {
    let mut head = [0u8; tar_head::BYTES];
    let Ok(mut plain) = decompressed(reader) else { return false };
    chunks::fill(&mut plain, &mut head).is_ok_and(|n| n == head.len()) && tar_head::is_sound(&head)
}

/// The first header of a tar.
pub(crate) mod tar_head {
    pub(crate) const BYTES: usize = 512;

    /// By its checksum.
    pub(crate) fn is_sound(head: &[u8]) -> bool {
        if head.len() < BYTES {
            return false;
        }
        let sum: u32 = head[..148].iter().chain(&head[156..BYTES]).map(|&b| u32::from(b)).sum::<u32>() + 8 * 32;
        tar::Header::from_byte_slice(&head[..BYTES]).cksum().is_ok_and(|stored| stored == sum)
    }
}
