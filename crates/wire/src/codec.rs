//! Frames of the node protocol: a length (u32, big endian) and a MessagePack body with named fields.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// No frame may be longer; a longer one ends the stream.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Too long.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// Not what was expected.
    #[error("the frame cannot be decoded")]
    Decode(#[from] rmp_serde::decode::Error),
    /// Cannot be written.
    #[error("the message cannot be encoded")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// A value as MessagePack, fields by name so that versions may differ.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(rmp_serde::to_vec_named(value)?)
}

/// The value of a MessagePack text.
///
/// # Errors
/// [`CodecError::Decode`].
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

/// One whole frame.
///
/// # Errors
/// [`CodecError::Encode`] or [`CodecError::TooLong`].
pub fn frame<T: Serialize>(value: &T) -> Result<Bytes, CodecError> {
    let body = to_vec(value)?;
    if body.len() > FRAME_BYTES_MAX {
        return Err(CodecError::TooLong(body.len()));
    }
    let mut out = BytesMut::with_capacity(body.len() + 4);
    out.put_u32(body.len() as u32);
    out.extend_from_slice(&body);
    Ok(out.freeze())
}

/// Collects the chunks of a stream and gives whole frames.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    limit: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::with_limit(FRAME_BYTES_MAX)
    }
}

impl FrameReader {
    /// One that takes no frame longer than this.
    pub fn with_limit(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }
    /// Adds what arrived.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }
    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// [`CodecError::TooLong`] or [`CodecError::Decode`]; the stream must then be closed.
    pub fn pop<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CodecError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_be_bytes(*head) as usize;
        if len > self.limit {
            return Err(CodecError::TooLong(len));
        }
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(from_slice(&self.buffer.split_to(len))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_were_cut() {
        let bytes = [frame(&"one").unwrap(), frame(&"two").unwrap()].concat();
        let mut r = FrameReader::default();
        let mut got: Vec<String> = Vec::new();
        for b in bytes {
            r.push(&[b]);
            while let Some(s) = r.pop().unwrap() {
                got.push(s);
            }
        }
        assert_eq!(got, ["one", "two"]);
        r.push(&u32::MAX.to_be_bytes());
        assert!(matches!(r.pop::<String>(), Err(CodecError::TooLong(_))));
    }
}
