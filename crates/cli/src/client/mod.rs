//! The engine's API over a unix socket or TCP: one connection per call, which makes hijacking and streaming simple and
//! costs microseconds.
mod connect;
mod error;
mod hijack;
mod tls;

pub(crate) use connect::{Host, Target};
pub(crate) use error::{DaemonError, Exit, is_status, is_unreachable};
pub(crate) use hijack::{Hijacked, demultiplex, demultiplex_body};
pub(crate) use tls::{Pems, Tls, TlsWish};

use bytes::Bytes;
use error::error_of;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderName, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::io;
use wire::engine::{Filters, lenient};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Where the engine is.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    target: Target,
    /// Every request is told.
    debug: bool,
}

impl Client {
    pub(crate) fn new(target: Target, debug: bool) -> Self {
        Self { target, debug }
    }
    pub(crate) fn get(&self, path: impl Into<String>) -> Call<'_> {
        Call::new(self, Method::GET, path.into())
    }
    pub(crate) fn post(&self, path: impl Into<String>) -> Call<'_> {
        Call::new(self, Method::POST, path.into())
    }
    pub(crate) fn put(&self, path: impl Into<String>) -> Call<'_> {
        Call::new(self, Method::PUT, path.into())
    }
    pub(crate) fn head(&self, path: impl Into<String>) -> Call<'_> {
        Call::new(self, Method::HEAD, path.into())
    }
    pub(crate) fn delete(&self, path: impl Into<String>) -> Call<'_> {
        Call::new(self, Method::DELETE, path.into())
    }
}

/// One request in the making.
pub(crate) struct Call<'c> {
    client: &'c Client,
    method: Method,
    path: String,
    query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Body,
}

impl<'c> Call<'c> {
    fn new(client: &'c Client, method: Method, path: String) -> Self {
        let body = Empty::new().map_err(|e| match e {}).boxed_unsync();
        Self { client, method, path, query: String::new(), headers: vec![], body }
    }

    /// Adds a query value.
    pub(crate) fn query(mut self, key: &str, value: impl Display) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(key);
        self.query.push('=');
        self.query.push_str(&escape(&value.to_string(), b"-_.~"));
        self
    }
    /// Adds `key=1` if `on`.
    pub(crate) fn flag(self, key: &str, on: bool) -> Self {
        if on { self.query(key, 1) } else { self }
    }
    /// Adds a query value unless it is empty.
    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.query(key, value) }
    }
    /// Adds filters unless there are none.
    pub(crate) fn filters(self, filters: &Filters) -> Self {
        if filters.is_empty() { self } else { self.query("filters", filters.to_json()) }
    }
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
    /// A JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> anyhow::Result<Self> {
        self.body = Full::new(serde_json::to_vec(body)?.into()).map_err(|e| match e {}).boxed_unsync();
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        Ok(self)
    }
    /// A tar archive as body, in pieces.
    pub(crate) fn tar(mut self, pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        self.body = BodyExt::boxed_unsync(StreamBody::new(pieces.map(|p| p.map(Frame::data))));
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/x-tar")));
        self
    }

    /// Sends; an answer other than 2xx, 101 or 304 is an error.
    pub(crate) async fn send(self) -> anyhow::Result<Response<Incoming>> {
        let stream = self.client.target.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let begun = std::time::Instant::now();
        let uri = format!("{}{}", escape(&self.path, b"-_.~/:@"), self.query);
        let shown = format!("{} {uri}", self.method);
        let mut request = Request::builder().method(self.method).uri(uri).header("Host", "docker");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request =
            request.header("User-Agent", concat!("Shoal-Client/", env!("CARGO_PKG_VERSION"))).body(self.body)?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        if self.client.debug {
            let ms = begun.elapsed().as_millis();
            crate::terminal::tell(&format!(
                "DEBUG {shown} on {} -> {} in {ms} ms",
                self.client.target,
                status.as_u16()
            ));
        }
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        Err(error_of(status, &response.into_body().collect().await?.to_bytes()).into())
    }

    /// Sends, and waits until the answer's body has ended.
    pub(crate) async fn done(self) -> anyhow::Result<()> {
        self.send().await?.into_body().collect().await?;
        Ok(())
    }
    /// Sends, and gives the whole body.
    pub(crate) async fn bytes(self) -> anyhow::Result<Bytes> {
        Ok(self.send().await?.into_body().collect().await?.to_bytes())
    }
    /// Sends, and reads the body as JSON.
    pub(crate) async fn read<T: DeserializeOwned>(self) -> anyhow::Result<T> {
        let path = self.path.clone();
        let bytes = self.bytes().await?;
        lenient::from_slice(&bytes).map_err(|e| anyhow::anyhow!("{path}: the daemon's answer is not understood: {e}"))
    }
    /// Sends, and gives the body piece by piece.
    pub(crate) async fn stream(self) -> anyhow::Result<impl Stream<Item = io::Result<Bytes>> + Unpin + Send> {
        Ok(self.send().await?.into_body().into_data_stream().map(|piece| piece.map_err(io::Error::other)))
    }
    /// Sends, and gives JSON values one by one as they come.
    pub(crate) async fn values<T: DeserializeOwned + Send + 'static>(
        self,
    ) -> anyhow::Result<impl Stream<Item = anyhow::Result<T>> + Unpin + Send> {
        use tokio::io::AsyncBufReadExt;
        let reader = tokio_util::io::StreamReader::new(self.stream().await?);
        let lines = tokio_stream_lines(reader.lines());
        Ok(lines.boxed().filter_map(|line| {
            std::future::ready(match line {
                Ok(text) if text.trim().is_empty() => None,
                Ok(text) => Some(lenient::from_slice(text.as_bytes()).map_err(Into::into)),
                Err(e) => Some(Err(e.into())),
            })
        }))
    }
    /// Sends, and takes the connection over.
    pub(crate) async fn hijack(mut self) -> anyhow::Result<Hijacked> {
        self.headers.push((UPGRADE, HeaderValue::from_static("tcp")));
        self.headers.push((http::header::CONNECTION, HeaderValue::from_static("Upgrade")));
        Hijacked::new(self.send().await?).await
    }
}

fn tokio_stream_lines<R: tokio::io::AsyncBufRead + Unpin + Send>(
    lines: tokio::io::Lines<R>,
) -> impl Stream<Item = io::Result<String>> + Send {
    futures::stream::unfold(lines, |mut lines| async { lines.next_line().await.transpose().map(|line| (line, lines)) })
}

fn escape(text: &str, also: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || also.contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}
