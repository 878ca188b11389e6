//! Sizes and shares.

/// Bytes in Docker's words: `1g`, `512M`, `1.5 GiB`, `1048576`; units are powers of 1024.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start().to_lowercase();
    let letters = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match letters {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number * 1024f64.powi(power);
    (bytes.is_finite() && bytes < 9.2e18).then_some(bytes as i64)
}

/// `0.5`, `2`: exact to a billionth of a CPU, no more.
pub(crate) fn nano_cpus(text: &str) -> Option<i64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        let table = [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32k", 32768),
            ("32KiB", 32768),
            ("32 kb", 32768),
            ("50M", 50 << 20),
            ("1.5g", 3 << 29),
            ("2t", 2 << 40),
        ];
        for (text, wanted) in table {
            assert_eq!(bytes(text), Some(wanted), "{text}");
        }
        for bad in ["", "m", "5x", "-1m", "1.2.3m", "1mm", "99999999p"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!(nano_cpus("0.5"), Some(500_000_000));
        assert_eq!(nano_cpus("2"), Some(2_000_000_000));
        assert_eq!(nano_cpus(".001"), Some(1_000_000));
        assert_eq!(nano_cpus("0.50"), Some(500_000_000));
        for bad in ["", ".", "x", "-1", "0.0000000001", "1e3", "99999999999"] {
            assert_eq!(nano_cpus(bad), None, "{bad}");
        }
    }
}
