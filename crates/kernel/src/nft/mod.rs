//! nftables tables of our own, replaced whole and atomically; nobody else's table is ever touched.
//!
//! A small encoder, because no crate without C code knows NAT. The oracle of its tests is `nft list ruleset`.
mod encode;
mod gates;
mod table;

pub use gates::Gate;
pub use table::{Base, Chain, ChainKind, Family, Hook, Match, PortKey, PortMap, Rule, Table, Verdict, ct_state};

use crate::netlink::message::{Message, messages};
use crate::netlink::socket::{Conversation, DUMP, Nack};
use crate::netns::NetNs;
use std::io;

const SUBSYSTEM: u16 = 10 << 8;
const NFT_MSG_NEWTABLE: u16 = SUBSYSTEM;
const NFT_MSG_GETTABLE: u16 = SUBSYSTEM | 1;
const NFT_MSG_DELTABLE: u16 = SUBSYSTEM | 2;
const NFT_MSG_NEWCHAIN: u16 = SUBSYSTEM | 3;
const NFT_MSG_NEWRULE: u16 = SUBSYSTEM | 6;
const NFT_MSG_GETRULE: u16 = SUBSYSTEM | 7;
const NFT_MSG_NEWSET: u16 = SUBSYSTEM | 9;
const NFT_MSG_NEWSETELEM: u16 = SUBSYSTEM | 12;
const NFT_MSG_GETSETELEM: u16 = SUBSYSTEM | 13;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} nftables table {table}{}", words.as_ref().map(|w| format!(" ({w})")).unwrap_or_default())]
pub struct NftError {
    /// "replace", say.
    pub action: &'static str,
    /// Family and name.
    pub table: String,
    /// Which part of the batch, and the kernel's words.
    pub words: Option<String>,
    /// The error number.
    #[source]
    pub source: io::Error,
}

/// A conversation with one namespace's nftables.
#[derive(Debug)]
pub struct Nft {
    socket: Conversation,
}

impl Nft {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn open() -> Result<Self, NftError> {
        let socket = Conversation::open(netlink_sys::protocols::NETLINK_NETFILTER).map_err(|source| NftError {
            action: "open",
            table: "socket".into(),
            words: None,
            source,
        })?;
        Ok(Self { socket })
    }

    /// Opens it in `ns`.
    ///
    /// # Errors
    /// When `ns` cannot be entered or no socket can be made.
    pub fn open_in(ns: &NetNs) -> Result<Self, NftError> {
        ns.run(Self::open).unwrap_or_else(|source| {
            Err(NftError { action: "open", table: "socket in a namespace".into(), words: None, source })
        })
    }

    /// Makes the kernel's table of this family and name be `table`, in one step: no packet sees anything between.
    ///
    /// # Errors
    /// When the kernel refuses; then the old table stands.
    pub fn replace(&self, table: &Table) -> Result<(), NftError> {
        let mut batch = Batch::new(self);
        // The first one makes sure that there is something to delete.
        batch.push("table", encode::new_table(table));
        batch.push("table", encode::delete_table(table.family, &table.name));
        batch.push("table", encode::new_table(table));
        for (i, map) in table.maps.iter().enumerate() {
            let id = i as u32 + 1;
            batch.push(&map.name, encode::new_map(table, map, id));
            for message in encode::map_elements(table, map, id) {
                batch.push(&map.name, message);
            }
        }
        for chain in &table.chains {
            batch.push(&chain.name, encode::new_chain(table, chain));
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                batch.push(&chain.name, encode::new_rule(table, chain, rule));
            }
        }
        batch.send("replace", table.family, &table.name)
    }

    /// Removes a table; fine if it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self, family: Family, name: &str) -> Result<(), NftError> {
        let mut batch = Batch::new(self);
        batch.push("table", encode::delete_table(family, name));
        match batch.send("remove", family, name) {
            Err(e) if e.source.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            r => r,
        }
    }

    /// Whether the kernel's table still has as many rules and map elements as `table`: somebody who flushes or edits
    /// it is noticed, one who replaces rule by rule is not.
    ///
    /// # Errors
    /// When the kernel refuses a dump.
    pub fn is_intact(&self, table: &Table) -> Result<bool, NftError> {
        let rules: usize = table.chains.iter().map(|c| c.rules.len()).sum();
        let mut m = encode::question(NFT_MSG_GETRULE, DUMP, table.family);
        m.text(1, &table.name);
        if self.count(table, m, NFT_MSG_NEWRULE)? != rules {
            return Ok(false);
        }
        for map in &table.maps {
            let mut m = encode::question(NFT_MSG_GETSETELEM, DUMP, table.family);
            m.text(1, &table.name).text(2, &map.name);
            if self.elements(table, m)? != map.entries.len() {
                return Ok(false);
            }
        }
        self.exists(table.family, &table.name)
    }

    /// Whether there is such a table.
    ///
    /// # Errors
    /// When the kernel refuses the question.
    pub fn exists(&self, family: Family, name: &str) -> Result<bool, NftError> {
        let mut m = encode::question(NFT_MSG_GETTABLE, 0, family);
        m.text(1, name);
        match self.socket.ask(m, &mut |_| {}) {
            Ok(()) => Ok(true),
            Err(n) if n.errno == libc::ENOENT => Ok(false),
            Err(n) => Err(error("find", family, name, None, n)),
        }
    }

    fn count(&self, table: &Table, m: Message, kind: u16) -> Result<usize, NftError> {
        let mut n = 0;
        self.dump(table, m, &mut |r| n += usize::from(r.kind == kind))?;
        Ok(n)
    }

    fn elements(&self, table: &Table, m: Message) -> Result<usize, NftError> {
        let mut n = 0;
        self.dump(table, m, &mut |r| {
            let list = crate::netlink::message::attributes(r.body.get(4..).unwrap_or_default()).find(|(k, _)| *k == 3);
            n += list.map_or(0, |(_, v)| crate::netlink::message::attributes(v).count());
        })?;
        Ok(n)
    }

    fn dump(
        &self,
        table: &Table,
        m: Message,
        each: &mut dyn FnMut(&crate::netlink::message::Received<'_>),
    ) -> Result<(), NftError> {
        match self.socket.ask(m, each) {
            Ok(()) => Ok(()),
            Err(n) if n.errno == libc::ENOENT => Ok(()),
            Err(n) => Err(error("read", table.family, &table.name, None, n)),
        }
    }
}

fn error(action: &'static str, family: Family, table: &str, part: Option<&str>, n: Nack) -> NftError {
    let words = match (part, n.words) {
        (Some(p), Some(w)) => Some(format!("at {p}: {w}")),
        (Some(p), None) => Some(format!("at {p}")),
        (None, w) => w,
    };
    NftError {
        action,
        table: format!("{} {table}", family.word()),
        words,
        source: io::Error::from_raw_os_error(n.errno),
    }
}

/// Messages that the kernel takes all or none of.
struct Batch<'a> {
    nft: &'a Nft,
    bytes: Vec<u8>,
    /// What each sequence number is about.
    parts: Vec<(u32, String)>,
}

impl<'a> Batch<'a> {
    fn new(nft: &'a Nft) -> Self {
        let mut b = Self { nft, bytes: Vec::new(), parts: Vec::new() };
        b.push("begin", Message::new(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, &[0, 0, 0, 10]));
        b
    }

    fn push(&mut self, part: &str, message: Message) {
        let seq = self.nft.socket.next_seq();
        self.parts.push((seq, part.to_owned()));
        self.bytes.extend(message.finish(seq));
    }

    fn send(mut self, action: &'static str, family: Family, table: &str) -> Result<(), NftError> {
        self.push("end", Message::new(NFNL_MSG_BATCH_END, NLM_F_REQUEST, &[0, 0, 0, 10]));
        debug_assert_eq!(messages(&self.bytes).count(), self.parts.len());
        self.nft.socket.batch(&self.bytes).map_err(|(seq, nack)| {
            let part = self.parts.iter().find(|(s, _)| *s == seq).map(|(_, p)| p.as_str());
            error(action, family, table, part, nack)
        })
    }
}

#[cfg(test)]
mod tests;
