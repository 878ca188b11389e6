//! How registries are reached: which may be spoken to in clear, and which mirrors come before Docker Hub.
use crate::error::ImageError;
use oci_client::client::{Certificate, CertificateEncoding, ClientProtocol};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

const HUB: &str = "docker.io";
const CERTIFICATES: &str = "/etc/docker/certs.d";
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the daemon is told about registries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    insecure: Vec<Insecure>,
    mirrors: Vec<Mirror>,
    /// So many layers of one pull come at the same time.
    pub downloads_at_once: usize,
    /// A layer whose connection breaks so often is given up.
    pub download_attempts: u32,
}

impl Default for RegistrySettings {
    /// dockerd's numbers.
    fn default() -> Self {
        Self { insecure: Vec::new(), mirrors: Vec::new(), downloads_at_once: 3, download_attempts: 5 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Insecure {
    /// `host` or `host:port`.
    Host(String),
    /// Every host with an address in it.
    Network(IpAddr, u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    /// `host` or `host:port`.
    domain: String,
    secure: bool,
}

/// One way to a registry.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Another domain than the reference's.
    pub mirror: Option<String>,
    pub protocol: ClientProtocol,
    /// Certificates of nobody are fine.
    pub trusting: bool,
    pub roots: Vec<Certificate>,
}

impl RegistrySettings {
    /// Reads `--insecure-registry` and `--registry-mirror`; all that is wrong is told.
    ///
    /// # Errors
    /// One sentence for each.
    pub fn parse(insecure: &[String], mirrors: &[String]) -> Result<Self, Vec<String>> {
        let (mut settings, mut wrong) = (Self::default(), Vec::new());
        for text in insecure {
            match parse_insecure(text) {
                Ok(one) => settings.insecure.push(one),
                Err(why) => wrong.push(format!("insecure registry {text} is not valid: {why}")),
            }
        }
        for text in mirrors {
            match parse_mirror(text) {
                Ok(one) => settings.mirrors.push(one),
                Err(why) => wrong.push(format!("invalid mirror: {text:?}: {why}")),
            }
        }
        if wrong.is_empty() { Ok(settings) } else { Err(wrong) }
    }

    /// The ways to a registry, the better ones first.
    pub(crate) async fn endpoints(&self, domain: &str) -> Vec<Endpoint> {
        let mut all = Vec::new();
        if domain == HUB {
            for mirror in &self.mirrors {
                let own = if mirror.secure {
                    self.own(&mirror.domain).await
                } else {
                    Endpoint { mirror: None, protocol: ClientProtocol::Http, trusting: false, roots: Vec::new() }
                };
                all.push(Endpoint { mirror: Some(mirror.domain.clone()), ..own });
            }
        }
        all.push(self.own(domain).await);
        all
    }

    async fn own(&self, domain: &str) -> Endpoint {
        let roots = certificates(&Path::new(CERTIFICATES).join(domain));
        let secure = Endpoint { mirror: None, protocol: ClientProtocol::Https, trusting: false, roots };
        if domain == HUB || !self.is_insecure(domain).await {
            return secure;
        }
        // One that speaks TLS answers a request in clear with 400, or not in HTTP at all.
        let protocol = if speaks_http(domain).await { ClientProtocol::Http } else { ClientProtocol::Https };
        Endpoint { protocol, trusting: true, ..secure }
    }

    async fn is_insecure(&self, domain: &str) -> bool {
        let (host, port) = split_port(domain);
        let named = |i: &Insecure| matches!(i, Insecure::Host(h) if h == domain || h == host);
        if host == "localhost" || self.insecure.iter().any(named) {
            return true;
        }
        let has_networks = self.insecure.iter().any(|i| matches!(i, Insecure::Network(..)));
        let addresses: Vec<IpAddr> = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) if has_networks => match tokio::net::lookup_host((host, port.unwrap_or(443))).await {
                Ok(found) => found.map(|a| a.ip()).collect(),
                Err(_) => Vec::new(),
            },
            Err(_) => Vec::new(),
        };
        let covers =
            |a: &IpAddr| self.insecure.iter().any(|i| matches!(i, Insecure::Network(n, p) if within(*a, *n, *p)));
        addresses.iter().any(|a| a.is_loopback() || covers(a))
    }
}

/// The port of `host:port`, if there is one.
fn split_port(domain: &str) -> (&str, Option<u16>) {
    match domain.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host, Some(port)),
        _ => (domain, None),
    }
}

fn within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let shift = width - u32::from(prefix).min(width);
        shift >= 128 || a >> shift == b >> shift
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => same(u32::from(a).into(), u32::from(n).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => same(u128::from(a), u128::from(n), 128),
        _ => false,
    }
}

fn parse_insecure(text: &str) -> Result<Insecure, String> {
    let text = text.trim();
    if text.contains("://") {
        return Err("insecure-registry should not contain '://'".into());
    }
    if let Some((network, prefix)) = text.split_once('/') {
        let network: IpAddr = network.parse().map_err(|_| format!("{network:?} is not an address"))?;
        let width = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|p| *p <= width).ok_or_else(|| format!("/{prefix} is not a length"))?;
        return Ok(Insecure::Network(network, prefix));
    }
    if is_host(text) { Ok(Insecure::Host(text.to_owned())) } else { Err(format!("invalid host {text:?}")) }
}

fn parse_mirror(text: &str) -> Result<Mirror, String> {
    let (scheme, rest) = text.split_once("://").ok_or("no scheme specified: use http:// or https://")?;
    let secure = match scheme {
        "https" => true,
        "http" => false,
        other => return Err(format!("unsupported scheme {other:?}: use http:// or https://")),
    };
    let domain = rest.strip_suffix('/').unwrap_or(rest);
    if !is_host(domain) {
        return Err("only scheme, host and port may be given".into());
    }
    Ok(Mirror { domain: domain.to_owned(), secure })
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b))
}

async fn speaks_http(domain: &str) -> bool {
    let client = reqwest::Client::builder().timeout(PROBE_TIMEOUT).redirect(reqwest::redirect::Policy::none());
    let Ok(client) = client.build() else { return true };
    match client.get(format!("http://{domain}/v2/")).send().await {
        Ok(answer) => {
            let elsewhere = answer.headers().get("location").is_some_and(|l| l.as_bytes().starts_with(b"https:"));
            answer.status() != reqwest::StatusCode::BAD_REQUEST && !elsewhere
        }
        // Nobody there: the real request will say so.
        Err(e) => e.is_connect() || e.is_timeout(),
    }
}

/// `*.crt` of a registry's own directory.
fn certificates(dir: &Path) -> Vec<Certificate> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let files = entries.filter_map(Result::ok).map(|e| e.path());
    let read = |path: PathBuf| match std::fs::read(&path) {
        Ok(data) => Some(Certificate { encoding: CertificateEncoding::Pem, data }),
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "a registry's certificate cannot be read");
            None
        }
    };
    files.filter(|p| p.extension().is_some_and(|e| e == "crt")).filter_map(read).collect()
}

/// The answer of the first way that leads somewhere. A mirror that fails is passed by.
pub(crate) async fn first<T, F: Future<Output = Result<T, ImageError>>>(
    endpoints: Vec<Endpoint>,
    mut ask: impl FnMut(Endpoint) -> F,
) -> Result<T, ImageError> {
    let mut last = ImageError::Registry("there is no way to the registry".into());
    for endpoint in endpoints {
        let mirror = endpoint.mirror.clone();
        match (ask(endpoint).await, mirror) {
            (Ok(done), _) => return Ok(done),
            (Err(ImageError::Cancelled), _) => return Err(ImageError::Cancelled),
            (Err(e), Some(mirror)) => {
                tracing::info!(mirror, error = %e, "a mirror does not have it");
                last = e;
            }
            (Err(e), None) => return Err(e),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(insecure: &[&str], mirrors: &[&str]) -> Result<RegistrySettings, Vec<String>> {
        let own = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        RegistrySettings::parse(&own(insecure), &own(mirrors))
    }

    #[test]
    fn what_is_wrong_is_told_at_once() {
        let wrong = settings(&["http://a", "10.0.0.0/40", "a b"], &["host:5000", "ftp://x", "http://x/y"]).unwrap_err();
        assert_eq!(wrong.len(), 6, "{wrong:?}");
        assert!(settings(&["a", "a:5000", "10.0.0.0/8", "fd00::/8"], &["http://x:5000/", "https://y"]).is_ok());
    }

    #[tokio::test]
    async fn who_may_be_spoken_to_in_clear() {
        let s = settings(&["host.test", "other.test:5000", "10.1.0.0/16", "fd00::/8"], &[]).unwrap();
        for (domain, insecure) in [
            ("localhost:5000", true),
            ("127.3.2.1", true),
            ("[::1]:5000", true),
            ("host.test", true),
            ("host.test:5000", true),
            ("other.test", false),
            ("other.test:5000", true),
            ("10.1.2.3:5000", true),
            ("10.2.2.3:5000", false),
            ("[fd00::1]:5000", true),
        ] {
            assert_eq!(s.is_insecure(domain).await, insecure, "{domain}");
        }
    }
}
