//! What can go wrong between the user and the engine.
use http::StatusCode;
use wire::engine::ErrorBody;

/// The engine said no.
#[derive(Debug, thiserror::Error)]
#[error("Error response from daemon: {message}")]
pub(crate) struct DaemonError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

/// There is nobody at the socket.
#[derive(Debug, thiserror::Error)]
#[error("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")]
pub(crate) struct NotReachable {
    pub(crate) host: String,
    #[source]
    pub(crate) source: std::io::Error,
}

/// Ends the program with this code; what there was to say has been said.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
pub(crate) struct Exit(pub(crate) u8);

/// Whether the engine said no with this status.
pub(crate) fn is_status(error: &anyhow::Error, status: u16) -> bool {
    error.downcast_ref::<DaemonError>().is_some_and(|e| e.status.as_u16() == status)
}

/// Whether there was nobody to say no.
pub(crate) fn is_unreachable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<NotReachable>().is_some()
}

pub(super) fn error_of(status: StatusCode, body: &[u8]) -> DaemonError {
    let message =
        serde_json::from_slice::<ErrorBody>(body).ok().map(|e| e.message).filter(|m| !m.is_empty()).unwrap_or_else(
            || {
                let text = String::from_utf8_lossy(body).trim().to_owned();
                if text.is_empty() { status.canonical_reason().unwrap_or("no reason given").to_owned() } else { text }
            },
        );
    DaemonError { status, message: message.trim_end().to_owned() }
}
