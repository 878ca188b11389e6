//! A backup: one file with everything that a swarm is, and the way back.
//!
//! ```text
//!   "SHOAL BACKUP 1\n"   "open\n" | "sealed\n"   the content, sealed with the unlock key if the swarm is locked
//! ```
use crate::options::{InitError, Place};
use cluster::Store;
use cluster::ca::{Credentials, LockError, Peer, RootCa, UnlockKey, crypto};
use model::tables::TablesImage;
use model::{NodeId, NodeRole, Object};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::Path;
use wire::Refusal;

const MAGIC: &[u8] = b"SHOAL BACKUP 1\n";
const OPEN: &[u8] = b"open\n";
const SEALED: &[u8] = b"sealed\n";
const PLACE: &[u8] = b"backup";

/// What is in it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Backup {
    /// The manager that made it.
    pub(crate) node: NodeId,
    /// Where it listened.
    pub(crate) listen: SocketAddr,
    /// Where others found it.
    pub(crate) advertise: SocketAddr,
    /// Every object.
    pub(crate) tables: TablesImage,
}

/// The bytes of a backup.
pub(crate) fn pack(
    store: &Store,
    node: &NodeId,
    place: &Place,
    unlock: Option<&UnlockKey>,
) -> Result<Vec<u8>, Refusal> {
    let tables = store.tables();
    if tables.cluster().is_none() {
        return Err(Refusal::unavailable("this manager does not know the swarm's objects yet: try again in a moment"));
    }
    let failed = |e: &dyn std::fmt::Display| Refusal::internal(format!("the backup cannot be made: {e}"));
    let backup =
        Backup { node: node.clone(), listen: place.listen, advertise: place.advertise, tables: tables.image() };
    let content = wire::codec::to_vec(&backup).map_err(|e| failed(&e))?;
    let (kind, content) = match unlock {
        Some(key) => (SEALED, key.seal(PLACE, &content).map_err(|e| failed(&e))?),
        None => (OPEN, content),
    };
    Ok([MAGIC, kind, &content].concat())
}

/// What the bytes of a backup say.
pub(crate) fn unpack(bytes: &[u8], unlock: Option<&UnlockKey>) -> Result<Backup, InitError> {
    let refuse = |why: &str| InitError::Backup(why.to_owned());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| refuse("it was not made by shoal swarm backup"))?;
    let content = if let Some(content) = rest.strip_prefix(OPEN) {
        content.to_vec()
    } else if let Some(sealed) = rest.strip_prefix(SEALED) {
        let key = unlock.ok_or_else(|| refuse("the swarm was locked: give its unlock key with --unlock-key"))?;
        key.open(PLACE, sealed).map_err(|_| InitError::Lock(LockError::WrongKey))?
    } else {
        return Err(refuse("it is of an unknown kind"));
    };
    wire::codec::from_slice(&content).map_err(|e| refuse(&format!("it is damaged: {e}")))
}

impl Backup {
    /// A certificate for the manager, by the authority that is in the backup.
    pub(crate) fn credentials(&self, dir: &Path) -> Result<Credentials, InitError> {
        let cluster = self.tables.objects.iter().find_map(|o| match o {
            Object::Cluster(c) => Some(c),
            _ => None,
        });
        let cluster = cluster.ok_or_else(|| InitError::Backup("there is no swarm in it".into()))?;
        let (cert, key) = cluster.signer();
        let root = RootCa::from_pem(cert, key)?;
        let peer = Peer { node: self.node.clone(), role: NodeRole::Manager, cluster: cluster.id.clone() };
        let (key, csr) = crypto::key_and_request()?;
        let mut cert = root.sign(&csr, &peer, cluster.spec.node_cert_expiry)?;
        if let Some(r) = &cluster.rotation {
            cert = format!("{}\n{}", cert.trim_end(), r.cross_signed);
        }
        Ok(Credentials::create(dir, &cert, &key, &cluster.trusted())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Id;

    fn packed(unlock: Option<&UnlockKey>) -> Vec<u8> {
        let backup = Backup {
            node: NodeId::from_random([1; 17]),
            listen: ([0, 0, 0, 0], 2377).into(),
            advertise: ([10, 0, 0, 1], 2377).into(),
            tables: model::Tables::default().image(),
        };
        let content = wire::codec::to_vec(&backup).unwrap();
        match unlock {
            Some(key) => [MAGIC, SEALED, &key.seal(PLACE, &content).unwrap()].concat(),
            None => [MAGIC, OPEN, &content].concat(),
        }
    }

    #[test]
    fn what_is_no_backup_is_refused_in_words() {
        let key = UnlockKey::fresh();
        assert_eq!(unpack(&packed(None), None).unwrap().node, NodeId::from_random([1; 17]));
        assert_eq!(unpack(&packed(Some(&key)), Some(&key)).unwrap().listen.port(), 2377);
        let say = |bytes: &[u8], key: Option<&UnlockKey>| unpack(bytes, key).err().unwrap().to_string();
        assert!(say(b"", None).contains("not made by shoal swarm backup"));
        assert!(say(b"SHOAL BACKUP 1\nother\nx", None).contains("unknown kind"));
        let whole = packed(None);
        assert!(say(&whole[..whole.len() - 3], None).contains("damaged"));
        assert!(say(&packed(Some(&key)), None).contains("--unlock-key"));
        assert!(say(&packed(Some(&key)), Some(&UnlockKey::fresh())).contains("invalid key provided"));
        let empty = unpack(&packed(None), None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert!(empty.credentials(dir.path()).err().unwrap().to_string().contains("no swarm in it"));
    }
}
