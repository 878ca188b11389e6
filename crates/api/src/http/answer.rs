//! Answers as Docker words them.
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use wire::Refusal;
use wire::engine::ErrorBody;

/// A refusal on its way out.
#[derive(Debug)]
pub struct Failure(pub Refusal);

/// What handlers return.
pub type Reply = Result<Response, Failure>;

impl From<Refusal> for Failure {
    fn from(r: Refusal) -> Self {
        Self(r)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status == StatusCode::NOT_MODIFIED {
            return empty(status);
        }
        body_of(status, &ErrorBody { message: self.0.message })
    }
}

fn body_of<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let (status, mut bytes) = match serde_json::to_vec(value) {
        Ok(b) => (status, b),
        Err(e) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            serde_json::json!({ "message": format!("the answer cannot be written: {e}") }).to_string().into_bytes(),
        ),
    };
    bytes.push(b'\n');
    let mut r = Response::new(Body::from(bytes));
    *r.status_mut() = status;
    set_type(&mut r, "application/json");
    r
}

/// Sets the content type.
pub fn set_type(r: &mut Response, content_type: &'static str) {
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
}

fn empty(status: StatusCode) -> Response {
    let mut r = Response::new(Body::empty());
    *r.status_mut() = status;
    r
}

/// 200 with JSON.
///
/// # Errors
/// Never; it fits a handler's end.
pub fn json<T: Serialize>(value: &T) -> Reply {
    Ok(body_of(StatusCode::OK, value))
}

/// 201 with JSON.
///
/// # Errors
/// Never.
pub fn created<T: Serialize>(value: &T) -> Reply {
    Ok(body_of(StatusCode::CREATED, value))
}

/// 201 without body.
///
/// # Errors
/// Never.
pub fn created_empty() -> Reply {
    Ok(empty(StatusCode::CREATED))
}

/// 204.
///
/// # Errors
/// Never.
pub fn no_content() -> Reply {
    Ok(empty(StatusCode::NO_CONTENT))
}

/// 200 without body.
///
/// # Errors
/// Never.
pub fn ok() -> Reply {
    Ok(empty(StatusCode::OK))
}

/// 200 with bytes as they come. A refusal in the middle breaks the connection off, so that the client notices.
///
/// # Errors
/// Never.
pub fn bytes<S>(stream: S, content_type: &'static str) -> Reply
where
    S: Stream<Item = Result<Bytes, Refusal>> + Send + 'static,
{
    let mut r = Response::new(Body::from_stream(stream));
    set_type(&mut r, content_type);
    Ok(r)
}

/// 200 with one JSON document per line, each sent as it comes.
///
/// # Errors
/// Never.
pub fn lines<S, T>(stream: S) -> Reply
where
    S: Stream<Item = T> + Send + 'static,
    T: Serialize,
{
    let stream = stream.map(|v| {
        let mut line = serde_json::to_vec(&v).map_err(std::io::Error::other)?;
        line.extend_from_slice(b"\r\n");
        Ok::<_, std::io::Error>(Bytes::from(line))
    });
    let mut r = Response::new(Body::from_stream(stream));
    set_type(&mut r, "application/json");
    Ok(r)
}
