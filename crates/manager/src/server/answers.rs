//! Answers of single calls: JSON, a refusal, or a stream.
use cluster::channel::{self, Body};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Serialize, de::DeserializeOwned};
use wire::Refusal;

/// 200 with JSON.
pub fn json<T: Serialize>(value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => typed(StatusCode::OK, "application/json", text),
        Err(e) => refused(&Refusal::internal(format!("the answer cannot be written: {e}"))),
    }
}

/// 200 with bytes.
pub fn bytes(body: Vec<u8>) -> Response<Body> {
    typed(StatusCode::OK, "application/octet-stream", body)
}

/// The refusal as JSON, with its status.
pub fn refused(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    typed(status, "application/json", serde_json::to_vec(refusal).unwrap_or_default())
}

/// 200 whose body is written while it is sent.
pub fn stream(body: Body) -> Response<Body> {
    Response::new(body)
}

fn typed(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(channel::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The body, if it is not longer than `max`.
pub async fn read(request: Request<Incoming>, max: usize) -> Result<Vec<u8>, Refusal> {
    let body = Limited::new(request.into_body(), max).collect().await;
    Ok(body.map_err(|e| Refusal::invalid(format!("the request cannot be read: {e}")))?.to_bytes().to_vec())
}

/// The JSON body, if it is not longer than `max`.
pub async fn read_json<T: DeserializeOwned>(request: Request<Incoming>, max: usize) -> Result<T, Refusal> {
    let body = read(request, max).await?;
    serde_json::from_slice(&body).map_err(|e| Refusal::invalid(format!("the request cannot be understood: {e}")))
}
