//! Go's own functions, and those that Docker adds.
use super::TemplateError;
use super::print::{format, plain};
use serde_json::Value;
use std::cmp::Ordering;

type Arguments = [Option<Value>];
type Result<T> = std::result::Result<T, TemplateError>;

fn error<T>(text: impl Into<String>) -> Result<T> {
    Err(TemplateError(text.into()))
}

/// Whether Go takes it for true.
pub(super) fn truth(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(b)) => *b,
        Some(Value::Number(n)) => n.as_f64() != Some(0.0),
        Some(Value::String(s)) => !s.is_empty(),
        Some(Value::Array(a)) => !a.is_empty(),
        Some(Value::Object(m)) => !m.is_empty(),
    }
}

/// Calls a function.
pub(super) fn call(name: &str, a: &Arguments) -> Result<Option<Value>> {
    let wanted = match name {
        "not" | "json" | "len" | "lower" | "upper" | "title" => Some(1),
        "ne" | "lt" | "le" | "gt" | "ge" | "split" | "join" | "truncate" => Some(2),
        "pad" => Some(3),
        _ => None,
    };
    if let Some(n) = wanted
        && a.len() != n
    {
        return error(format!("wrong number of args for {name}: want {n} got {}", a.len()));
    }
    let value = match name {
        "and" => return pick(name, a, false),
        "or" => return pick(name, a, true),
        "not" => (!truth(a[0].as_ref())).into(),
        "json" => json(a[0].as_ref()).into(),
        "len" => length(a[0].as_ref())?.into(),
        "index" => return index(a),
        "slice" => slice(a)?,
        "eq" => equal(a)?.into(),
        "ne" => (!equal(a)?).into(),
        "lt" => (order(a)? == Ordering::Less).into(),
        "le" => (order(a)? != Ordering::Greater).into(),
        "gt" => (order(a)? == Ordering::Greater).into(),
        "ge" => (order(a)? != Ordering::Less).into(),
        "print" => a.iter().map(|v| text(v.as_ref())).collect::<String>().into(),
        "println" => (a.iter().map(|v| text(v.as_ref())).collect::<Vec<_>>().join(" ") + "\n").into(),
        "printf" => match a.split_first() {
            Some((Some(Value::String(pattern)), rest)) => format(pattern, rest).into(),
            _ => return error("wrong type of arg for printf"),
        },
        "html" | "js" | "urlquery" => return error(format!("function {name:?} is not supported")),
        "lower" => text(a[0].as_ref()).to_lowercase().into(),
        "upper" => text(a[0].as_ref()).to_uppercase().into(),
        "title" => title(&text(a[0].as_ref())).into(),
        "split" => {
            let (whole, by) = (text(a[0].as_ref()), text(a[1].as_ref()));
            whole.split(by.as_str()).map(str::to_owned).collect::<Vec<_>>().into()
        }
        "join" => match &a[0] {
            Some(Value::Array(items)) => items.iter().map(plain).collect::<Vec<_>>().join(&text(a[1].as_ref())).into(),
            None | Some(Value::Null) => "".into(),
            Some(_) => return error("error calling join: not a list"),
        },
        "truncate" => text(a[0].as_ref()).chars().take(whole(a[1].as_ref())?).collect::<String>().into(),
        "pad" => {
            let text = text(a[0].as_ref());
            let (before, after) = (whole(a[1].as_ref())?, whole(a[2].as_ref())?);
            if text.is_empty() { text.into() } else { format!("{:before$}{text}{:after$}", "", "").into() }
        }
        _ => return error(format!("function {name:?} not defined")),
    };
    Ok(Some(value))
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "<no value>".into(), plain)
}

fn json(value: Option<&Value>) -> String {
    value.unwrap_or(&Value::Null).to_string()
}

fn title(text: &str) -> String {
    let mut out = String::new();
    let mut start = true;
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        start = !c.is_alphanumeric();
    }
    out
}

/// The first argument that decides, else the last.
fn pick(name: &str, a: &Arguments, decides: bool) -> Result<Option<Value>> {
    match a.iter().find(|v| truth(v.as_ref()) == decides).or(a.last()) {
        Some(value) => Ok(value.clone()),
        None => error(format!("wrong number of args for {name}: want at least 1 got 0")),
    }
}

fn whole(value: Option<&Value>) -> Result<usize> {
    match value.and_then(Value::as_u64) {
        Some(n) => Ok(n as usize),
        None => error(format!("expected integer; found {}", text(value))),
    }
}

fn length(value: Option<&Value>) -> Result<usize> {
    match value {
        Some(Value::String(s)) => Ok(s.len()),
        Some(Value::Array(a)) => Ok(a.len()),
        Some(Value::Object(m)) => Ok(m.len()),
        None | Some(Value::Null) => Ok(0),
        Some(other) => error(format!("error calling len: len of {}", plain(other))),
    }
}

fn index(a: &Arguments) -> Result<Option<Value>> {
    let Some((start, keys)) = a.split_first().filter(|(_, keys)| !keys.is_empty()) else {
        return error("wrong number of args for index: want at least 2");
    };
    let mut at = start.clone();
    for key in keys {
        at = match (at, key) {
            (Some(Value::Object(map)), Some(Value::String(key))) => map.get(key).cloned(),
            (Some(Value::Array(items)), key) => match whole(key.as_ref()).map(|n| items.get(n).cloned())? {
                Some(item) => Some(item),
                None => return error(format!("error calling index: index out of range: {}", text(key.as_ref()))),
            },
            (None | Some(Value::Null), Some(Value::String(_))) => None,
            (at, key) => {
                return error(format!(
                    "error calling index: can't index {} with {}",
                    text(at.as_ref()),
                    text(key.as_ref())
                ));
            }
        };
    }
    Ok(at)
}

fn slice(a: &Arguments) -> Result<Value> {
    let bound = |n: usize, default: usize| a.get(n).map_or(Ok(default), |v| whole(v.as_ref()));
    let out_of_range = || error("error calling slice: index out of range");
    match a.first() {
        Some(Some(Value::String(s))) => match s.get(bound(1, 0)?..bound(2, s.len())?) {
            Some(part) => Ok(part.into()),
            None => out_of_range(),
        },
        Some(Some(Value::Array(items))) => match items.get(bound(1, 0)?..bound(2, items.len())?) {
            Some(part) => Ok(part.to_vec().into()),
            None => out_of_range(),
        },
        _ => error("error calling slice: can't slice item"),
    }
}

fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null)) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

fn equal(a: &Arguments) -> Result<bool> {
    match a.split_first() {
        Some((first, rest)) if !rest.is_empty() => Ok(rest.iter().any(|v| same(first.as_ref(), v.as_ref()))),
        _ => error("missing argument for comparison"),
    }
}

fn order(a: &Arguments) -> Result<Ordering> {
    match (&a[0], &a[1]) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            Ok(a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal))
        }
        (Some(Value::String(a)), Some(Value::String(b))) => Ok(a.cmp(b)),
        _ => error("incompatible types for comparison"),
    }
}
