//! Shell patterns over paths: `*` and `?` do not cross a `/`, `[a-z]` and `[^a]` are sets, `\` protects.

/// Whether a whole path fits a pattern. A malformed pattern fits nothing.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    at(&pattern, &path, false)
}

/// Whether it has any of the special letters.
pub fn is_pattern(text: &str) -> bool {
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' => drop(letters.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// The same with `**`, which crosses any number of directories.
pub(crate) fn matches_deep(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    at(&pattern, &path, true)
}

/// Each pair (place in the pattern, place in the path) is looked at once at most, so that no pattern takes for ever.
fn at(pattern: &[char], path: &[char], deep: bool) -> bool {
    let width = path.len() + 1;
    let mut seen = vec![false; (pattern.len() + 1) * width];
    let mut todo = vec![(0usize, 0usize)];
    while let Some((p, t)) = todo.pop() {
        if std::mem::replace(&mut seen[p * width + t], true) {
            continue;
        }
        let Some(&c) = pattern.get(p) else {
            if t == path.len() {
                return true;
            }
            continue;
        };
        let next = path.get(t).copied();
        match c {
            '*' if deep && pattern.get(p + 1) == Some(&'*') => {
                let after = p + 2;
                // `**/x` fits `x` too.
                if pattern.get(after) == Some(&'/') {
                    todo.push((after + 1, t));
                }
                todo.push((after, t));
                if next.is_some() {
                    todo.push((p, t + 1));
                }
            }
            '*' => {
                todo.push((p + 1, t));
                if next.is_some_and(|n| n != '/') {
                    todo.push((p, t + 1));
                }
            }
            '?' => {
                if next.is_some_and(|n| n != '/') {
                    todo.push((p + 1, t + 1));
                }
            }
            '[' => {
                if let (Some(n), Some((fits, after))) = (next, set(pattern, p + 1, next.unwrap_or_default()))
                    && fits
                    && n != '/'
                {
                    todo.push((after, t + 1));
                }
            }
            '\\' => {
                if let (Some(&protected), Some(n)) = (pattern.get(p + 1), next)
                    && protected == n
                {
                    todo.push((p + 2, t + 1));
                }
            }
            c => {
                if next == Some(c) {
                    todo.push((p + 1, t + 1));
                }
            }
        }
    }
    false
}

/// A set from behind its `[`: whether `c` is in it, and where it ends. `None` if it does not end.
fn set(pattern: &[char], start: usize, c: char) -> Option<(bool, usize)> {
    let negated = pattern.get(start) == Some(&'^');
    let (mut p, mut fits, mut first) = (start + usize::from(negated), false, true);
    loop {
        let low = letter(pattern, &mut p)?;
        if low == (']', false) && !first {
            return Some((fits != negated, p));
        }
        first = false;
        let mut high = low.0;
        if pattern.get(p) == Some(&'-') && pattern.get(p + 1).is_some_and(|n| *n != ']') {
            p += 1;
            high = letter(pattern, &mut p)?.0;
        }
        fits |= (low.0..=high).contains(&c);
    }
}

/// The next letter of a set, and whether it was protected.
fn letter(pattern: &[char], p: &mut usize) -> Option<(char, bool)> {
    let c = *pattern.get(*p)?;
    *p += 1;
    if c != '\\' {
        return Some((c, false));
    }
    let c = *pattern.get(*p)?;
    *p += 1;
    Some((c, true))
}
