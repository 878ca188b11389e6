//! Registries: asking, fetching and sending, with Docker's sentences and progress lines.
pub(crate) mod progress;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod search;
pub(crate) mod settings;

pub use settings::RegistrySettings;

use crate::{
    archive::load::Document, config::ImageConfig, download::innermost, error::ImageError, reference::Reference,
    types::*,
};
use oci_client::{
    Client, RegistryOperation,
    client::ClientConfig,
    errors::{OciDistributionError, OciErrorCode},
    secrets::RegistryAuth,
};
use settings::Endpoint;
use std::{error::Error, time::Duration};

pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFESTS: &[&str] = &[DOCKER_MANIFEST, OCI_MANIFEST, DOCKER_LIST, OCI_INDEX];
/// A manifest or configuration beyond this is refused.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// One registry as one caller sees it.
#[derive(Clone)]
pub(crate) struct Registry {
    client: Client,
    auth: RegistryAuth,
    anonymous: bool,
    mirror: Option<String>,
}

impl Registry {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When the machine knows no certificate authority, as a bare Debian does.
    pub(crate) fn new(endpoint: Endpoint, credentials: Credentials) -> Result<Self, ImageError> {
        // What is for the registry is not for its mirrors.
        let credentials = if endpoint.mirror.is_some() { Credentials::Anonymous } else { credentials };
        let config = ClientConfig {
            protocol: endpoint.protocol,
            accept_invalid_certificates: endpoint.trusting,
            extra_root_certificates: endpoint.roots,
            use_monolithic_push: true,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("shoal/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let anonymous = credentials == Credentials::Anonymous;
        let auth = match credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Basic { username, password } => RegistryAuth::Basic(username, password),
            Credentials::Bearer(token) => RegistryAuth::Bearer(token),
        };
        // `Client::new` would panic.
        let client = Client::try_from(config).map_err(|e| {
            ImageError::Registry(format!("no TLS here: {} (apt-get install ca-certificates)", innermost(&e)))
        })?;
        Ok(Self { client, auth, anonymous, mirror: endpoint.mirror })
    }

    /// The other crate's reference; ours has been checked already.
    pub(crate) fn address(&self, reference: &Reference) -> oci_client::Reference {
        let (domain, path) = (reference.domain().to_owned(), reference.path().to_owned());
        let mut address = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => oci_client::Reference::with_digest(domain, path, digest.to_owned()),
            (None, tag) => oci_client::Reference::with_tag(domain, path, tag.unwrap_or("latest").to_owned()),
        };
        if let Some(mirror) = &self.mirror {
            address.set_mirror_registry(mirror.clone());
        }
        address
    }

    /// Logs in for one repository.
    pub(crate) async fn authenticate(
        &self,
        reference: &Reference,
        operation: RegistryOperation,
    ) -> Result<(), ImageError> {
        self.client
            .auth(&self.address(reference), &self.auth, operation)
            .await
            .map(drop)
            .map_err(|e| self.explain(reference, e))
    }

    /// A manifest's bytes and digest. Its digest is checked if the reference has one.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, String), ImageError> {
        let fetched = self.client.pull_manifest_raw(&self.address(reference), &self.auth, MANIFESTS).await;
        let (body, digest) = fetched.map_err(|e| self.explain(reference, e))?;
        if body.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(ImageError::LayerLimit { what: "size of the manifest", limit: DOCUMENT_BYTES_MAX });
        }
        Ok((body.to_vec(), digest))
    }

    /// A small blob, checked by its digest.
    pub(crate) async fn document(&self, reference: &Reference, digest: &str) -> Result<Vec<u8>, ImageError> {
        use futures::TryStreamExt;
        let mut stream = self
            .client
            .pull_blob_stream(&self.address(reference), digest)
            .await
            .map_err(|e| self.explain(reference, e))?;
        let mut all = Vec::new();
        while let Some(chunk) = stream.try_next().await.map_err(|e| ImageError::Registry(e.to_string()))? {
            if (all.len() + chunk.len()) as u64 > DOCUMENT_BYTES_MAX {
                return Err(ImageError::LayerLimit { what: "size of the configuration", limit: DOCUMENT_BYTES_MAX });
            }
            all.extend_from_slice(&chunk);
        }
        let actual = crate::digest::sha256(&all);
        if actual != digest {
            return Err(ImageError::DigestMismatch { expected: digest.to_owned(), actual });
        }
        Ok(all)
    }

    /// Docker's words for a registry's no.
    fn explain(&self, reference: &Reference, error: OciDistributionError) -> ImageError {
        let name = reference.familiar_name();
        match error {
            OciDistributionError::UnauthorizedError { url } if self.anonymous => {
                if reference.domain() == "docker.io" {
                    ImageError::PullDenied(name)
                } else {
                    ImageError::Unauthorized(format!("Head {url:?}: no basic auth credentials"))
                }
            }
            OciDistributionError::UnauthorizedError { .. } => {
                ImageError::Unauthorized("unauthorized: authentication required".into())
            }
            OciDistributionError::AuthenticationFailure(_) if self.anonymous => ImageError::PullDenied(name),
            OciDistributionError::AuthenticationFailure(_) => {
                ImageError::Unauthorized("unauthorized: incorrect username or password".into())
            }
            OciDistributionError::RegistryError { envelope, .. } => match envelope.errors.into_iter().next() {
                Some(e) => match e.code {
                    OciErrorCode::ManifestUnknown => ImageError::ManifestUnknown {
                        name: reference.familiar(),
                        detail: or_words(e.message, "manifest unknown"),
                    },
                    OciErrorCode::NameUnknown => ImageError::RepositoryUnknown {
                        name,
                        detail: or_words(e.message, "repository name not known to registry"),
                    },
                    OciErrorCode::Denied => ImageError::PullDenied(name),
                    OciErrorCode::Unauthorized => ImageError::Unauthorized(format!(
                        "unauthorized: {}",
                        or_words(e.message, "authentication required")
                    )),
                    OciErrorCode::Toomanyrequests => ImageError::Registry(format!("toomanyrequests: {}", e.message)),
                    _ => ImageError::Registry(or_words(e.message, "the registry refused")),
                },
                None => ImageError::Registry("the registry refused without a reason".into()),
            },
            OciDistributionError::ServerError { code: 401, .. } if self.anonymous => {
                ImageError::Unauthorized("no basic auth credentials".into())
            }
            OciDistributionError::ServerError { code: 401, message, .. } => ImageError::Unauthorized(
                first_error(&message).unwrap_or_else(|| or_words(message, "unauthorized: authentication required")),
            ),
            OciDistributionError::ServerError { code: 403, .. } => {
                ImageError::PushDenied("denied: requested access to the resource is denied".into())
            }
            OciDistributionError::ServerError { code: 404, message, .. } => {
                ImageError::ManifestUnknown { name: reference.familiar(), detail: or_words(message, "not found") }
            }
            OciDistributionError::ServerError { code, message, url } => {
                ImageError::Registry(format!("received unexpected HTTP status: {code} from {url}: {}", message.trim()))
            }
            OciDistributionError::RequestError(e) => {
                let status = e.status().map(|s| s.as_u16());
                if status == Some(401) {
                    let words = if self.anonymous {
                        "no basic auth credentials"
                    } else {
                        "unauthorized: authentication required"
                    };
                    return ImageError::Unauthorized(words.into());
                }
                let url = e.url().map(ToString::to_string).unwrap_or_default();
                ImageError::Registry(format!("Get {url:?}: {}", unreached(&e)))
            }
            OciDistributionError::DigestError(e) => ImageError::Registry(format!("manifest verification failed: {e}")),
            other => ImageError::Registry(root_cause(&other)),
        }
    }
}

/// The first error of a registry's body, as Docker prints it: `unauthorized: authentication required`.
fn first_error(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let error = body.get("errors")?.get(0)?;
    let code = error.get("code")?.as_str()?.to_lowercase();
    Some(format!("{code}: {}", error.get("message")?.as_str()?))
}

fn or_words(said: String, otherwise: &str) -> String {
    if said.trim().is_empty() { otherwise.to_owned() } else { said.trim().to_owned() }
}

/// The innermost reason: "connection refused" rather than three wrappings of it.
fn root_cause(error: &dyn Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

/// Why a registry was not reached, in the words that clients look for.
fn unreached(error: &reqwest::Error) -> String {
    let words = root_cause(error);
    let host = error.url().and_then(|u| u.host_str()).unwrap_or_default();
    let port = error.url().and_then(|u| u.port_or_known_default()).unwrap_or(443);
    if error.is_timeout() {
        return "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"
            .into();
    }
    match words.strip_prefix("failed to lookup address information: ") {
        Some("Name or service not known") => format!("dial tcp: lookup {host}: no such host"),
        Some(why) => format!("dial tcp: lookup {host}: {}", why.to_lowercase()),
        None if words.starts_with("Connection refused") => {
            format!("dial tcp {host}:{port}: connect: connection refused")
        }
        None if words.starts_with("No route to host") => format!("dial tcp {host}:{port}: connect: no route to host"),
        None if words.starts_with("Network is unreachable") => {
            format!("dial tcp {host}:{port}: connect: network is unreachable")
        }
        None => words,
    }
}

/// What kind of manifest these bytes are.
fn parse_manifest(body: &[u8]) -> Result<(Document, String), ImageError> {
    let bad = |why: String| ImageError::malformed("registry manifest", why);
    let document: Document = serde_json::from_slice(body).map_err(|e| bad(e.to_string()))?;
    let media_type = match (&document.media_type, &document.manifests, &document.config) {
        (Some(said), ..) => said.clone(),
        (None, Some(_), _) => OCI_INDEX.to_owned(),
        (None, None, Some(_)) => OCI_MANIFEST.to_owned(),
        (None, None, None) => {
            return Err(bad("[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported".into()));
        }
    };
    Ok((document, media_type))
}

/// `GET /distribution/{name}/json`.
pub(crate) async fn distribution(
    settings: &RegistrySettings,
    reference: Reference,
    credentials: Credentials,
) -> Result<DistributionInfo, ImageError> {
    let endpoints = settings.endpoints(reference.domain()).await;
    settings::first(endpoints, |endpoint| {
        let (registry, reference) = (Registry::new(endpoint, credentials.clone()), &reference);
        async move { describe(registry?, reference).await }
    })
    .await
}

async fn describe(registry: Registry, reference: &Reference) -> Result<DistributionInfo, ImageError> {
    registry.authenticate(reference, RegistryOperation::Pull).await?;
    let (body, digest) = registry.manifest(reference).await?;
    let (document, media_type) = parse_manifest(&body)?;
    let platforms = match (&document.manifests, &document.config) {
        (Some(manifests), _) => manifests
            .iter()
            .filter_map(|m| m.platform.as_ref())
            .map(|p| Platform { os: p.os.clone(), architecture: p.architecture.clone(), variant: p.variant.clone() })
            .collect(),
        (None, Some(config)) => {
            let raw = registry.document(reference, &config.digest).await?;
            let config: ImageConfig =
                serde_json::from_slice(&raw).map_err(|e| ImageError::malformed("image configuration", e))?;
            vec![Platform { os: config.os, architecture: config.architecture, variant: config.variant }]
        }
        (None, None) => Vec::new(),
    };
    Ok(DistributionInfo { media_type, digest, size: body.len() as u64, platforms })
}

/// Whether a registry takes these credentials.
pub(crate) async fn login(
    settings: &RegistrySettings,
    domain: &str,
    credentials: Credentials,
) -> Result<(), ImageError> {
    let domain = if matches!(domain, "" | "https://index.docker.io/v1/") {
        "docker.io"
    } else {
        let host = domain.trim_start_matches("https://").trim_start_matches("http://");
        host.split('/').next().unwrap_or(host)
    };
    let probe = Reference::parse(&format!("{domain}/shoal/login:check"))?;
    let Some(endpoint) = settings.endpoints(probe.domain()).await.pop() else { return Ok(()) };
    let registry = Registry::new(endpoint, credentials)?;
    registry.authenticate(&probe, RegistryOperation::Pull).await?;
    // An unknown name is a good answer: it was asked as somebody known.
    match registry.manifest(&probe).await {
        Err(ImageError::Unauthorized(_)) => {
            Err(ImageError::Unauthorized("unauthorized: incorrect username or password".into()))
        }
        Err(e @ ImageError::Registry(_)) => Err(e),
        _ => Ok(()),
    }
}
