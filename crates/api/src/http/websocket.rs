//! A process's streams over a web socket.
use crate::backend::Attached;
use axum::extract::ws::{Message, WebSocket};
use futures::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;

/// Both directions, until the output ends or the client is gone. A close message of the client ends the process's stdin.
pub async fn pump(socket: WebSocket, attached: Attached, text: bool) {
    let Attached { mut stdin, mut output, .. } = attached;
    let (mut to_client, mut from_client) = socket.split();
    let input = async {
        while let Some(Ok(message)) = from_client.next().await {
            let bytes = match message {
                Message::Text(t) => t.into(),
                Message::Binary(b) => b,
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            if let Some(pipe) = &mut stdin
                && (pipe.write_all(&bytes).await.is_err() || pipe.flush().await.is_err())
            {
                // The process has closed its stdin; what comes is read on and dropped.
                stdin = None;
            }
        }
        if let Some(mut pipe) = stdin {
            let _ = pipe.shutdown().await;
        }
    };
    let print = async {
        while let Some((_, bytes)) = output.next().await {
            let message = match text {
                true => Message::Text(String::from_utf8_lossy(&bytes).into_owned().into()),
                false => Message::Binary(bytes),
            };
            if to_client.send(message).await.is_err() {
                return;
            }
        }
        let _ = to_client.close().await;
    };
    tokio::pin!(input);
    tokio::select! {
        () = print => {}
        () = &mut input => {}
    }
}
