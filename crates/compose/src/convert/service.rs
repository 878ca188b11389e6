//! One service.
use super::{Declared, depends, deploy, environment, file_object, labelled, mount, network, port, scoped, security};
use crate::read::At;
use crate::{ComposeError, LABEL_IMAGE, Stack, StackService, Surroundings};
use model::{
    ContainerSpec, DnsConfig, EndpointSpec, HealthConfig, LogDriver, Mount, MountKind, ResolutionMode, ServiceSpec,
    TaskSpec, Ulimit,
};
use std::time::Duration;

type Read<T> = Result<T, ComposeError>;

pub(super) fn convert(
    name: &str,
    at: &At<'_>,
    declared: &Declared<'_>,
    around: &Surroundings<'_>,
    stack: &mut Stack,
) -> Read<StackService> {
    if !at.value.is_mapping() {
        return at.shape("must be a mapping");
    }
    let image = text(at, "image")?;
    if image.is_empty() {
        return at.wrong(format!("invalid image reference for service {name}: no image specified"));
    }
    let deploy = at.get("deploy");
    let mode = deploy::mode(deploy.as_ref())?;
    let mut labels = labelled(around, deploy::labels(deploy.as_ref())?);
    labels.insert(LABEL_IMAGE.to_owned(), image.clone());
    let endpoint = EndpointSpec { mode: endpoint_mode(deploy.as_ref())?, ports: port::all(at.get("ports").as_ref())? };
    let container = container(at, image, declared, around, stack)?;
    let networks = network::uses(name, at, &declared.networks, around, stack)?;
    let spec = ServiceSpec {
        name: scoped(around, name),
        labels,
        task: TaskSpec {
            container: Some(container),
            resources: deploy::resources(deploy.as_ref())?,
            restart: deploy::restart(at, deploy.as_ref())?,
            placement: deploy::placement(deploy.as_ref())?,
            log_driver: logging(at)?,
            runtime: "container".into(),
            ..TaskSpec::default()
        },
        mode,
        update: deploy::update(deploy.as_ref(), "update_config")?,
        rollback: deploy::update(deploy.as_ref(), "rollback_config")?,
        endpoint: Some(endpoint),
    };
    Ok(StackService {
        spec,
        networks,
        depends_on: depends::all(at)?,
        secrets: file_object::uses(at.get("secrets").as_ref(), &declared.secrets, "secret", around)?,
        configs: file_object::uses(at.get("configs").as_ref(), &declared.configs, "config", around)?,
    })
}

fn container(
    at: &At<'_>,
    image: String,
    declared: &Declared<'_>,
    around: &Surroundings<'_>,
    stack: &mut Stack,
) -> Read<ContainerSpec> {
    let mut mounts = mount::all(at.get("volumes").as_ref(), &declared.volumes, around, stack)?;
    mounts.extend(tmpfs(at)?);
    if let Some(credentials) = at.get("credential_spec") {
        stack.warnings.push(format!("Ignoring unsupported options: {} (Windows only)", credentials.path));
    }
    Ok(ContainerSpec {
        image,
        labels: labelled(around, at.get("labels").map(|l| l.labels()).transpose()?.unwrap_or_default()),
        command: command(at, "entrypoint")?,
        args: command(at, "command")?,
        hostname: text(at, "hostname")?,
        env: environment::all(at, around)?,
        dir: text(at, "working_dir")?,
        user: text(at, "user")?,
        privileges: security::privileges(at, around)?,
        init: at.get("init").map(|v| v.flag()).transpose()?,
        stop_signal: text(at, "stop_signal")?,
        tty: flag(at, "tty")?,
        open_stdin: flag(at, "stdin_open")?,
        read_only: flag(at, "read_only")?,
        mounts,
        stop_grace_period: at.get("stop_grace_period").map(|v| v.duration()).transpose()?,
        healthcheck: at.get("healthcheck").map(|h| healthcheck(&h)).transpose()?,
        hosts: hosts(at)?,
        dns: dns(at)?,
        sysctls: at
            .get("sysctls")
            .map(|s| s.pairs('='))
            .transpose()?
            .unwrap_or_default()
            .into_iter()
            .map(|(k, v)| (k, v.unwrap_or_default()))
            .collect(),
        capability_add: capabilities(at, "cap_add")?,
        capability_drop: capabilities(at, "cap_drop")?,
        ulimits: ulimits(at)?,
        oom_score_adj: at.get("oom_score_adj").map(|v| v.whole()).transpose()?.unwrap_or_default(),
        isolation: text(at, "isolation")?,
        ..ContainerSpec::default()
    })
}

fn text(at: &At<'_>, key: &str) -> Read<String> {
    Ok(at.get(key).map(|v| v.text()).transpose()?.unwrap_or_default())
}

fn flag(at: &At<'_>, key: &str) -> Read<bool> {
    Ok(at.get(key).map(|v| v.flag()).transpose()?.unwrap_or_default())
}

/// A list is taken as it is; a text is split as a shell would.
fn command(at: &At<'_>, key: &str) -> Read<Vec<String>> {
    let Some(at) = at.get(key) else { return Ok(Vec::new()) };
    if at.value.is_sequence() {
        return at.text_list();
    }
    let text = at.text()?;
    split_words(&text).map_or_else(|| at.wrong("EOF found when expecting closing quote"), Ok)
}

/// Words, quotes and backslashes as in a POSIX shell, without expansions. `None`: a quote is not closed.
pub(super) fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            '\n' => {}
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            '#' if word.is_none() => break,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

fn healthcheck(at: &At<'_>) -> Read<HealthConfig> {
    let test = match at.get("test") {
        None => Vec::new(),
        Some(test) if test.value.is_sequence() => {
            let list = test.text_list()?;
            match list.first().map(String::as_str) {
                None | Some("NONE" | "CMD" | "CMD-SHELL") => list,
                Some(_) => return test.wrong("when the test is a list, its first item must be NONE, CMD or CMD-SHELL"),
            }
        }
        Some(test) => vec!["CMD-SHELL".to_owned(), test.text()?],
    };
    if flag(at, "disable")? {
        if !test.is_empty() {
            return at.wrong("test and disable can't be set at the same time");
        }
        return Ok(HealthConfig { test: vec!["NONE".into()], ..HealthConfig::default() });
    }
    let duration =
        |key: &str| -> Read<Duration> { Ok(at.get(key).map(|v| v.duration()).transpose()?.unwrap_or_default()) };
    Ok(HealthConfig {
        test,
        interval: duration("interval")?,
        timeout: duration("timeout")?,
        start_period: duration("start_period")?,
        start_interval: duration("start_interval")?,
        retries: at.get("retries").map(|v| v.count()).transpose()?.unwrap_or_default(),
    })
}

fn logging(at: &At<'_>) -> Read<Option<LogDriver>> {
    let Some(at) = at.get("logging") else { return Ok(None) };
    let options = at.get("options").map(|o| o.text_map()).transpose()?.unwrap_or_default();
    Ok(Some(LogDriver { name: text(&at, "driver")?, options }))
}

/// `name:address` (or `name=address`) → a line for /etc/hosts.
fn hosts(at: &At<'_>) -> Read<Vec<String>> {
    let Some(at) = at.get("extra_hosts") else { return Ok(Vec::new()) };
    let mut hosts = Vec::new();
    if at.value.is_mapping() {
        for (name, address) in at.pairs(':')? {
            hosts.push((name, address.unwrap_or_default()));
        }
    } else {
        for item in at.items()? {
            let text = item.text()?;
            let split = text.split_once('=').or_else(|| text.split_once(':'));
            match split {
                Some((name, address)) => hosts.push((name.to_owned(), address.to_owned())),
                None => return item.wrong(format!("bad format for add-host: \"{text}\"")),
            }
        }
    }
    Ok(hosts
        .into_iter()
        .filter(|(name, address)| !name.is_empty() && !address.is_empty())
        .map(|(name, address)| format!("{} {name}", address.trim_start_matches('[').trim_end_matches(']')))
        .collect())
}

fn dns(at: &At<'_>) -> Read<Option<DnsConfig>> {
    let list = |key: &str| -> Read<Vec<String>> { Ok(at.get(key).map(|v| v.texts()).transpose()?.unwrap_or_default()) };
    let dns = DnsConfig { nameservers: list("dns")?, search: list("dns_search")?, options: Vec::new() };
    Ok((dns != DnsConfig::default()).then_some(dns))
}

/// `net_admin` → `CAP_NET_ADMIN`, sorted, each once.
fn capabilities(at: &At<'_>, key: &str) -> Read<Vec<String>> {
    let Some(at) = at.get(key) else { return Ok(Vec::new()) };
    let mut all: Vec<String> = at
        .text_list()?
        .into_iter()
        .map(|c| {
            let upper = c.trim().to_uppercase();
            if upper == "ALL" || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
        })
        .collect();
    all.sort();
    all.dedup();
    Ok(all)
}

fn ulimits(at: &At<'_>) -> Read<Vec<Ulimit>> {
    let Some(at) = at.get("ulimits") else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (name, limit) in at.entries()? {
        let (soft, hard) = if limit.value.is_mapping() {
            match (limit.get("soft"), limit.get("hard")) {
                (Some(soft), Some(hard)) => (soft.whole()?, hard.whole()?),
                _ => return limit.shape("must have both soft and hard"),
            }
        } else {
            let both = limit.whole()?;
            (both, both)
        };
        all.push(Ulimit { name, hard, soft });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The short `tmpfs` key: `/run` or `/run:size=64m,mode=1777`.
fn tmpfs(at: &At<'_>) -> Read<Vec<Mount>> {
    let Some(at) = at.get("tmpfs") else { return Ok(Vec::new()) };
    let mut mounts = Vec::new();
    for text in at.texts()? {
        let (target, options) = text.split_once(':').unwrap_or((&text, ""));
        if !target.starts_with('/') {
            return at.wrong(format!("invalid tmpfs target \"{target}\": mount path must be absolute"));
        }
        let mut mount = Mount { kind: MountKind::Tmpfs, target: target.to_owned(), ..Mount::default() };
        for option in options.split(',').filter(|o| !o.is_empty()) {
            match option.split_once('=') {
                Some(("size", size)) => match crate::amount::bytes(size) {
                    Some(bytes) => mount.tmpfs_size_bytes = bytes,
                    None => return at.wrong(format!("invalid size: '{size}'")),
                },
                Some(("mode", mode)) => match u32::from_str_radix(mode, 8) {
                    Ok(mode) => mount.tmpfs_mode = mode,
                    Err(_) => return at.wrong(format!("invalid tmpfs mode \"{mode}\"")),
                },
                None if option == "ro" => mount.read_only = true,
                _ => {}
            }
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

fn endpoint_mode(deploy: Option<&At<'_>>) -> Read<ResolutionMode> {
    let Some(at) = deploy.and_then(|d| d.get("endpoint_mode")) else { return Ok(ResolutionMode::Vip) };
    match at.text()?.as_str() {
        "" | "vip" => Ok(ResolutionMode::Vip),
        "dnsrr" => Ok(ResolutionMode::DnsRr),
        other => at.wrong(format!("unknown endpoint mode: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::split_words;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let table: [(&str, &[&str]); 7] = [
            ("", &[]),
            ("a b  c", &["a", "b", "c"]),
            ("sh -c 'echo \"x y\"'", &["sh", "-c", "echo \"x y\""]),
            ("a\\ b \"c d\" e''f", &["a b", "c d", "ef"]),
            ("\"a\\\"b\\n\"", &["a\"b\\n"]),
            ("a '' b", &["a", "", "b"]),
            ("a # b", &["a"]),
        ];
        for (text, words) in table {
            assert_eq!(split_words(text).unwrap(), words, "{text}");
        }
        assert_eq!(split_words("a 'b"), None);
    }
}
