//! The watchdog: a deadline that a living daemon pushes on. The shim of a container that has one kills it when the deadline
//! has passed, whatever has become of the daemon (killed, stopped, stuck).
//!
//! ```text
//!  daemon, as long as it may ──feed──► file ◄──looks when the deadline that it last read comes── shims
//! ```
//! One file serves any number of containers. It holds a number of nanoseconds of the monotonic clock, which all processes
//! of a machine share and nobody sets, or `never`.
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A shim that wakes so late was stopped itself (or its machine was): the daemon may be about to feed.
const STALL: Duration = Duration::from_secs(1);
/// How often to look where there is no deadline, or no file.
const AGAIN: Duration = Duration::from_secs(1);
const NEVER: &str = "never";
/// Of the text, so that one can be written over another.
const LENGTH: usize = 20;

/// A deadline in a file. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchdog(PathBuf);

impl Watchdog {
    /// The watchdog of this file, which need not be there yet.
    pub fn at(file: PathBuf) -> Self {
        Self(file)
    }

    /// Its file.
    pub fn file(&self) -> &Path {
        &self.0
    }

    /// The deadline is `rest` from now; `None`: there is none.
    ///
    /// # Errors
    /// The file cannot be written; what it said before stays.
    pub fn feed(&self, rest: Option<Duration>) -> io::Result<()> {
        let text = match rest {
            Some(rest) => (monotonic() + rest).as_nanos().to_string(),
            None => NEVER.to_owned(),
        };
        let text = format!("{text:<LENGTH$}");
        // On a full disk what is there can still be written over: that must end no task.
        crate::shim::write_whole(&self.0, text.as_bytes()).or_else(|full| {
            let file = std::fs::OpenOptions::new().write(true).open(&self.0).map_err(|_| full)?;
            file.write_all_at(text.as_bytes(), 0)
        })
    }

    /// How long there still is; `None` without a deadline.
    fn rest(&self) -> io::Result<Option<Duration>> {
        let text = std::fs::read_to_string(&self.0)?;
        let text = text.trim_end();
        if text == NEVER {
            return Ok(None);
        }
        let at = text.parse().map(Duration::from_nanos).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Some(at.saturating_sub(monotonic())))
    }
}

/// One who looks at a watchdog's deadline.
#[derive(Debug)]
pub(crate) struct Look {
    watchdog: Watchdog,
    at: Instant,
}

impl Look {
    pub(crate) fn begin(watchdog: Watchdog, now: Instant) -> Self {
        Self { watchdog, at: now }
    }

    /// When to look next.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// Whether the deadline has passed.
    pub(crate) fn has_passed(&mut self, now: Instant) -> bool {
        if now < self.at {
            return false;
        }
        let wait = match self.watchdog.rest() {
            _ if now - self.at > STALL => STALL,
            Ok(Some(Duration::ZERO)) => return true,
            Ok(Some(rest)) => rest,
            Ok(None) | Err(_) => AGAIN,
        };
        self.at = now + wait;
        false
    }
}

fn monotonic() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog() -> (tempfile::TempDir, Watchdog) {
        let dir = tempfile::tempdir().unwrap();
        let watchdog = Watchdog::at(dir.path().join("leased"));
        (dir, watchdog)
    }

    #[test]
    fn a_deadline_passes_unless_it_is_pushed_on() {
        let (_dir, watchdog) = watchdog();
        let now = Instant::now();
        let mut look = Look::begin(watchdog.clone(), now);
        assert!(!look.has_passed(now), "nothing was said yet");
        watchdog.feed(Some(Duration::from_secs(5))).unwrap();
        assert!(!look.has_passed(now + AGAIN));
        let due = look.at() - now;
        assert!(due > Duration::from_secs(5) && due <= Duration::from_secs(6), "{due:?}");
        watchdog.feed(Some(Duration::from_secs(9))).unwrap();
        assert!(!look.has_passed(now + due), "it was fed meanwhile");
        watchdog.feed(Some(Duration::ZERO)).unwrap();
        assert!(!look.has_passed(look.at() - Duration::from_millis(1)), "not before it looks");
        assert!(look.has_passed(look.at()));
        watchdog.feed(None).unwrap();
        assert!(!look.has_passed(look.at()));
    }

    #[test]
    fn one_who_was_stopped_waits_for_the_daemon_first() {
        let (_dir, watchdog) = watchdog();
        watchdog.feed(Some(Duration::ZERO)).unwrap();
        let now = Instant::now();
        let mut look = Look::begin(watchdog, now);
        let woken = now + Duration::from_secs(60);
        assert!(!look.has_passed(woken));
        assert!(!look.has_passed(woken + STALL / 2));
        assert!(look.has_passed(woken + STALL));
    }

    #[test]
    fn it_is_fed_where_no_file_can_be_made() {
        let (dir, watchdog) = watchdog();
        let second = Duration::from_secs(1);
        watchdog.feed(Some(second)).unwrap();
        // As on a full disk: the file that would take its place cannot be written.
        std::fs::create_dir(dir.path().join("leased.tmp")).unwrap();
        watchdog.feed(Some(second * 100)).unwrap();
        assert!(watchdog.rest().unwrap().unwrap() > second * 90);
        watchdog.feed(None).unwrap();
        assert_eq!(watchdog.rest().unwrap(), None);
        watchdog.feed(Some(second * 100)).unwrap();
        assert!(watchdog.rest().unwrap().unwrap() > second * 90);
    }

    #[test]
    fn nonsense_in_the_file_kills_nobody() {
        let (_dir, watchdog) = watchdog();
        let now = Instant::now();
        for text in ["", "soon", "-1", "99999999999999999999999999"] {
            std::fs::write(watchdog.file(), text).unwrap();
            assert!(!Look::begin(watchdog.clone(), now).has_passed(now), "{text:?}");
        }
    }
}
