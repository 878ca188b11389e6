//! Sizes and times in Docker's words.
use model::Timestamp;

/// Go's `%.Ng`: N significant digits, no zeros at the end.
fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let whole = value.abs().log10().floor() as i32 + 1;
    let decimals = (digits as i32 - whole).max(0) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn scaled(bytes: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// `4.27MB`: thousands, three digits.
pub(crate) fn size(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 3)
}

/// `9.915MB`: thousands, four digits, for sums.
pub(crate) fn total_size(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 4)
}

/// `64MiB`, `1.944GiB`: powers of two, four digits.
pub(crate) fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
}

/// `3 minutes`, `About an hour`.
pub(crate) fn span(seconds: i64) -> String {
    let hours_rounded = (seconds + 1800) / 3600;
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 if seconds / 60 < 60 => format!("{} minutes", seconds / 60),
        _ if hours_rounded <= 1 => "About an hour".into(),
        _ if hours_rounded < 48 => format!("{hours_rounded} hours"),
        _ if hours_rounded < 24 * 7 * 2 => format!("{} days", hours_rounded / 24),
        _ if hours_rounded < 24 * 30 * 2 => format!("{} weeks", hours_rounded / 24 / 7),
        _ if hours_rounded < 24 * 365 * 2 => format!("{} months", hours_rounded / 24 / 30),
        _ => format!("{} years", hours_rounded / 24 / 365),
    }
}

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}

/// `3 minutes ago`; empty for never.
pub(crate) fn ago(then: Timestamp) -> String {
    if then.is_never() {
        return String::new();
    }
    format!("{} ago", span((now().0 - then.0) / 1_000_000_000))
}

/// `2026-11-22 16:54:16 +0000 UTC`.
pub(crate) fn date(t: Timestamp) -> String {
    let Ok(t) = jiff::Timestamp::from_second(t.0.div_euclid(1_000_000_000)) else { return String::new() };
    format!("{} +0000 UTC", jiff::fmt::strtime::format("%Y-%m-%d %H:%M:%S", t).unwrap_or_default())
}

/// The same with nanoseconds (`.NNN`, no zeros at the end).
pub(crate) fn date_exact(t: Timestamp) -> String {
    let fraction = format!(".{:09}", t.0.rem_euclid(1_000_000_000));
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    date(t).replacen(" +0000", &format!("{fraction} +0000"), 1)
}

/// Go's way to write a duration: `1m30s`, `500ms`, `0s`.
pub(crate) fn duration(nanos: i64) -> String {
    let (sign, n) = if nanos < 0 { ("-", nanos.unsigned_abs()) } else { ("", nanos.unsigned_abs()) };
    let fraction = |value: u64, unit: u64| {
        let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match n {
        0 => "0s".into(),
        1..1_000 => format!("{n}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(n, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(n, 1_000_000)),
        _ => {
            let seconds = n / 1_000_000_000;
            let (h, m) = (seconds / 3600, seconds / 60 % 60);
            let s = format!("{}s", fraction(n % 60_000_000_000, 1_000_000_000));
            match (h, m) {
                (0, 0) => s,
                (0, m) => format!("{m}m{s}"),
                (h, m) => format!("{h}h{m}m{s}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// The first 12 characters of an id, without `sha256:`.
pub(crate) fn short_id(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

/// At most `max` characters, the last of them an ellipsis if something was cut.
pub(crate) fn ellipsis(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (4_270_123, "4.27MB"),
            (1000, "1kB"),
            (12_345_678, "12.3MB"),
            (1_500_000_000, "1.5GB"),
        ];
        for (bytes, shown) in table {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!(binary_size(67_108_864.0), "64MiB");
        assert_eq!(binary_size(2_087_354_368.0), "1.944GiB");
    }

    #[test]
    fn times() {
        let table = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (180, "3 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86400, "3 days"),
            (30 * 86400, "4 weeks"),
            (100 * 86400, "3 months"),
            (1000 * 86400, "2 years"),
        ];
        for (seconds, shown) in table {
            assert_eq!(span(seconds), shown, "{seconds}");
        }
        let table = [
            (0, "0s"),
            (10_000_000_000, "10s"),
            (90_000_000_000, "1m30s"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (7_776_000_000_000_000, "2160h0m0s"),
        ];
        for (nanos, shown) in table {
            assert_eq!(duration(nanos), shown);
        }
        let t = Timestamp(1_700_000_000_120_000_000);
        assert_eq!(date(t), "2023-11-14 22:13:20 +0000 UTC");
        assert_eq!(date_exact(t), "2023-11-14 22:13:20.12 +0000 UTC");
    }
}
