//! What a node holds of itself: its certificate and key, and the root that it trusts. On disk where Docker has them.
use super::crypto::{self, CaError, CertFacts, Peer};
use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const ROOT: &str = "swarm-root-ca.crt";
const CERT: &str = "swarm-node.crt";
const KEY: &str = "swarm-node.key";

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
}

/// The node's own identity; can be replaced while connections are open (new handshakes take the new one).
#[derive(Clone)]
pub struct Credentials {
    current: Arc<ArcSwap<Current>>,
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
}

impl Credentials {
    /// Takes certificate, key and root, and keeps them in `dir` (the key for the owner only).
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn create(dir: &Path, cert_pem: &str, key_pem: &str, root_pem: &str) -> Result<Self, CredentialsError> {
        let current = Current::parse(cert_pem, key_pem, root_pem)?;
        write_all(dir, cert_pem, key_pem, root_pem)?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(current)), dir: dir.to_owned() })
    }

    /// Reads what [`Credentials::create`] has written.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn load(dir: &Path) -> Result<Self, CredentialsError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path).map_err(|source| CredentialsError::File { path, source })
        };
        let current = Current::parse(&read(CERT)?, &read(KEY)?, &read(ROOT)?)?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(current)), dir: dir.to_owned() })
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
        write_all(&self.dir, cert_pem, key_pem, root_pem)?;
        self.current.store(Arc::new(current));
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
        Ok(Self { certified: Arc::new(certified), facts, root_pem: root_pem.to_owned(), cert_pem: cert_pem.to_owned() })
    }
}

/// The key first: a certificate without its key would be of no use, a key without certificate does no harm.
fn write_all(dir: &Path, cert: &str, key: &str, root: &str) -> Result<(), CredentialsError> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |source| CredentialsError::File { path, source }
    };
    std::fs::create_dir_all(dir).map_err(file_error(dir))?;
    for (name, text, mode) in [(KEY, key, 0o600), (ROOT, root, 0o644), (CERT, cert, 0o644)] {
        let path = dir.join(name);
        let fresh = dir.join(format!("{name}.new"));
        let write = || -> std::io::Result<()> {
            let _ = std::fs::remove_file(&fresh);
            let mut f = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
            f.write_all(text.as_bytes())?;
            f.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(file_error(&path))?;
    }
    Ok(())
}
