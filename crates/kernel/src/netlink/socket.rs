//! A netlink socket that asks and waits: one request, its acknowledgement or its dump.
use super::message::{Message, Received, attributes, messages, text, u32_at};
use netlink_sys::{Socket, SocketAddr};
use std::cell::{Cell, RefCell};
use std::io;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
/// Ask for all objects.
pub(crate) const DUMP: u16 = 0x300;
/// Make it; it must not exist.
pub(crate) const CREATE_NEW: u16 = 0x600;
/// Make it or change it.
pub(crate) const CREATE_OR_REPLACE: u16 = 0x500;
/// On an error message: attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;
/// On an error message: the request is not repeated in it.
const NLM_F_CAPPED: u16 = 0x100;
/// A dump was disturbed by a change.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// The kernel's no, with its words if it gave any.
#[derive(Debug, Clone)]
pub(crate) struct Nack {
    pub(crate) errno: i32,
    pub(crate) words: Option<String>,
}

impl From<io::Error> for Nack {
    fn from(e: io::Error) -> Self {
        Self { errno: e.raw_os_error().unwrap_or(libc::EIO), words: None }
    }
}

#[derive(Debug)]
pub(crate) struct Conversation {
    socket: RefCell<Socket>,
    seq: Cell<u32>,
}

impl Conversation {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        // A batch's errors are all queued before we read the first.
        let _ = socket.set_rx_buf_sz(1u32 << 20);
        Ok(Self { socket: RefCell::new(socket), seq: Cell::new(1) })
    }

    pub(crate) fn next_seq(&self) -> u32 {
        let n = self.seq.get();
        self.seq.set(n.wrapping_add(1));
        n
    }

    /// Sends one request and waits for its acknowledgement. `each` gets what comes before it.
    pub(crate) fn ask(&self, message: Message, each: &mut dyn FnMut(&Received<'_>)) -> Result<(), Nack> {
        let seq = self.next_seq();
        let mut bytes = message.finish(seq);
        bytes[6] |= (NLM_F_REQUEST | NLM_F_ACK) as u8;
        self.socket.borrow().send(&bytes, 0)?;
        loop {
            let (answer, _) = self.socket.borrow_mut().recv_from_full()?;
            for m in messages(&answer).filter(|m| m.seq == seq) {
                match m.kind {
                    NLMSG_ERROR => return nack(&m),
                    NLMSG_DONE => return Ok(()),
                    _ if m.flags & NLM_F_DUMP_INTR != 0 => {
                        return Err(Nack { errno: libc::EINTR, words: None });
                    }
                    _ => each(&m),
                }
            }
        }
    }

    /// Sends a ready-made batch and gathers every error that the kernel has for it; the first counts.
    pub(crate) fn batch(&self, bytes: &[u8]) -> Result<(), (u32, Nack)> {
        let io = |e: io::Error| (0, Nack::from(e));
        self.socket.borrow().send(bytes, 0).map_err(io)?;
        let mut first: Option<(u32, Nack)> = None;
        self.socket.borrow().set_non_blocking(true).map_err(io)?;
        // nfnetlink handles a batch inside send(): all answers are queued by now.
        let result = loop {
            let answer = self.socket.borrow_mut().recv_from_full();
            let answer = match answer {
                Ok((answer, _)) => answer,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(e) => break Err(io(e)),
            };
            for m in messages(&answer).filter(|m| m.kind == NLMSG_ERROR) {
                if let (Err(n), None) = (nack(&m), &first) {
                    first = Some((m.seq, n));
                }
            }
        };
        self.socket.borrow().set_non_blocking(false).map_err(io)?;
        match (first, result) {
            (Some(e), _) => Err(e),
            (None, r) => r,
        }
    }
}

fn nack(m: &Received<'_>) -> Result<(), Nack> {
    let errno = -(u32_at(m.body, 0).unwrap_or(0) as i32);
    if errno == 0 {
        return Ok(());
    }
    let mut words = None;
    if m.flags & NLM_F_ACK_TLVS != 0 {
        let echoed = if m.flags & NLM_F_CAPPED != 0 { 16 } else { u32_at(m.body, 4).unwrap_or(16) as usize };
        let tlvs = m.body.get(4 + echoed.next_multiple_of(4)..).unwrap_or_default();
        words = attributes(tlvs).find(|(k, _)| *k == 1).map(|(_, v)| text(v));
    }
    Err(Nack { errno, words })
}
