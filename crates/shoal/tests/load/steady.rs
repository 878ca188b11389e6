//! A web service that says who answers and keeps connections open. Told to end (the file /tmp/closing), it asks its
//! clients to close, answers what is under way, and ends when the last connection has.
//!
//! Compiled by the test itself, static, because it runs in images without a library.
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LAST_WORDS: Duration = Duration::from_secs(5);

fn closing() -> bool {
    std::path::Path::new("/tmp/closing").exists()
}

fn main() {
    let who = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let version = std::env::var("VERSION").unwrap_or_default();
    let body = format!("{version} {}", who.trim());
    let open = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("0.0.0.0:8080").expect("port 8080");
    let waiting = open.clone();
    std::thread::spawn(move || {
        while !closing() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut left = LAST_WORDS;
        while waiting.load(Ordering::SeqCst) > 0 && !left.is_zero() {
            std::thread::sleep(Duration::from_millis(20));
            left = left.saturating_sub(Duration::from_millis(20));
        }
        std::process::exit(0);
    });
    for stream in listener.incoming().flatten() {
        let (body, open) = (body.clone(), open.clone());
        open.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            let _ = talk(stream, &body);
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn talk(mut stream: TcpStream, body: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut close = false;
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        while line.trim_end() != "" {
            close |= line.trim_end().eq_ignore_ascii_case("connection: close");
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        close |= closing();
        let word = if close { "close" } else { "keep-alive" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: {word}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes())?;
        if close {
            return Ok(());
        }
    }
}
