//! Chains of others that drop what they do not know: a packet must please every chain of a hook, not only ours.
use super::{Family, Nft, NftError, SUBSYSTEM, error};
use crate::netlink::message::{Message, attributes};
use crate::netlink::socket::DUMP;

const NFT_MSG_NEWCHAIN: u16 = SUBSYSTEM | 3;
const NFT_MSG_GETCHAIN: u16 = SUBSYSTEM | 4;
const NF_INET_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;

/// A base chain at the forward hook whose policy is to drop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gate {
    /// nft's word for its family: `ip`, `ip6`, `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
}

impl Nft {
    /// All such chains of this namespace, whoever made them.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn forward_gates(&self) -> Result<Vec<Gate>, NftError> {
        let mut gates = Vec::new();
        // Family 0 asks for all of them.
        let question = Message::new(NFT_MSG_GETCHAIN, DUMP, &[0, 0, 0, 0]);
        let asked = self.socket.ask(question, &mut |r| {
            if r.kind == NFT_MSG_NEWCHAIN {
                gates.extend(gate(r.body));
            }
        });
        match asked {
            Ok(()) => {}
            Err(n) if n.errno == libc::ENOENT => {}
            Err(n) => return Err(error("list", Family::Ipv4, "chains", None, n)),
        }
        gates.sort();
        Ok(gates)
    }
}

fn gate(body: &[u8]) -> Option<Gate> {
    let family = match body.first()? {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    let attribute =
        |list: &[u8], wanted: u16| attributes(list).find(|(kind, _)| *kind == wanted).map(|(_, value)| value.to_vec());
    let list = body.get(4..)?;
    let number = |bytes: Vec<u8>| bytes.try_into().ok().map(u32::from_be_bytes);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok().map(|t| t.trim_end_matches('\0').to_owned());
    let hook = attribute(list, 4)?;
    let forward = attribute(&hook, 1).and_then(number)? == NF_INET_FORWARD;
    let drops = attribute(list, 5).and_then(number)? == NF_DROP;
    let (table, chain) = (attribute(list, 1).and_then(text)?, attribute(list, 3).and_then(text)?);
    (forward && drops).then_some(Gate { family, table, chain })
}
