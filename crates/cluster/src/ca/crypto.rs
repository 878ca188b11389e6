//! All cryptography of the control plane: keys, the root, certificates, digests. The only place that names `ring`.
use model::{ClusterId, Id, NodeId, NodeRole};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SerialNumber,
};
use ring::rand::SecureRandom;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Certificates begin this long ago, for machines whose clocks lag.
const BACKDATED: Duration = Duration::from_secs(3600);
/// No node certificate lives shorter (Docker's lower bound).
pub const NODE_LIFE_MIN: Duration = Duration::from_secs(3600);

/// The name that a manager's certificate answers to.
pub const MANAGER_NAME: &str = "swarm-manager";
/// The name that a worker's certificate answers to.
pub const WORKER_NAME: &str = "swarm-worker";

/// Why something about certificates failed.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Making a key.
    #[error("a key cannot be made")]
    Key(#[source] rcgen::Error),
    /// Reading a key.
    #[error("the private key cannot be read")]
    ReadKey(#[source] rcgen::Error),
    /// The root.
    #[error("the root certificate cannot be used")]
    Root(#[source] rcgen::Error),
    /// A request.
    #[error("the certificate signing request cannot be read")]
    Request(#[source] rcgen::Error),
    /// A root that a person gave.
    #[error("the root certificate cannot be used: {0}")]
    Given(String),
    /// Signing.
    #[error("the certificate cannot be signed")]
    Sign(#[source] rcgen::Error),
    /// PEM.
    #[error("{what} is not PEM: {why}")]
    Pem {
        /// Which file or text.
        what: &'static str,
        /// The parser's words.
        why: String,
    },
    /// A certificate without the names of a node.
    #[error("the certificate is not one of a node: {0}")]
    NotANode(&'static str),
    /// TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The root cannot be trusted by the verifier.
    #[error("the peer verifier cannot be made: {0}")]
    Verifier(String),
}

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// CN.
    pub node: NodeId,
    /// OU.
    pub role: NodeRole,
    /// O.
    pub cluster: ClusterId,
}

/// The role as certificates spell it.
pub fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Manager => MANAGER_NAME,
        NodeRole::Worker => WORKER_NAME,
    }
}

/// The one provider of the process.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// Bytes nobody can guess. The system's generator does not fail on a Linux that has booted.
pub fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    if ring::rand::SystemRandom::new().fill(&mut out).is_err() {
        rand::fill(&mut out[..]);
    }
    out
}

/// The authority of a swarm.
pub struct RootCa {
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl RootCa {
    /// A new root: P-256, 20 years.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn generate() -> Result<(Self, String), CaError> {
        let key = new_key()?;
        let key_pem = key.serialize_pem();
        let params = root_params();
        let cert = params.self_signed(&key).map_err(CaError::Root)?;
        let cert_pem = cert.pem();
        let issuer = Issuer::from_ca_cert_pem(&cert_pem, key).map_err(CaError::Root)?;
        Ok((Self { cert_pem, issuer }, key_pem))
    }

    /// The root from its two PEM texts.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn from_pem(cert: &str, key: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key).map_err(CaError::ReadKey)?;
        let issuer = Issuer::from_ca_cert_pem(cert, key).map_err(CaError::Root)?;
        Ok(Self { cert_pem: cert.to_owned(), issuer })
    }

    /// The root that a person gives, and its key: checked for everything that would otherwise fail on the nodes later.
    ///
    /// # Errors
    /// [`CaError::Given`] in the person's words, or another.
    pub fn given(cert: &str, key: &str) -> Result<(Self, String), CaError> {
        let refused = |why: &str| CaError::Given(why.to_owned());
        let certs = certs_of_pem(cert, "the root certificate")?;
        let [der] = certs.as_slice() else { return Err(refused("there must be one certificate, without a chain")) };
        let (_, parsed) =
            x509_parser::parse_x509_certificate(der).map_err(|_| refused("the certificate cannot be parsed"))?;
        // Below it stands, while another root takes its place, that one.
        let authority = parsed.basic_constraints().ok().flatten().map(|c| (c.value.ca, c.value.path_len_constraint));
        match authority {
            Some((true, None | Some(1..))) => {}
            Some((true, Some(0))) => {
                return Err(refused("its path length must allow an authority below it (at least 1)"));
            }
            _ => return Err(refused("the certificate is not one of an authority (CA:TRUE)")),
        }
        subject_of(cert)?;
        if !parsed.validity().is_valid() {
            return Err(refused("the certificate has expired, or is not valid yet"));
        }
        let identified = parsed
            .extensions()
            .iter()
            .any(|e| matches!(e.parsed_extension(), x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(_)));
        if !identified {
            return Err(refused("the certificate has no subject key identifier"));
        }
        let pair = KeyPair::from_pem(key).map_err(CaError::ReadKey)?;
        if pair.subject_public_key_info() != parsed.public_key().raw {
            return Err(refused("the private key is not that of the certificate"));
        }
        let root = Self::from_pem(cert, key)?;
        // What it signs must name it, byte by byte.
        let trial = Peer {
            node: NodeId::from_random([0; 17]),
            role: NodeRole::Worker,
            cluster: ClusterId::from_random([0; 17]),
        };
        let leaf = root.sign(&key_and_request()?.1, &trial, NODE_LIFE_MIN)?;
        let leaf = read_cert(&certs_of_pem(&leaf, "the node certificate")?[0])?;
        if leaf.issuer_subject != parsed.subject().as_raw() {
            return Err(refused("the certificate's subject is written in a way that cannot be repeated"));
        }
        Ok((root, key.to_owned()))
    }

    /// PEM certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The same key as an authority below this one: those who trust only this root trust what the other signs.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn cross_sign(&self, other: &RootCa) -> Result<String, CaError> {
        let mut params = root_params();
        params.distinguished_name = subject_of(&other.cert_pem)?;
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(other.issuer.key(), &self.issuer).map_err(CaError::Sign)?;
        Ok(cert.pem())
    }

    /// Signs for a node. Only the public key of the request is used: names, usages and life are ours.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn sign(&self, csr_pem: &str, peer: &Peer, life: Duration) -> Result<String, CaError> {
        let csr = CertificateSigningRequestParams::from_pem(csr_pem).map_err(CaError::Request)?;
        let role = role_name(peer.role);
        let names = vec![role.to_owned(), peer.node.to_string()];
        let mut params = CertificateParams::new(names).map_err(CaError::Sign)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, peer.cluster.as_str());
        params.distinguished_name.push(DnType::OrganizationalUnitName, role);
        params.distinguished_name.push(DnType::CommonName, peer.node.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_life(&mut params, life.max(NODE_LIFE_MIN));
        let cert = params.signed_by(&csr.public_key, &self.issuer).map_err(CaError::Sign)?;
        Ok(cert.pem())
    }
}

impl std::fmt::Debug for RootCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootCa")
    }
}

/// A new private key and a request for its certificate, both PEM.
///
/// # Errors
/// See [`CaError`].
pub fn key_and_request() -> Result<(String, String), CaError> {
    let key = new_key()?;
    let csr = CertificateParams::default().serialize_request(&key).map_err(CaError::Sign)?;
    Ok((key.serialize_pem(), csr.pem().map_err(CaError::Sign)?))
}

fn root_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "swarm-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, ROOT_LIFE);
    params
}

/// The name of a root, to be written again as it is.
fn subject_of(cert_pem: &str) -> Result<DistinguishedName, CaError> {
    use x509_parser::der_parser::asn1_rs::Tag;
    let odd = || CaError::Given("its subject is written in a way that cannot be repeated".into());
    let certs = certs_of_pem(cert_pem, "the root certificate")?;
    let (_, cert) = x509_parser::parse_x509_certificate(certs.first().ok_or_else(odd)?).map_err(|_| odd())?;
    let mut name = DistinguishedName::new();
    for part in cert.subject().iter() {
        let mut attributes = part.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else { return Err(odd()) };
        let oid: Vec<u64> = attribute.attr_type().iter().ok_or_else(odd)?.collect();
        let text = std::str::from_utf8(attribute.attr_value().data).map_err(|_| odd())?;
        let value = match attribute.attr_value().header.tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(text.try_into().map_err(|_| odd())?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into().map_err(|_| odd())?),
            _ => return Err(odd()),
        };
        name.push(DnType::from_oid(&oid), value);
    }
    if name.iter().next().is_none() {
        return Err(CaError::Given("it has no subject".into()));
    }
    Ok(name)
}

fn new_key() -> Result<KeyPair, CaError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Key)
}

fn set_life(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + (now + life).min(DAY * 365 * 200);
    let mut serial = random::<16>();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}

/// The certificates of a PEM text.
///
/// # Errors
/// [`CaError::Pem`].
pub fn certs_of_pem(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certs = certs.map_err(|e| CaError::Pem { what, why: e.to_string() })?;
    if certs.is_empty() {
        return Err(CaError::Pem { what, why: "no certificate in it".into() });
    }
    Ok(certs)
}

/// The private key of a PEM text.
///
/// # Errors
/// [`CaError::Pem`].
pub fn key_of_pem(pem: &str) -> Result<PrivateKeyDer<'static>, CaError> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|e| CaError::Pem { what: "the private key", why: e.to_string() })?;
    Ok(PrivateKeyDer::Pkcs8(key))
}

/// What a certificate says, beyond whom it names.
#[derive(Clone, Debug)]
pub struct CertFacts {
    /// Whom it names.
    pub peer: Peer,
    /// Begin of its life.
    pub not_before: SystemTime,
    /// End of its life.
    pub not_after: SystemTime,
    /// DER of the issuer's name.
    pub issuer_subject: Vec<u8>,
}

/// Reads a node's certificate. Trust has been checked by TLS, this only reads.
///
/// # Errors
/// [`CaError::NotANode`].
pub fn read_cert(der: &CertificateDer<'_>) -> Result<CertFacts, CaError> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).map_err(|_| CaError::NotANode("it cannot be parsed"))?;
    let subject = cert.subject();
    fn text<'a>(mut names: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Option<&'a str> {
        names.next().and_then(|n| n.as_str().ok())
    }
    let node = text(subject.iter_common_name()).and_then(|s| s.parse().ok());
    let cluster = text(subject.iter_organization()).and_then(|s| s.parse().ok());
    let role = match text(subject.iter_organizational_unit()) {
        Some(MANAGER_NAME) => Some(NodeRole::Manager),
        Some(WORKER_NAME) => Some(NodeRole::Worker),
        _ => None,
    };
    let at = |t: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(t.max(0) as u64);
    Ok(CertFacts {
        peer: Peer {
            node: node.ok_or(CaError::NotANode("its common name is no node id"))?,
            role: role.ok_or(CaError::NotANode("its organizational unit is no role"))?,
            cluster: cluster.ok_or(CaError::NotANode("its organization is no cluster id"))?,
        },
        not_before: at(cert.validity().not_before.timestamp()),
        not_after: at(cert.validity().not_after.timestamp()),
        issuer_subject: cert.issuer().as_raw().to_vec(),
    })
}

/// Which certificate of a bundle has signed this one: DER of its subject, and of its public key.
pub fn issuer_among(bundle_pem: &str, cert_pem: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let certs = certs_of_pem(cert_pem, "the node certificate").ok()?;
    let (_, cert) = x509_parser::parse_x509_certificate(certs.first()?).ok()?;
    let wanted = cert.extensions().iter().find_map(|e| match e.parsed_extension() {
        x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(a) => a.key_identifier.as_ref().map(|k| k.0),
        _ => None,
    });
    let roots = certs_of_pem(bundle_pem, "the root certificate").ok()?;
    roots.iter().find_map(|der| {
        let (_, root) = x509_parser::parse_x509_certificate(der).ok()?;
        let own = root.extensions().iter().find_map(|e| match e.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(k) => Some(k.0),
            _ => None,
        });
        (wanted.is_some() && own == wanted).then(|| (root.subject().as_raw().to_vec(), root.public_key().raw.to_vec()))
    })
}

/// Of a root certificate: DER of its subject, and of its public key; for `TLSInfo`. `None` if it is no certificate.
pub fn issuer_of(root_pem: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(root_pem.as_bytes()).ok()?;
    let cert = pem.parse_x509().ok()?;
    Some((cert.subject().as_raw().to_vec(), cert.public_key().raw.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root as a person makes it with a tool of theirs: another name, another kind of key.
    fn own_root(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = root_params();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, DnValue::PrintableString("AQ".try_into().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "Our Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// Whether a node that trusts these roots believes this chain.
    fn believed(roots: &str, chain: &str) -> bool {
        let mut store = rustls::RootCertStore::empty();
        certs_of_pem(roots, "test").unwrap().into_iter().for_each(|c| store.add(c).unwrap());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
        let chain = certs_of_pem(chain, "test").unwrap();
        let now = rustls::pki_types::UnixTime::now();
        verifier.build().unwrap().verify_client_cert(&chain[0], &chain[1..], now).is_ok()
    }

    #[test]
    fn a_given_root_takes_the_place_of_another_and_is_believed_by_its_word() {
        let (first, _) = RootCa::generate().unwrap();
        let (cert, key) = own_root(|_| {});
        let (own, _) = RootCa::given(&cert, &key).unwrap();
        let peer = Peer {
            node: NodeId::from_random([1; 17]),
            role: NodeRole::Worker,
            cluster: ClusterId::from_random([2; 17]),
        };
        let leaf = own.sign(&key_and_request().unwrap().1, &peer, DAY).unwrap();
        let with_word = format!("{leaf}\n{}", first.cross_sign(&own).unwrap());
        assert!(believed(&cert, &leaf));
        assert!(!believed(first.cert_pem(), &leaf));
        assert!(believed(first.cert_pem(), &with_word), "who knows only the old root believes the new one by its word");
        assert_eq!(issuer_among(&cert, &leaf), issuer_of(&cert));
        // And back to one of ours.
        let (next, _) = RootCa::generate().unwrap();
        let leaf = next.sign(&key_and_request().unwrap().1, &peer, DAY).unwrap();
        assert!(believed(&cert, &format!("{leaf}\n{}", own.cross_sign(&next).unwrap())));
    }

    #[test]
    fn a_given_root_that_would_fail_later_is_refused_at_once() {
        let why = |cert: &str, key: &str| RootCa::given(cert, key).unwrap_err().to_string();
        let (cert, key) = own_root(|_| {});
        assert!(why(&cert, &own_root(|_| {}).1).contains("not that of the certificate"));
        assert!(why("x", &key).contains("is not PEM"));
        assert!(why(&cert, "x").contains("the private key cannot be read"));
        assert!(why(&format!("{cert}{cert}"), &key).contains("without a chain"));
        let (cert, key) = own_root(|p| p.is_ca = IsCa::ExplicitNoCa);
        assert!(why(&cert, &key).contains("CA:TRUE"));
        let (cert, key) = own_root(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
        assert!(why(&cert, &key).contains("path length"));
        let (cert, key) = own_root(|p| p.not_after = rcgen::date_time_ymd(2001, 1, 1));
        assert!(why(&cert, &key).contains("has expired"));
        let (cert, key) = own_root(|p| p.distinguished_name = DistinguishedName::new());
        assert!(why(&cert, &key).contains("no subject"));
    }

    #[test]
    fn a_signed_certificate_says_what_the_authority_says() {
        let (ca, key) = RootCa::generate().unwrap();
        let ca = RootCa::from_pem(ca.cert_pem(), &key).unwrap();
        let peer = Peer {
            node: NodeId::from_random([1; 17]),
            role: NodeRole::Worker,
            cluster: ClusterId::from_random([2; 17]),
        };
        // The request asks for a name; it must not come through.
        let forged = new_key().unwrap();
        let mut params = CertificateParams::new(vec![MANAGER_NAME.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationalUnitName, MANAGER_NAME);
        let csr = params.serialize_request(&forged).unwrap().pem().unwrap();
        let pem = ca.sign(&csr, &peer, DAY * 90).unwrap();
        let der = certs_of_pem(&pem, "test").unwrap();
        let facts = read_cert(&der[0]).unwrap();
        assert_eq!(facts.peer, peer);
        assert!(!String::from_utf8_lossy(&der[0]).contains(MANAGER_NAME));
        let now = SystemTime::now();
        assert!(facts.not_before < now - Duration::from_secs(3500));
        assert!(facts.not_after > now + DAY * 89 && facts.not_after < now + DAY * 91);
    }
}
