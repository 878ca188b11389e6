//! What daemon and shim say to each other: frames of a length, a kind and a body, over a unix socket.
use crate::container_process::Failure;
use crate::exit::Exit;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// A body never exceeds this.
pub(crate) const FRAME_MAX: usize = 4 << 20;
/// Length (4 bytes, little endian, of the body) and kind.
pub(crate) const HEADER: usize = 5;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Daemon: a `Request`.
    Request = b'q',
    /// Daemon: a `plan::Process` to be run; three descriptors travel along.
    Exec = b'p',
    /// Shim: a `Reply`.
    Reply = b'a',
    /// Shim: the `Exit` of the container, or of the exec process of this connection. Nothing follows.
    Exit = b'x',
    /// Shim: output.
    Stdout = b'o',
    /// Shim: error output.
    Stderr = b'e',
    /// Daemon: input.
    Stdin = b'i',
    /// Daemon: the end of the input.
    StdinEnd = b'z',
}

impl Kind {
    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::Request, Self::Exec, Self::Reply, Self::Exit, Self::Stdout, Self::Stderr, Self::Stdin, Self::StdinEnd]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// What the daemon asks. One request per connection, except `Resize` on any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Make the container; answered with `Reply::Created` or `Reply::Failed`.
    Create,
    /// Let it run; answered with `Reply::Done`.
    Start,
    /// Send output from now on; answered with `Reply::Done`, then output, then `Exit`. With `stdin` it also feeds the
    /// container, and its going ends the input of a `stdin_once` container.
    Attach { stdin: bool },
    /// Answered with `Reply::State`, then `Exit` when it has ended.
    Watch,
    /// Set the size of the terminal; answered with `Reply::Done`.
    Resize(u16, u16),
    /// From now on this watchdog's file says how long the container may run; answered with `Reply::Done`.
    Watchdog(std::path::PathBuf),
    /// End the shim of a container that was never started or has ended.
    Quit,
}

/// What the shim answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Created {
        pid: u32,
    },
    /// Process 1 (0 = none yet) and when it was started, in nanoseconds since 1970 (0 = not yet).
    State {
        pid: u32,
        started_at: i64,
    },
    Failed(Failure),
}

/// One frame as bytes.
pub(crate) fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.push(kind as u8);
    bytes.extend_from_slice(body);
    bytes
}

/// One frame with a JSON body.
pub(crate) fn json_frame(kind: Kind, body: &impl Serialize) -> Vec<u8> {
    frame(kind, &serde_json::to_vec(body).unwrap_or_default())
}

/// The first whole frame of a buffer: its kind, where its body lies.
pub(crate) fn next_frame(buffer: &[u8]) -> io::Result<Option<(Kind, std::ops::Range<usize>)>> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let [a, b, c, d, kind] = *header;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let kind = Kind::of(kind).filter(|_| length <= FRAME_MAX);
    let kind = kind.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a frame of ours"))?;
    Ok((buffer.len() >= HEADER + length).then_some((kind, HEADER..HEADER + length)))
}

/// Reads one frame, waiting for it.
pub(crate) fn read_frame(from: &mut impl Read) -> io::Result<(Kind, Vec<u8>)> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = Kind::of(header[4]).filter(|_| length <= FRAME_MAX);
    let kind = kind.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a frame of ours"))?;
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok((kind, body))
}

/// Asks and waits for the answer.
pub(crate) fn ask(stream: &mut (impl Read + Write), request: &Request) -> io::Result<Reply> {
    stream.write_all(&json_frame(Kind::Request, request))?;
    read_reply(stream)
}

/// Waits for an answer.
pub(crate) fn read_reply(stream: &mut impl Read) -> io::Result<Reply> {
    match read_frame(stream)? {
        (Kind::Reply, body) => Ok(serde_json::from_slice(&body)?),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the shim sent something else than an answer")),
    }
}

/// Reads an `Exit` body.
pub(crate) fn exit_of(body: &[u8]) -> io::Result<Exit> {
    Ok(serde_json::from_slice(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_being_cut() {
        let whole = [frame(Kind::Stdout, b"hello"), json_frame(Kind::Request, &Request::Resize(3, 4))].concat();
        for cut in 0..10 {
            assert_eq!(next_frame(&whole[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(next_frame(&whole).unwrap(), Some((Kind::Stdout, 5..10)));
        let (kind, body) = next_frame(&whole[10..]).unwrap().unwrap();
        assert_eq!(kind, Kind::Request);
        assert_eq!(serde_json::from_slice::<Request>(&whole[10..][body]).unwrap(), Request::Resize(3, 4));
        assert!(next_frame(b"\xff\xff\xff\xff!").is_err());
    }
}
