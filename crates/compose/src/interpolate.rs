//! `$V`, `${V}`, `${V:-d}`, `${V-d}`, `${V:?e}`, `${V?e}`, `${V:+x}`, `${V+x}`, and `$$` for a dollar. Values only, not
//! keys. Defaults may themselves hold variables.
use crate::error::Place;
use crate::{ComposeError, Source};
use serde_yaml_ng::Value;

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(crate) const SECTIONS: [&str; 5] = ["services", "networks", "volumes", "secrets", "configs"];
const DEPTH_MAX: usize = 16;

/// Interpolates the sections of a file.
pub(crate) fn tree(source: &Source, mut tree: Value, env: Env<'_>) -> Result<Value, ComposeError> {
    if let Value::Mapping(map) = &mut tree {
        for (key, value) in map.iter_mut() {
            if let Some(section) = key.as_str().filter(|k| SECTIONS.contains(k)) {
                walk(source, value, section, env)?;
            }
        }
    }
    Ok(tree)
}

/// Dollars as a further reading needs them.
pub(crate) fn escape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Sequence(items) => items.iter_mut().for_each(escape),
        Value::Mapping(map) => map.values_mut().for_each(escape),
        Value::Tagged(tagged) => escape(&mut tagged.value),
        _ => {}
    }
}

fn walk(source: &Source, value: &mut Value, path: &str, env: Env<'_>) -> Result<(), ComposeError> {
    match value {
        Value::String(text) if text.contains('$') => {
            *text = substitute(text, env, 0).map_err(|e| ComposeError::Interpolation {
                place: Place::in_source(source, path),
                message: match e {
                    Failure::Required(message) => message,
                    Failure::Format => {
                        format!("invalid interpolation format: {text:?}. You may need to escape any $ with another $.")
                    }
                },
            })?;
        }
        Value::Sequence(items) => {
            for (n, item) in items.iter_mut().enumerate() {
                walk(source, item, &format!("{path}[{n}]"), env)?;
            }
        }
        Value::Mapping(map) => {
            for (key, item) in map.iter_mut() {
                let key = key.as_str().unwrap_or("?").to_owned();
                walk(source, item, &format!("{path}.{key}"), env)?;
            }
        }
        Value::Tagged(tagged) => walk(source, &mut tagged.value, path, env)?,
        _ => {}
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Format,
    Required(String),
}

fn substitute(text: &str, env: Env<'_>, depth: usize) -> Result<String, Failure> {
    if depth > DEPTH_MAX {
        return Err(Failure::Format);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or(Failure::Format)?;
            out.push_str(&braced(&inner[..end], env, depth)?);
            rest = &inner[end + 1..];
        } else {
            let len = name_len(rest);
            if len == 0 {
                return Err(Failure::Format);
            }
            out.push_str(&env(&rest[..len]).unwrap_or_default());
            rest = &rest[len..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the brace that is already open closes.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn name_len(text: &str) -> usize {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

fn braced(inner: &str, env: Env<'_>, depth: usize) -> Result<String, Failure> {
    let len = name_len(inner);
    if len == 0 {
        return Err(Failure::Format);
    }
    let (name, rest) = inner.split_at(len);
    let value = env(name);
    let (or_empty, operator) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let set = value.clone().filter(|v| !(or_empty && v.is_empty()));
    let word = |text: &str| substitute(text, env, depth + 1);
    match operator.chars().next() {
        None if !or_empty => Ok(value.unwrap_or_default()),
        Some('-') => set.map_or_else(|| word(&operator[1..]), Ok),
        Some('+') => set.map_or(Ok(String::new()), |_| word(&operator[1..])),
        Some('?') => match set {
            Some(value) => Ok(value),
            None => Err(Failure::Required(format!(
                "required variable {name} is missing a value: {}",
                word(&operator[1..])?
            ))),
        },
        _ => Err(Failure::Format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some("set".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_put_in() {
        let table = [
            ("plain", "plain"),
            ("$SET", "set"),
            ("a${SET}b$SET.c", "asetbset.c"),
            ("${MISSING}", ""),
            ("$$SET $${SET}", "$SET ${SET}"),
            ("${MISSING:-d} ${MISSING-d} ${EMPTY:-d} ${EMPTY-d} ${SET:-d}", "d d d  set"),
            ("${SET:+x} ${SET+x} ${EMPTY:+x} ${EMPTY+x} ${MISSING+x}", "x x  x "),
            ("${MISSING:-${SET}}", "set"),
            ("${MISSING:-a:b}", "a:b"),
            ("${SET:?e} ${EMPTY?e}", "set "),
        ];
        for (text, wanted) in table {
            assert_eq!(substitute(text, &env, 0).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_or_missing_is_refused() {
        for text in ["$", "${", "${}", "${1}", "$1", "${SET", "${SET!x}", "${SET:}", "a $ b"] {
            assert_eq!(substitute(text, &env, 0), Err(Failure::Format), "{text}");
        }
        let required = |text| substitute(text, &env, 0);
        let message = "required variable EMPTY is missing a value: say ${SET}".replace("${SET}", "set");
        assert_eq!(required("${EMPTY:?say ${SET}}"), Err(Failure::Required(message)));
    }
}
