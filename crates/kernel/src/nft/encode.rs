//! Tables as nfnetlink messages.
use super::table::*;
use super::*;
use crate::netlink::message::{Message, NESTED};
use std::net::IpAddr;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFT_SET_MAP: u32 = 8;
/// A verdict's register.
const REG_VERDICT: u32 = 0;
/// The first 16-byte register, which is also the 4-byte registers 8 to 11.
const REG_1: u32 = 1;
const REG32: u32 = 8;
/// `nft`'s own numbers of types, so that it prints maps in its own words; six bits each in a concatenation.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_SERVICE: u32 = 13;
const IPS_DST_NAT: u32 = 1 << 5;
const RTN_LOCAL: u32 = 2;
/// Elements in one message: a nested attribute ends at 64 KiB.
const ELEMENTS_MAX: usize = 400;

pub(super) fn question(kind: u16, flags: u16, family: Family) -> Message {
    Message::new(kind, flags, &[family.number(), 0, 0, 0])
}

fn order(kind: u16, flags: u16, family: Family) -> Message {
    question(kind, NLM_F_REQUEST | flags, family)
}

pub(super) fn new_table(t: &Table) -> Message {
    let mut m = order(NFT_MSG_NEWTABLE, NLM_F_CREATE, t.family);
    m.text(NFTA_TABLE_NAME, &t.name);
    m
}

pub(super) fn delete_table(family: Family, name: &str) -> Message {
    let mut m = order(NFT_MSG_DELTABLE, 0, family);
    m.text(NFTA_TABLE_NAME, name);
    m
}

pub(super) fn new_chain(t: &Table, c: &Chain) -> Message {
    let mut m = order(NFT_MSG_NEWCHAIN, NLM_F_CREATE, t.family);
    m.text(NFTA_CHAIN_TABLE, &t.name).text(NFTA_CHAIN_NAME, &c.name);
    if let Some(base) = &c.base {
        let hook = m.nest(NFTA_CHAIN_HOOK | NESTED);
        m.be32(1, base.hook as u32).be32(2, base.priority as u32);
        m.end(hook);
        m.be32(NFTA_CHAIN_POLICY, 1);
        m.text(
            NFTA_CHAIN_TYPE,
            match base.kind {
                ChainKind::Filter => "filter",
                ChainKind::Nat => "nat",
            },
        );
    }
    m
}

fn address_type(family: Family) -> (u32, u32) {
    match family {
        Family::Ipv4 => (TYPE_IPV4, 4),
        Family::Ipv6 => (TYPE_IPV6, 16),
    }
}

pub(super) fn new_map(t: &Table, map: &PortMap, id: u32) -> Message {
    let (address, width) = address_type(t.family);
    let (mut key, mut key_len) = (TYPE_PROTOCOL << 6 | TYPE_SERVICE, 8);
    if map.with_address {
        key |= address << 12;
        key_len += width;
    }
    let mut m = order(NFT_MSG_NEWSET, NLM_F_CREATE, t.family);
    m.text(1, &t.name).text(2, &map.name).be32(3, NFT_SET_MAP);
    m.be32(4, key).be32(5, key_len);
    m.be32(6, address << 6 | TYPE_SERVICE).be32(7, width + 4);
    m.be32(10, id);
    m
}

pub(super) fn map_elements<'a>(t: &'a Table, map: &'a PortMap, id: u32) -> impl Iterator<Item = Message> + 'a {
    map.entries.chunks(ELEMENTS_MAX).map(move |entries| {
        let mut m = order(NFT_MSG_NEWSETELEM, NLM_F_CREATE, t.family);
        m.text(1, &t.name).text(2, &map.name).be32(4, id);
        let list = m.nest(3 | NESTED);
        for ((addr, protocol, port), (to, to_port)) in entries {
            let mut key = addr.map(octets).unwrap_or_default();
            key.extend([*protocol, 0, 0, 0]);
            key.extend(port_word(*port));
            let mut value = octets(*to);
            value.extend(port_word(*to_port));
            let elem = m.nest(NFTA_LIST_ELEM | NESTED);
            data(&mut m, NFTA_SET_ELEM_KEY, &key);
            data(&mut m, NFTA_SET_ELEM_DATA, &value);
            m.end(elem);
        }
        m.end(list);
        m
    })
}

fn port_word(port: u16) -> [u8; 4] {
    let [a, b] = port.to_be_bytes();
    [a, b, 0, 0]
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn data(m: &mut Message, kind: u16, value: &[u8]) {
    let nest = m.nest(kind | NESTED);
    m.attr(NFTA_DATA_VALUE, value);
    m.end(nest);
}

pub(super) fn new_rule(t: &Table, c: &Chain, rule: &Rule) -> Message {
    let mut m = order(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, t.family);
    m.text(NFTA_RULE_TABLE, &t.name).text(NFTA_RULE_CHAIN, &c.name);
    let all = m.nest(NFTA_RULE_EXPRESSIONS | NESTED);
    let mut e = Expressions { m: &mut m, family: t.family };
    for x in &rule.matches {
        e.condition(x);
    }
    e.verdict(t, &rule.verdict);
    m.end(all);
    m
}

struct Expressions<'a> {
    m: &'a mut Message,
    family: Family,
}

impl Expressions<'_> {
    fn expression(&mut self, name: &str, body: impl FnOnce(&mut Message)) {
        let elem = self.m.nest(NFTA_LIST_ELEM | NESTED);
        self.m.text(NFTA_EXPR_NAME, name);
        let inner = self.m.nest(NFTA_EXPR_DATA | NESTED);
        body(self.m);
        self.m.end(inner);
        self.m.end(elem);
    }

    fn load(&mut self, name: &str, dreg: u32, key: u32) {
        self.expression(name, |m| {
            m.be32(1, dreg).be32(2, key);
        });
    }

    fn compare(&mut self, equal: bool, value: &[u8]) {
        self.expression("cmp", |m| {
            m.be32(1, REG_1).be32(2, u32::from(!equal));
            data(m, 3, value);
        });
    }

    fn mask(&mut self, mask: &[u8]) {
        self.expression("bitwise", |m| {
            m.be32(1, REG_1).be32(2, REG_1).be32(3, mask.len() as u32);
            data(m, 4, mask);
            data(m, 5, &vec![0; mask.len()]);
        });
    }

    fn payload(&mut self, dreg: u32, base: u32, offset: u32, len: u32) {
        self.expression("payload", |m| {
            m.be32(1, dreg).be32(2, base).be32(3, offset).be32(4, len);
        });
    }

    fn interface(&mut self, key: u32, name: &str, equal: bool) {
        let mut padded = [0u8; 16];
        let n = name.len().min(15);
        padded[..n].copy_from_slice(&name.as_bytes()[..n]);
        self.load("meta", REG_1, key);
        self.compare(equal, &padded);
    }

    fn address(&mut self, source: bool, addr: IpAddr, prefix: u8, equal: bool) {
        let bytes = octets(addr);
        let width = bytes.len() as u32;
        let first = if self.family == Family::Ipv4 { 12 } else { 8 };
        self.payload(REG_1, 1, if source { first } else { first + width }, width);
        let mask: Vec<u8> = (0..bytes.len())
            .map(|i| {
                let bits = usize::from(prefix).saturating_sub(i * 8).min(8);
                !(0xffu16 >> bits) as u8
            })
            .collect();
        if usize::from(prefix) < bytes.len() * 8 {
            self.mask(&mask);
        }
        let masked: Vec<u8> = bytes.iter().zip(&mask).map(|(b, m)| b & m).collect();
        self.compare(equal, &masked);
    }

    fn is_local(&mut self, side: u32) {
        self.expression("fib", |m| {
            m.be32(1, REG_1).be32(2, 3).be32(3, side);
        });
        self.compare(true, &RTN_LOCAL.to_ne_bytes());
    }

    fn condition(&mut self, x: &Match) {
        match x {
            Match::In(n) => self.interface(6, n, true),
            Match::NotIn(n) => self.interface(6, n, false),
            Match::Out(n) => self.interface(7, n, true),
            Match::NotOut(n) => self.interface(7, n, false),
            Match::Source(a, p) => self.address(true, *a, *p, true),
            Match::NotSource(a, p) => self.address(true, *a, *p, false),
            Match::Destination(a, p) => self.address(false, *a, *p, true),
            Match::NotDestination(a, p) => self.address(false, *a, *p, false),
            Match::DestinationIsLocal => self.is_local(2),
            Match::SourceIsLocal => self.is_local(1),
            Match::Protocol(p) => {
                self.load("meta", REG_1, 16);
                self.compare(true, &[*p]);
            }
            Match::DestinationPort(p) => {
                self.payload(REG_1, 2, 2, 2);
                self.compare(true, &p.to_be_bytes());
            }
            Match::CtState(bits) => {
                self.load("ct", REG_1, 0);
                self.mask(&bits.to_ne_bytes());
                self.compare(false, &[0; 4]);
            }
            Match::CtDnat => {
                self.load("ct", REG_1, 2);
                self.mask(&IPS_DST_NAT.to_ne_bytes());
                self.compare(false, &[0; 4]);
            }
        }
    }

    fn immediate(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |m| {
            m.be32(1, REG_VERDICT);
            let value = m.nest(2 | NESTED);
            let verdict = m.nest(NFTA_DATA_VERDICT | NESTED);
            m.be32(1, code as u32);
            if let Some(c) = chain {
                m.text(2, c);
            }
            m.end(verdict);
            m.end(value);
        });
    }

    fn dnat(&mut self, port_register: u32) {
        let family = u32::from(self.family.number());
        self.expression("nat", |m| {
            m.be32(1, 1).be32(2, family).be32(3, REG_1).be32(5, port_register);
        });
    }

    fn verdict(&mut self, t: &Table, v: &Verdict) {
        let words = address_type(self.family).1 / 4;
        match v {
            Verdict::Accept => self.immediate(1, None),
            Verdict::Drop => self.immediate(0, None),
            Verdict::Return => self.immediate(-5, None),
            Verdict::Jump(c) => self.immediate(-3, Some(c)),
            Verdict::Masquerade => self.expression("masq", |_| {}),
            Verdict::Dnat(addr, port) => {
                let port_register = REG32 + words;
                self.expression("immediate", |m| {
                    m.be32(1, REG_1);
                    data(m, 2, &octets(*addr));
                });
                self.expression("immediate", |m| {
                    m.be32(1, port_register);
                    data(m, 2, &port.to_be_bytes());
                });
                self.dnat(port_register);
            }
            Verdict::DnatMap(name) => {
                let with_address = t.maps.iter().any(|m| m.name == *name && m.with_address);
                let id = t.maps.iter().position(|m| m.name == *name).map_or(0, |i| i as u32 + 1);
                let mut register = REG32;
                if with_address {
                    let first = if self.family == Family::Ipv4 { 12 } else { 8 };
                    self.payload(register, 1, first + words * 4, words * 4);
                    register += words;
                }
                self.load("meta", register, 16);
                self.payload(register + 1, 2, 2, 2);
                self.expression("lookup", |m| {
                    m.text(1, name).be32(2, REG_1).be32(3, REG_1).be32(4, id);
                });
                self.dnat(REG32 + words);
            }
        }
    }
}
