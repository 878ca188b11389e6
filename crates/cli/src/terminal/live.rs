//! Lines that change in place on a terminal; elsewhere each change is a line of its own.
use super::{say, size, stdout_is_tty};

/// Some named lines, in the order of their first appearance.
pub(crate) struct Live {
    lines: Vec<(String, String)>,
    in_place: bool,
    drawn: usize,
    quiet: bool,
}

impl Live {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { lines: vec![], in_place: stdout_is_tty(), drawn: 0, quiet }
    }

    /// Sets a line; the same text again changes nothing.
    pub(crate) fn set(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        match self.lines.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) if *old == text => return,
            Some((_, old)) => old.clone_from(&text),
            None => self.lines.push((name.to_owned(), text.clone())),
        }
        if self.quiet {
            return;
        }
        if self.in_place {
            self.draw();
        } else {
            say(&format!("{name}: {text}\n"));
        }
    }

    fn draw(&mut self) {
        let (rows, columns) = size().unwrap_or((24, 80));
        let mut out = String::new();
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A", self.drawn));
        }
        let hidden = self.lines.len().saturating_sub(usize::from(rows).saturating_sub(1));
        for (name, text) in self.lines.iter().skip(hidden) {
            let line: String = format!("{name}: {text}").chars().take(usize::from(columns).saturating_sub(1)).collect();
            out.push_str(&format!("\r\x1b[2K{line}\n"));
        }
        self.drawn = self.lines.len() - hidden;
        say(&out);
    }
}
