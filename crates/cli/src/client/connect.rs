//! `-H`, `DOCKER_HOST`: where the engine listens.
use super::error::NotReachable;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Unix(PathBuf),
    Tcp(String),
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Host {
    /// The flag, else the environment, else Docker's socket.
    pub(crate) fn choose(flag: Option<&str>) -> anyhow::Result<Self> {
        let from_env = std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty());
        flag.map(str::to_owned).or(from_env).as_deref().unwrap_or("unix:///var/run/docker.sock").parse()
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let stream: std::io::Result<Box<dyn Stream>> = match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(|s| Box::new(s) as _),
            Self::Tcp(address) => TcpStream::connect(address.as_str()).await.map(|s| {
                let _ = s.set_nodelay(true);
                Box::new(s) as _
            }),
        };
        stream.map_err(|source| match source.kind() {
            std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(
                "permission denied while trying to connect to the Docker daemon socket at {self}: {source}"
            ),
            _ => NotReachable { host: self.to_string(), source }.into(),
        })
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
        let address = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://"));
        let Some(address) = address.or((!text.contains("://")).then_some(text)) else {
            anyhow::bail!("unable to parse docker host `{text}`: unix:// and tcp:// are supported");
        };
        let address = address.trim_end_matches('/');
        anyhow::ensure!(!address.is_empty(), "unable to parse docker host `{text}`");
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self::Tcp(if has_port { address.to_owned() } else { format!("{address}:2375") }))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
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
        ];
        for (text, shown) in table {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), shown);
        }
        for bad in ["ssh://h", "tcp://", "npipe://x"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }
}
