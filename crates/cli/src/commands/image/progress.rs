//! Progress streams: pull, push, load, import.
use crate::render::human::size;
use crate::terminal::{Live, say, say_line, stdout_is_tty, tell};
use futures::{Stream, StreamExt};
use wire::engine::progress::Progress;

/// Where progress is shown.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum To {
    Stdout,
    Stderr,
    Nowhere,
}

/// Shows a stream until its end; an error in it is an error here. Gives the last status back.
pub(crate) async fn show(
    mut lines: impl Stream<Item = anyhow::Result<Progress>> + Unpin,
    to: To,
) -> anyhow::Result<String> {
    let in_place = to == To::Stdout && stdout_is_tty();
    let mut live = Live::new(false);
    let mut last = String::new();
    while let Some(line) = lines.next().await {
        let line = line?;
        if !line.error.is_empty() || line.error_detail.is_some() {
            anyhow::bail!("{}", line.error_detail.map(|e| e.message).filter(|m| !m.is_empty()).unwrap_or(line.error));
        }
        if !line.status.is_empty() {
            last.clone_from(&line.status);
        }
        if to == To::Nowhere {
            continue;
        }
        if !line.stream.is_empty() {
            if to == To::Stdout {
                say(&line.stream)
            } else {
                tell(line.stream.trim_end())
            }
            continue;
        }
        let detail = line.progress_detail.filter(|d| d.current > 0);
        match (line.id.as_str(), detail) {
            ("", _) if line.status.is_empty() => {}
            ("", _) if to == To::Stdout => say_line(&line.status),
            ("", _) => tell(&line.status),
            (id, Some(detail)) if in_place => {
                let total = if detail.total > 0 { format!("/{}", size(detail.total)) } else { String::new() };
                live.set(id, format!("{} {}{total}", line.status, size(detail.current)));
            }
            // Numbers are for people who look.
            (_, Some(_)) => {}
            (id, None) if in_place => live.set(id, line.status),
            (id, None) if to == To::Stdout => say_line(&format!("{id}: {}", line.status)),
            (id, None) => tell(&format!("{id}: {}", line.status)),
        }
    }
    Ok(last)
}
