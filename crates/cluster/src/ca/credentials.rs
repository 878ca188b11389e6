//! What a node holds of itself: its certificate and key, and the root that it trusts. On disk where Docker has them.
use super::crypto::{self, CaError, CertFacts, Peer};
use super::lock::{self, DataKey, LockError};
use arc_swap::{ArcSwap, ArcSwapOption};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const ROOT: &str = "swarm-root-ca.crt";
const CERT: &str = "swarm-node.crt";
const KEY: &str = "swarm-node.key";
/// How a sealed key begins.
const SEALED: &str = "shoal-sealed-key:";
const PLACE: &[u8] = b"node key";

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Their content.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The key is sealed.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// The node's own identity; can be replaced while connections are open (new handshakes take the new one).
#[derive(Clone)]
pub struct Credentials {
    current: Arc<ArcSwap<Current>>,
    guard: Arc<ArcSwapOption<DataKey>>,
    dir: PathBuf,
}

/// One generation.
pub struct Current {
    /// Certificate and key for TLS.
    pub(crate) certified: Arc<CertifiedKey>,
    /// What the certificate says.
    pub facts: CertFacts,
    /// PEM of the root.
    pub root_pem: String,
    /// PEM of the certificate.
    pub cert_pem: String,
    key_pem: String,
}

impl Credentials {
    /// Takes certificate, key and root, and keeps them in `dir` (the key for the owner only).
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn create(dir: &Path, cert_pem: &str, key_pem: &str, root_pem: &str) -> Result<Self, CredentialsError> {
        let current = Current::parse(cert_pem, key_pem, root_pem)?;
        let new =
            Self { current: Arc::new(ArcSwap::from_pointee(current)), guard: Arc::default(), dir: dir.to_owned() };
        new.write(&new.current())?;
        Ok(new)
    }

    /// Reads what [`Credentials::create`] has written; with the manager's data key, if the key is sealed with that.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn load(dir: &Path, data: Option<&DataKey>) -> Result<Self, CredentialsError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path).map_err(|source| CredentialsError::File { path, source })
        };
        let key = read(KEY)?;
        let (key, guard) = match (key.strip_prefix(SEALED), data) {
            (None, _) => (key, None),
            (Some(_), None) => return Err(LockError::Locked.into()),
            (Some(text), Some(data)) => {
                let sealed = STANDARD_NO_PAD.decode(text.trim()).map_err(|_| LockError::Damaged)?;
                let pem = String::from_utf8(data.open(PLACE, &sealed)?).map_err(|_| LockError::Damaged)?;
                (pem, Some(Arc::new(data.clone())))
            }
        };
        let current = Current::parse(&read(CERT)?, &key, &read(ROOT)?)?;
        Ok(Self {
            current: Arc::new(ArcSwap::from_pointee(current)),
            guard: Arc::new(guard.into()),
            dir: dir.to_owned(),
        })
    }

    /// Whether there is something to load.
    pub fn exist(dir: &Path) -> bool {
        dir.join(CERT).exists()
    }

    /// Replaces certificate and key, on disk first.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn replace(&self, cert_pem: &str, key_pem: &str, root_pem: &str) -> Result<(), CredentialsError> {
        let current = Current::parse(cert_pem, key_pem, root_pem)?;
        self.write(&current)?;
        self.current.store(Arc::new(current));
        Ok(())
    }

    /// Seals the key on disk with the manager's data key, or leaves it open.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn guard(&self, data: Option<&DataKey>) -> Result<(), CredentialsError> {
        self.guard.store(data.cloned().map(Arc::new));
        self.write(&self.current())
    }

    /// The key first: a certificate without its key would be of no use, a key without certificate does no harm.
    fn write(&self, c: &Current) -> Result<(), CredentialsError> {
        let key = match &*self.guard.load() {
            Some(data) => {
                let sealed = data.seal(PLACE, c.key_pem.as_bytes())?;
                format!("{SEALED}{}\n", STANDARD_NO_PAD.encode(sealed))
            }
            None => c.key_pem.clone(),
        };
        for (name, text, mode) in [(KEY, &key, 0o600), (ROOT, &c.root_pem, 0o644), (CERT, &c.cert_pem, 0o644)] {
            let path = self.dir.join(name);
            lock::write_file(&path, text.as_bytes(), mode).map_err(|source| CredentialsError::File { path, source })?;
        }
        Ok(())
    }

    /// The present generation.
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Who this node is.
    pub fn peer(&self) -> Peer {
        self.current.load().facts.peer.clone()
    }

    /// When to ask for a new certificate: at 50–80 % of its life, by `draw` in 0–1.
    pub fn renew_at(&self, draw: f64) -> SystemTime {
        let facts = &self.current.load().facts;
        let life = facts.not_after.duration_since(facts.not_before).unwrap_or_default();
        facts.not_before + life.mul_f64(0.5 + 0.3 * draw.clamp(0.0, 1.0))
    }

    /// Whether it is time, by the clock on the wall, wherever that was set: after that moment, and also when the
    /// certificate would begin in the future.
    pub fn renewal_due(&self, draw: f64, now: SystemTime) -> bool {
        now >= self.renew_at(draw) || now < self.current.load().facts.not_before
    }

    /// How long the certificate still holds.
    pub fn remaining(&self) -> Duration {
        self.current.load().facts.not_after.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials of {:?}", self.peer())
    }
}

impl Current {
    fn parse(cert_pem: &str, key_pem: &str, root_pem: &str) -> Result<Self, CaError> {
        let chain = crypto::certs_of_pem(cert_pem, "the node certificate")?;
        let facts = crypto::read_cert(&chain[0])?;
        crypto::certs_of_pem(root_pem, "the root certificate")?;
        let certified = CertifiedKey::from_der(chain, crypto::key_of_pem(key_pem)?, &crypto::provider())?;
        Ok(Self {
            certified: Arc::new(certified),
            facts,
            root_pem: root_pem.to_owned(),
            cert_pem: cert_pem.to_owned(),
            key_pem: key_pem.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::RootCa;
    use model::{ClusterId, Id, NodeId, NodeRole};

    fn made(dir: &Path, life: Duration) -> Credentials {
        let (root, _) = RootCa::generate().unwrap();
        let peer = Peer {
            node: NodeId::from_random([1; 17]),
            role: NodeRole::Manager,
            cluster: ClusterId::from_random([2; 17]),
        };
        let (key, csr) = crypto::key_and_request().unwrap();
        Credentials::create(dir, &root.sign(&csr, &peer, life).unwrap(), &key, root.cert_pem()).unwrap()
    }

    #[test]
    fn a_certificate_is_renewed_well_before_its_end_wherever_the_clock_is_set() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let dir = tempfile::tempdir().unwrap();
        let c = made(dir.path(), DAY * 90);
        let now = SystemTime::now();
        for draw in [0.0, 0.3, 1.0] {
            for (at, due) in [
                (now, false),
                (now + DAY * 40, false),
                (now + DAY * 73, true),
                (now + DAY * 365, true),
                (now - DAY * 365, true),
            ] {
                assert_eq!(c.renewal_due(draw, at), due, "{draw} {:?}", at.duration_since(now));
            }
            let left = c.current().facts.not_after.duration_since(c.renew_at(draw)).unwrap();
            assert!(left > DAY * 17, "only {left:?} are left");
        }
        assert!(!c.renewal_due(1.0, now + DAY * 60) && c.renewal_due(0.0, now + DAY * 60), "not all at once");
    }

    #[test]
    fn a_sealed_key_is_read_with_the_data_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let c = made(dir.path(), Duration::from_secs(7200));
        let data = DataKey::fresh();
        c.guard(Some(&data)).unwrap();
        let text = std::fs::read_to_string(dir.path().join(KEY)).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "{text}");
        assert!(matches!(Credentials::load(dir.path(), None), Err(CredentialsError::Lock(LockError::Locked))));
        let wrong = Credentials::load(dir.path(), Some(&DataKey::fresh())).unwrap_err();
        assert!(matches!(wrong, CredentialsError::Lock(LockError::Damaged)));
        let again = Credentials::load(dir.path(), Some(&data)).unwrap();
        assert_eq!(again.peer(), c.peer());
        again.guard(None).unwrap();
        Credentials::load(dir.path(), None).unwrap();
    }
}
