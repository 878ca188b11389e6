//! A daemon's API over its socket: only as much HTTP as measuring needs.
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const VERSION: &str = "/v1.40";
const PATIENCE: Duration = Duration::from_secs(60);

/// One daemon's door.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// Behind `socket`.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Whether it answers at all.
    pub fn answers(&self) -> bool {
        self.socket.exists() && self.raw("GET", "/_ping", "text/plain", b"").is_ok_and(|(status, _)| status == 200)
    }

    /// What is there.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, &Value::Null)
    }

    /// Does something.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", path, body)
    }

    /// Takes away; gone already is fine.
    pub fn delete(&self, path: &str) -> Result<()> {
        match self.raw("DELETE", path, "application/json", b"")? {
            (200..=299 | 404, _) => Ok(()),
            (status, body) => bail!("DELETE {path}: {status} {}", String::from_utf8_lossy(&body).trim()),
        }
    }

    /// Makes an image of an archived root file system.
    pub fn import(&self, archive: &[u8], repository: &str, tag: &str) -> Result<()> {
        let path = format!("/images/create?fromSrc=-&repo={repository}&tag={tag}&changes=ENV%20PATH%3D%2Fbin");
        match self.raw("POST", &path, "application/x-tar", archive)? {
            (200, _) => Ok(()),
            (status, body) => bail!("import: {status} {}", String::from_utf8_lossy(&body).trim()),
        }
    }

    /// Unpacks saved images.
    pub fn load(&self, archive: &[u8]) -> Result<()> {
        match self.raw("POST", "/images/load?quiet=1", "application/x-tar", archive)? {
            (200, body) if !String::from_utf8_lossy(&body).contains("errorDetail") => Ok(()),
            (status, body) => bail!("load: {status} {}", String::from_utf8_lossy(&body).trim()),
        }
    }

    /// All that an ended container wrote, and how long the answer took to arrive.
    pub fn logs(&self, container: &str) -> Result<(Duration, String)> {
        let path = format!("/containers/{container}/logs?stdout=1&stderr=1");
        let began = Instant::now();
        let answer = self.exchange("GET", &path, "text/plain", b"")?;
        let took = began.elapsed();
        match parse(&answer)? {
            (200, body) => Ok((took, without_frames(&body))),
            (status, body) => bail!("GET {path}: {status} {}", String::from_utf8_lossy(&body).trim()),
        }
    }

    /// Runs a program in a container; what it printed.
    pub fn exec(&self, container: &str, words: &[&str]) -> Result<String> {
        let made = self.post(
            &format!("/containers/{container}/exec"),
            &json!({ "Cmd": words, "AttachStdout": true, "AttachStderr": true }),
        )?;
        let id = made["Id"].as_str().context("an exec without an id")?;
        let start = json!({ "Detach": false, "Tty": false }).to_string();
        let (status, body) = self.raw("POST", &format!("/exec/{id}/start"), "application/json", start.as_bytes())?;
        let text = without_frames(&body);
        let exit = self.get(&format!("/exec/{id}/json"))?;
        if status >= 300 || exit["ExitCode"] != 0 {
            bail!("`{}` in a container: {} {}", words.join(" "), exit["ExitCode"], text.trim());
        }
        Ok(text)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.raw(method, path, "application/json", text.as_bytes())?;
        if status >= 400 {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer).trim());
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).with_context(|| format!("{method} {path}: not JSON"))
    }

    fn raw(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let answer = self.exchange(method, path, kind, body)?;
        parse(&answer).with_context(|| format!("{method} {path} at {}", self.socket.display()))
    }

    /// A whole answer, head and all.
    fn exchange(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Vec<u8>> {
        let failed = || format!("{method} {path} at {}", self.socket.display());
        let mut stream = UnixStream::connect(&self.socket).with_context(failed)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let path = if path == "/_ping" { path.to_owned() } else { format!("{VERSION}{path}") };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request).with_context(failed)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).with_context(failed)?;
        Ok(answer)
    }
}

fn parse(answer: &[u8]) -> Result<(u16, Vec<u8>)> {
    let head_size = answer.windows(4).position(|w| w == b"\r\n\r\n").context("no end of the answer's head")?;
    let head = String::from_utf8_lossy(&answer[..head_size]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
    let body = &answer[head_size + 4..];
    let chunked = head.lines().any(|l| l.starts_with("transfer-encoding:") && l.contains("chunked"));
    Ok((status, if chunked { without_chunks(body) } else { body.to_vec() }))
}

fn without_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(line) = body.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&body[..line]).ok().and_then(|s| usize::from_str_radix(s.trim(), 16).ok());
        let Some(size) = size.filter(|s| *s > 0 && line + 2 + s <= body.len()) else { break };
        whole.extend_from_slice(&body[line + 2..line + 2 + size]);
        body = body.get(line + 4 + size..).unwrap_or_default();
    }
    whole
}

/// Output without a terminal comes in frames: a stream's number, three zeros, the length.
fn without_frames(mut body: &[u8]) -> String {
    let mut text = Vec::new();
    while let [_, 0, 0, 0, a, b, c, d, rest @ ..] = body {
        let size = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).min(rest.len());
        text.extend_from_slice(&rest[..size]);
        body = &rest[size..];
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_out_of_chunks_and_frames() {
        let (status, body) =
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap();
        assert_eq!((status, body.as_slice()), (200, b"abcde".as_slice()));
        let (status, body) = parse(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((status, body.as_slice()), (404, b"{}".as_slice()));
        assert_eq!(without_frames(b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!"), "hi!");
    }
}
