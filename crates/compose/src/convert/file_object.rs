//! Secrets and configs: declared at the top, used in services.
use super::mount::absolute;
use super::{labelled, name_of};
use crate::error::Place;
use crate::read::At;
use crate::{ComposeError, FileUse, StackObject, Surroundings};
use model::{ConfigSpec, FileTarget, SecretSpec};
use std::collections::BTreeMap;
use std::path::Path;

type Read<T> = Result<T, ComposeError>;

pub(super) fn secret(key: &str, at: &At<'_>, around: &Surroundings<'_>) -> Read<(String, StackObject<SecretSpec>)> {
    let (name, external) = name_of(key, at, "secret", around)?;
    if external {
        return Ok((name, StackObject::External));
    }
    if let Some(driver) = at.get("driver") {
        return driver.wrong("secret drivers are not supported");
    }
    let spec = SecretSpec {
        name: name.clone(),
        labels: labels(at, around)?,
        data: data(key, at, "secret", around)?,
        templating: templating(at)?,
    };
    Ok((name, StackObject::Own(spec)))
}

pub(super) fn config(key: &str, at: &At<'_>, around: &Surroundings<'_>) -> Read<(String, StackObject<ConfigSpec>)> {
    let (name, external) = name_of(key, at, "config", around)?;
    if external {
        return Ok((name, StackObject::External));
    }
    let spec = ConfigSpec {
        name: name.clone(),
        labels: labels(at, around)?,
        data: data(key, at, "config", around)?,
        templating: templating(at)?,
    };
    Ok((name, StackObject::Own(spec)))
}

fn labels(at: &At<'_>, around: &Surroundings<'_>) -> Read<model::Labels> {
    Ok(labelled(around, at.get("labels").map(|l| l.labels()).transpose()?.unwrap_or_default()))
}

fn templating(at: &At<'_>) -> Read<String> {
    Ok(at.get("template_driver").map(|t| t.text()).transpose()?.unwrap_or_default())
}

/// From exactly one of a file, a variable, or the compose file itself.
fn data(key: &str, at: &At<'_>, kind: &str, around: &Surroundings<'_>) -> Read<Vec<u8>> {
    match (at.get("file"), at.get("environment"), at.get("content")) {
        (Some(file), None, None) => {
            let path = absolute(around, Path::new(&file.text()?));
            let place = Place::at(&file.path);
            (around.read)(&path).map_err(|source| ComposeError::File { place, path, source })
        }
        (None, Some(variable), None) => {
            let name = variable.text()?;
            match (around.env)(&name) {
                Some(value) => Ok(value.into_bytes()),
                None => {
                    variable.wrong(format!("environment variable \"{name}\" required by {kind} \"{key}\" is not set"))
                }
            }
        }
        (None, None, Some(content)) => Ok(content.text()?.into_bytes()),
        (None, None, None) => at.wrong(format!("{kind} \"{key}\" needs one of file, environment, content or external")),
        _ => at.wrong(format!("{kind} \"{key}\" must have only one of file, environment and content")),
    }
}

/// The secrets (or configs) of a service.
pub(super) fn uses(
    at: Option<&At<'_>>,
    declared: &BTreeMap<String, At<'_>>,
    kind: &str,
    around: &Surroundings<'_>,
) -> Read<Vec<FileUse>> {
    let mut all = Vec::new();
    for item in at.map(|a| a.items()).transpose()?.unwrap_or_default() {
        let text = |key: &str| -> Read<Option<String>> { item.get(key).map(|v| v.text()).transpose() };
        let long = item.value.is_mapping();
        let source = if long { text("source")?.unwrap_or_default() } else { item.text()? };
        let Some(declaration) = declared.get(&source) else {
            return item.wrong(format!("undefined {kind} \"{source}\""));
        };
        let (name, _) = name_of(&source, declaration, kind, around)?;
        let mut file = FileTarget { name: source, uid: "0".into(), gid: "0".into(), mode: 0o444 };
        if long {
            file.name = text("target")?.filter(|t| !t.is_empty()).unwrap_or(file.name);
            file.uid = text("uid")?.unwrap_or(file.uid);
            file.gid = text("gid")?.unwrap_or(file.gid);
            if let Some(mode) = item.get("mode") {
                file.mode = mode_bits(&mode)?;
            }
        }
        all.push(FileUse { name, file });
    }
    // As Docker does, so that an unchanged file gives an unchanged spec.
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// `0440` in YAML 1.1, `0o440` in YAML 1.2, `"0440"`, or the number itself.
pub(super) fn mode_bits(at: &At<'_>) -> Read<u32> {
    let text = at.text()?;
    let octal = text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|t| !t.is_empty()));
    let bits = match (octal, at.value) {
        (Some(octal), serde_yaml_ng::Value::String(_)) => u32::from_str_radix(octal, 8).ok(),
        (_, serde_yaml_ng::Value::String(text)) => u32::from_str_radix(text, 8).ok(),
        _ => text.parse().ok(),
    };
    bits.filter(|b| *b <= 0o7777).map_or_else(|| at.wrong(format!("invalid mode {text}")), Ok)
}
