//! Which keys there are. Types are checked where values are read.
use crate::error::Place;
use crate::{ComposeError, Source};
use serde_yaml_ng::{Mapping, Value};
use std::collections::BTreeSet;

/// What a value looks like where it is a mapping or a list; scalars are not looked at here.
enum Shape {
    /// Anything.
    Any,
    /// A mapping with these keys.
    Keys(&'static [(&'static str, Shape)]),
    /// A mapping with free keys.
    Each(&'static Shape),
    /// A list.
    List(&'static Shape),
}
use Shape::{Any, Each, Keys, List};

const ROOT: Shape = Keys(&[
    ("version", Any),
    ("name", Any),
    ("services", Each(&SERVICE)),
    ("networks", Each(&NETWORK)),
    ("volumes", Each(&VOLUME)),
    ("secrets", Each(&FILE_OBJECT)),
    ("configs", Each(&FILE_OBJECT)),
]);

const SERVICE: Shape = Keys(&[
    ("build", Any),
    ("cap_add", Any),
    ("cap_drop", Any),
    ("cgroup_parent", Any),
    ("cgroupns_mode", Any),
    ("command", Any),
    ("configs", List(&FILE_USE)),
    ("container_name", Any),
    ("credential_spec", Keys(&[("config", Any), ("file", Any), ("registry", Any)])),
    ("depends_on", Each(&Keys(&[("condition", Any), ("required", Any), ("restart", Any)]))),
    ("deploy", DEPLOY),
    ("devices", Any),
    ("dns", Any),
    ("dns_search", Any),
    ("domainname", Any),
    ("entrypoint", Any),
    ("env_file", Any),
    ("environment", Any),
    ("expose", Any),
    ("external_links", Any),
    ("extra_hosts", Any),
    (
        "healthcheck",
        Keys(&[
            ("test", Any),
            ("interval", Any),
            ("timeout", Any),
            ("retries", Any),
            ("start_period", Any),
            ("start_interval", Any),
            ("disable", Any),
        ]),
    ),
    ("hostname", Any),
    ("image", Any),
    ("init", Any),
    ("ipc", Any),
    ("isolation", Any),
    ("labels", Any),
    ("links", Any),
    ("logging", Keys(&[("driver", Any), ("options", Any)])),
    ("mac_address", Any),
    ("network_mode", Any),
    ("networks", Each(&Keys(&[("aliases", Any), ("driver_opts", Any), ("ipv4_address", Any), ("ipv6_address", Any)]))),
    ("oom_score_adj", Any),
    ("pid", Any),
    (
        "ports",
        List(&Keys(&[
            ("name", Any),
            ("mode", Any),
            ("target", Any),
            ("published", Any),
            ("protocol", Any),
            ("host_ip", Any),
        ])),
    ),
    ("privileged", Any),
    ("read_only", Any),
    ("restart", Any),
    ("secrets", List(&FILE_USE)),
    ("security_opt", Any),
    ("shm_size", Any),
    ("stdin_open", Any),
    ("stop_grace_period", Any),
    ("stop_signal", Any),
    ("sysctls", Any),
    ("tmpfs", Any),
    ("tty", Any),
    ("ulimits", Each(&Keys(&[("hard", Any), ("soft", Any)]))),
    ("user", Any),
    ("userns_mode", Any),
    ("volumes", List(&MOUNT)),
    ("working_dir", Any),
]);

const FILE_USE: Shape = Keys(&[("source", Any), ("target", Any), ("uid", Any), ("gid", Any), ("mode", Any)]);

const MOUNT: Shape = Keys(&[
    ("type", Any),
    ("source", Any),
    ("target", Any),
    ("read_only", Any),
    ("consistency", Any),
    ("bind", Keys(&[("propagation", Any), ("create_host_path", Any)])),
    ("volume", Keys(&[("nocopy", Any), ("subpath", Any)])),
    ("tmpfs", Keys(&[("size", Any), ("mode", Any)])),
    ("image", Any),
    ("cluster", Any),
]);

const DEPLOY: Shape = Keys(&[
    ("mode", Any),
    ("endpoint_mode", Any),
    ("replicas", Any),
    ("labels", Any),
    ("update_config", UPDATE),
    ("rollback_config", UPDATE),
    (
        "resources",
        Keys(&[
            ("limits", Keys(&[("cpus", Any), ("memory", Any), ("pids", Any)])),
            ("reservations", Keys(&[("cpus", Any), ("memory", Any), ("generic_resources", List(&GENERIC))])),
        ]),
    ),
    ("restart_policy", Keys(&[("condition", Any), ("delay", Any), ("max_attempts", Any), ("window", Any)])),
    (
        "placement",
        Keys(&[("constraints", Any), ("preferences", List(&Keys(&[("spread", Any)]))), ("max_replicas_per_node", Any)]),
    ),
]);

const GENERIC: Shape = Keys(&[("discrete_resource_spec", Keys(&[("kind", Any), ("value", Any)]))]);

const UPDATE: Shape = Keys(&[
    ("parallelism", Any),
    ("delay", Any),
    ("failure_action", Any),
    ("monitor", Any),
    ("max_failure_ratio", Any),
    ("order", Any),
]);

const NETWORK: Shape = Keys(&[
    ("name", Any),
    ("driver", Any),
    ("driver_opts", Any),
    (
        "ipam",
        Keys(&[
            ("driver", Any),
            ("options", Any),
            ("config", List(&Keys(&[("subnet", Any), ("ip_range", Any), ("gateway", Any), ("aux_addresses", Any)]))),
        ]),
    ),
    ("external", EXTERNAL),
    ("internal", Any),
    ("attachable", Any),
    ("enable_ipv4", Any),
    ("enable_ipv6", Any),
    ("labels", Any),
]);

const VOLUME: Shape = Keys(&[
    ("name", Any),
    ("driver", Any),
    ("driver_opts", Any),
    ("external", EXTERNAL),
    ("labels", Any),
    ("x-cluster-spec", Any),
]);

const FILE_OBJECT: Shape = Keys(&[
    ("name", Any),
    ("file", Any),
    ("environment", Any),
    ("content", Any),
    ("external", EXTERNAL),
    ("labels", Any),
    ("driver", Any),
    ("driver_opts", Any),
    ("template_driver", Any),
]);

const EXTERNAL: Shape = Keys(&[("name", Any)]);

/// Refuses the first key that is not one.
pub(crate) fn check(source: &Source, tree: &Value) -> Result<(), ComposeError> {
    walk(source, tree, &ROOT, "")
}

fn walk(source: &Source, value: &Value, shape: &Shape, path: &str) -> Result<(), ComposeError> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let refuse =
        |place: &str, message: String| Err(ComposeError::Shape { place: Place::in_source(source, place), message });
    match (shape, value) {
        (Keys(keys), Value::Mapping(map)) => {
            for (key, value) in map {
                let Some(key) = key.as_str() else {
                    return refuse(path, format!("non-string key: {}", shown(key)));
                };
                match keys.iter().find(|(k, _)| *k == key) {
                    Some((_, shape)) => walk(source, value, shape, &below(key))?,
                    None if key.starts_with("x-") => {}
                    None => {
                        // The line of the key, the path of its parent: as Docker words it.
                        let mut place = Place::in_source(source, &below(key));
                        place.path = path.to_owned();
                        let message = format!("Additional property {key} is not allowed");
                        return Err(ComposeError::Shape { place, message });
                    }
                }
            }
        }
        (Each(shape), Value::Mapping(map)) => {
            for (key, value) in map {
                let Some(key) = key.as_str() else {
                    return refuse(path, format!("non-string key: {}", shown(key)));
                };
                walk(source, value, shape, &below(key))?;
            }
        }
        (List(shape), Value::Sequence(items)) => {
            for (n, item) in items.iter().enumerate() {
                walk(source, item, shape, &format!("{path}[{n}]"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    serde_yaml_ng::to_string(value).map(|t| t.trim().to_owned()).unwrap_or_default()
}

const RESOURCES: &str = "Set resource limits using deploy.resources";

const FORBIDDEN: [(&str, &str); 8] = [
    ("cpu_quota", RESOURCES),
    ("cpu_shares", RESOURCES),
    ("cpuset", RESOURCES),
    ("extends", "Support for `extends` is not implemented yet."),
    ("mem_limit", RESOURCES),
    ("memswap_limit", RESOURCES),
    (
        "volume_driver",
        "Instead of setting the volume driver on the service, define a volume using the top-level `volumes` option and specify the driver there.",
    ),
    (
        "volumes_from",
        "To share a volume between services, define it using the top-level `volumes` option and reference it from each service that shares it using the service-level `volumes` option.",
    ),
];

/// Refuses keys that would silently mean nothing.
pub(crate) fn forbid(_source: &Source, tree: &Value) -> Result<(), ComposeError> {
    let mut found: Vec<String> = FORBIDDEN
        .iter()
        .filter(|(key, _)| services(tree).any(|s| s.contains_key(*key)))
        .map(|(key, why)| format!("{key}: {why}"))
        .collect();
    found.sort();
    if found.is_empty() { Ok(()) } else { Err(ComposeError::Forbidden(found)) }
}

/// What loosens a container's walls or only moves it about: leaving it out takes no protection away.
const UNSUPPORTED: [&str; 12] = [
    "build",
    "cgroup_parent",
    "cgroupns_mode",
    "devices",
    "domainname",
    "external_links",
    "ipc",
    "links",
    "mac_address",
    "pid",
    "privileged",
    "shm_size",
];

const DEPRECATED: [(&str, &str); 2] = [
    ("container_name", "Setting the container name is not supported."),
    (
        "expose",
        "Exposing ports is unnecessary - services on the same network can access each other's containers on any port.",
    ),
];

/// What is not honoured, in Docker's words.
pub(crate) fn warnings(files: &[Value]) -> Vec<String> {
    let has = |key: &str| files.iter().flat_map(services).any(|s| s.contains_key(key));
    let mut warnings = Vec::new();
    let unsupported: BTreeSet<&str> = UNSUPPORTED.into_iter().filter(|k| has(k)).collect();
    if !unsupported.is_empty() {
        let list: Vec<_> = unsupported.into_iter().collect();
        warnings.push(format!("Ignoring unsupported options: {}", list.join(", ")));
    }
    let deprecated: Vec<_> = DEPRECATED.iter().filter(|(k, _)| has(k)).map(|(k, why)| format!("{k}: {why}")).collect();
    if !deprecated.is_empty() {
        warnings.push(format!("Ignoring deprecated options:\n\n{}", deprecated.join("\n\n")));
    }
    warnings
}

fn services(tree: &Value) -> impl Iterator<Item = &Mapping> {
    let services = tree.get("services").and_then(Value::as_mapping);
    services.into_iter().flat_map(|s| s.values()).filter_map(Value::as_mapping)
}
