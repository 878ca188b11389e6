//! Docker's frames: stream number, three zeros, length (u32, big endian), bytes.
use bytes::{BufMut, Bytes, BytesMut};

/// Content type of framed streams (since 1.42).
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Content type of raw streams.
pub const RAW: &str = "application/vnd.docker.raw-stream";
/// The stream of the daemon's own errors.
pub const SYSTEM_ERROR: u8 = 3;

/// One frame.
pub fn frame(stream: u8, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + data.len());
    out.put_slice(&[stream, 0, 0, 0]);
    out.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
    out.put_slice(data);
    out.freeze()
}

/// The content type of a stream.
pub fn content_type(tty: bool, version: super::ApiVersion) -> &'static str {
    if tty || version.0 < 42 { RAW } else { MULTIPLEXED }
}
