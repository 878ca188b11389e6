//! Why a body is no JSON, in the words of Go's decoder, which clients compare with.
use wire::Refusal;

/// The refusal of a body that could not be read.
pub fn refusal(bytes: &[u8], e: &serde_json::Error) -> Refusal {
    let text = e.to_string();
    if text.starts_with("trailing characters") {
        return Refusal::invalid("unexpected content after JSON");
    }
    let place = if e.is_eof() {
        return Refusal::invalid("invalid JSON: unexpected EOF");
    } else if text.starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else if text.starts_with("expected value") {
        "looking for beginning of value"
    } else if text.starts_with("expected `:`") {
        "after object key"
    } else if text.starts_with("expected `,` or `}`") {
        "after object key:value pair"
    } else if text.starts_with("expected `,` or `]`") {
        "after array element"
    } else {
        return Refusal::invalid(format!("invalid JSON: {text}"));
    };
    match character(bytes, e.line(), e.column()) {
        Some(c) => Refusal::invalid(format!("invalid JSON: invalid character {c:?} {place}")),
        None => Refusal::invalid(format!("invalid JSON: {text}")),
    }
}

/// The character at a line and a column, both counted from one, the latter in bytes.
fn character(bytes: &[u8], line: usize, column: usize) -> Option<char> {
    let line = bytes.split(|b| *b == b'\n').nth(line.checked_sub(1)?)?;
    line.get(column.checked_sub(1)?).map(|b| char::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_as_go_tells_them() {
        for (body, words) in [
            ("{invalid", "invalid JSON: invalid character 'i' looking for beginning of object key string"),
            ("{} more", "unexpected content after JSON"),
            ("{\"a\":1,\n x}", "invalid JSON: invalid character 'x' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid JSON: invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid JSON: invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid JSON: invalid character '2' after array element"),
            ("{\"a\":x}", "invalid JSON: invalid character 'x' looking for beginning of value"),
            ("{\"a\":", "invalid JSON: unexpected EOF"),
            ("{", "invalid JSON: unexpected EOF"),
        ] {
            let e = serde_json::from_str::<serde_json::Value>(body).unwrap_err();
            assert_eq!(refusal(body.as_bytes(), &e).message, words, "{body}");
        }
        let e = serde_json::from_slice::<serde_json::Value>(b"\xff\xfe{}").unwrap_err();
        assert!(refusal(b"\xff\xfe{}", &e).message.starts_with("invalid JSON: "));
        let e = serde_json::from_str::<u8>("\"text\"").unwrap_err();
        assert!(refusal(b"\"text\"", &e).message.starts_with("invalid JSON: invalid type"));
    }
}
