//! What the client is told, in Docker's words.
use super::short;
use tokio::sync::mpsc;
use wire::engine::progress::Progress;

/// The lines of one build. A quiet one keeps them until something fails.
pub(crate) struct Output {
    lines: mpsc::Sender<Progress>,
    held: Option<Vec<Progress>>,
}

/// So much is held back at most.
const HELD_MAX: usize = 10_000;

impl Output {
    pub(crate) fn new(lines: mpsc::Sender<Progress>, quiet: bool) -> Self {
        Self { lines, held: quiet.then(Vec::new) }
    }

    pub(crate) async fn line(&mut self, line: Progress) {
        match &mut self.held {
            Some(held) if held.len() < HELD_MAX => held.push(line),
            Some(_) => {}
            // A client that is gone is seen by whoever runs the build.
            None => drop(self.lines.send(line).await),
        }
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.line(Progress::text(text)).await;
    }

    /// In red.
    pub(crate) async fn error_text(&mut self, text: &str) {
        self.line(Progress::text(format!("\u{1b}[91m{text}\u{1b}[0m"))).await;
    }

    pub(crate) async fn step(&mut self, number: usize, total: usize, text: &str) {
        self.text(&format!("Step {number}/{total} : {text}")).await;
        self.text("\n").await;
    }

    pub(crate) async fn image(&mut self, id: Option<&str>) {
        self.text(&format!(" ---> {}\n", short(id.unwrap_or_default()))).await;
    }

    pub(crate) async fn aux(&mut self, id: &str) {
        self.line(Progress { aux: Some(serde_json::json!({ "ID": id })), ..Progress::default() }).await;
    }

    /// What was held back.
    pub(crate) async fn flush(&mut self) {
        for line in self.held.take().unwrap_or_default() {
            let _ = self.lines.send(line).await;
        }
    }

    /// The end of a good build.
    pub(crate) async fn finish(&mut self, id: &str) {
        if self.held.take().is_some() {
            let _ = self.lines.send(Progress::text(format!("{id}\n"))).await;
        }
    }
}
