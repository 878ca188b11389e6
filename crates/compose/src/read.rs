//! Reading a tree value by value; every error knows its key.
use crate::ComposeError;
use crate::amount;
use crate::error::Place;
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(crate) struct At<'v> {
    pub path: String,
    pub value: &'v Value,
}

type Read<T> = Result<T, ComposeError>;

impl<'v> At<'v> {
    pub fn root(value: &'v Value) -> Self {
        Self { path: String::new(), value }
    }

    /// A wrong type, in the words of a schema checker.
    pub fn shape<T>(&self, message: &str) -> Read<T> {
        Err(ComposeError::Shape { place: Place::at(&self.path), message: message.to_owned() })
    }

    /// A wrong value.
    pub fn wrong<T>(&self, message: impl Into<String>) -> Read<T> {
        Err(ComposeError::Value { place: Place::at(&self.path), message: message.into() })
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A key of a mapping; `None` if it is not there or null.
    pub fn get(&self, key: &str) -> Option<At<'v>> {
        let value = self.value.as_mapping()?.get(key)?;
        (!value.is_null()).then(|| At { path: self.below(key), value })
    }

    /// The entries of a mapping, in the file's order. Null is an empty one.
    pub fn entries(&self) -> Read<Vec<(String, At<'v>)>> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Mapping(map) => Ok(map
                .iter()
                .map(|(key, value)| {
                    let key = scalar(key).unwrap_or_default();
                    (key.clone(), At { path: self.below(&key), value })
                })
                .collect()),
            _ => self.shape("must be a mapping"),
        }
    }

    /// The items of a list. Null is an empty one.
    pub fn items(&self) -> Read<Vec<At<'v>>> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Sequence(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(n, value)| At { path: format!("{}[{n}]", self.path), value })
                .collect()),
            _ => self.shape("must be a list"),
        }
    }

    /// Text; numbers and booleans are taken as they are written.
    pub fn text(&self) -> Read<String> {
        match scalar(self.value) {
            Some(text) => Ok(text),
            None => self.shape("must be a string"),
        }
    }

    /// One text or a list of them.
    pub fn texts(&self) -> Read<Vec<String>> {
        match self.value {
            Value::Sequence(_) => self.items()?.iter().map(At::text).collect(),
            Value::Null => Ok(Vec::new()),
            _ => match scalar(self.value) {
                Some(text) => Ok(vec![text]),
                None => self.shape("must be a string or a list"),
            },
        }
    }

    /// A list of texts.
    pub fn text_list(&self) -> Read<Vec<String>> {
        self.items()?.iter().map(At::text).collect()
    }

    /// Yes or no, in YAML 1.1's words too.
    pub fn flag(&self) -> Read<bool> {
        let text = match self.value {
            Value::Bool(b) => return Ok(*b),
            Value::String(s) => s.to_lowercase(),
            _ => return self.shape("must be a boolean"),
        };
        match text.as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => self.shape("must be a boolean"),
        }
    }

    /// A whole number.
    pub fn whole(&self) -> Read<i64> {
        let number = match self.value {
            Value::Number(n) => {
                n.as_i64().or_else(|| n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
            }
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        };
        number.map_or_else(|| self.shape("must be a integer"), Ok)
    }

    /// A whole number that is not negative.
    pub fn count(&self) -> Read<u64> {
        match u64::try_from(self.whole()?) {
            Ok(n) => Ok(n),
            Err(_) => self.wrong("must not be negative"),
        }
    }

    /// A number.
    pub fn number(&self) -> Read<f64> {
        let number = match self.value {
            Value::Number(n) => n.as_f64(),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        };
        number.filter(|n: &f64| n.is_finite()).map_or_else(|| self.shape("must be a number"), Ok)
    }

    /// `1m30s`.
    pub fn duration(&self) -> Read<Duration> {
        let text = self.text()?;
        match model::time::parse_duration(&text) {
            Some(d) => Ok(d),
            None => self.wrong(format!(
                "invalid duration \"{text}\": a number with ns, us, ms, s, m or h is expected, as in \"1m30s\""
            )),
        }
    }

    /// `512m`, or a number of bytes.
    pub fn bytes(&self) -> Read<i64> {
        let text = self.text()?;
        amount::bytes(&text).map_or_else(|| self.wrong(format!("invalid size: '{text}'")), Ok)
    }

    /// `0.5` → 1e-9 CPUs.
    pub fn nano_cpus(&self) -> Read<i64> {
        let text = self.text()?;
        amount::nano_cpus(&text).map_or_else(|| self.wrong(format!("invalid value for cpus: \"{text}\"")), Ok)
    }

    /// A mapping of texts; null values are empty.
    pub fn text_map(&self) -> Read<BTreeMap<String, String>> {
        self.entries()?
            .into_iter()
            .map(|(k, v)| Ok((k, if v.value.is_null() { String::new() } else { v.text()? })))
            .collect()
    }

    /// A mapping, or a list of `K=V`. `None`: no value was given.
    pub fn pairs(&self, separator: char) -> Read<Vec<(String, Option<String>)>> {
        if self.value.is_sequence() {
            return self
                .items()?
                .iter()
                .map(|item| {
                    let text = item.text()?;
                    Ok(match text.split_once(separator) {
                        Some((k, v)) => (k.to_owned(), Some(v.to_owned())),
                        None => (text, None),
                    })
                })
                .collect();
        }
        match self.value {
            Value::Mapping(_) | Value::Null => {}
            _ => return self.shape("must be a mapping or a list"),
        }
        self.entries()?
            .into_iter()
            .map(|(k, v)| Ok((k, if v.value.is_null() { None } else { Some(v.text()?) })))
            .collect()
    }

    /// Labels, in either form.
    pub fn labels(&self) -> Read<BTreeMap<String, String>> {
        Ok(self.pairs('=')?.into_iter().map(|(k, v)| (k, v.unwrap_or_default())).collect())
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Number(n) => Some(n.to_string()),
        Value::Tagged(t) => scalar(&t.value),
        _ => None,
    }
}
