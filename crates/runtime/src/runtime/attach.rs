//! Streams of process 1, through the shim.
use super::{Container, blocking, shim_link};
use crate::protocol::{Kind, Reply, Request, ask, frame};
use crate::stdio::{AttachedIo, StdStream, StdinWriter};
use bytes::Bytes;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// So many pieces of output may wait for the daemon's side.
pub(super) const QUEUE: usize = 64;
/// So much input may wait.
const INPUT: usize = 64 << 10;

pub(super) async fn attach(container: &Container, wants_stdin: bool) -> io::Result<AttachedIo> {
    let feeds = wants_stdin && (container.stdin || container.process.tty);
    let dir = container.dir.clone();
    let stream = blocking(move || {
        let mut stream = shim_link::connect(&dir)?;
        match ask(&mut stream, &Request::Attach { stdin: feeds })? {
            Reply::Done => Ok(stream),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    });
    let (from, to) = shim_link::into_async(stream.await?)?.into_split();
    let (sender, output) = mpsc::channel(QUEUE);
    let (stdin, input) = tokio::io::duplex(INPUT);
    tokio::spawn(forward_output(from, sender));
    if feeds {
        tokio::spawn(forward_input(input, to));
    } else {
        // Not a shutdown: the shim would take it for the end of the connection.
        to.forget();
    }
    let stdin = feeds.then(|| StdinWriter::new(stdin));
    Ok(AttachedIo { stdin, output })
}

async fn forward_output(mut from: OwnedReadHalf, sender: mpsc::Sender<(StdStream, Bytes)>) {
    loop {
        let frame = tokio::select! {
            frame = shim_link::read_frame(&mut from) => frame,
            () = sender.closed() => return,
        };
        let stream = match frame {
            Ok((Kind::Stdout, body)) => (StdStream::Stdout, body),
            Ok((Kind::Stderr, body)) => (StdStream::Stderr, body),
            _ => return,
        };
        if sender.send((stream.0, Bytes::from(stream.1))).await.is_err() {
            return;
        }
    }
}

/// Ends the input for the shim when it ends here. Dropping the write half does not close the connection as long as
/// output comes; `forward_output` holds the other half.
async fn forward_input(mut input: DuplexStream, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match input.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                if to.write_all(&frame(Kind::Stdin, &buffer[..count])).await.is_err() {
                    return;
                }
            }
            _ => {
                let _ = to.write_all(&frame(Kind::StdinEnd, &[])).await;
                // Not a shutdown: the shim would take it for the end of the connection.
                to.forget();
                return;
            }
        }
    }
}
