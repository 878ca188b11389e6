//! The Dockerfile instructions that `--change` of import and commit may carry.
use crate::{
    config::{Empty, Healthcheck, RunConfig},
    error::ImageError,
};

fn bad(text: impl Into<String>) -> ImageError {
    ImageError::InvalidArgument(text.into())
}

/// Applies one instruction to a configuration.
pub fn apply(config: &mut RunConfig, line: &str) -> Result<(), ImageError> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let instruction = word.to_ascii_uppercase();
    let needs =
        |least: &str| if rest.is_empty() { Err(bad(format!("{instruction} requires {least}"))) } else { Ok(()) };
    match instruction.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            needs("at least one argument")?;
            for (name, value) in pairs(rest, "ENV")? {
                set_env(&mut config.env, &name, &value);
            }
        }
        "EXPOSE" => {
            needs("at least one argument")?;
            for word in words(rest) {
                for port in expand_port(&word)? {
                    config.exposed_ports.insert(port, Empty {});
                }
            }
        }
        "USER" => {
            needs("exactly one argument")?;
            config.user = rest.to_owned();
        }
        "WORKDIR" => {
            needs("exactly one argument")?;
            let dir = words(rest).into_iter().next().unwrap_or_default();
            config.working_dir = join_dir(&config.working_dir, &dir);
        }
        "VOLUME" => {
            needs("at least one argument")?;
            let paths = json_list(rest).unwrap_or_else(|| words(rest));
            for path in paths {
                if path.trim().is_empty() {
                    return Err(bad("VOLUME specified can not be an empty string"));
                }
                config.volumes.insert(path, Empty {});
            }
        }
        "LABEL" => {
            needs("at least one argument")?;
            config.labels.extend(pairs(rest, "LABEL")?);
        }
        "ONBUILD" => {
            needs("at least one argument")?;
            let trigger = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            match trigger.as_str() {
                "ONBUILD" => return Err(bad("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
                "MAINTAINER" | "FROM" => return Err(bad(format!("{trigger} isn't allowed as an ONBUILD trigger"))),
                _ => config.on_build.push(rest.to_owned()),
            }
        }
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "STOPSIGNAL" => {
            needs("exactly one argument")?;
            config.stop_signal = rest.to_owned();
        }
        "" => return Err(bad("file with no instructions")),
        _ => return Err(bad(format!("{} is not a valid change command", word.to_ascii_lowercase()))),
    }
    Ok(())
}

/// Applies several; the first that is wrong is the error.
pub fn apply_all(config: &mut RunConfig, lines: &[String]) -> Result<(), ImageError> {
    lines.iter().flat_map(|l| l.lines()).filter(|l| !l.trim().is_empty()).try_for_each(|line| apply(config, line))
}

/// Sets or replaces one variable.
pub fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let same = |e: &String| e.split('=').next() == Some(name);
    match env.iter_mut().find(|e| same(e)) {
        Some(old) => *old = entry,
        None => env.push(entry),
    }
}

fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

fn command(text: &str) -> Vec<String> {
    match json_list(text) {
        Some(list) => list,
        None if text.is_empty() => Vec::new(),
        None => vec!["/bin/sh".into(), "-c".into(), text.to_owned()],
    }
}

/// Splits at blanks; quotes and backslashes keep them.
pub(crate) fn words(text: &str) -> Vec<String> {
    let (mut found, mut word, mut inside, mut quote) = (Vec::new(), String::new(), false, None);
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match (c, quote) {
            ('\\', q) if q != Some('\'') => {
                inside = true;
                match letters.next() {
                    // In double quotes a backslash stays unless it protects something.
                    Some(next) => {
                        if q == Some('"') && !matches!(next, '"' | '\\' | '$') {
                            word.push('\\');
                        }
                        word.push(next);
                    }
                    None => word.push('\\'),
                }
            }
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                inside = true;
            }
            (c, None) if c.is_whitespace() => {
                if inside {
                    found.push(std::mem::take(&mut word));
                    inside = false;
                }
            }
            (c, _) => {
                word.push(c);
                inside = true;
            }
        }
    }
    if inside {
        found.push(word);
    }
    found
}

/// `name=value name2="v 2"`, or the old `name value with blanks`.
pub(crate) fn pairs(text: &str, instruction: &str) -> Result<Vec<(String, String)>, ImageError> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let Some((name, value)) = text.split_once(char::is_whitespace) else {
            return Err(bad(format!("{instruction} must have two arguments")));
        };
        return Ok(vec![(name.to_owned(), words(value.trim()).join(" "))]);
    }
    words(text)
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(bad(format!("{instruction} names can not be blank"))),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(bad(format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value"))),
        })
        .collect()
}

fn expand_port(text: &str) -> Result<Vec<String>, ImageError> {
    let wrong = || bad(format!("invalid containerPort: {text}"));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad(format!("invalid proto: {protocol}")));
    }
    // `host:container` exposes the container's side.
    let ports = ports.rsplit(':').next().unwrap_or(ports);
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    let (from, to): (u16, u16) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from > to {
        return Err(wrong());
    }
    Ok((from..=to).map(|p| format!("{p}/{protocol}")).collect())
}

/// A working directory relative to the one before.
pub(crate) fn join_dir(base: &str, dir: &str) -> String {
    let whole = if dir.starts_with('/') { dir.to_owned() } else { format!("/{base}/{dir}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

fn healthcheck(text: &str) -> Result<Healthcheck, ImageError> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (option, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = option.split_once('=').ok_or_else(|| bad(format!("missing a value on flag: {option}")))?;
        let nanos = || parse_duration(value).ok_or_else(|| bad(format!("time: invalid duration {value:?}")));
        match name {
            "interval" => check.interval = nanos()?,
            "timeout" => check.timeout = nanos()?,
            "start-period" => check.start_period = nanos()?,
            "start-interval" => check.start_interval = nanos()?,
            "retries" => {
                check.retries = value
                    .parse()
                    .ok()
                    .filter(|n| *n >= 0)
                    .ok_or_else(|| bad(format!("--retries must be at least 0, not {value:?}")))?
            }
            _ => return Err(bad(format!("unknown flag: {name}"))),
        }
        rest = after.trim_start();
    }
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => check.test = vec!["NONE".into()],
        "NONE" => return Err(bad("HEALTHCHECK NONE takes no arguments")),
        "CMD" if rest.is_empty() => return Err(bad("Missing command after HEALTHCHECK CMD")),
        "CMD" => {
            check.test = match json_list(rest) {
                Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
                None => vec!["CMD-SHELL".into(), rest.to_owned()],
            }
        }
        "" => return Err(bad("HEALTHCHECK requires at least one argument")),
        other => return Err(bad(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    }
    Ok(check)
}

/// Go's durations (`1h30m`, `1.5s`, `300ms`) in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (total < i64::MAX as f64).then_some(if negative { -(total as i64) } else { total as i64 })
}
