//! Signals: forwarded to a container, or the terminal's new size.
use crate::client::Client;
use tokio::signal::unix::{SignalKind, signal};

/// Sends what hits us on to the container, until the task is dropped.
pub(crate) async fn forward_signals(client: Client, container: String) {
    let kinds = [
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::quit(), "SIGQUIT"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
    ];
    let watchers = kinds.into_iter().filter_map(|(kind, name)| {
        let mut arrivals = signal(kind).ok()?;
        let (client, container) = (client.clone(), container.clone());
        Some(async move {
            while arrivals.recv().await.is_some() {
                let _ = client.post(format!("/containers/{container}/kill")).query("signal", name).done().await;
            }
        })
    });
    futures::future::join_all(watchers).await;
}

/// Resolves at Ctrl-C.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Tells the engine the terminal's size, now and whenever it changes. `path`: `/containers/x/resize`.
pub(crate) async fn watch_size(client: Client, path: String) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((rows, columns)) = super::size() {
            let _ = client.post(path.clone()).query("h", rows).query("w", columns).done().await;
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}
