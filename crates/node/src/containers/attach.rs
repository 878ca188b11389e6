//! Attaching to a container's streams, also before it is started.
use super::{Containers, refuse};
use bytes::Bytes;
use runtime::{AttachedIo, StdStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use wire::Refusal;

/// Which streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// Stdin.
    pub stdin: bool,
    /// Keys by which a terminal detaches; empty: `ctrl-p,ctrl-q`.
    pub detach_keys: String,
}

/// A process's streams.
pub struct Streams {
    /// A terminal.
    pub tty: bool,
    /// Shutting it down is end-of-file.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Ends with the process.
    pub output: mpsc::Receiver<(StdStream, Bytes)>,
}

const OUTPUT_QUEUE: usize = 64;
const STDIN_BUFFER_BYTES: usize = 64 << 10;

impl Containers {
    /// The streams from now on. Before the start: from the very first byte.
    ///
    /// # Errors
    /// 409 when it is paused or restarting.
    pub async fn attach(&self, id: &str, how: AttachRequest) -> Result<Streams, Refusal> {
        let c = self.find(id)?;
        let (status, tty, open_stdin) = {
            let r = c.record.read();
            (r.state.status, r.config.tty, r.config.open_stdin)
        };
        match status {
            super::Status::Paused => {
                return Err(Refusal::conflict(format!(
                    "container {id} is paused, unpause the container before attach"
                )));
            }
            super::Status::Restarting => {
                return Err(Refusal::conflict(format!(
                    "container {id} is restarting, wait until the container is running"
                )));
            }
            _ => {}
        }
        let (ready, io) = oneshot::channel();
        if status.is_up() {
            let _ = ready.send(self.inner.base.runtime.attach(&c.id).await.map_err(refuse)?);
        } else {
            c.waiting.lock().push(ready);
        }
        self.tell(&c, "attach", &[]);
        let keys = if tty { Some(detach_keys(&how.detach_keys)?) } else { None };
        Ok(bridge(io, how.stdin && open_stdin, tty, keys))
    }
}

/// Streams that begin as soon as the process's own are there.
fn bridge(io: oneshot::Receiver<AttachedIo>, stdin: bool, tty: bool, keys: Option<Vec<u8>>) -> Streams {
    let (tx, output) = mpsc::channel(OUTPUT_QUEUE);
    let (mine, theirs) = tokio::io::duplex(STDIN_BUFFER_BYTES);
    tokio::spawn(async move {
        let Ok(mut io) = io.await else { return };
        let detached = async {
            match (io.stdin.take(), stdin) {
                (Some(writer), true) => {
                    let detached = copy_stdin(theirs, writer, keys.as_deref()).await;
                    if !detached {
                        std::future::pending::<()>().await;
                    }
                }
                (held, _) => {
                    // Kept, so that the process does not see its end.
                    std::future::pending::<()>().await;
                    drop(held);
                }
            }
        };
        tokio::pin!(detached);
        loop {
            tokio::select! {
                chunk = io.output.recv() => match chunk {
                    Some(chunk) => if tx.send(chunk).await.is_err() { return },
                    None => return,
                },
                () = &mut detached => return,
                () = tx.closed() => return,
            }
        }
    });
    Streams { tty, stdin: stdin.then(|| Box::new(mine) as Box<dyn AsyncWrite + Send + Unpin>), output }
}

/// Copies until the client's end or its detach keys (`true`).
pub(super) async fn copy_stdin(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    keys: Option<&[u8]>,
) -> bool {
    let mut buffer = vec![0u8; 16 << 10];
    let mut matched = 0;
    loop {
        let n = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                let _ = to.shutdown().await;
                return false;
            }
            Ok(n) => n,
        };
        let Some(keys) = keys.filter(|k| !k.is_empty()) else {
            if to.write_all(&buffer[..n]).await.is_err() || to.flush().await.is_err() {
                return false;
            }
            continue;
        };
        let mut out = Vec::with_capacity(n + matched);
        for byte in &buffer[..n] {
            if *byte == keys[matched] {
                matched += 1;
                if matched == keys.len() {
                    // What was typed before the keys is still the container's.
                    let _ = to.write_all(&out).await;
                    let _ = to.flush().await;
                    return true;
                }
            } else {
                out.extend_from_slice(&keys[..matched]);
                matched = usize::from(*byte == keys[0]);
                if matched == 0 {
                    out.push(*byte);
                }
            }
        }
        if to.write_all(&out).await.is_err() || to.flush().await.is_err() {
            return false;
        }
    }
}

/// `ctrl-p,ctrl-q` as bytes.
pub(super) fn detach_keys(text: &str) -> Result<Vec<u8>, Refusal> {
    if text.is_empty() {
        return Ok(vec![16, 17]);
    }
    let invalid = || Refusal::invalid(format!("invalid detach keys ({text}) provided: unknown character: '{text}'"));
    text.split(',')
        .map(|key| match key.as_bytes() {
            [one] => Ok(*one),
            [b'c', b't', b'r', b'l', b'-', c] => match c {
                b'a'..=b'z' => Ok(c - b'a' + 1),
                b'@' => Ok(0),
                b'[' => Ok(27),
                b'\\' => Ok(28),
                b']' => Ok(29),
                b'^' => Ok(30),
                b'_' => Ok(31),
                _ => Err(invalid()),
            },
            _ => Err(invalid()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn detach_keys_end_the_copy_and_are_not_passed_on() {
        let mut out = Vec::new();
        assert!(copy_stdin(&b"ab\x10c\x10\x11rest"[..], &mut out, Some(&[16, 17])).await);
        assert_eq!(out, b"ab\x10c");
        let mut out = Vec::new();
        assert!(!copy_stdin(&b"plain\x10\x11"[..], &mut out, None).await);
        assert_eq!(out, b"plain\x10\x11");
        assert_eq!(detach_keys("a,ctrl-b").unwrap(), [b'a', 2]);
        assert!(detach_keys("ctrl-!").is_err());
    }
}
