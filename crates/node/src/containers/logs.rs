//! What containers wrote.
use super::Containers;
use runtime::logs::{LogLine, LogQuery};
use tokio::sync::mpsc;
use wire::Refusal;

/// dockerd's start takes so long that a short command has spoken when it returns, and clients read the log at once.
const FIRST_WORDS: std::time::Duration = std::time::Duration::from_millis(100);

/// A log that is read.
pub struct Lines {
    /// A terminal.
    pub tty: bool,
    /// The lines.
    pub lines: mpsc::Receiver<std::io::Result<LogLine>>,
}

impl Containers {
    /// Gives a container that has only just been started a moment to end or to speak, before its log is read.
    pub async fn first_words(&self, id: &str) {
        let Ok(c) = self.find(id) else { return };
        let started = c.record.read().state.started_at;
        let age = std::time::Duration::from_nanos(u64::try_from(super::now().0 - started.0).unwrap_or(u64::MAX));
        let Some(left) = FIRST_WORDS.checked_sub(age) else { return };
        let mut status = c.status.subscribe();
        let _ = tokio::time::timeout(left, status.wait_for(|s| s.is_none_or(|(s, _)| !s.is_up()))).await;
    }

    /// The log of a container, restricted to what is asked for.
    ///
    /// # Errors
    /// 404; 501 when nothing is kept.
    pub fn logs(&self, id: &str, query: LogQuery) -> Result<Lines, Refusal> {
        let c = self.find(id)?;
        let (config, tty, runs) = {
            let r = c.record.read();
            let runs = r.state.status.is_up() || r.state.status == super::Status::Restarting;
            (self.log_config(&r), r.config.tty, runs)
        };
        if config.driver == runtime::LogDriver::None {
            return Err(Refusal::unimplemented("configured logging driver does not support reading"));
        }
        let mut status = c.status.subscribe();
        let query = LogQuery { follow: query.follow && runs, ..query };
        let ended = async move {
            use super::Status;
            let _ = status.wait_for(|s| s.is_none_or(|(s, _)| !s.is_up() && s != Status::Restarting)).await;
        };
        Ok(Lines { tty, lines: runtime::logs::read(&config, query, ended) })
    }
}
