//! Values as Go's `fmt` prints them.
use serde_json::Value;

/// `{{.X}}`; a missing thing is `<no value>`.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "<no value>".into(),
        Some(v) => plain(v),
    }
}

/// `%v`.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => number(n),
        Value::String(s) => s.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pairs: Vec<String> = keys.iter().map(|k| format!("{k}:{}", plain(&map[*k]))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

fn number(n: &serde_json::Number) -> String {
    match n.as_f64() {
        Some(f) if !n.is_i64() && !n.is_u64() && f.fract() == 0.0 && f.abs() < 1e15 => format!("{f:.0}"),
        _ => n.to_string(),
    }
}

/// `printf`.
pub(super) fn format(pattern: &str, arguments: &[Option<Value>]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(c) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '.' | '0'..='9')) {
            spec.push(c);
        }
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(argument) = arguments.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        out.push_str(&padded(&spec, verb, argument.as_ref().unwrap_or(&Value::Null)));
    }
    out
}

fn padded(spec: &str, verb: char, value: &Value) -> String {
    let left = spec.contains('-');
    let spec = spec.trim_start_matches(['-', '+', '#', ' ']);
    let zero = spec.starts_with('0') && !left;
    let (width, precision) = spec.split_once('.').unwrap_or((spec, ""));
    let width: usize = width.parse().unwrap_or(0);
    let precision: Option<usize> = (spec.contains('.')).then(|| precision.parse().unwrap_or(0));
    let text = match (verb, value) {
        ('f' | 'F', Value::Number(n)) => format!("{:.*}", precision.unwrap_or(6), n.as_f64().unwrap_or_default()),
        ('x', Value::Number(n)) => format!("{:x}", n.as_i64().unwrap_or_default()),
        ('x', Value::String(s)) => s.bytes().map(|b| format!("{b:02x}")).collect(),
        ('q', v) => format!("{:?}", plain(v)),
        ('s', v) => {
            let text = plain(v);
            precision.map_or(text.clone(), |p| text.chars().take(p).collect())
        }
        ('d' | 'v' | 't', v) => plain(v),
        (verb, v) => format!("%!{verb}({})", plain(v)),
    };
    match (left, zero) {
        (true, _) => format!("{text:<width$}"),
        (false, true) => format!("{text:0>width$}"),
        (false, false) => format!("{text:>width$}"),
    }
}
