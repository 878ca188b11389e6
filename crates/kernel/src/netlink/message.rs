//! The wire format that rtnetlink and nfnetlink share: a header, a fixed part, then nested attributes.
//!
//! Of our own because one small codec then serves routes and nftables alike; the typed crates know no NAT expressions
//! and refuse whole dumps when a newer kernel adds an attribute.

/// Message header length.
pub(crate) const HEADER: usize = 16;
/// Marks an attribute that holds attributes.
pub(crate) const NESTED: u16 = 0x8000;

/// A request being written.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    buf: Vec<u8>,
}

/// The place of a nested attribute whose length is not known yet.
#[must_use]
pub(crate) struct Nest(usize);

impl Message {
    /// A request with its fixed part.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut buf = vec![0; HEADER];
        buf[4..6].copy_from_slice(&kind.to_ne_bytes());
        buf[6..8].copy_from_slice(&flags.to_ne_bytes());
        buf.extend_from_slice(fixed);
        let mut m = Self { buf };
        m.pad();
        m
    }

    fn pad(&mut self) {
        self.buf.resize(self.buf.len().next_multiple_of(4), 0);
    }

    /// Adds an attribute.
    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(value.len() + 4).expect("attributes are small");
        self.buf.extend_from_slice(&len.to_ne_bytes());
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds a text with its final zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Adds a number in the host's order (rtnetlink).
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network order (nfnetlink).
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds a byte.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attr(kind, &[value])
    }

    /// Opens a nested attribute; close it with [`Self::end`].
    pub(crate) fn nest(&mut self, kind: u16) -> Nest {
        let at = self.buf.len();
        self.attr(kind, &[]);
        Nest(at)
    }

    /// Adds raw bytes (the fixed part of a nested message).
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buf.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Closes a nested attribute.
    pub(crate) fn end(&mut self, nest: Nest) {
        let len = u16::try_from(self.buf.len() - nest.0).expect("nested attributes stay below 64 KiB");
        self.buf[nest.0..nest.0 + 2].copy_from_slice(&len.to_ne_bytes());
    }

    /// The bytes, with length and sequence number filled in.
    pub(crate) fn finish(mut self, seq: u32) -> Vec<u8> {
        let len = u32::try_from(self.buf.len()).expect("messages are small");
        self.buf[..4].copy_from_slice(&len.to_ne_bytes());
        self.buf[8..12].copy_from_slice(&seq.to_ne_bytes());
        self.buf
    }
}

/// A message as received.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of one datagram.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let len = u32_at(bytes, 0)? as usize;
        if len < HEADER || len > bytes.len() {
            return None;
        }
        let m = Received {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            seq: u32_at(bytes, 8)?,
            body: &bytes[HEADER..len],
        };
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(m)
    })
}

/// The attributes in `bytes`, with the nesting mark taken off their kinds.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & 0x3fff;
        if len < 4 || len > bytes.len() {
            return None;
        }
        let value = &bytes[4..len];
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut m = Message::new(16, 1, &[7; 4]);
        m.text(3, "eth0");
        let outer = m.nest(18 | NESTED);
        m.u32(1, 1500).u8(2, 9);
        m.end(outer);
        let bytes = m.finish(42);
        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!((all.len(), all[0].kind, all[0].seq), (1, 16, 42));
        let attrs: Vec<_> = attributes(&all[0].body[4..]).collect();
        assert_eq!(text(attrs[0].1), "eth0");
        let inner: Vec<_> = attributes(attrs[1].1).collect();
        assert_eq!(inner, [(1, &1500u32.to_ne_bytes()[..]), (2, &[9][..])]);
    }

    #[test]
    fn broken_lengths_end_the_walk() {
        assert_eq!(attributes(&[255, 0, 1, 0, 1]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(messages(&[0; 40]).count(), 0);
    }
}
