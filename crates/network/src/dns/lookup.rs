//! One question, answered from the table or handed on: a decision without any I/O.
use super::packet::{Answer, Code, Query, Unreadable, header_only, kind};
use super::table::{NameTable, Reverse, TASK_TTL};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

const IN: u16 = 1;
const ANY_CLASS: u16 = 255;

/// What one sandbox may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Ids of its networks; the first that knows a name answers.
    pub networks: Vec<Arc<str>>,
    /// Resolvers for everything else, best first. Empty: nothing is handed on.
    pub upstreams: Vec<Upstream>,
    /// The user set `ndots`: a name without a dot that is not ours gets an empty answer.
    pub ndots_set: bool,
    /// The sandbox has no way out, so its questions have none either.
    pub internal_only: bool,
    /// `com.docker.stack.namespace` of the container: wins where stacks share an alias.
    pub stack: Option<String>,
    /// Private aliases: name (lower case) → networks and names there.
    pub links: BTreeMap<String, Vec<(Arc<str>, String)>>,
}

/// A resolver to hand questions on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Address and port.
    pub addr: SocketAddr,
    /// Asked from inside the sandbox (the user's `--dns`) instead of from the host.
    pub inside: bool,
}

impl Upstream {
    /// One of the host's resolvers.
    pub fn of_host(addr: IpAddr) -> Self {
        Self { addr: SocketAddr::new(addr, 53), inside: false }
    }
    /// One that the user named for the container.
    pub fn of_container(addr: IpAddr) -> Self {
        Self { addr: SocketAddr::new(addr, 53), inside: true }
    }
}

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send what stands in the buffer.
    Reply,
    /// Ask the upstreams.
    Forward,
    /// Nothing.
    Ignore,
}

/// The buffers of one socket.
#[derive(Default)]
pub struct Desk {
    /// The reply.
    pub out: Vec<u8>,
    found: Vec<(IpAddr, u32)>,
    turn: usize,
}

impl Desk {
    /// Looks at one packet. `limit` bounds the reply (`None`: what the client says for UDP).
    pub fn handle(&mut self, table: &NameTable, scope: &Scope, packet: &[u8], limit: Option<usize>) -> Outcome {
        let query = match Query::parse(packet) {
            Ok(q) => q,
            Err(Unreadable::Ignore) => return Outcome::Ignore,
            Err(Unreadable::Answer(code)) => {
                header_only(packet, code, &mut self.out);
                return Outcome::Reply;
            }
        };
        let limit = limit.unwrap_or_else(|| query.udp_limit());
        if query.edns.is_some_and(|e| e.version != 0) {
            return self.code(&query, Code::NoError, limit);
        }
        if !matches!(query.class, IN | ANY_CLASS) {
            return self.code(&query, Code::Refused, limit);
        }
        let name = query.name.as_str().unwrap_or_default();
        let mut links = scope.links.get(name).into_iter().flatten();
        let linked = links.find_map(|(network, to)| table.find(std::slice::from_ref(network), to));
        if let Some(record) = linked.or_else(|| table.find(&scope.networks, name)) {
            self.found.clear();
            self.found.extend(record.addresses(scope.stack.as_deref()).filter(|(a, _)| is_wanted(query.kind, a)));
            return self.addresses(&query, limit);
        }
        if query.kind == kind::PTR
            && let Some(addr) = address_of_reverse_name(name)
        {
            match table.reverse(&scope.networks, addr) {
                Reverse::Names(names) => {
                    let mut answer = Answer::new(&query, Code::NoError, limit, &mut self.out);
                    for name in names {
                        answer.pointer(name, TASK_TTL);
                    }
                    answer.finish();
                    return Outcome::Reply;
                }
                Reverse::Nobody => return self.code(&query, Code::NxDomain, limit),
                Reverse::Foreign => {}
            }
        }
        let single = !name.contains('.');
        if single && scope.ndots_set && !name.is_empty() {
            return self.code(&query, Code::NoError, limit);
        }
        if scope.internal_only || scope.upstreams.is_empty() {
            let code = if single && !name.is_empty() { Code::NxDomain } else { Code::ServFail };
            return self.code(&query, code, limit);
        }
        Outcome::Forward
    }

    /// A reply without records.
    pub fn refuse(&mut self, packet: &[u8], code: Code) {
        match Query::parse(packet) {
            Ok(query) => drop(self.code(&query, code, usize::MAX)),
            Err(_) => header_only(packet, code, &mut self.out),
        }
    }

    fn code(&mut self, query: &Query<'_>, code: Code, limit: usize) -> Outcome {
        Answer::new(query, code, limit, &mut self.out).finish();
        Outcome::Reply
    }

    fn addresses(&mut self, query: &Query<'_>, limit: usize) -> Outcome {
        if self.found.len() > 1 {
            // Clients take the first: let it be another one each time.
            self.turn = self.turn.wrapping_add(1);
            let by = self.turn % self.found.len();
            self.found.rotate_left(by);
        }
        let mut answer = Answer::new(query, Code::NoError, limit, &mut self.out);
        for (addr, ttl) in &self.found {
            if !answer.address(*addr, *ttl) {
                break;
            }
        }
        answer.finish();
        Outcome::Reply
    }
}

fn is_wanted(asked: u16, addr: &IpAddr) -> bool {
    match asked {
        kind::A => addr.is_ipv4(),
        kind::AAAA => addr.is_ipv6(),
        kind::ANY => true,
        _ => false,
    }
}

/// `4.1.0.10.in-addr.arpa` → 10.0.1.4.
fn address_of_reverse_name(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0u8; 4];
        let mut parts = digits.rsplit('.');
        for o in &mut octets {
            *o = parts.next()?.parse().ok()?;
        }
        return parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut bits = 0u128;
    let mut count = 0;
    for digit in digits.rsplit('.') {
        if digit.len() != 1 || count == 32 {
            return None;
        }
        bits = bits << 4 | u128::from(u8::from_str_radix(digit, 16).ok()?);
        count += 1;
    }
    (count == 32).then_some(IpAddr::V6(Ipv6Addr::from(bits)))
}
