//! The doors: sockets made here, or handed over by the service manager; TLS; who may open a socket file.
use super::options::{Group, Listen, Settings, Tls};
use anyhow::{Context, Result, bail};
use kernel::activation::{self, Activated};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

/// Every open door.
pub struct Doors {
    unix: Vec<(UnixListener, Option<PathBuf>)>,
    tcp: Vec<TcpListener>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// What is heard at the doors, until it is dropped; then socket files made here are gone.
pub struct Open(Vec<PathBuf>);

impl Doors {
    /// Opens them: a taken socket or a bad certificate must be told before anything is touched.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let tls = settings.tls.as_ref().map(server_config).transpose()?.map(Arc::new);
        let mut doors = Self { unix: Vec::new(), tcp: Vec::new(), tls };
        let mut handed_over = None;
        for listen in &settings.hosts {
            match listen {
                Listen::Unix(path) => doors.unix.push((bind_unix(path, &settings.group)?, Some(path.clone()))),
                Listen::Tcp(addr) => {
                    let listener = TcpListener::bind(addr).await;
                    doors.tcp.push(listener.with_context(|| format!("cannot listen on tcp://{addr}"))?);
                }
                Listen::Activated(name) => {
                    let all = handed_over.get_or_insert_with(activation::take);
                    let wanted = |n: &str| name.as_deref().is_none_or(|w| w == n || format!("{w}.socket") == n);
                    let (mine, others) = std::mem::take(all).into_iter().partition(|(n, _)| wanted(n));
                    *all = others;
                    doors.hand_over(mine, name.as_deref())?;
                }
            }
        }
        Ok(doors)
    }

    fn hand_over(&mut self, sockets: Vec<(String, Activated)>, name: Option<&str>) -> Result<()> {
        if sockets.is_empty() {
            bail!(
                "no sockets found via socket activation{}: make sure the service was started by systemd",
                name.map(|n| format!(" for {n}")).unwrap_or_default()
            );
        }
        for (name, socket) in sockets {
            let failed = || format!("socket {name} of the service manager");
            match socket {
                Activated::Unix(l) => {
                    l.set_nonblocking(true).with_context(failed)?;
                    self.unix.push((UnixListener::from_std(l).with_context(failed)?, None));
                }
                Activated::Tcp(l) => {
                    l.set_nonblocking(true).with_context(failed)?;
                    self.tcp.push(TcpListener::from_std(l).with_context(failed)?);
                }
                Activated::Other => bail!("{} is neither a unix nor a TCP socket that listens", failed()),
            }
        }
        Ok(())
    }

    /// Serves what comes in.
    pub fn serve(self, server: &api::Server, stop: &CancellationToken) -> Result<Open> {
        let mut files = Vec::new();
        for (listener, path) in self.unix {
            match path {
                Some(path) => {
                    tracing::info!("listening on unix://{}", path.display());
                    files.push(path);
                }
                None => tracing::info!("listening on a unix socket of the service manager"),
            }
            tokio::spawn(server.clone().serve_unix(listener, stop.clone()));
        }
        for listener in self.tcp {
            let addr = listener.local_addr()?;
            match &self.tls {
                Some(_) => tracing::info!(%addr, "listening with TLS"),
                None => {
                    tracing::warn!(%addr, "listening in clear: everybody who reaches this port is root here; use --tlsverify")
                }
            }
            tokio::spawn(server.clone().serve_tcp(listener, self.tls.clone(), stop.clone()));
        }
        Ok(Open(files))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn server_config(tls: &Tls) -> Result<rustls::ServerConfig> {
    let read = |path: &Path| -> Result<Vec<CertificateDer<'static>>> {
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates.with_context(|| format!("cannot read certificates from {}", path.display()))?;
        match certificates.is_empty() {
            true => bail!("{} holds no certificate", path.display()),
            false => Ok(certificates),
        }
    };
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .with_context(|| format!("cannot read the TLS key from {}", tls.key.display()))?;
    let builder = rustls::ServerConfig::builder();
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in read(ca)? {
                roots.add(certificate).with_context(|| format!("{} is not a CA", ca.display()))?;
            }
            let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.context("the CA of clients")?)
        }
    };
    builder.with_single_cert(read(&tls.certificate)?, key).context("the TLS certificate and its key do not fit")
}

fn bind_unix(path: &Path, group: &Group) -> Result<UnixListener> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            bail!("another daemon listens on {}: stop it, or give another -H", path.display());
        }
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    let gid = match group {
        Group::Usual => group_id("docker"),
        Group::Named(name) => Some(group_id(name).with_context(|| format!("group {name} not found"))?),
    };
    if let Some(gid) = gid {
        std::os::unix::fs::chown(path, None, Some(gid))
            .with_context(|| format!("cannot give {} to group {gid}", path.display()))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

fn group_id(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}
