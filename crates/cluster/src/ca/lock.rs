//! What a manager keeps on disk is sealed with a data key; with autolock, that key is itself sealed with the unlock
//! key, which is on no disk of a locked manager.
//!
//! ```text
//!   unlock key (SWMKEY-1-…, with people) ──seals──► data key (keys.json) ──seals──► log and snapshot (raft.redb)
//!                                                                         └──────► key of the certificate (swarm-node.key)
//! ```
use super::crypto;
use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

const FILE: &str = "keys.json";
const PREFIX: &str = "SWMKEY-1-";

/// Why something sealed stays so.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The key is with people.
    #[error(
        "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" to unlock it."
    )]
    Locked,
    /// It is not that key.
    #[error("swarm could not be unlocked: invalid key provided")]
    WrongKey,
    /// Not the form of an unlock key.
    #[error("invalid unlock key: it has the form SWMKEY-1-…")]
    NotAKey,
    /// What was sealed has been changed, or with another key.
    #[error("a sealed value cannot be opened: it is damaged, or belongs to another manager")]
    Damaged,
    /// The file of keys.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A key that seals: 256 bits, AES-GCM with a fresh nonce for every value.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// A key that nobody else has.
    pub fn fresh() -> Self {
        Self(crypto::random())
    }

    /// A known key, for tests.
    pub fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        // Fails for a wrong length only.
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).ok()?))
    }

    /// Seals a value. `place` says where it belongs: it opens nowhere else.
    ///
    /// # Errors
    /// [`LockError::Damaged`], for a value of many gigabytes.
    pub fn seal(&self, place: &[u8], value: &[u8]) -> Result<Vec<u8>, LockError> {
        let nonce: [u8; NONCE_LEN] = crypto::random();
        let mut sealed = value.to_vec();
        let cipher = self.cipher().ok_or(LockError::Damaged)?;
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed)
            .map_err(|_| LockError::Damaged)?;
        let mut out = Vec::with_capacity(NONCE_LEN + sealed.len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens it again.
    ///
    /// # Errors
    /// [`LockError::Damaged`].
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, LockError> {
        let (nonce, value) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(LockError::Damaged)?;
        let mut value = value.to_vec();
        let cipher = self.cipher().ok_or(LockError::Damaged)?;
        let opened = cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut value);
        let length = opened.map_err(|_| LockError::Damaged)?.len();
        value.truncate(length);
        Ok(value)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

/// The key that people keep: `SWMKEY-1-` and 256 bits in base 64.
#[derive(Clone, PartialEq, Eq)]
pub struct UnlockKey(DataKey);

impl UnlockKey {
    /// A new one.
    pub fn fresh() -> Self {
        Self(DataKey::fresh())
    }

    /// Seals a short secret.
    ///
    /// # Errors
    /// See [`DataKey::seal`].
    pub fn seal(&self, place: &[u8], value: &[u8]) -> Result<Vec<u8>, LockError> {
        self.0.seal(place, value)
    }

    /// Opens it again.
    ///
    /// # Errors
    /// [`LockError::WrongKey`].
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, LockError> {
        self.0.open(place, sealed).map_err(|_| LockError::WrongKey)
    }
}

impl fmt::Display for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD_NO_PAD.encode(self.0.0))
    }
}

impl fmt::Debug for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SWMKEY-1-…")
    }
}

impl FromStr for UnlockKey {
    type Err = LockError;
    fn from_str(text: &str) -> Result<Self, LockError> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(LockError::NotAKey)?;
        let bytes = STANDARD_NO_PAD.decode(body).map_err(|_| LockError::NotAKey)?;
        Ok(Self(DataKey(bytes.try_into().map_err(|_| LockError::NotAKey)?)))
    }
}

/// `keys.json`.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    /// Whether the data key is sealed with an unlock key.
    locked: bool,
    /// Base 64.
    data_key: String,
}

/// A manager's data key, and the unlock key that guards it at present.
#[derive(Clone)]
pub struct KeyRing {
    dir: PathBuf,
    data: DataKey,
    unlock: Arc<ArcSwapOption<UnlockKey>>,
}

const PLACE: &[u8] = b"data key";

impl KeyRing {
    /// Whether the keys in `dir` need the unlock key.
    pub fn is_locked(dir: &Path) -> bool {
        read(dir).ok().flatten().is_some_and(|f| f.locked)
    }

    /// The ring of a manager; made when there is none.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn open(dir: &Path, unlock: Option<&UnlockKey>) -> Result<Self, LockError> {
        let Some(file) = read(dir)? else {
            let ring = Self { dir: dir.to_owned(), data: DataKey::fresh(), unlock: Arc::default() };
            ring.relock(None)?;
            return Ok(ring);
        };
        let bytes = STANDARD_NO_PAD.decode(&file.data_key).map_err(|_| LockError::Damaged)?;
        let (bytes, unlock) = match (file.locked, unlock) {
            (true, None) => return Err(LockError::Locked),
            (true, Some(key)) => (key.open(PLACE, &bytes)?, Some(Arc::new(key.clone()))),
            (false, _) => (bytes, None),
        };
        let data = DataKey(bytes.try_into().map_err(|_| LockError::Damaged)?);
        Ok(Self { dir: dir.to_owned(), data, unlock: Arc::new(unlock.into()) })
    }

    /// The data key.
    pub fn data_key(&self) -> &DataKey {
        &self.data
    }

    /// The unlock key that guards the ring now.
    pub fn unlock_key(&self) -> Option<Arc<UnlockKey>> {
        self.unlock.load_full()
    }

    /// Guards the ring with another unlock key, or with none.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn relock(&self, unlock: Option<&UnlockKey>) -> Result<(), LockError> {
        let bytes = match unlock {
            Some(key) => key.seal(PLACE, &self.data.0)?,
            None => self.data.0.to_vec(),
        };
        let file = KeyFile { locked: unlock.is_some(), data_key: STANDARD_NO_PAD.encode(bytes) };
        let path = self.dir.join(FILE);
        let text = serde_json::to_vec(&file).unwrap_or_default();
        write_private(&path, &text).map_err(|source| LockError::File { path, source })?;
        self.unlock.store(unlock.cloned().map(Arc::new));
        Ok(())
    }

    /// Removes the keys: what was sealed with them is gone.
    pub fn forget(dir: &Path) -> std::io::Result<()> {
        std::fs::remove_file(dir.join(FILE))
    }
}

fn read(dir: &Path) -> Result<Option<KeyFile>, LockError> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| LockError::Damaged),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LockError::File { path, source }),
    }
}

/// Writes a file that only its owner reads; whole, or as it was.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_file(path, bytes, 0o600)
}

pub(super) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let _ = std::fs::remove_file(&fresh);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut f = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    f.write_all(bytes)?;
    f.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_with_its_key_at_its_place_only() {
        let (key, other) = (DataKey::fresh(), DataKey::fresh());
        let sealed = key.seal(b"log 1", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(key.open(b"log 1", &sealed).unwrap(), b"secret");
        for (key, place, sealed) in [
            (&other, b"log 1", sealed.clone()),
            (&key, b"log 2", sealed.clone()),
            (&key, b"log 1", sealed[..sealed.len() - 1].to_vec()),
            (&key, b"log 1", vec![1; 4]),
        ] {
            assert!(matches!(key.open(place, &sealed), Err(LockError::Damaged)));
        }
    }

    #[test]
    fn a_ring_is_locked_and_unlocked_and_keeps_its_data_key() {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::open(dir.path(), None).unwrap();
        let data = ring.data_key().clone();
        assert!(!KeyRing::is_locked(dir.path()));
        let (first, second) = (UnlockKey::fresh(), UnlockKey::fresh());
        ring.relock(Some(&first)).unwrap();
        assert!(KeyRing::is_locked(dir.path()));
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!text.contains(&STANDARD_NO_PAD.encode(data.0)), "the key lies open: {text}");
        assert!(matches!(KeyRing::open(dir.path(), None), Err(LockError::Locked)));
        assert!(matches!(KeyRing::open(dir.path(), Some(&second)), Err(LockError::WrongKey)));
        let again: UnlockKey = first.to_string().parse().unwrap();
        let ring = KeyRing::open(dir.path(), Some(&again)).unwrap();
        assert_eq!(*ring.data_key(), data);
        ring.relock(Some(&second)).unwrap();
        assert!(matches!(KeyRing::open(dir.path(), Some(&first)), Err(LockError::WrongKey)));
        ring.relock(None).unwrap();
        assert_eq!(*KeyRing::open(dir.path(), None).unwrap().data_key(), data);
        for bad in ["", "SWMKEY-1-", "SWMKEY-1-abc", "SWMKEY-2-x", "x"] {
            assert!(matches!(bad.parse::<UnlockKey>(), Err(LockError::NotAKey)), "{bad}");
        }
    }
}
