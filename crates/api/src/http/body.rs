//! Reading request bodies.
use super::json_error;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use wire::Refusal;
use wire::engine::lenient;

/// No JSON body may be longer. (A config may have 1000 KiB, in base64.)
pub const JSON_BYTES_MAX: usize = 16 << 20;

const JSON: &str = "application/json";

/// The whole body.
///
/// # Errors
/// 400 when it is too long or breaks off.
pub async fn whole(body: Body) -> Result<Bytes, Refusal> {
    match Limited::new(body, JSON_BYTES_MAX).collect().await {
        Ok(b) => Ok(b.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => {
            Err(Refusal::invalid(format!("the request body is longer than {JSON_BYTES_MAX} bytes")))
        }
        Err(e) => Err(Refusal::invalid(format!("error reading request body: {e}"))),
    }
}

/// The whole body, which its head calls JSON, if it says something of it.
///
/// # Errors
/// 400.
pub async fn json_text(request: Request) -> Result<Bytes, Refusal> {
    check_json_type(request.headers())?;
    whole(request.into_body()).await
}

/// Refuses a body that its head calls something else than JSON. A body that is called nothing passes.
///
/// # Errors
/// 400.
pub fn check_json_type(head: &HeaderMap) -> Result<(), Refusal> {
    let given = head.get(CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let kind = given.as_deref().map(|v| v.split(';').next().unwrap_or_default().trim());
    if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case(JSON)) {
        let given = given.unwrap_or_default();
        return Err(Refusal::invalid(format!("unsupported Content-Type header ({given}): must be '{JSON}'")));
    }
    Ok(())
}

/// The body as JSON; it must be there.
///
/// # Errors
/// 400.
pub async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    parse(&json_text(request).await?)
}

/// The body as JSON, or the default when it is empty.
///
/// # Errors
/// 400.
pub async fn json_or_default<T: DeserializeOwned + Default>(request: Request) -> Result<T, Refusal> {
    let bytes = json_text(request).await?;
    if bytes.trim_ascii().is_empty() { Ok(T::default()) } else { parse(&bytes) }
}

/// One JSON document at the start of a body, and what follows it: the way `exec/start` travels in a tunnel, where the
/// body goes on as the process's stdin.
///
/// # Errors
/// 400.
pub async fn json_then_rest<T: DeserializeOwned + Default>(body: Body) -> Result<(T, Option<Body>), Refusal> {
    let mut stream = body.into_data_stream();
    let mut seen: Vec<u8> = Vec::new();
    loop {
        let mut documents = serde_json::Deserializer::from_slice(&seen).into_iter::<serde_json::Value>();
        match documents.next() {
            Some(Ok(value)) => {
                let rest = Bytes::copy_from_slice(&seen[documents.byte_offset()..]);
                let rest = futures::stream::once(async { Ok::<_, axum::Error>(rest) }).chain(stream);
                let value = lenient::from_value(value).map_err(|e| Refusal::invalid(format!("invalid JSON: {e}")))?;
                return Ok((value, Some(Body::from_stream(rest))));
            }
            Some(Err(e)) if !e.is_eof() => return Err(json_error::refusal(&seen, &e)),
            _ => {}
        }
        match stream.next().await {
            Some(Ok(chunk)) if seen.len() + chunk.len() <= JSON_BYTES_MAX => seen.extend_from_slice(&chunk),
            Some(Ok(_)) => return Err(Refusal::invalid("the request body is too long")),
            Some(Err(e)) => return Err(Refusal::invalid(format!("error reading request body: {e}"))),
            None if seen.trim_ascii().is_empty() => return Ok((T::default(), None)),
            None => return Err(Refusal::invalid("invalid JSON: unexpected end of JSON input")),
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if bytes.trim_ascii().is_empty() {
        return Err(Refusal::invalid("invalid JSON: got EOF while reading request body"));
    }
    lenient::from_slice(bytes).map_err(|e| json_error::refusal(bytes, &e))
}

/// The body as it comes in.
pub fn stream(body: Body) -> crate::backend::BodyStream {
    TryStreamExt::map_err(body.into_data_stream(), std::io::Error::other).boxed()
}

/// What is left of a body that was refused early is read to here, so that the client gets to its answer.
const DRAIN_BYTES_MAX: usize = 16 << 20;
/// And for so long.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// A body that is read to its end also when nobody wants it: a client in the middle of sending would otherwise see a broken
/// pipe instead of the refusal. Within limits: a body without end is cut off.
pub struct Drained(Option<Incoming>);

impl Drained {
    /// Takes over a body.
    pub fn new(body: Incoming) -> Self {
        Self(Some(body).filter(|b| !b.is_end_stream()))
    }
}

impl hyper::body::Body for Drained {
    type Data = Bytes;
    type Error = hyper::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }
    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }
    fn size_hint(&self) -> hyper::body::SizeHint {
        self.0.as_ref().map_or_else(|| hyper::body::SizeHint::with_exact(0), hyper::body::Body::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|b| !hyper::body::Body::is_end_stream(b)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let mut body = Limited::new(body, DRAIN_BYTES_MAX);
                let rest = async { while let Some(Ok(_)) = body.frame().await {} };
                let _ = tokio::time::timeout(DRAIN_WITHIN, rest).await;
            });
        }
    }
}
