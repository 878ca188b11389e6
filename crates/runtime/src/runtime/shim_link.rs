//! Reaching a shim: starting it, connecting to it, watching for the end.
use super::{Container, lock};
use crate::exit::Exit;
use crate::protocol::{Kind, Request, exit_of, json_frame};
use crate::shim::{EXIT_FILE, SOCKET_FILE, State};
use kernel::process::PidFd;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// Socket addresses are short; a path through the directory's descriptor always fits.
fn address(dir: &Path) -> io::Result<(File, PathBuf)> {
    let held = File::open(dir)?;
    let path = kernel::mount::fd_path(&held).join(SOCKET_FILE);
    Ok((held, path))
}

pub(super) fn listen(dir: &Path) -> io::Result<UnixListener> {
    let (_held, path) = address(dir)?;
    UnixListener::bind(path)
}

pub(super) fn connect(dir: &Path) -> io::Result<UnixStream> {
    let (_held, path) = address(dir)?;
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// For streams: the same connection, in the async runtime.
pub(super) fn into_async(stream: UnixStream) -> io::Result<tokio::net::UnixStream> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// Starts a shim; must be called within the async runtime, which reaps it.
pub(super) fn spawn(exe: &OwnedFd, dir: &Path, listener: UnixListener) -> io::Result<()> {
    let errors = File::create(dir.join("shim.stderr"))?;
    let mut child = tokio::process::Command::new(kernel::mount::fd_path(exe))
        .arg0("shoal-shim")
        .arg(crate::SHIM_ROLE)
        .arg(dir)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::from(errors))
        .spawn()?;
    tokio::spawn(async move {
        let _ = child.wait().await;
    });
    Ok(())
}

/// Sends the container's end to `tell`, whenever it comes; sees to it that a container without a shim has one.
pub(super) async fn watch_end(dir: PathBuf, state: State, tell: watch::Sender<Option<Exit>>) {
    let exit = match hear_end(&dir).await {
        Ok(exit) => exit,
        Err(error) => {
            tracing::debug!(dir = %dir.display(), %error, "the shim does not answer any more");
            super::blocking(move || Ok(settle(&dir, state))).await.unwrap_or_else(|_| Exit::killed())
        }
    };
    tell.send_replace(Some(exit));
}

async fn hear_end(dir: &Path) -> io::Result<Exit> {
    let mut stream = into_async(connect(dir)?)?;
    stream.write_all(&json_frame(Kind::Request, &Request::Watch)).await?;
    loop {
        let (kind, body) = read_frame(&mut stream).await?;
        if kind == Kind::Exit {
            return exit_of(&body);
        }
    }
}

/// The shim is gone: either it recorded the end, or it was killed and its container has to follow it.
pub(super) fn settle(dir: &Path, state: State) -> Exit {
    if let Some(exit) = recorded_exit(dir) {
        return exit;
    }
    if let Ok(init) = PidFd::open_started(state.pid, state.ticks) {
        let _ = init.signal(libc::SIGKILL);
        let _ = init.wait_ended(10_000);
    }
    // The shim may have written it with its last breath.
    if let Some(exit) = recorded_exit(dir) {
        return exit;
    }
    let exit = Exit::killed();
    if let Ok(bytes) = serde_json::to_vec(&exit) {
        let _ = crate::shim::write_whole(&dir.join(EXIT_FILE), &bytes);
    }
    exit
}

pub(super) fn recorded_exit(dir: &Path) -> Option<Exit> {
    serde_json::from_slice(&std::fs::read(dir.join(EXIT_FILE)).ok()?).ok()
}

/// Reads one frame.
pub(super) async fn read_frame(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<(Kind, Vec<u8>)> {
    let mut header = [0; crate::protocol::HEADER];
    from.read_exact(&mut header).await?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = Kind::of(header[4]).filter(|_| length <= crate::protocol::FRAME_MAX);
    let kind = kind.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a frame of ours"))?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok((kind, body))
}

impl super::Runtime {
    /// Enters a container into the table and watches for its end.
    pub(super) fn adopt(
        &self,
        container: impl FnOnce(watch::Receiver<Option<Exit>>) -> Container,
        ended: Option<Exit>,
    ) {
        let (tell, exit) = watch::channel(ended);
        let container = container(exit);
        if ended.is_none() {
            tokio::spawn(watch_end(container.dir.clone(), container.state, tell));
        }
        lock(&self.shared.containers).insert(container.id.clone(), std::sync::Arc::new(container));
    }
}
