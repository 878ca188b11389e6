//! Signals as readable events, and their names.
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;

/// Blocks the signals and returns a descriptor that becomes readable when one arrives.
pub fn events(signals: &[Signal]) -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in signals {
        set.add(*signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// The number of a signal: `9`, `KILL`, `SIGKILL`, `rtmin+3`, in any case.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = name.to_ascii_uppercase();
    let short = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.get(1..)?.parse::<i32>().ok() };
    if let Some(rest) = short.strip_prefix("RTMIN") {
        return Some(34 + offset(rest)?).filter(|n| (34..=64).contains(n));
    }
    if let Some(rest) = short.strip_prefix("RTMAX") {
        return Some(64 - offset(rest)?).filter(|n| (34..=64).contains(n));
    }
    match short {
        "CLD" => Some(libc::SIGCHLD),
        "POLL" => Some(libc::SIGIO),
        _ => format!("SIG{short}").parse::<Signal>().ok().map(|signal| signal as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, want) in [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("sigterm", Some(15)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("0", None),
            ("65", None),
            ("SIGNOPE", None),
        ] {
            assert_eq!(number(name), want, "{name}");
        }
    }
}
