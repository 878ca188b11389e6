//! `?filters=`: a JSON map of maps (`{"name":{"web":true}}`) or of lists (`{"name":["web"]}`).
use crate::Refusal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Parsed filters: values of one key are alternatives (labels: all must hold), keys must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Reads the query value; empty or absent: no filter.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn parse(text: Option<&str>) -> Result<Self, Refusal> {
        let text = text.unwrap_or_default();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let bad = || Refusal::invalid("invalid filter");
        let Value::Object(map) = serde_json::from_str(text).map_err(|_| bad())? else {
            return if text.trim() == "null" { Ok(Self::default()) } else { Err(bad()) };
        };
        let mut out = BTreeMap::new();
        for (key, values) in map {
            let set: BTreeSet<String> = match values {
                Value::Null => BTreeSet::new(),
                Value::Object(m) => m.into_iter().filter(|(_, on)| *on != Value::Bool(false)).map(|(v, _)| v).collect(),
                Value::Array(list) => list
                    .into_iter()
                    .map(|v| match v {
                        Value::String(s) => Ok(s),
                        Value::Bool(b) => Ok(b.to_string()),
                        Value::Number(n) => Ok(n.to_string()),
                        _ => Err(bad()),
                    })
                    .collect::<Result<_, _>>()?,
                _ => return Err(bad()),
            };
            out.insert(key, set);
        }
        Ok(Self(out))
    }

    /// Refuses keys that are not known here.
    ///
    /// # Errors
    /// 400 `invalid filter 'x'`.
    pub fn allow(&self, keys: &[&str]) -> Result<(), Refusal> {
        match self.0.keys().find(|k| !keys.contains(&k.as_str())) {
            Some(k) => Err(Refusal::invalid(format!("invalid filter '{k}'"))),
            None => Ok(()),
        }
    }
    /// Adds a value.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().insert(value.to_owned());
    }
    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Whether this key is filtered.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|v| !v.is_empty())
    }
    /// The values of a key.
    pub fn get(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }
    /// One value must equal; true without such a filter.
    pub fn exact(&self, key: &str, value: &str) -> bool {
        self.any(key, |v| v == value)
    }
    /// One value must be a prefix; true without such a filter.
    pub fn prefix(&self, key: &str, value: &str) -> bool {
        self.any(key, |v| value.starts_with(v))
    }
    /// One value must fulfil `test`; true without such a filter.
    pub fn any(&self, key: &str, test: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.get(key).any(test)
    }
    /// All `k` or `k=v` of the key must be among the labels.
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).all(|want| label_matches(want, labels))
    }
    /// `true`/`1` or `false`/`0`; `None` without such a filter.
    ///
    /// # Errors
    /// 400 `invalid filter 'key=[x]'`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Refusal> {
        let mut found = None;
        for v in self.get(key) {
            found = Some(match v {
                "1" | "true" | "True" | "TRUE" | "t" | "T" => true,
                "0" | "false" | "False" | "FALSE" | "f" | "F" => false,
                _ => return Err(Refusal::invalid(format!("invalid filter '{key}=[{v}]'"))),
            });
        }
        Ok(found)
    }
    /// As a query value, in the map-of-maps form that the CLI writes.
    pub fn to_json(&self) -> String {
        let map: serde_json::Map<String, Value> = self
            .0
            .iter()
            .map(|(k, vs)| (k.clone(), Value::Object(vs.iter().map(|v| (v.clone(), Value::Bool(true))).collect())))
            .collect();
        Value::Object(map).to_string()
    }
}

/// Whether `k` or `k=v` is among the labels.
pub fn label_matches(want: &str, labels: &BTreeMap<String, String>) -> bool {
    match want.split_once('=') {
        Some((k, v)) => labels.get(k).is_some_and(|have| have == v),
        None => labels.contains_key(want),
    }
}
