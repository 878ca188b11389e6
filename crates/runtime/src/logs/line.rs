//! One json-file line: read by hand in the form that we and Docker write, by a JSON parser in any other.
use super::LogLine;
use crate::stdio::StdStream;
use bytes::{Bytes, BytesMut};
use model::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Reads lines; remembers the last second it has seen.
#[derive(Default)]
pub(super) struct Parser {
    second: ([u8; 19], i64),
    text: BytesMut,
}

#[derive(Deserialize)]
struct AnyLine {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl Parser {
    /// The lines of a text of whole lines; what is no log line is left out.
    pub(super) fn lines<'a>(&'a mut self, text: &'a [u8]) -> impl Iterator<Item = LogLine> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < text.len() {
                let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |end| at + end);
                let line = &text[at..end];
                at = end + 1;
                if let Some(line) = self.fast(line).or_else(|| self.slow(line)) {
                    return Some(line);
                }
            }
            None
        })
    }

    fn fast(&mut self, line: &[u8]) -> Option<LogLine> {
        let mut rest = line.strip_prefix(b"{\"log\":\"")?;
        if self.text.capacity() < rest.len() {
            self.text = BytesMut::with_capacity(rest.len().max(64 << 10));
        }
        self.text.clear();
        loop {
            let stop = memchr::memchr2(b'"', b'\\', rest)?;
            self.text.extend_from_slice(&rest[..stop]);
            if rest[stop] == b'"' {
                rest = &rest[stop + 1..];
                break;
            }
            let (byte, length) = match rest.get(stop + 1)? {
                b'n' => (b'\n', 2),
                b't' => (b'\t', 2),
                b'r' => (b'\r', 2),
                same @ (b'"' | b'\\' | b'/') => (*same, 2),
                b'u' => {
                    let digits = std::str::from_utf8(rest.get(stop + 2..stop + 6)?).ok()?;
                    let code = u16::from_str_radix(digits, 16).ok()?;
                    // Anything but ASCII may be half of a pair: that is for the real parser.
                    match u8::try_from(code) {
                        Ok(byte) if byte.is_ascii() => (byte, 6),
                        _ if code == 0xfffd => {
                            self.text.extend_from_slice("\u{fffd}".as_bytes());
                            rest = &rest[stop + 6..];
                            continue;
                        }
                        _ => return None,
                    }
                }
                _ => return None,
            };
            self.text.extend_from_slice(&[byte]);
            rest = &rest[stop + length..];
        }
        let rest = rest.strip_prefix(b",\"stream\":\"std")?;
        let (stream, rest) = match rest.strip_prefix(b"out\",") {
            Some(rest) => (StdStream::Stdout, rest),
            None => (StdStream::Stderr, rest.strip_prefix(b"err\",")?),
        };
        let time = rest.strip_prefix(b"\"time\":\"")?.strip_suffix(b"\"}")?;
        Some(LogLine { stream, time: self.time(time)?, line: self.text.split().freeze(), attrs: BTreeMap::new() })
    }

    fn slow(&mut self, line: &[u8]) -> Option<LogLine> {
        let any: AnyLine = serde_json::from_slice(line).ok()?;
        Some(LogLine {
            stream: if any.stream == "stderr" { StdStream::Stderr } else { StdStream::Stdout },
            time: self.time(any.time.as_bytes())?,
            line: Bytes::from(any.log.into_bytes()),
            attrs: any.attrs,
        })
    }

    /// `2026-11-22T16:00:00.123Z`.
    fn time(&mut self, text: &[u8]) -> Option<Timestamp> {
        let (date, rest) = text.split_first_chunk::<19>()?;
        if self.second.0 != *date {
            self.second = (*date, seconds(date)?);
        }
        let fraction = rest.strip_suffix(b"Z")?;
        let mut nanos = 0;
        if let Some(digits) = fraction.strip_prefix(b".") {
            let mut scale = 1_000_000_000;
            for digit in digits.iter().take(9) {
                scale /= 10;
                nanos += i64::from(digit.wrapping_sub(b'0').min(9)) * scale;
            }
        }
        Some(Timestamp(self.second.1.checked_mul(1_000_000_000)?.checked_add(nanos)?))
    }
}

fn seconds(date: &[u8; 19]) -> Option<i64> {
    let number =
        |range: std::ops::Range<usize>| -> Option<i64> { std::str::from_utf8(&date[range]).ok()?.parse().ok() };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400) + day_of_year
        - 719_468;
    Some(days * 86_400 + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_undo_the_calendar() {
        for second in [0, 951_782_399, 951_782_400, 1_795_363_200, 4_107_542_399, 4_107_542_400] {
            let text = super::super::writer::calendar(second);
            assert_eq!(seconds(text.as_bytes().first_chunk().unwrap()), Some(second), "{text}");
        }
    }

    #[test]
    fn lines_in_any_form() {
        let text = concat!(
            r#"{"log":"a\u003cb\\\n","stream":"stdout","time":"1970-01-01T00:00:01.5Z"}"#,
            "\nrubbish\n",
            r#"{"log":"\ud83d\ude00","stream":"stderr","attrs":{"k":"v"},"time":"1970-01-01T00:00:01Z"}"#,
            "\n"
        );
        let lines: Vec<LogLine> = Parser::default().lines(text.as_bytes()).collect();
        assert_eq!((&lines[0].line[..], lines[0].time), (&b"a<b\\\n"[..], Timestamp(1_500_000_000)));
        assert_eq!((&lines[1].line[..], lines[1].stream), ("😀".as_bytes(), StdStream::Stderr));
        assert_eq!(lines[1].attrs["k"], "v");
        assert_eq!(lines.len(), 2);
    }
}
