//! The terminal: raw mode, its size, and output that survives a closed pipe.
mod live;
mod signal;

pub(crate) use live::Live;
pub(crate) use signal::{forward_signals, interrupted, watch_size};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Write, stderr, stdin, stdout};

/// Data for stdout. Whoever reads it may have gone (`| head`): that ends the program without noise.
pub(crate) fn say(text: &str) {
    let mut out = stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// A line for stdout.
pub(crate) fn say_line(text: &str) {
    say(&format!("{text}\n"));
}

/// A line of talk, for stderr.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

pub(crate) fn stdin_is_tty() -> bool {
    stdin().is_terminal()
}

pub(crate) fn stdout_is_tty() -> bool {
    stdout().is_terminal()
}

/// Rows and columns.
pub(crate) fn size() -> Option<(u16, u16)> {
    console::Term::stdout().size_checked().filter(|(rows, columns)| *rows > 0 && *columns > 0)
}

/// Stdin's terminal in raw mode until this is dropped.
pub(crate) struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    pub(crate) fn enter() -> Self {
        let before = tcgetattr(stdin()).ok().filter(|_| stdin_is_tty());
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, &raw);
        }
        Self { before }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Asks for a line.
pub(crate) fn ask(question: &str) -> std::io::Result<String> {
    eprint!("{question}");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks for a line that nobody sees.
pub(crate) fn ask_hidden(question: &str) -> std::io::Result<String> {
    let before = tcgetattr(stdin()).ok();
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_flags.remove(nix::sys::termios::LocalFlags::ECHO);
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &silent);
    }
    let answer = ask(question);
    if let Some(before) = &before {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
        eprintln!();
    }
    answer
}

/// Asks a yes/no question; anything but `y` is no.
pub(crate) fn confirm(question: &str) -> bool {
    eprint!("{question}\nAre you sure you want to continue? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
