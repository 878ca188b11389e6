//! The version in the path.
use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, Uri};
use std::convert::Infallible;
use wire::Refusal;

/// Announced in `Api-Version`. Newer ones are accepted too.
pub const CURRENT: &str = "1.51";
/// Announced in `MinAPIVersion`.
pub const OLDEST: &str = "1.24";

/// The minor number of the version that the client speaks (`1.43` → 43).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u32);

impl Default for ApiVersion {
    fn default() -> Self {
        Self(51)
    }
}

impl<S: Sync> FromRequestParts<S> for ApiVersion {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let said: Self = parts.extensions.get().copied().unwrap_or_default();
        Ok(if is_compose_1(&parts.headers) { said.min(KNOWN_TO_COMPOSE_1) } else { said })
    }
}

/// docker-compose 1 says whatever version is offered to it, and cannot do without what newer ones have left out: an image's
/// `ContainerConfig`, a container's short id among its aliases.
const KNOWN_TO_COMPOSE_1: ApiVersion = ApiVersion(44);

fn is_compose_1(head: &HeaderMap) -> bool {
    let client = head.get(USER_AGENT).and_then(|v| v.to_str().ok());
    client.is_some_and(|client| client.starts_with("docker-compose/1."))
}

/// Takes `/v1.NN` off a path. A path without version stays as it is.
///
/// # Errors
/// 400 for a version that is too old.
pub fn strip(uri: &Uri) -> Result<(Uri, ApiVersion), Refusal> {
    let unchanged = || (uri.clone(), ApiVersion::default());
    let Some(rest) = uri.path().strip_prefix("/v") else { return Ok(unchanged()) };
    let (number, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Some((Ok(major), Ok(minor))) = number.split_once('.').map(|(a, b)| (a.parse::<u32>(), b.parse::<u32>())) else {
        return Ok(unchanged());
    };
    if (major, minor) < (1, 24) {
        return Err(Refusal::invalid(format!(
            "client version {number} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
        )));
    }
    let path = if path.is_empty() { "/" } else { path };
    let target = match uri.query() {
        Some(q) => format!("{path}?{q}"),
        None => path.to_owned(),
    };
    let uri = target.parse().map_err(|_| Refusal::invalid("the request's path is malformed"))?;
    let version = if major > 1 { ApiVersion(u32::MAX) } else { ApiVersion(minor) };
    Ok((uri, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(s: &str) -> (String, u32) {
        let (uri, v) = strip(&s.parse().unwrap()).unwrap();
        (uri.to_string(), v.0)
    }

    #[test]
    fn the_version_goes_and_the_rest_stays() {
        assert_eq!(stripped("/v1.43/info"), ("/info".into(), 43));
        assert_eq!(stripped("/v1.53/containers/json?all=1"), ("/containers/json?all=1".into(), 53));
        assert_eq!(stripped("/volumes"), ("/volumes".into(), 51));
        assert_eq!(stripped("/version"), ("/version".into(), 51));
        assert!(strip(&"/v1.12/info".parse().unwrap()).is_err());
    }
}
