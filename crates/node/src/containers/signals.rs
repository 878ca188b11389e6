//! Signal names.

/// The number of `TERM`, `SIGTERM`, `sigterm` or `15`.
pub fn number(text: &str) -> Option<i32> {
    if let Ok(n) = text.parse::<i32>() {
        return (1..=64).contains(&n).then_some(n);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(rt) = name.strip_prefix("RTMIN") {
        let plus = if rt.is_empty() { 0 } else { rt.strip_prefix('+')?.parse().ok()? };
        return (0..=30).contains(&plus).then_some(34 + plus);
    }
    if let Some(rt) = name.strip_prefix("RTMAX") {
        let minus = if rt.is_empty() { 0 } else { rt.strip_prefix('-')?.parse().ok()? };
        return (0..=30).contains(&minus).then_some(64 - minus);
    }
    // Linux, x86 and arm (asm-generic/signal.h).
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let alias = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        n => n,
    };
    NAMES.iter().position(|n| *n == alias).map(|i| i as i32 + 1)
}

/// SIGKILL.
pub const KILL: i32 = 9;
/// SIGTERM.
pub const TERM: i32 = 15;

#[cfg(test)]
mod tests {
    #[test]
    fn signals_have_many_spellings() {
        for text in ["15", "TERM", "SIGTERM", "sigterm"] {
            assert_eq!(super::number(text), Some(15));
        }
        assert_eq!(super::number("SIGRTMIN+3"), Some(37));
        assert_eq!(super::number("SIGNOPE"), None);
        assert_eq!(super::number("0"), None);
    }
}
