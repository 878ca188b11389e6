//! `docker search`: the old index protocol, which Docker Hub and few others answer.
use super::settings::RegistrySettings;
use crate::download;
use crate::error::ImageError;
use oci_client::client::ClientProtocol;
use serde::Deserialize;
use tokio::io::AsyncReadExt;

const HUB: &str = "index.docker.io";
/// What a hundred findings take, and room for long descriptions.
const ANSWER_MAX_BYTES: u64 = 4 << 20;

/// One image that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Without the registry.
    pub name: String,
    /// One line.
    pub description: String,
    /// How many like it.
    pub star_count: i64,
    /// Docker's own.
    pub is_official: bool,
    /// Built by the registry.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Found>,
}

/// Asks the index that the term names (`host/word`), or Docker Hub.
pub(crate) async fn search(settings: &RegistrySettings, term: &str, limit: u32) -> Result<Vec<Found>, ImageError> {
    if term.contains("://") {
        let text = format!("invalid repository name: repository name ({term}) should not have a scheme");
        return Err(ImageError::InvalidArgument(text));
    }
    let (host, word) = match term.split_once('/') {
        Some((host, word)) if host.contains(['.', ':']) || host == "localhost" => (host, word),
        _ => (HUB, term),
    };
    let clear =
        host != HUB && settings.endpoints(host).await.iter().any(|e| matches!(e.protocol, ClientProtocol::Http));
    let scheme = if clear { "http" } else { "https" };
    let url = format!("{scheme}://{host}/v1/search?q={}&n={limit}", encoded(word));
    let mut body = Vec::new();
    let answer = download::get(&url).await?;
    answer
        .body
        .take(ANSWER_MAX_BYTES)
        .read_to_end(&mut body)
        .await
        .map_err(|e| ImageError::Registry(format!("Get {url:?}: {e}")))?;
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|e| ImageError::malformed("answer of the index", e.to_string()))?;
    Ok(answer.results)
}

fn encoded(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    word.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_cannot_leave_its_place_in_the_question() {
        assert_eq!(encoded("library/x y&n=1"), "library%2Fx%20y%26n%3D1");
    }
}
