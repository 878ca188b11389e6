//! What happens on the wire around a request: heads that are read late, bodies that nobody wants, web sockets.
mod fake;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const WITHIN: Duration = Duration::from_secs(10);

async fn head(s: &mut UnixStream) -> String {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(s.read_u8().await.unwrap());
    }
    String::from_utf8(got).unwrap()
}

async fn ask(socket: &Path, request: &str) -> (UnixStream, String) {
    let mut s = UnixStream::connect(socket).await.unwrap();
    s.write_all(request.as_bytes()).await.unwrap();
    let head = tokio::time::timeout(WITHIN, head(&mut s)).await.expect("an answer");
    (s, head)
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn container(socket: &Path, name: &str, cmd: &str) {
    let body = format!(r#"{{"Image":"b","Cmd":["{cmd}"],"OpenStdin":true}}"#);
    let (_, head) = ask(socket, &post(&format!("/containers/create?name={name}"), &body)).await;
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
}

static HEAD_READ: AtomicBool = AtomicBool::new(false);

fn unread(_: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(usize::from(!HEAD_READ.load(Ordering::SeqCst)))
}

/// The Python SDK reads the head through a buffer and drops what has come together with it.
#[tokio::test]
async fn output_waits_until_the_head_of_the_answer_has_been_read() {
    let r = fake::run_with(|s| s.with_unread(unread));
    container(&r.socket, "c1", "sleep").await;
    let (mut s, _) = ask(&r.socket, &post("/containers/c1/exec", r#"{"Cmd":["echo","x"],"AttachStdout":true}"#)).await;
    let mut json = vec![0; 512];
    let n = s.read(&mut json).await.unwrap();
    let id = serde_json::from_slice::<serde_json::Value>(&json[..n]).unwrap()["Id"].as_str().unwrap().to_owned();
    let start = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}".to_owned();
    let (mut s, head) = ask(&r.socket, &format!("POST /exec/{id}/start HTTP/1.1\r\nHost: x\r\n{start}")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut out = Vec::new();
    let early = tokio::time::timeout(Duration::from_millis(200), s.read_to_end(&mut out)).await;
    assert!(early.is_err() && out.is_empty(), "{out:?}");
    HEAD_READ.store(true, Ordering::SeqCst);
    tokio::time::timeout(WITHIN, s.read_to_end(&mut out)).await.expect("the output").unwrap();
    assert_eq!(&out[8..], b"x\n");
}

/// A refusal that does not look at the body reaches a client that is still sending it.
#[tokio::test]
async fn a_body_that_nobody_wants_breaks_no_pipe() {
    let r = fake::run();
    let mut s = UnixStream::connect(&r.socket).await.unwrap();
    let size = 4 << 20;
    let start = format!("POST /containers/create?name=a%20b HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
    s.write_all(start.as_bytes()).await.unwrap();
    let first = tokio::time::timeout(WITHIN, head(&mut s)).await.expect("a refusal before the body has come");
    assert!(first.starts_with("HTTP/1.1 400"), "{first}");
    for _ in 0..size / 4096 {
        tokio::time::timeout(WITHIN, s.write_all(&[b'x'; 4096])).await.expect("it is read").expect("no broken pipe");
    }
    let mut message = vec![0; 1000];
    let n = s.read(&mut message).await.unwrap();
    assert!(String::from_utf8_lossy(&message[..n]).contains("Invalid container name"));
}

/// A client's message: final, masked with zeroes.
fn masked(opcode: u8, text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text);
    frame
}

#[tokio::test]
async fn attach_over_a_web_socket_carries_raw_bytes_both_ways() {
    for (version, opcode) in [("v1.44", 2), ("v1.24", 1)] {
        let r = fake::run();
        container(&r.socket, "c1", "cat").await;
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let path = format!("/{version}/containers/c1/attach/ws?stream=1&stdin=1&stdout=1");
        let (mut s, head) = ask(&r.socket, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{upgrade}")).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        let (_, started) = ask(&r.socket, "POST /containers/c1/start HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(started.starts_with("HTTP/1.1 204"), "{started}");
        s.write_all(&masked(2, b"hello")).await.unwrap();
        let mut frame = [0; 7];
        tokio::time::timeout(WITHIN, s.read_exact(&mut frame)).await.expect("an echo").unwrap();
        assert_eq!((frame[0], frame[1], &frame[2..]), (0x80 | opcode, 5, &b"hello"[..]), "{version}");
    }
}
