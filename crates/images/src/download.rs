//! Plain downloads: what `ADD` and builds from a URL fetch.
use crate::error::ImageError;
use futures::TryStreamExt;
use std::{error::Error, io, time::Duration};
use tokio::io::AsyncRead;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A file that is being fetched.
pub struct Download {
    /// Its name, from the URL or from what the server says; empty if nobody says.
    pub name: String,
    /// Bytes, if the server says.
    pub size: Option<u64>,
    /// When it was last changed, seconds since the epoch; 0 if nobody says.
    pub mtime_unix_seconds: i64,
    /// Its content.
    pub body: Box<dyn AsyncRead + Send + Unpin>,
}

/// Asks for a URL (`http` or `https`).
///
/// # Errors
/// When nobody answers, or the answer is not a good one.
pub async fn get(url: &str) -> Result<Download, ImageError> {
    let failed = |e: reqwest::Error| ImageError::Registry(format!("Get {url:?}: {}", innermost(&e)));
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("shoal/", env!("CARGO_PKG_VERSION")));
    let answer = client.build().map_err(failed)?.get(url).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(ImageError::Registry(format!("failed to GET {url} with status {}", answer.status())));
    }
    let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mtime = jiff::fmt::rfc2822::parse(&header("last-modified")).map_or(0, |t| t.timestamp().as_second());
    let name = name_of(url, &header("content-disposition"));
    let size = answer.content_length();
    let body = answer.bytes_stream().map_err(io::Error::other);
    let body = tokio_util::io::StreamReader::new(Box::pin(body));
    Ok(Download { name, size, mtime_unix_seconds: mtime, body: Box::new(body) })
}

fn name_of(url: &str, disposition: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let from_url = path.split_once('/').map_or("", |(_, path)| path.rsplit('/').next().unwrap_or_default());
    let told = || {
        let value = disposition.split(';').find_map(|part| part.trim().strip_prefix("filename="))?;
        value.trim_matches('"').rsplit('/').next().map(str::to_owned)
    };
    let name = if from_url.is_empty() { told().unwrap_or_default() } else { from_url.to_owned() };
    if matches!(name.as_str(), "." | "..") { String::new() } else { name }
}

pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn the_url_names_the_file_or_the_server_does() {
        assert_eq!(name_of("http://host/a/b.tar.gz?x=1#y", ""), "b.tar.gz");
        assert_eq!(name_of("http://host/", "attachment; filename=\"c.txt\""), "c.txt");
        assert_eq!(name_of("http://host", "attachment; filename=../../d"), "d");
        assert_eq!(name_of("http://host/..", ""), "");
        assert_eq!(name_of("http://host/", ""), "");
    }
}
