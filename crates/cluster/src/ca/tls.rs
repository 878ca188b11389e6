//! TLS 1.3 only, no resumption (a resumed session would skip the look at the peer's certificate), certificates taken
//! per handshake.
use super::credentials::Credentials;
use super::crypto::{self, CaError, MANAGER_NAME};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;

const H2: &[u8] = b"h2";
static TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

#[derive(Debug)]
struct Resolver(Credentials);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified.clone())
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified.clone())
    }
    fn has_certs(&self) -> bool {
        true
    }
}

fn roots(root_pem: &str) -> Result<Arc<RootCertStore>, CaError> {
    let mut roots = RootCertStore::empty();
    for cert in crypto::certs_of_pem(root_pem, "the root certificate")? {
        roots.add(cert)?;
    }
    Ok(Arc::new(roots))
}

/// For a manager's listener. A client may come without a certificate (to join); if it brings one, it must be ours.
///
/// # Errors
/// See [`CaError`].
pub fn server_config(credentials: &Credentials) -> Result<Arc<ServerConfig>, CaError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(&credentials.current().root_pem)?, crypto::provider())
            .allow_unauthenticated()
            .build()
            .map_err(|e| CaError::Verifier(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(crypto::provider())
        .with_protocol_versions(TLS13)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Resolver(credentials.clone())));
    config.alpn_protocols = vec![H2.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// For a node that calls managers: the other side must hold a manager's certificate of our root.
///
/// # Errors
/// See [`CaError`].
pub fn client_config(credentials: &Credentials) -> Result<Arc<ClientConfig>, CaError> {
    let config = ClientConfig::builder_with_provider(crypto::provider())
        .with_protocol_versions(TLS13)?
        .with_root_certificates(roots(&credentials.current().root_pem)?)
        .with_client_cert_resolver(Arc::new(Resolver(credentials.clone())));
    Ok(finish_client(config))
}

/// For a machine that joins: no certificate of its own yet, the root is known from the token.
///
/// # Errors
/// See [`CaError`].
pub fn joining_config(root_pem: &str) -> Result<Arc<ClientConfig>, CaError> {
    let config = ClientConfig::builder_with_provider(crypto::provider())
        .with_protocol_versions(TLS13)?
        .with_root_certificates(roots(root_pem)?)
        .with_no_client_auth();
    Ok(finish_client(config))
}

/// For the very first question, which fetches the root: believes anybody. The answer is checked against the token, and
/// nothing secret is sent before that.
///
/// # Errors
/// See [`CaError`].
pub fn blind_config() -> Result<Arc<ClientConfig>, CaError> {
    let config = ClientConfig::builder_with_provider(crypto::provider())
        .with_protocol_versions(TLS13)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(crypto::provider())))
        .with_no_client_auth();
    Ok(finish_client(config))
}

fn finish_client(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![H2.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// The name that a manager must answer to.
pub fn manager_name() -> ServerName<'static> {
    // A constant that is a DNS name; the fallback cannot be reached and would be refused by every verifier.
    ServerName::try_from(MANAGER_NAME).unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
