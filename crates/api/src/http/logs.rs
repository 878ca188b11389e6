//! Log queries, and log lines on their way out.
use super::{ApiVersion, Params, Reply, answer, frame, time};
use crate::backend::{LogLine, LogQuery, Logs};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use std::collections::BTreeMap;
use wire::Refusal;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineFormat {
    /// The time in front.
    pub timestamps: bool,
    /// The attributes in front.
    pub details: bool,
}

/// Reads a log query.
///
/// # Errors
/// 400.
pub fn query(p: &Params) -> Result<(LogQuery, LineFormat), Refusal> {
    let (stdout, stderr) = (p.flag("stdout"), p.flag("stderr"));
    if !stdout && !stderr {
        return Err(Refusal::invalid("Bad parameters: you must choose at least one stream"));
    }
    let tail = match p.text("tail") {
        "" | "all" => None,
        text => text.parse::<u64>().ok(),
    };
    let details = p.flag("details");
    let query = LogQuery {
        stdout,
        stderr,
        follow: p.flag("follow"),
        since: time::parse(p.text("since"))?,
        until: time::parse(p.text("until"))?,
        tail,
        details,
    };
    Ok((query, LineFormat { timestamps: p.flag("timestamps"), details }))
}

/// One line's bytes, without frame.
pub fn format(line: &LogLine, how: LineFormat) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.line.len() + 64);
    if how.timestamps {
        out.extend_from_slice(time::fixed(line.time).as_bytes());
        out.push(b' ');
    }
    if how.details {
        out.extend_from_slice(attributes(&line.attrs).as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(&line.line);
    out
}

/// `k=v,k2=v2`, escaped as in a query.
fn attributes(attrs: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = attrs.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect();
    pairs.join(",")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b as char),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// One line, framed unless raw.
pub fn encode(line: &LogLine, how: LineFormat, tty: bool) -> Bytes {
    let bytes = format(line, how);
    if tty { bytes.into() } else { frame::frame(line.stream as u8, &bytes) }
}

/// The answer: each line is sent as it comes.
///
/// # Errors
/// Never.
pub fn reply(logs: Logs, how: LineFormat, version: ApiVersion) -> Reply {
    let tty = logs.tty;
    let stream = logs.lines.map(move |line| {
        Ok::<_, std::io::Error>(match line {
            Ok(line) => encode(&line, how, tty),
            Err(e) if tty => Bytes::from(format!("Error grabbing logs: {e}\n")),
            Err(e) => frame::frame(frame::SYSTEM_ERROR, format!("Error grabbing logs: {e}\n").as_bytes()),
        })
    });
    let mut r = Response::new(Body::from_stream(stream));
    answer::set_type(&mut r, frame::content_type(tty, version));
    Ok(r)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::StdStream;
    use model::Timestamp;

    #[test]
    fn a_line_has_time_then_details_then_text() {
        let line = LogLine {
            stream: StdStream::Stderr,
            time: Timestamp(1_700_000_000_000_000_000),
            line: Bytes::from_static(b"hello\n"),
            attrs: [("k".to_owned(), "a b,c".to_owned()), ("a".to_owned(), "1".to_owned())].into(),
        };
        let how = LineFormat { timestamps: true, details: true };
        assert_eq!(format(&line, how), b"2023-11-14T22:13:20.000000000Z a=1,k=a+b%2Cc hello\n");
        assert_eq!(&encode(&line, LineFormat::default(), false)[..], b"\x02\0\0\0\0\0\0\x06hello\n");
    }
}
