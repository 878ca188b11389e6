//! Writes output as Docker's json-file lines. Used by the shim: no allocation per line.
use super::rotating::RotatingFile;
use crate::launch::{LogConfig, LogDriver};
use crate::stdio::StdStream;
use std::io;
use std::time::Duration;

/// Longer lines are cut into parts, of which only the last ends with a newline.
const LINE_MAX: usize = 16 << 10;

/// Writes the log of one container: cuts output into lines and encodes them.
pub(crate) struct LogWriter {
    file: RotatingFile,
    attrs: String,
    partial: [Vec<u8>; 2],
    out: Vec<u8>,
    clock: Clock,
}

impl LogWriter {
    /// Opens the log for appending; `None` for the `none` driver.
    pub(crate) fn open(config: &LogConfig) -> io::Result<Option<Self>> {
        if config.driver == LogDriver::None || config.path.as_os_str().is_empty() {
            return Ok(None);
        }
        let file = RotatingFile::open(config)?;
        let attrs = if config.attrs.is_empty() {
            String::new()
        } else {
            format!("\"attrs\":{},", serde_json::to_string(&config.attrs)?)
        };
        Ok(Some(Self { file, attrs, partial: [Vec::new(), Vec::new()], out: Vec::new(), clock: Clock::default() }))
    }

    /// Takes what was read from the container.
    pub(crate) fn write(&mut self, stream: StdStream, data: &[u8]) -> io::Result<()> {
        self.write_at(stream, data, since_1970())
    }

    /// Takes what was read from the container then, counted from 1970.
    pub(crate) fn write_at(&mut self, stream: StdStream, data: &[u8], then: Duration) -> io::Result<()> {
        let time = self.clock.text(then);
        let mut rest = data;
        let index = stream as usize;
        while !rest.is_empty() {
            let room = LINE_MAX - self.partial[index].len();
            let end = rest.iter().take(room).position(|byte| *byte == b'\n').map(|at| at + 1);
            let take = end.unwrap_or(room.min(rest.len()));
            let (line, after) = rest.split_at(take);
            rest = after;
            if end.is_none() && self.partial[index].len() + line.len() < LINE_MAX {
                self.partial[index].extend_from_slice(line);
                break;
            }
            if self.partial[index].is_empty() {
                self.line(stream, line, &time)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial[index]);
                whole.extend_from_slice(line);
                self.line(stream, &whole, &time)?;
                whole.clear();
                self.partial[index] = whole;
            }
        }
        self.flush()
    }

    /// Writes what is left of a stream that has ended without a newline.
    pub(crate) fn end(&mut self, stream: StdStream) -> io::Result<()> {
        let left = std::mem::take(&mut self.partial[stream as usize]);
        if !left.is_empty() {
            let time = self.clock.text(since_1970());
            self.line(stream, &left, &time)?;
        }
        self.flush()
    }

    fn line(&mut self, stream: StdStream, text: &[u8], time: &str) -> io::Result<()> {
        self.out.extend_from_slice(b"{\"log\":\"");
        escape(text, &mut self.out);
        let name = match stream {
            StdStream::Stdout => "stdout",
            StdStream::Stderr => "stderr",
        };
        for part in ["\",\"stream\":\"", name, "\",", &self.attrs, "\"time\":\"", time, "\"}\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        if self.out.len() > 64 << 10 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let result = self.file.put(&self.out);
        self.out.clear();
        self.out.shrink_to(16 << 10);
        result
    }
}

/// JSON string escapes, as Go writes them; bytes that are no UTF-8 become the replacement character.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut from = 0;
        for (at, byte) in valid.iter().enumerate() {
            let code: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                b'<' => b"\\u003c",
                b'>' => b"\\u003e",
                b'&' => b"\\u0026",
                0..0x20 => b"",
                _ => continue,
            };
            out.extend_from_slice(&valid[from..at]);
            from = at + 1;
            if code.is_empty() {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            } else {
                out.extend_from_slice(code);
            }
        }
        out.extend_from_slice(&valid[from..]);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

pub(super) fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// Go's RFC 3339 with nanoseconds, whose calendar part is computed once a second.
#[derive(Default)]
struct Clock {
    second: u64,
    date: String,
}

impl Clock {
    fn text(&mut self, now: Duration) -> String {
        if now.as_secs() != self.second || self.date.is_empty() {
            self.second = now.as_secs();
            self.date = calendar(now.as_secs() as i64);
        }
        let nanos = format!(".{:09}", now.subsec_nanos());
        format!("{}{}Z", self.date, nanos.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// `2026-11-22T16:00:00` of seconds since 1970.
pub(super) fn calendar(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01 in eras of 400 years.
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str) -> LogConfig {
        let dir = std::env::temp_dir().join(format!("shoal-log-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        LogConfig { path: dir.join("c-json.log"), ..LogConfig::default() }
    }

    #[test]
    fn calendar_days() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_795_363_200, "2026-11-22T16:00:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(calendar(seconds), want);
        }
    }

    #[test]
    fn lines_parts_and_escapes() {
        let config = config("lines");
        let mut log = LogWriter::open(&config).unwrap().unwrap();
        log.write(StdStream::Stdout, b"one\ntw").unwrap();
        log.write(StdStream::Stderr, b"\x01<\xff\"\n").unwrap();
        log.write(StdStream::Stdout, b"o\n").unwrap();
        log.write(StdStream::Stdout, &[b'x'; LINE_MAX + 1]).unwrap();
        log.end(StdStream::Stdout).unwrap();
        let text = std::fs::read_to_string(&config.path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let logs: Vec<&str> = lines.iter().map(|line| line["log"].as_str().unwrap()).collect();
        assert_eq!(logs[..3], ["one\n", "\u{1}<\u{fffd}\"\n", "two\n"]);
        assert_eq!((logs[3].len(), logs[4]), (LINE_MAX, "x"));
        assert!(text.contains("\\u0001\\u003c\\ufffd"));
        std::fs::remove_dir_all(config.path.parent().unwrap()).unwrap();
    }
}
