//! Finding one object among many by what a user wrote, and matching filters' patterns.
use wire::Refusal;

/// Full id, then exact name, then id prefix.
///
/// # Errors
/// 404 `service X not found`; 400 `service X is ambiguous (2 matches found)`.
pub fn find<'a, T>(
    kind: &str,
    wanted: &str,
    items: &'a [T],
    id: impl Fn(&T) -> &str,
    name: impl Fn(&T) -> &str,
) -> Result<&'a T, Refusal> {
    if wanted.is_empty() {
        return Err(Refusal::not_found(format!("{kind} {wanted} not found")));
    }
    if let Some(hit) = items.iter().find(|i| id(i) == wanted) {
        return Ok(hit);
    }
    for tier in [&|i: &T| name(i) == wanted, &|i: &T| id(i).starts_with(wanted)] as [&dyn Fn(&T) -> bool; 2] {
        let mut hits = items.iter().filter(|i| tier(i));
        let Some(hit) = hits.next() else { continue };
        return match hits.count() {
            0 => Ok(hit),
            more => Err(Refusal::invalid(format!("{kind} {wanted} is ambiguous ({} matches found)", more + 1))),
        };
    }
    Err(Refusal::not_found(format!("{kind} {wanted} not found")))
}

/// Docker's `filters.Match`: equal, or found by the pattern anywhere. A pattern that is no regular expression matches
/// nothing but itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    if pattern == text {
        return true;
    }
    if pattern.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b':')) {
        return text.contains(pattern);
    }
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().is_ok_and(|r| r.is_match(text))
}

/// Go's `path.Match`: `*` and `?` stay within a path element; `[a-z]`, `[^a]`; `\` escapes.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut expression = String::from("^");
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            _ if in_class => {
                in_class = c != ']';
                expression.push(c);
            }
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => {
                in_class = true;
                expression.push('[');
            }
            '\\' => expression.push_str(&regex::escape(&chars.next().map(String::from).unwrap_or_default())),
            c => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    regex::RegexBuilder::new(&expression).size_limit(1 << 20).build().is_ok_and(|r| r.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_beats_name_beats_prefix() {
        let items = [("aaa1", "b"), ("b", "other"), ("aab2", "c")];
        let at = |w| find("service", w, &items, |i| i.0, |i| i.1).map(|i| i.0).map_err(|e| e.message);
        assert_eq!(at("b"), Ok("b"));
        assert_eq!(at("c"), Ok("aab2"));
        assert_eq!(at("aaa"), Ok("aaa1"));
        assert_eq!(at("aa"), Err("service aa is ambiguous (2 matches found)".into()));
        assert_eq!(at("z"), Err("service z not found".into()));
    }

    #[test]
    fn patterns_match_as_in_go() {
        assert!(matches("web", "my-web-1"));
        assert!(matches("^web$", "web"));
        assert!(!matches("^web$", "web1"));
        assert!(!matches("(", "web"));
        assert!(glob("busy*", "busybox"));
        assert!(!glob("busy*", "busybox/x"));
        assert!(glob("busybox:1.?", "busybox:1.3"));
    }
}
