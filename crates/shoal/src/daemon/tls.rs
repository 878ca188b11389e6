//! TLS at the TCP doors: our certificate, and whose certificates are let in.
use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;

/// The flags, as dockerd's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Clients must show a certificate of the CA.
    pub verify: bool,
    /// CA of the clients.
    pub ca: PathBuf,
    /// Ours.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that is missing or not what it should be, by name.
    pub fn load(&self) -> Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| anyhow::anyhow!("TLS certificate {}: {e:?}", self.cert.display()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|e| anyhow::anyhow!("TLS key {}: {e:?}", self.key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = if self.verify {
            let mut roots = RootCertStore::empty();
            let certificates = CertificateDer::pem_file_iter(&self.ca)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| anyhow::anyhow!("TLS CA {}: {e:?}", self.ca.display()))?;
            if certificates.is_empty() {
                bail!("TLS CA {}: no certificate in the file", self.ca.display());
            }
            for certificate in certificates {
                roots.add(certificate).with_context(|| format!("TLS CA {}", self.ca.display()))?;
            }
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?,
            )
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(chain, key);
        Ok(Arc::new(config.with_context(|| format!("TLS certificate {}", self.cert.display()))?))
    }
}
