//! Where the engine listens, and the way there.
//!
//! ```text
//!  -H ─► DOCKER_HOST ─► --context ─► DOCKER_CONTEXT ─► the chosen context ─► unix:///var/run/docker.sock
//! ```
use super::error::NotReachable;
use super::tls::Tls;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Unix(PathBuf),
    /// `address:port`; the port is 0 where none is said.
    Tcp(String),
}

/// Where, and whether the talk is kept from others.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) tls: Option<Tls>,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Target {
    /// Docker's socket.
    pub(crate) fn default_host() -> &'static str {
        "unix:///var/run/docker.sock"
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let stream: std::io::Result<Box<dyn Stream>> = match (&self.host, &self.tls) {
            (Host::Unix(path), _) => UnixStream::connect(path).await.map(|s| Box::new(s) as _),
            (Host::Tcp(_), tls) => {
                let address = self.address();
                match TcpStream::connect(address.as_str()).await {
                    Err(e) => Err(e),
                    Ok(stream) => {
                        let _ = stream.set_nodelay(true);
                        match tls {
                            None => Ok(Box::new(stream) as _),
                            Some(tls) => return Ok(Box::new(tls.connect(&address, stream).await?)),
                        }
                    }
                }
            }
        };
        stream.map_err(|source| match source.kind() {
            std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(
                "permission denied while trying to connect to the Docker daemon socket at {self}: {source}"
            ),
            _ => NotReachable { host: self.to_string(), source }.into(),
        })
    }

    /// With the port that TLS, or its absence, means.
    fn address(&self) -> String {
        match &self.host {
            Host::Unix(path) => path.display().to_string(),
            Host::Tcp(address) => match address.rsplit_once(':') {
                Some((host, "0")) => format!("{host}:{}", if self.tls.is_some() { 2376 } else { 2375 }),
                _ => address.clone(),
            },
        }
    }
}

impl FromStr for Host {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Self::Unix(if path.is_empty() { "/var/run/docker.sock" } else { path }.into()));
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        if let Some(place) = text.strip_prefix("ssh://") {
            let place = if place.is_empty() { "USER@HOST" } else { place };
            anyhow::bail!(
                "ssh:// is not supported: forward the socket with `ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock {place}` \
                 and use -H unix:///tmp/engine.sock"
            );
        }
        let address = text
            .strip_prefix("tcp://")
            .or_else(|| text.strip_prefix("http://"))
            .or_else(|| text.strip_prefix("https://"));
        let Some(address) = address.or((!text.contains("://")).then_some(text)) else {
            anyhow::bail!("unable to parse docker host `{text}`: unix:// and tcp:// are supported");
        };
        let address = address.trim_end_matches('/');
        anyhow::ensure!(!address.is_empty(), "unable to parse docker host `{text}`");
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|p| p > 0));
        Ok(Self::Tcp(if has_port { address.to_owned() } else { format!("{address}:0") }))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if matches!(self.host, Host::Unix(_)) { "unix" } else { "tcp" };
        write!(f, "{scheme}://{}", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_docker_reads_them() {
        let table = [
            ("unix:///tmp/x.sock", "unix:///tmp/x.sock"),
            ("unix://", "unix:///var/run/docker.sock"),
            ("tcp://10.0.0.1:2376", "tcp://10.0.0.1:2376"),
            ("10.0.0.1:2376", "tcp://10.0.0.1:2376"),
            ("tcp://h", "tcp://h:2375"),
            ("tcp://[::1]:80/", "tcp://[::1]:80"),
        ];
        for (text, shown) in table {
            assert_eq!(Target { host: text.parse().unwrap(), tls: None }.to_string(), shown);
        }
        for bad in ["ssh://h", "tcp://", "npipe://x"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
        let why = "ssh://me@there".parse::<Host>().unwrap_err().to_string();
        assert!(why.contains("ssh:// is not supported") && why.contains("me@there"), "{why}");
    }
}
