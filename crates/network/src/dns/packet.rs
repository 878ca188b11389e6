//! The DNS wire format, as far as a resolver that answers from a table and relays the rest needs it (RFC 1035, 6891).
//!
//! Written by hand because a lookup shall not allocate; the tests hold it against `hickory-proto`.
use std::net::IpAddr;

/// Header length.
pub const HEADER: usize = 12;
/// What a client without EDNS can take over UDP.
pub const PLAIN_UDP_SIZE: usize = 512;
/// The most we send over UDP, and what we say that we take.
pub const OUR_UDP_SIZE: u16 = 4096;

const OPT: u16 = 41;
const SOA: u16 = 6;

/// Record types that we answer ourselves.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Everything.
    pub const ANY: u16 = 255;
}

/// Response codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// An answer, maybe an empty one.
    NoError = 0,
    /// We could not read the question.
    FormErr = 1,
    /// We could not find out.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// Not a query.
    NotImp = 4,
    /// Too busy, or not our business.
    Refused = 5,
}

/// A name in lower case, labels joined by dots, without the last dot; the root is empty.
#[derive(Clone)]
pub struct Name {
    text: [u8; 256],
    len: usize,
    odd: bool,
}

impl Name {
    /// The text; `None` if a label holds a dot or is no UTF-8, which no name of ours does.
    pub fn as_str(&self) -> Option<&str> {
        if self.odd { None } else { std::str::from_utf8(&self.text[..self.len]).ok() }
    }

    fn push(&mut self, label: &[u8]) {
        if self.len > 0 {
            self.text[self.len] = b'.';
            self.len += 1;
        }
        for b in label {
            self.odd |= *b == b'.';
            self.text[self.len] = b.to_ascii_lowercase();
            self.len += 1;
        }
    }
}

/// EDNS of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// How large a UDP answer may be.
    pub size: u16,
    /// Version; only 0 exists.
    pub version: u8,
}

/// A question, read in place.
pub struct Query<'a> {
    /// Chosen by the client.
    pub id: u16,
    /// Header flags as they came.
    pub flags: u16,
    /// Asked name.
    pub name: Name,
    /// Asked type.
    pub kind: u16,
    /// Asked class.
    pub class: u16,
    /// The question section's bytes.
    pub question: &'a [u8],
    /// EDNS, if the client speaks it.
    pub edns: Option<Edns>,
}

/// Why a packet is not a query that we can work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not even a header, or itself an answer: no answer, lest two servers talk for ever.
    Ignore,
    /// To be told so.
    Answer(Code),
}

impl<'a> Query<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn parse(packet: &'a [u8]) -> Result<Self, Unreadable> {
        let malformed = Unreadable::Answer(Code::FormErr);
        let header = packet.get(..HEADER).ok_or(Unreadable::Ignore)?;
        let flags = be16(header, 2);
        if flags & 0x8000 != 0 {
            return Err(Unreadable::Ignore);
        }
        if flags & 0x7800 != 0 {
            return Err(Unreadable::Answer(Code::NotImp));
        }
        if be16(header, 4) != 1 {
            return Err(malformed);
        }
        let (name, end) = read_question_name(packet).ok_or(malformed)?;
        let fixed = packet.get(end..end + 4).ok_or(malformed)?;
        let records = (0..3).map(|i| usize::from(be16(header, 6 + 2 * i))).sum();
        let edns = find_edns(packet, end + 4, records).ok_or(malformed)?;
        Ok(Self {
            id: be16(header, 0),
            flags,
            name,
            kind: be16(fixed, 0),
            class: be16(fixed, 2),
            question: &packet[HEADER..end + 4],
            edns,
        })
    }

    /// How large an answer over UDP may be.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(PLAIN_UDP_SIZE, |e| usize::from(e.size.clamp(PLAIN_UDP_SIZE as u16, OUR_UDP_SIZE)))
    }
}

/// One answer under construction, in a buffer that is used again and again.
pub struct Answer<'b> {
    out: &'b mut Vec<u8>,
    limit: usize,
    count: u16,
    edns: Option<Edns>,
}

impl<'b> Answer<'b> {
    /// Starts an answer to `query` of at most `limit` bytes.
    pub fn new(query: &Query<'_>, code: Code, limit: usize, out: &'b mut Vec<u8>) -> Self {
        out.clear();
        // Answer, recursion available; opcode (0), recursion desired and checking disabled as the client had them.
        let flags = 0x8080 | (query.flags & 0x0110) | u16::from(code as u8);
        for word in [query.id, flags, 1, 0, 0, u16::from(query.edns.is_some())] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(query.question);
        let reserve = if query.edns.is_some() { 11 } else { 0 };
        Self { out, limit: limit.saturating_sub(reserve), count: 0, edns: query.edns }
    }

    /// Adds an address of the asked name; `false` (and the truncation bit) if it does not fit.
    pub fn address(&mut self, addr: IpAddr, ttl: u32) -> bool {
        match addr {
            IpAddr::V4(a) => self.record(kind::A, ttl, &a.octets()),
            IpAddr::V6(a) => self.record(kind::AAAA, ttl, &a.octets()),
        }
    }

    /// Adds the name of the asked address.
    pub fn pointer(&mut self, name: &str, ttl: u32) -> bool {
        let mut data = Vec::with_capacity(name.len() + 2);
        for label in name.split('.').filter(|l| !l.is_empty()) {
            let bytes = &label.as_bytes()[..label.len().min(63)];
            data.push(bytes.len() as u8);
            data.extend_from_slice(bytes);
        }
        data.push(0);
        data.len() <= 255 && self.record(kind::PTR, ttl, &data)
    }

    fn record(&mut self, kind: u16, ttl: u32, data: &[u8]) -> bool {
        if self.out.len() + 12 + data.len() > self.limit {
            self.out[2] |= 0x02;
            return false;
        }
        self.out.extend_from_slice(&[0xC0, HEADER as u8]);
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&1u16.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        self.out.extend_from_slice(data);
        self.count += 1;
        true
    }

    /// Ends it.
    pub fn finish(self) {
        self.out[6..8].copy_from_slice(&self.count.to_be_bytes());
        if let Some(edns) = self.edns {
            // Extended code 1 is BADVERS.
            let ttl = u32::from(edns.version != 0) << 24;
            self.out.push(0);
            self.out.extend_from_slice(&OPT.to_be_bytes());
            self.out.extend_from_slice(&OUR_UDP_SIZE.to_be_bytes());
            self.out.extend_from_slice(&ttl.to_be_bytes());
            self.out.extend_from_slice(&[0, 0]);
        }
    }
}

/// An answer to a packet whose question we could not read: its id and the code, nothing else.
pub fn header_only(packet: &[u8], code: Code, out: &mut Vec<u8>) {
    out.clear();
    let Some(header) = packet.get(..HEADER) else { return };
    out.extend_from_slice(&header[..2]);
    out.push(0x80 | (header[2] & 0x79));
    out.push(0x80 | code as u8);
    out.extend_from_slice(&[0; 8]);
}

/// Cuts an answer that came over another way to what fits: header and question with the truncation bit.
pub fn truncate(answer: &mut Vec<u8>) {
    let Some(end) = question_end(answer) else { return };
    answer.truncate(end);
    answer[2] |= 0x02;
    answer[6..12].fill(0);
}

/// Whether `answer` is one to `query` (the id apart, which is the relay's own): a reply with the same question.
pub fn answers(query: &[u8], answer: &[u8]) -> bool {
    let Some((_, end)) = read_question_name(query) else { return false };
    let (Some(asked), Some(said)) = (query.get(HEADER..end + 4), answer.get(HEADER..end + 4)) else { return false };
    answer[2] & 0x80 != 0 && be16(answer, 4) == 1 && asked.eq_ignore_ascii_case(said)
}

/// Where the question of a packet ends; `None` if it has none that can be read.
pub fn question_end(packet: &[u8]) -> Option<usize> {
    read_question_name(packet).map(|(_, end)| end + 4).filter(|end| *end <= packet.len())
}

/// The response code in a header.
pub fn code_of(answer: &[u8]) -> u8 {
    answer.get(3).map_or(Code::ServFail as u8, |b| b & 0x0F)
}

/// Whether the truncation bit is set.
pub fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|b| b & 0x02 != 0)
}

/// How long an answer may be kept, and where its TTLs stand; `None` if it must not be kept or cannot be read.
pub fn lifetime(answer: &[u8]) -> Option<(u32, Vec<usize>)> {
    let (_, end) = read_question_name(answer)?;
    let header = answer.get(..HEADER)?;
    let answers = usize::from(be16(header, 6));
    let records: usize = (0..3).map(|i| usize::from(be16(header, 6 + 2 * i))).sum();
    let (mut at, mut least, mut places) = (end + 4, None, Vec::new());
    for _ in 0..records {
        let fixed = skip_name(answer, at)?;
        let head = answer.get(fixed..fixed + 10)?;
        let (kind, length) = (be16(head, 0), usize::from(be16(head, 8)));
        let data = answer.get(fixed + 10..fixed + 10 + length)?;
        if kind != OPT {
            let mut ttl = be32(head, 4);
            if kind == SOA && answers == 0 {
                // RFC 2308: a negative answer lives as long as the zone says.
                ttl = ttl.min(be32(data, data.len().checked_sub(4)?));
            }
            least = Some(least.map_or(ttl, |l: u32| l.min(ttl)));
            places.push(fixed + 4);
        }
        at = fixed + 10 + length;
    }
    least.filter(|l| *l > 0).map(|l| (l, places))
}

/// Takes `age` seconds from the TTLs at `places`.
pub fn grow_older(answer: &mut [u8], places: &[usize], age: u32) {
    for at in places {
        if let Some(field) = answer.get_mut(*at..at + 4) {
            let ttl = be32(field, 0).saturating_sub(age);
            field.copy_from_slice(&ttl.to_be_bytes());
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The first name after the header, which has nothing before it to point to; and where it ends.
fn read_question_name(packet: &[u8]) -> Option<(Name, usize)> {
    let mut name = Name { text: [0; 256], len: 0, odd: false };
    let mut at = HEADER;
    loop {
        let length = usize::from(*packet.get(at)?);
        if length == 0 {
            return Some((name, at + 1));
        }
        if length > 63 || at + length - HEADER > 253 {
            return None;
        }
        name.push(packet.get(at + 1..at + 1 + length)?);
        at += 1 + length;
    }
}

/// Where a name that may be compressed ends.
fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            n if n & 0xC0 == 0xC0 => return Some(at + 2),
            n if n & 0xC0 == 0 => at += 1 + usize::from(n),
            _ => return None,
        }
    }
}

/// The OPT record among `records` records from `at` on: outer `None` if they cannot be read.
fn find_edns(packet: &[u8], mut at: usize, records: usize) -> Option<Option<Edns>> {
    let mut found = None;
    for _ in 0..records {
        let fixed = skip_name(packet, at)?;
        let head = packet.get(fixed..fixed + 10)?;
        if be16(head, 0) == OPT {
            found = Some(Edns { size: be16(head, 2), version: head[5] });
        }
        at = fixed + 10 + usize::from(be16(head, 8));
        packet.get(..at)?;
    }
    Some(found)
}
