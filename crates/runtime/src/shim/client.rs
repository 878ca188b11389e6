//! One connection of the daemon to a shim.
use crate::exit::Exit;
use crate::protocol::{HEADER, Kind, json_frame, next_frame};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So much may wait for a client before the container is held back.
const QUEUE_MAX: usize = 1 << 20;
/// A client that takes nothing for so long is dropped.
const STALL_MAX: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Ask,
    Attach,
    Watch,
}

pub(super) struct Client {
    pub(super) id: u64,
    pub(super) role: Role,
    /// It writes to the container's stdin, and has not ended that yet.
    pub(super) feeds: bool,
    stream: UnixStream,
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
    output: Vec<u8>,
    written: usize,
    stalled: Option<Instant>,
    finished: bool,
    gone: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        stream.set_nonblocking(true)?;
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            role: Role::Ask,
            feeds: false,
            stream,
            input: Vec::new(),
            fds: Vec::new(),
            output: Vec::new(),
            written: 0,
            stalled: None,
            finished: false,
            gone: false,
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Takes what has come, descriptors too.
    pub(super) fn receive(&mut self) {
        let mut buffer = [0u8; 16 << 10];
        let mut space = cmsg_space!([RawFd; 3]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        match recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => {
                let count = message.bytes;
                self.fds.extend(owned(message.cmsgs()));
                self.gone |= count == 0;
                self.input.extend_from_slice(&buffer[..count]);
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next whole frame that has come.
    pub(super) fn next(&mut self) -> Option<(Kind, Vec<u8>)> {
        match next_frame(&self.input) {
            Ok(Some((kind, body))) => {
                let bytes = self.input[body.clone()].to_vec();
                self.input.drain(..body.end);
                if self.input.is_empty() {
                    self.input = Vec::new();
                }
                Some((kind, bytes))
            }
            Ok(None) => None,
            Err(_) => {
                self.gone = true;
                None
            }
        }
    }

    pub(super) fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    pub(super) fn send(&mut self, frame: Vec<u8>) {
        if self.gone {
            return;
        }
        if self.output.is_empty() {
            self.output = frame;
        } else {
            self.output.extend_from_slice(&frame);
        }
        self.flush();
    }

    /// Sends output without building a frame first.
    pub(super) fn send_output(&mut self, kind: Kind, data: &[u8]) {
        if self.gone || self.finished {
            return;
        }
        self.output.reserve(HEADER + data.len());
        self.output.extend_from_slice(&(data.len() as u32).to_le_bytes());
        self.output.push(kind as u8);
        self.output.extend_from_slice(data);
        self.flush();
    }

    /// Tells the end; the connection closes when it has been taken.
    pub(super) fn finish(&mut self, exit: &Exit) {
        if !self.finished {
            self.send(json_frame(Kind::Exit, exit));
            self.finished = true;
        }
    }

    pub(super) fn flush(&mut self) {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => {
                    self.gone = true;
                    break;
                }
                Ok(count) => {
                    self.written += count;
                    self.stalled = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled.get_or_insert_with(Instant::now);
                    if self.written > QUEUE_MAX {
                        self.output.drain(..self.written);
                        self.written = 0;
                    }
                    return;
                }
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        self.output.clear();
        self.output.shrink_to(4 << 10);
        self.written = 0;
        self.stalled = None;
    }

    pub(super) fn has_output(&self) -> bool {
        !self.gone && !self.output.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        !self.gone && self.output.len() - self.written > QUEUE_MAX
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stalled.filter(|_| self.is_full()).map(|since| since + STALL_MAX)
    }

    pub(super) fn drop_if_slow(&mut self) {
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.gone = true;
        }
    }

    pub(super) fn give_up(&mut self) {
        self.gone = true;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone || (self.finished && self.output.is_empty())
    }
}

fn owned(messages: nix::Result<impl Iterator<Item = ControlMessageOwned>>) -> Vec<OwnedFd> {
    let Ok(messages) = messages else { return Vec::new() };
    messages
        .filter_map(|message| match message {
            ControlMessageOwned::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .map(kernel::process::own_received)
        .collect()
}

/// Waits for one descriptor.
pub(super) fn receive_fd(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    owned(message.cmsgs()).pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
