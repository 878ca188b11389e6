//! Several files → one tree: scalars and commands of later files replace, mappings are merged, lists grow, and entries
//! that mean the same thing (a port, a mount point, a secret, a variable) replace each other.
use serde_yaml_ng::{Mapping, Value};

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
            "ports" => by_identity(there, value, port_identity),
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

fn port_identity(port: &Value) -> String {
    match port {
        Value::Mapping(p) => {
            let protocol = text(p.get("protocol"));
            let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol };
            format!("{}:{}/{protocol}", text(p.get("published")), text(p.get("target")))
        }
        other => {
            let short = text(Some(other));
            let with_protocol = if short.contains('/') { short } else { format!("{short}/tcp") };
            if with_protocol.contains(':') { with_protocol } else { format!(":{with_protocol}") }
        }
    }
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
