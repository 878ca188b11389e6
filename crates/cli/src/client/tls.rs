//! TLS towards the engine: its certificate is checked against a CA of the user's, ours is shown to it.
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is needed.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Certificates in PEM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pems {
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) cert: Option<Vec<u8>>,
    pub(crate) key: Option<Vec<u8>>,
}

/// What the flags and the environment say.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsWish {
    pub(crate) tls: bool,
    pub(crate) verify: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl TlsWish {
    /// The files: those that are named must be there; `cert` and `key` in the folder are taken if they are.
    pub(crate) fn load(&self, folder: &Path) -> anyhow::Result<Option<Tls>> {
        if !(self.tls || self.verify) {
            return Ok(None);
        }
        let read = |flag: &Option<PathBuf>, name: &str, what: &str| -> anyhow::Result<Option<Vec<u8>>> {
            let path = flag.clone().unwrap_or_else(|| folder.join(name));
            match std::fs::read(&path) {
                Ok(pem) => Ok(Some(pem)),
                Err(e) if flag.is_none() && e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => anyhow::bail!("could not read {what} {}: {e}", path.display()),
            }
        };
        let pems = Pems {
            ca: read(&self.ca, "ca.pem", "CA certificate")?,
            cert: read(&self.cert, "cert.pem", "X509 certificate")?,
            key: read(&self.key, "key.pem", "X509 key")?,
        };
        anyhow::ensure!(
            !self.verify || pems.ca.is_some(),
            "could not read CA certificate {}: --tlsverify needs it; name it with --tlscacert, or its folder with \
             DOCKER_CERT_PATH",
            folder.join("ca.pem").display()
        );
        Tls::new(pems, !self.verify).map(Some)
    }
}

impl Tls {
    /// `blind`: whoever answers is believed, as with Docker's `--tls`.
    pub(crate) fn new(pems: Pems, blind: bool) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = if blind {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Blind(provider)))
        } else {
            let mut roots = RootCertStore::empty();
            for cert in CertificateDer::pem_slice_iter(pems.ca.as_deref().unwrap_or_default()) {
                roots.add(cert.map_err(|e| anyhow::anyhow!("CA certificate: {e:?}"))?)?;
            }
            anyhow::ensure!(!roots.is_empty(), "CA certificate: no certificate in the file");
            builder.with_root_certificates(roots)
        };
        let config = match (&pems.cert, &pems.key) {
            (Some(cert), Some(key)) => {
                let chain = CertificateDer::pem_slice_iter(cert)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|e| anyhow::anyhow!("X509 certificate: {e:?}"))?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| anyhow::anyhow!("X509 key: {e:?}"))?;
                builder.with_client_auth_cert(chain, key)?
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => anyhow::bail!("there is a certificate but no key: name it with --tlskey"),
            (None, Some(_)) => anyhow::bail!("there is a key but no certificate: name it with --tlscert"),
        };
        Ok(Self { config: Arc::new(config) })
    }

    pub(super) async fn connect(&self, address: &str, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| anyhow::anyhow!("{host} is no name for TLS"))?;
        TlsConnector::from(self.config.clone()).connect(name, stream).await.map_err(|e| {
            anyhow::anyhow!(
                "error during connect: https://{address}: {e}. Is the daemon served with TLS, and with a certificate of \
                 this CA for {host}?"
            )
        })
    }
}

/// Believes everybody.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A CA, and a certificate of it for 127.0.0.1.
    fn certificates() -> (Pems, rustls::ServerConfig) {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(vec![]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca, &ca_key);
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca_cert.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let pems = Pems {
            ca: Some(ca_cert.pem().into_bytes()),
            cert: Some(cert.pem().into_bytes()),
            key: Some(key.serialize_pem().into_bytes()),
        };
        (pems, server)
    }

    /// What a server that answers every word says to this client.
    async fn asked(server: rustls::ServerConfig, tls: &Tls) -> anyhow::Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(stream).await {
                let mut word = [0; 4];
                let _ = stream.read_exact(&mut word).await;
                let _ = stream.write_all(&word).await;
                let _ = stream.shutdown().await;
            }
        });
        let mut stream = tls.connect(&address.to_string(), TcpStream::connect(address).await?).await?;
        stream.write_all(b"ping").await?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await?;
        Ok(said)
    }

    #[tokio::test]
    async fn both_sides_are_checked() {
        let (pems, server) = certificates();
        let known = Tls::new(pems.clone(), false).unwrap();
        assert_eq!(asked(server.clone(), &known).await.unwrap(), "ping");
        // Whoever answers is believed, but the server still wants to know us.
        assert_eq!(asked(server.clone(), &Tls::new(pems.clone(), true).unwrap()).await.unwrap(), "ping");
        let nameless = Tls::new(Pems { cert: None, key: None, ..pems.clone() }, false).unwrap();
        assert!(asked(server.clone(), &nameless).await.is_err());
        let stranger = Pems { ca: certificates().0.ca, ..pems.clone() };
        let why = asked(server, &Tls::new(stranger, false).unwrap()).await.unwrap_err().to_string();
        assert!(why.contains("with a certificate of this CA"), "{why}");
        let half = Tls::new(Pems { key: None, ..pems }, false).unwrap_err().to_string();
        assert!(half.contains("--tlskey"), "{half}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let wish =
            |verify, ca: Option<&str>| TlsWish { tls: true, verify, ca: ca.map(Into::into), ..TlsWish::default() };
        assert!(TlsWish::default().load(dir.path()).unwrap().is_none());
        assert!(wish(false, None).load(dir.path()).unwrap().is_some());
        let why = wish(true, None).load(dir.path()).unwrap_err().to_string();
        assert!(why.contains("could not read CA certificate") && why.contains("--tlscacert"), "{why}");
        assert!(wish(true, Some("/no/ca.pem")).load(dir.path()).unwrap_err().to_string().contains("/no/ca.pem"));
    }
}
