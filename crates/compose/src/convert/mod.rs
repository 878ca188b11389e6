//! Tree → stack. Names get the stack's prefix and everything the stack's label.
mod depends;
mod deploy;
mod environment;
mod file_object;
mod mount;
mod network;
pub(crate) mod port;
mod security;
mod service;

use crate::read::At;
use crate::{ComposeError, LABEL_NAMESPACE, Stack, StackObject, Surroundings, VolumeSpec};
use model::Labels;
use serde_yaml_ng::Value;
use std::collections::BTreeMap;

/// What the top-level sections declare, for the services to refer to.
struct Declared<'v> {
    networks: BTreeMap<String, At<'v>>,
    volumes: BTreeMap<String, At<'v>>,
    secrets: BTreeMap<String, At<'v>>,
    configs: BTreeMap<String, At<'v>>,
}

pub(crate) fn stack(tree: &Value, around: &Surroundings<'_>) -> Result<Stack, ComposeError> {
    let root = At::root(tree);
    version(&root)?;
    let section = |key: &str| -> Result<BTreeMap<String, At<'_>>, ComposeError> {
        Ok(root.get(key).map(|s| s.entries()).transpose()?.unwrap_or_default().into_iter().collect())
    };
    let declared = Declared {
        networks: section("networks")?,
        volumes: section("volumes")?,
        secrets: section("secrets")?,
        configs: section("configs")?,
    };
    let mut stack = Stack { name: around.stack.to_owned(), ..Stack::default() };
    for (name, at) in section("services")? {
        let service = service::convert(&name, &at, &declared, around, &mut stack)?;
        stack.services.insert(name, service);
    }
    depends::check(&root, &stack)?;
    // Secrets and configs are made whether or not a service uses them; networks and volumes only when one does.
    for (key, at) in &declared.secrets {
        let (name, secret) = file_object::secret(key, at, around)?;
        stack.named.extend(at.get("name").map(|_| name.clone()));
        stack.secrets.insert(name, secret);
    }
    for (key, at) in &declared.configs {
        let (name, config) = file_object::config(key, at, around)?;
        stack.named.extend(at.get("name").map(|_| name.clone()));
        stack.configs.insert(name, config);
    }
    Ok(stack)
}

/// The newest schema, also meant by `3` and by no version at all.
pub(crate) const NEWEST: &str = "3.13";

fn version(root: &At<'_>) -> Result<(), ComposeError> {
    let Some(at) = root.get("version") else { return Ok(()) };
    let version = at.text()?;
    let known = match version.split_once('.') {
        None => version == "3",
        Some(("3", minor)) => minor.parse::<u32>().is_ok_and(|n| n <= 13),
        Some(_) => false,
    };
    if known {
        return Ok(());
    }
    if version.starts_with(['1', '2']) {
        return at.wrong(format!("unsupported Compose file version: {version}"));
    }
    at.wrong(format!("unsupported Compose file version: {version}; 3.0 to 3.13 are known"))
}

/// `<stack>_<x>`.
fn scoped(around: &Surroundings<'_>, name: &str) -> String {
    format!("{}_{name}", around.stack)
}

/// Labels with the stack's own.
fn labelled(around: &Surroundings<'_>, mut labels: Labels) -> Labels {
    labels.insert(LABEL_NAMESPACE.to_owned(), around.stack.to_owned());
    labels
}

/// Whether a declaration is external, and its name in the swarm.
fn name_of(key: &str, at: &At<'_>, kind: &str, around: &Surroundings<'_>) -> Result<(String, bool), ComposeError> {
    let name = at.get("name").map(|n| n.text()).transpose()?.filter(|n| !n.is_empty());
    let Some(external) = at.get("external") else {
        return Ok((name.unwrap_or_else(|| scoped(around, key)), false));
    };
    let old_name = external.get("name").map(|n| n.text()).transpose()?;
    let is_external = if external.value.is_mapping() { true } else { external.flag()? };
    if !is_external {
        return Ok((name.unwrap_or_else(|| scoped(around, key)), false));
    }
    for (other, _) in at.entries()? {
        if !matches!(other.as_str(), "name" | "external") && !other.starts_with("x-") {
            return at
                .wrong(format!("conflicting parameters \"external\" and \"{other}\" specified for {kind} \"{key}\""));
        }
    }
    if let (Some(_), Some(_)) = (&name, &old_name) {
        return at.wrong(format!("{kind}.external.name and {kind}.name conflict; only use {kind}.name"));
    }
    Ok((name.or(old_name).unwrap_or_else(|| key.to_owned()), true))
}

/// A named volume that a service uses.
fn volume(
    key: &str,
    at: &At<'_>,
    around: &Surroundings<'_>,
) -> Result<(String, StackObject<VolumeSpec>), ComposeError> {
    let (name, external) = name_of(key, at, "volume", around)?;
    if external {
        return Ok((name, StackObject::External));
    }
    if let Some(cluster) = at.get("x-cluster-spec") {
        return cluster.wrong("cluster volumes are not supported");
    }
    let spec = VolumeSpec {
        driver: at.get("driver").map(|d| d.text()).transpose()?.unwrap_or_default(),
        driver_opts: at.get("driver_opts").map(|o| o.text_map()).transpose()?.unwrap_or_default(),
        labels: labelled(around, at.get("labels").map(|l| l.labels()).transpose()?.unwrap_or_default()),
    };
    Ok((name, StackObject::Own(spec)))
}
