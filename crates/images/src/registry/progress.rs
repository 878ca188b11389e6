//! Docker's progress lines.
use crate::{
    error::ImageError,
    types::{Progress, ProgressDetail, ProgressSink},
};
use std::time::{Duration, Instant};

const BAR_WIDTH: u64 = 50;
const UPDATE_EVERY: Duration = Duration::from_millis(100);

/// Tells the caller how far things are; a caller that is gone is an error, which ends the work.
#[derive(Clone)]
pub(crate) struct Teller(pub ProgressSink);

impl Teller {
    pub(crate) async fn say(&self, status: impl Into<String>) -> Result<(), ImageError> {
        self.send(Progress { status: status.into(), ..Progress::default() }).await
    }
    pub(crate) async fn about(&self, id: &str, status: &str) -> Result<(), ImageError> {
        self.send(Progress {
            status: status.into(),
            id: id.into(),
            detail: Some(ProgressDetail::default()),
            ..Progress::default()
        })
        .await
    }
    pub(crate) async fn send(&self, progress: Progress) -> Result<(), ImageError> {
        self.0.send(progress).await.map_err(|_| ImageError::Cancelled)
    }
}

/// One moving bar; speaks at most ten times a second.
pub(crate) struct Bar {
    teller: Teller,
    id: String,
    status: &'static str,
    total: u64,
    current: u64,
    spoke: Option<Instant>,
}

impl Bar {
    pub(crate) fn new(teller: &Teller, id: &str, status: &'static str, total: u64) -> Self {
        Self { teller: teller.clone(), id: id.to_owned(), status, total, current: 0, spoke: None }
    }
    pub(crate) async fn advance(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.current += bytes;
        if self.spoke.is_some_and(|t| t.elapsed() < UPDATE_EVERY) && self.current < self.total {
            return Ok(());
        }
        self.spoke = Some(Instant::now());
        let detail =
            Some(ProgressDetail { current: Some(self.current), total: (self.total > 0).then_some(self.total) });
        let progress = bar(self.current, self.total);
        self.teller
            .send(Progress { status: self.status.into(), id: self.id.clone(), detail, progress, aux: None })
            .await
    }
}

/// `[=====>      ]  1.2MB/4MB`.
fn bar(current: u64, total: u64) -> String {
    if total == 0 || current > total {
        return format!("{:>8}", human(current));
    }
    let done = (current * BAR_WIDTH / total) as usize;
    let width = BAR_WIDTH as usize;
    let picture =
        if done >= width { "=".repeat(width) + ">" } else { "=".repeat(done) + ">" + &" ".repeat(width - done) };
    format!("[{picture}] {:>8}/{}", human(current), human(total))
}

/// Four significant digits and decimal units, as Go's units package writes them.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let places = if value >= 1000.0 || unit == 0 {
        0
    } else if value >= 100.0 {
        1
    } else if value >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_look_like_dockers() {
        let table = [(0, "0B"), (999, "999B"), (1234, "1.234kB"), (10_500, "10.5kB"), (123_456_789, "123.5MB")];
        for (bytes, text) in table {
            assert_eq!(human(bytes), text);
        }
        assert_eq!(bar(50, 100), format!("[{}>{}]      50B/100B", "=".repeat(25), " ".repeat(25)));
        assert_eq!(bar(100, 100), format!("[{}>]     100B/100B", "=".repeat(50)));
    }
}
