//! Times in queries: seconds since the epoch with a fraction, RFC 3339, or a Go duration before now.
use model::Timestamp;
use wire::Refusal;
use wire::engine::Time;

/// The present.
pub fn now() -> Timestamp {
    Timestamp(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}

/// Parses one; empty and `0`: none.
///
/// # Errors
/// 400.
pub fn parse(text: &str) -> Result<Option<Timestamp>, Refusal> {
    let text = text.trim();
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    if let Some(t) = unix(text) {
        return Ok(Some(t));
    }
    if let Some(d) = go_duration(text) {
        return Ok(Some(Timestamp(now().0.saturating_sub(d))));
    }
    let full = match text.len() {
        // Docker also reads a date, and a date with a time of day; both in UTC here.
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    full.parse::<Time>()
        .map(|t| Some(t.0))
        .map_err(|_| Refusal::invalid(format!("failed to parse value as time or duration: {text:?}")))
}

/// `1700000000` or `1700000000.000000001`.
fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos)))
}

/// `1h30m`, in nanoseconds.
fn go_duration(text: &str) -> Option<i64> {
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, scale) =
            [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)]
                .into_iter()
                .find(|(u, _)| {
                    rest.strip_prefix(u).is_some_and(|r| r.is_empty() || r.starts_with(|c: char| c.is_ascii_digit()))
                })?;
        nanos += value * scale;
        rest = &rest[unit.len()..];
    }
    Some(nanos as i64)
}

/// RFC 3339 with always nine digits, as log lines have it.
pub fn fixed(t: Timestamp) -> String {
    let seconds = t.0.div_euclid(1_000_000_000);
    let nanos = t.0.rem_euclid(1_000_000_000);
    let whole = jiff::Timestamp::from_second(seconds).map(|t| t.to_string()).unwrap_or_default();
    format!("{}.{nanos:09}Z", whole.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_docker_s_clients_is_read() {
        assert_eq!(parse("1700000000.5").unwrap(), Some(Timestamp(1_700_000_000_500_000_000)));
        assert_eq!(parse("2023-11-14T22:13:20Z").unwrap(), Some(Timestamp(1_700_000_000_000_000_000)));
        assert_eq!(parse("2023-11-14").unwrap(), Some(Timestamp(1_699_920_000_000_000_000)));
        assert_eq!(go_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(go_duration("500ms"), Some(500_000_000));
        assert!(parse("soon").is_err());
        assert_eq!(fixed(Timestamp(1_700_000_000_000_000_007)), "2023-11-14T22:13:20.000000007Z");
    }
}
