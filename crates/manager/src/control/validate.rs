//! What a spec must be. Texts are swarmkit's (`manager/controlapi`).
use super::invalid;
use model::{
    Balance, ContainerSpec, EndpointSpec, FileTarget, Protocol, PublishMode, ResolutionMode, ResourceRequirements,
    Resources, ServiceMode, ServiceSpec, UpdateConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use wire::Refusal;

const NANO_CPUS_MIN: i64 = 1_000_000;
const MEMORY_BYTES_MIN: i64 = 4 << 20;
const SERVICE_NAME_MAX: usize = 63;
const BLOB_NAME_MAX: usize = 64;

/// Everything about a service that needs no look at the tables.
pub fn service(spec: &ServiceSpec) -> Result<(), Refusal> {
    service_name(&spec.name)?;
    Balance::from_labels(&spec.labels).map_err(|e| invalid(e.to_string()))?;
    resources(&spec.task.resources)?;
    model::service_labels::check(&spec.labels).map_err(|e| invalid(e.to_string()))?;
    for constraint in &spec.task.placement.constraints {
        constraint.parse::<planner::Constraint>().map_err(|e| invalid(e.to_string()))?;
    }
    let Some(c) = &spec.task.container else {
        return Err(invalid("TaskSpec: missing runtime"));
    };
    container(c)?;
    for u in spec.update.iter().chain(&spec.rollback) {
        update(u)?;
    }
    if let Some(e) = &spec.endpoint {
        endpoint(e)?;
    }
    if spec.mode.is_job() && (spec.update.is_some() || spec.rollback.is_some()) {
        return Err(invalid("UpdateConfig is not supported for jobs"));
    }
    if let ServiceMode::ReplicatedJob { max_concurrent, total_completions } = spec.mode
        && total_completions == 0
        && max_concurrent > 0
    {
        return Err(invalid("Jobs cannot have 0 total completions"));
    }
    Ok(())
}

fn service_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(invalid("meta: name must be provided"));
    }
    if name.len() > SERVICE_NAME_MAX {
        return Err(invalid("name must be 63 characters or fewer"));
    }
    // ^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let ends = [name.as_bytes().first(), name.as_bytes().last()];
    if !letters || !ends.iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric)) {
        return Err(invalid("name must be valid as a DNS name component"));
    }
    Ok(())
}

/// Of a secret or config.
pub fn blob_name(name: &str) -> Result<(), Refusal> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let ends = [name.as_bytes().first(), name.as_bytes().last()];
    if name.is_empty()
        || name.len() > BLOB_NAME_MAX
        || !letters
        || !ends.iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric))
    {
        return Err(invalid(
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
        ));
    }
    Ok(())
}

fn resources(r: &ResourceRequirements) -> Result<(), Refusal> {
    let amounts = |r: &Resources| {
        if r.nano_cpus != 0 && r.nano_cpus < NANO_CPUS_MIN {
            let cpus = r.nano_cpus as f64 / 1e9;
            return Err(invalid(format!("invalid cpu value {}: Must be at least 0.001", go_float(cpus))));
        }
        if r.memory_bytes != 0 && r.memory_bytes < MEMORY_BYTES_MIN {
            return Err(invalid(format!("invalid memory value {}: Must be at least 4MiB", r.memory_bytes)));
        }
        Ok(())
    };
    amounts(&r.limits)?;
    amounts(&r.reservations)
}

/// As Go's `%g` prints small numbers.
fn go_float(v: f64) -> String {
    if v != 0.0 && v.abs() < 1e-4 {
        let text = format!("{v:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let n: i32 = exponent.parse().unwrap_or(0);
        return format!("{mantissa}e{}{:02}", if n < 0 { '-' } else { '+' }, n.abs());
    }
    format!("{v}")
}

fn container(c: &ContainerSpec) -> Result<(), Refusal> {
    if c.image.is_empty() {
        return Err(invalid("ContainerSpec: image reference must be provided"));
    }
    if !is_reference(&c.image) {
        return Err(invalid(format!("ContainerSpec: {:?} is not a valid repository/tag", c.image)));
    }
    let mut targets = BTreeSet::new();
    for m in &c.mounts {
        if m.target.is_empty() {
            return Err(invalid("ContainerSpec: mount target must be provided"));
        }
        if !targets.insert(m.target.trim_end_matches('/')) {
            return Err(invalid(format!("ContainerSpec: duplicate mount point: {}", m.target)));
        }
    }
    templates(c)?;
    let secrets = c.secrets.iter().map(|r| (r.name.as_str(), &r.file));
    files("secret", secrets)?;
    let configs = c.configs.iter().map(|r| (r.name.as_str(), &r.file));
    files("config", configs)
}

/// Placeholders that no node could fill in are told at once.
fn templates(c: &ContainerSpec) -> Result<(), Refusal> {
    let context = model::template::Context::sample();
    let mounts = c
        .mounts
        .iter()
        .flat_map(|m| [&m.source, &m.target].into_iter().chain(m.labels.values()).chain(m.driver_opts.values()));
    for text in std::iter::once(&c.hostname).chain(&c.env).chain(mounts) {
        context.expand(text).map_err(|e| invalid(e.to_string()))?;
    }
    Ok(())
}

/// No two references may want the same file, and its owner is a number: names are known in the container only.
fn files<'a>(kind: &str, references: impl Iterator<Item = (&'a str, &'a Option<FileTarget>)>) -> Result<(), Refusal> {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, file) in references {
        let Some(file) = file else { continue };
        for (what, owner) in [("uid", &file.uid), ("gid", &file.gid)] {
            if !owner.is_empty() && owner.parse::<u32>().is_err() {
                return Err(invalid(format!(
                    "{kind} reference '{name}': {what} '{owner}' is not a number; give the numeric {what}"
                )));
            }
        }
        if let Some(other) = taken.insert(&file.name, name) {
            let text = format!("{kind} references '{other}' and '{name}' have a conflicting target: '{}'", file.name);
            return Err(invalid(text));
        }
    }
    Ok(())
}

/// The grammar of references, roughly as Docker's parser has it: lower-case path, optional registry, tag and digest.
fn is_reference(text: &str) -> bool {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(r, d)| (r, Some(d)));
    let digest_fits = |d: &str| {
        d.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    if !digest.is_none_or(digest_fits) {
        return false;
    }
    let last_slash = rest.rfind('/').map_or(0, |i| i + 1);
    let (name, tag) = match rest[last_slash..].rfind(':') {
        Some(colon) => (&rest[..last_slash + colon], Some(&rest[last_slash + colon + 1..])),
        None => (rest, None),
    };
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if tag.is_some_and(|t| t.is_empty() || t.len() > 128 || t.starts_with(['.', '-']) || !t.bytes().all(word)) {
        return false;
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 1
        && (parts[0].contains(['.', ':', '['])
            || parts[0] == "localhost"
            || parts[0].bytes().any(|b| b.is_ascii_uppercase()))
    {
        parts.remove(0);
    }
    let path_fits = |p: &&str| {
        let letters =
            p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-'));
        let ends = [p.as_bytes().first(), p.as_bytes().last()];
        letters && ends.iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric))
    };
    name.len() <= 255 && !parts.is_empty() && parts.iter().all(path_fits)
}

fn update(u: &UpdateConfig) -> Result<(), Refusal> {
    if !(0.0..=1.0).contains(&u.max_failure_ratio) {
        return Err(invalid("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1"));
    }
    Ok(())
}

fn endpoint(e: &EndpointSpec) -> Result<(), Refusal> {
    let mut published = BTreeSet::new();
    for p in &e.ports {
        if p.target_port == 0 {
            return Err(invalid("EndpointSpec: target port must be provided"));
        }
        if p.protocol == Protocol::Sctp && p.publish_mode == PublishMode::Ingress {
            let text = "EndpointSpec: the routing mesh carries tcp and udp: publish an sctp port with mode=host";
            return Err(invalid(text));
        }
        if e.mode == ResolutionMode::DnsRr && p.publish_mode == PublishMode::Ingress {
            return Err(invalid("EndpointSpec: port published with ingress mode can't be used with dnsrr mode"));
        }
        if p.published_port != 0 && !published.insert((p.published_port, p.protocol)) {
            return Err(invalid("EndpointSpec: duplicate published ports provided"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_owners_and_labels_are_judged_at_the_door() {
        let refused = |change: &dyn Fn(&mut ServiceSpec)| {
            let container = ContainerSpec { image: "web".into(), ..Default::default() };
            let mut spec = ServiceSpec { name: "web".into(), ..Default::default() };
            spec.task.container = Some(container);
            change(&mut spec);
            service(&spec).err().map(|e| e.message)
        };
        let container = |spec: &mut ServiceSpec, f: &dyn Fn(&mut ContainerSpec)| {
            spec.task.container.as_mut().into_iter().for_each(f);
        };
        assert_eq!(refused(&|s| container(s, &|c| c.hostname = "{{.Node.Hostname}}".into())), None);
        let e = refused(&|s| container(s, &|c| c.env = vec!["A={{.Nope}}".into()])).unwrap();
        assert!(e.contains(".Nope"), "{e}");
        let file = FileTarget { name: "f".into(), uid: "root".into(), ..Default::default() };
        let config = |c: &mut ContainerSpec| {
            let id = model::Id::from_random([1; 17]);
            c.configs = vec![model::ConfigReference { id, name: "conf".into(), file: Some(file.clone()) }];
        };
        let e = refused(&|s| container(s, &config)).unwrap();
        assert!(e.contains("config reference 'conf': uid 'root' is not a number"), "{e}");
        let e = refused(&|s| drop(s.labels.insert("shoal.fence".into(), "maybe".into()))).unwrap();
        assert!(e.contains("maybe"), "{e}");
    }

    #[test]
    fn references_and_names_are_judged_as_docker_does() {
        for good in [
            "redis",
            "redis:7",
            "library/redis",
            "localhost:5000/a/b:tag",
            "ghcr.io/x/y__z@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "a.b/c",
        ] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "Redis", "redis:", "a//b", "a:b:c", "-a", "a@sha256:xyz", "a b"] {
            assert!(!is_reference(bad), "{bad}");
        }
        for good in ["web", "a-b_c", "A1", "a--b"] {
            service_name(good).unwrap();
        }
        for bad in ["", "-a", "a-", "a.b", "a b", &"x".repeat(64)] {
            service_name(bad).unwrap_err();
        }
        assert_eq!(go_float(1e-9), "1e-09");
        assert_eq!(go_float(0.0005), "0.0005");
    }

    #[test]
    fn a_file_s_owner_is_a_number() {
        let file = |uid: &str, gid: &str| {
            Some(FileTarget { name: "key".into(), uid: uid.into(), gid: gid.into(), ..Default::default() })
        };
        let judge = |target| files("secret", std::iter::once(("site.key", &target)));
        for good in [file("", ""), file("0", "0"), file("1000", "4294967294"), None] {
            judge(good).unwrap();
        }
        for (bad, told) in [(file("www", "0"), "uid 'www'"), (file("0", "-1"), "gid '-1'")] {
            let message = judge(bad).unwrap_err().message;
            assert!(message.contains(told) && message.contains("site.key"), "{message}");
        }
    }

    #[test]
    fn a_port_that_the_mesh_cannot_carry_is_refused() {
        let port = |publish_mode| model::PortConfig {
            protocol: Protocol::Sctp,
            target_port: 80,
            publish_mode,
            ..Default::default()
        };
        let spec = |mode| EndpointSpec { ports: vec![port(mode)], ..EndpointSpec::default() };
        assert!(endpoint(&spec(PublishMode::Ingress)).unwrap_err().message.contains("mode=host"));
        endpoint(&spec(PublishMode::Host)).unwrap();
    }
}
