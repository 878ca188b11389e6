//! Several files → one tree: scalars and commands of later files replace, mappings are merged, lists grow, and entries
//! that mean the same thing (a port, a mount point, a secret, a variable) replace each other. As Docker merges, but for
//! two ports with one number and different protocols, of which Docker loses one.
use crate::convert::{NEWEST, port};
use crate::error::Place;
use crate::{ComposeError, Source};
use serde_yaml_ng::{Mapping, Value};

/// Files of different schemas are not merged.
pub(crate) fn same_version(files: &[Value], sources: &[Source]) -> Result<(), ComposeError> {
    let version = |file: &Value| match text(file.get("version")) {
        v if v.is_empty() || v == "3" => NEWEST.to_owned(),
        v => v,
    };
    let Some(first) = files.first().map(version) else { return Ok(()) };
    for (file, source) in files.iter().zip(sources) {
        let own = version(file);
        if own != first {
            return Err(ComposeError::Value {
                place: Place::in_source(source, "version"),
                message: format!("version mismatched between two composefiles : {first} and {own}"),
            });
        }
    }
    Ok(())
}

pub(crate) fn all(files: Vec<Value>) -> Value {
    let mut files = files.into_iter();
    let Some(mut whole) = files.next() else { return Value::Null };
    for file in files {
        let (Value::Mapping(whole), Value::Mapping(file)) = (&mut whole, file) else { continue };
        for (section, value) in file {
            match (whole.get_mut(&section), value) {
                (Some(Value::Mapping(old)), Value::Mapping(new)) => {
                    for (name, value) in new {
                        match old.get_mut(&name) {
                            Some(there) if section == "services" => service(there, value),
                            // Other declarations are replaced whole.
                            _ => drop(old.insert(name, value)),
                        }
                    }
                }
                // An empty section takes nothing away.
                (Some(_), Value::Null) => {}
                (_, value) => drop(whole.insert(section, value)),
            }
        }
    }
    whole
}

fn service(old: &mut Value, new: Value) {
    let (Value::Mapping(old), Value::Mapping(new)) = (old, new) else { return };
    for (key, value) in new {
        let name = key.as_str().unwrap_or_default().to_owned();
        let Some(there) = old.get_mut(&key) else {
            old.insert(key, value);
            continue;
        };
        match name.as_str() {
            "environment" | "labels" | "sysctls" => merge_maps(there, value, '='),
            "extra_hosts" => merge_maps(there, value, ':'),
            "networks" => merge_maps(there, value, '\0'),
            "ports" => ports(there, value),
            "depends_on" => depends(there, value),
            "deploy" => deploy(there, value),
            "logging" => logging(there, value),
            "env_file" | "dns" | "dns_search" | "tmpfs" => grow(there, value),
            "volumes" => by_identity(there, value, mount_identity),
            "secrets" | "configs" => by_identity(there, value, source_identity),
            "command" | "entrypoint" => *there = value,
            _ => deep(there, value),
        }
    }
}

/// Mappings merge, lists grow, the rest is replaced. A health check's test is one value.
fn deep(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Mapping(old), Value::Mapping(new)) => {
            for (key, value) in new {
                match old.get_mut(&key) {
                    Some(there) if key != "test" => deep(there, value),
                    _ => drop(old.insert(key, value)),
                }
            }
        }
        (Value::Sequence(old), Value::Sequence(new)) => {
            for item in new {
                if !old.contains(&item) {
                    old.push(item);
                }
            }
        }
        (old, new) => *old = new,
    }
}

/// Both list form (`K=V`) and mapping form become a mapping.
fn merge_maps(old: &mut Value, new: Value, separator: char) {
    let mut merged = as_map(old.clone(), separator);
    for (key, value) in as_map(new, separator) {
        match (merged.get_mut(&key), value) {
            (Some(Value::Mapping(there)), Value::Mapping(more)) => there.extend(more),
            (_, value) => drop(merged.insert(key, value)),
        }
    }
    *old = Value::Mapping(merged);
}

fn as_map(value: Value, separator: char) -> Mapping {
    match value {
        Value::Mapping(map) => map,
        Value::Sequence(items) => items
            .into_iter()
            .map(|item| match item.as_str().and_then(|s| s.split_once(separator)) {
                Some((key, value)) => (key.into(), value.into()),
                None => (item, Value::Null),
            })
            .collect(),
        _ => Mapping::new(),
    }
}

fn by_identity(old: &mut Value, new: Value, identity: fn(&Value) -> String) {
    let (Value::Sequence(old), Value::Sequence(new)) = (old, new) else { return };
    for item in new {
        match old.iter_mut().find(|o| identity(o) == identity(&item)) {
            Some(there) => *there = item,
            None => old.push(item),
        }
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        _ => String::new(),
    }
}

/// A port of a later file takes the place of one with the same number outside, or without one the same inside.
fn ports(old: &mut Value, new: Value) {
    let (Value::Sequence(before), Value::Sequence(new)) = (&mut *old, new) else { return };
    *before = port::one_by_one(std::mem::take(before));
    by_identity(old, Value::Sequence(port::one_by_one(new)), |port| {
        let protocol = text(port.get("protocol"));
        let protocol = if protocol.is_empty() { "tcp" } else { &protocol };
        match text(port.get("published")).as_str() {
            "" | "0" => format!(":{}/{protocol}", text(port.get("target"))),
            published => format!("{published}/{protocol}"),
        }
    });
}

fn deploy(old: &mut Value, new: Value) {
    let (Value::Mapping(old), Value::Mapping(new)) = (old, new) else { return };
    for (key, value) in new {
        match old.get_mut(&key) {
            Some(there) if key == "labels" => merge_maps(there, value, '='),
            Some(there) => deep(there, value),
            None => drop(old.insert(key, value)),
        }
    }
}

/// Options belong to their driver: those of another one are dropped with it.
fn logging(old: &mut Value, new: Value) {
    let (before, after) = (text(old.get("driver")), text(new.get("driver")));
    if before == after || before.is_empty() || after.is_empty() { deep(old, new) } else { *old = new }
}

/// One text or a list of them: a list, and longer.
fn grow(old: &mut Value, new: Value) {
    let list = |value: Value| match value {
        Value::Sequence(items) => items,
        Value::Null => Vec::new(),
        one => vec![one],
    };
    let mut all = list(std::mem::take(old));
    all.extend(list(new));
    *old = Value::Sequence(all);
}

/// Lists of names become mappings as soon as one of the files has conditions.
fn depends(old: &mut Value, new: Value) {
    if old.is_sequence() && new.is_sequence() {
        return deep(old, new);
    }
    let conditions = |value: Value| match value {
        Value::Sequence(names) => {
            let started: Mapping = [("condition".into(), "service_started".into())].into_iter().collect();
            names.into_iter().map(|name| (name, Value::Mapping(started.clone()))).collect()
        }
        Value::Mapping(map) => map,
        _ => Mapping::new(),
    };
    let mut all = conditions(std::mem::take(old));
    all.extend(conditions(new));
    *old = Value::Mapping(all);
}

fn mount_identity(mount: &Value) -> String {
    match mount {
        Value::Mapping(m) => text(m.get("target")),
        other => {
            let short = text(Some(other));
            let mut parts = short.split(':');
            let first = parts.next().unwrap_or_default().to_owned();
            parts.next().map_or(first, str::to_owned)
        }
    }
}

fn source_identity(used: &Value) -> String {
    match used {
        Value::Mapping(m) => text(m.get("source")),
        other => text(Some(other)),
    }
}
