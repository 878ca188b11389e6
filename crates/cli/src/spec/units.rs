//! Sizes, shares and durations as users write them.

/// `512m`, `1.5g`, `1048576`; units are powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let bad = || format!("invalid size: '{text}'");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| bad())?;
    let unit = text[digits..].trim_start().to_lowercase();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|u| *u == letter).ok_or_else(bad)?;
    Ok((number * 1024f64.powi(power as i32)) as i64)
}

/// `-1` or a size.
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// `0.5` → billionths.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, String> {
    let value: f64 = text.trim().parse().map_err(|_| format!("failed to parse {text} as a rational number"))?;
    let nanos = (value * 1e9).round();
    if !(0.0..9e18).contains(&nanos) {
        return Err(format!("invalid number of CPUs: {text}"));
    }
    Ok(nanos as i64)
}

/// Go's durations: `1m30s`, `500ms`, `0`. Nanoseconds.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let bad = || format!("time: invalid duration \"{text}\"");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1f64,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            "" => return Err(format!("time: missing unit in duration \"{text}\"")),
            other => return Err(format!("time: unknown unit \"{other}\" in duration \"{text}\"")),
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    Ok(sign * total.round() as i64)
}

/// A point in time for `--since` and `--until`: a Unix time, RFC 3339, or how long ago (`10m`). `seconds[.nanos]`.
pub(crate) fn moment(text: &str, now: model::Timestamp) -> Result<String, String> {
    if text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    if let Ok(ago) = duration(text) {
        let at = now.0 - ago;
        return Ok(format!("{}.{:09}", at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000)));
    }
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 | 19 if !text.ends_with('Z') => format!("{text}{}Z", if text.len() == 16 { ":00" } else { "" }),
        _ => text.to_owned(),
    };
    let t: jiff::Timestamp =
        full.parse().map_err(|_| format!("failed to parse value as time or duration: {text:?}"))?;
    Ok(format!("{}.{:09}", t.as_second(), t.subsec_nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("1.5gb"), Ok(3 << 29));
        assert!(bytes("x").is_err() && bytes("1z").is_err());
        assert_eq!(nano_cpus("0.5"), Ok(500_000_000));
        for (text, nanos) in [
            ("10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("0", 0),
            ("1.5h", 5_400_000_000_000),
            ("-1s", -1_000_000_000),
        ] {
            assert_eq!(duration(text), Ok(nanos), "{text}");
        }
        for bad in ["", "5", "5x", "s", "abc"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        let now = model::Timestamp(1_700_000_600_000_000_000);
        assert_eq!(moment("10m", now).unwrap(), "1700000000.000000000");
        assert_eq!(moment("1700000000", now).unwrap(), "1700000000");
        assert_eq!(moment("2023-11-14T22:13:20Z", now).unwrap(), "1700000000.000000000");
        assert_eq!(moment("2023-11-14", now).unwrap(), "1699920000.000000000");
        assert!(moment("soon", now).is_err());
    }
}
