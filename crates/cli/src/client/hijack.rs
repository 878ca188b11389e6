//! A connection taken over from HTTP, and the frames in which stdout and stderr share it.
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::Response;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

/// Both directions of a taken-over connection.
pub(crate) struct Hijacked {
    pub(crate) output: ReadHalf<TokioIo<Upgraded>>,
    pub(crate) input: WriteHalf<TokioIo<Upgraded>>,
}

impl Hijacked {
    pub(super) async fn new(response: Response<Incoming>) -> anyhow::Result<Self> {
        anyhow::ensure!(
            response.status() == http::StatusCode::SWITCHING_PROTOCOLS,
            "unable to upgrade to tcp, received {}",
            response.status().as_u16()
        );
        let (output, input) = tokio::io::split(TokioIo::new(hyper::upgrade::on(response).await?));
        Ok(Self { output, input })
    }
}

/// Takes frames apart until the end: type 1 to `out`, type 2 to `err`; type 3 is the engine's own failure.
pub(crate) async fn demultiplex<R, O, E>(mut input: R, mut out: O, mut err: E) -> anyhow::Result<()>
where
    R: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let mut header = [0u8; 8];
    let mut payload = vec![0u8; 32 << 10];
    loop {
        match input.read_exact(&mut header).await {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        let mut left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let mut failure = Vec::new();
        while left > 0 {
            let room = left.min(payload.len());
            let n = input.read(&mut payload[..room]).await?;
            if n == 0 {
                return Ok(());
            }
            left -= n;
            match header[0] {
                0 | 1 => out.write_all(&payload[..n]).await?,
                2 => err.write_all(&payload[..n]).await?,
                3 => failure.extend_from_slice(&payload[..n]),
                other => anyhow::bail!("Unrecognized input header: {other}"),
            }
        }
        if !failure.is_empty() {
            anyhow::bail!("error from daemon in stream: {}", String::from_utf8_lossy(&failure).trim_end());
        }
        out.flush().await?;
        err.flush().await?;
    }
}

/// The same for the body of an answer; `tty`: there are no frames.
pub(crate) async fn demultiplex_body<S>(body: S, tty: bool) -> anyhow::Result<()>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    let (mut out, err) = (tokio::io::stdout(), tokio::io::stderr());
    if !tty {
        return demultiplex(tokio_util::io::StreamReader::new(body), out, err).await;
    }
    let mut body = body;
    while let Some(piece) = body.next().await {
        out.write_all(&piece?).await?;
        out.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_go_where_they_belong() {
        let mut input = Vec::new();
        for (kind, text) in [(1u8, "out1 "), (2, "err"), (1, "out2")] {
            input.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, text.len() as u8]);
            input.extend_from_slice(text.as_bytes());
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        demultiplex(&input[..], &mut out, &mut err).await.unwrap();
        assert_eq!((&out[..], &err[..]), (&b"out1 out2"[..], &b"err"[..]));
        let broken = [3u8, 0, 0, 0, 0, 0, 0, 2, b'n', b'o'];
        let error = demultiplex(&broken[..], &mut out, &mut err).await.unwrap_err();
        assert_eq!(error.to_string(), "error from daemon in stream: no");
    }
}
