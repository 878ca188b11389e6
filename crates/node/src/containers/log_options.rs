//! What `--log-driver` and `--log-opt` ask for: checked when a container is made, worked out when it starts.
use super::Containers;
use super::record::Record;
use regex::bytes::{Regex, RegexBuilder};
use runtime::{LogConfig, LogDriver};
use std::collections::BTreeMap;
use wire::Refusal;
use wire::engine::Map;
use wire::engine::container::LogConfig as Wish;

/// The `local` driver's own limits.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILES: u32 = 5;
/// Docker's buffer of `mode=non-blocking`.
const BUFFER_BYTES: u64 = 1 << 20;

/// The options of a log, understood.
#[derive(Debug, Default)]
struct Options {
    max_size: Option<u64>,
    max_files: Option<u32>,
    compress: Option<bool>,
    labels: Vec<String>,
    labels_regex: Option<Regex>,
    env: Vec<String>,
    env_regex: Option<Regex>,
    tag: String,
    /// What may wait for the log while the container does not.
    buffer_bytes: Option<u64>,
}

/// Refuses a driver that is not here, and options that it does not know, in Docker's words.
pub(super) fn check(log: &Wish) -> Result<(), Refusal> {
    match log.typ.as_str() {
        "none" => Ok(()),
        "" | "json-file" | "local" => {
            check_mode(&log.config)?;
            parse(log).map(drop).map_err(Refusal::invalid)
        }
        other => Err(Refusal::invalid(format!("logger: no log driver named '{other}' is registered"))),
    }
}

fn parse(log: &Wish) -> Result<Options, String> {
    let local = log.typ == "local";
    let mut o = Options::default();
    for (name, value) in &log.config {
        match name.as_str() {
            "mode" => {}
            "max-buffer-size" => {
                let wrong = |e| format!("error parsing option max-buffer-size: {e}");
                o.buffer_bytes = Some(size(value, 1024).map_err(wrong)?.max(1));
            }
            "max-size" => {
                let size = size(value, 1000)?;
                o.max_size = Some(Some(size).filter(|s| *s > 0).ok_or("max-size must be a positive number")?);
            }
            "max-file" => {
                let count = value.parse().map_err(|_| format!("max-file: {value:?} is no number"))?;
                o.max_files = Some(Some(count).filter(|c| *c > 0).ok_or("max-file cannot be less than 1")?);
            }
            "compress" => {
                let told = boolean(value).ok_or_else(|| format!("compress: {value:?} is neither true nor false"))?;
                o.compress = Some(told);
            }
            "labels" if !local => o.labels = list(value),
            "env" if !local => o.env = list(value),
            "labels-regex" if !local => o.labels_regex = regex(name, value)?,
            "env-regex" if !local => o.env_regex = regex(name, value)?,
            "tag" if !local => {
                expand(value, &|_| Some(String::new()))?;
                o.tag.clone_from(value);
            }
            _ if local => return Err(format!("unknown log opt '{name}' for log driver local")),
            _ => return Err(format!("unknown log opt '{name}' for json-file log driver")),
        }
    }
    if log.config.get("mode").is_some_and(|m| m == "non-blocking") {
        o.buffer_bytes.get_or_insert(BUFFER_BYTES);
    }
    let rotates = o.max_files.is_some_and(|n| n > 1) && o.max_size.is_some();
    if !local && o.compress == Some(true) && !rotates {
        return Err("compress cannot be true when max-file is less than 2 or max-size is not set".into());
    }
    if local && o.compress == Some(true) && o.max_files == Some(1) {
        return Err("compression cannot be enabled when max file count is 1".into());
    }
    Ok(o)
}

/// Docker's checks of the mode.
fn check_mode(options: &Map) -> Result<(), Refusal> {
    match options.get("mode").map_or("", String::as_str) {
        "" | "blocking" if options.contains_key("max-buffer-size") => {
            Err(Refusal::invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'"))
        }
        "" | "blocking" | "non-blocking" => Ok(()),
        other => Err(Refusal::invalid(format!("logger: logging mode not supported: {other}"))),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn regex(name: &str, text: &str) -> Result<Option<Regex>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    // As in Go, \w and \d are ASCII's.
    RegexBuilder::new(text).unicode(false).build().map(Some).map_err(|e| format!("{name}: {e}"))
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `10m`, `1.5 GiB`, `3`: with units of 1000 or of 1024, as Docker reads each option.
fn size(text: &str, base: u64) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let number: f64 = lower[..end].parse().map_err(|_| invalid())?;
    let unit = lower[end..].trim_start();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if !unit.starts_with('i') => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(invalid()),
    };
    Ok((number * base.pow(power) as f64) as u64)
}

/// A tag's text, with the fields that Docker's templates have for logs.
fn expand(text: &str, field: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find("}}").ok_or_else(|| format!("template: log-tag: unclosed action in {text:?}"))?;
        let action = rest[at + 2..at + end].trim();
        let value = match action.strip_prefix("index .ContainerLabels ") {
            Some(key) => field(&format!("label {}", key.trim().trim_matches('"'))),
            None if FIELDS.contains(&action) => field(action),
            None => None,
        };
        let value = value.ok_or_else(|| {
            let known = FIELDS.join(", ");
            format!(
                "log opt 'tag': {{{{{action}}}}} is not supported by this engine: it knows {known} and \
                 index .ContainerLabels \"KEY\""
            )
        })?;
        out.push_str(&value);
        rest = &rest[at + end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

const FIELDS: [&str; 15] = [
    ".ID",
    ".FullID",
    ".Name",
    ".ImageID",
    ".ImageFullID",
    ".ImageName",
    ".DaemonName",
    ".Hostname",
    ".Command",
    ".ContainerID",
    ".ContainerName",
    ".ContainerImageID",
    ".ContainerImageName",
    ".ContainerEntrypoint",
    ".LogPath",
];

impl Containers {
    /// Where and how the output of a container is kept.
    pub(super) fn log_config(&self, r: &Record) -> LogConfig {
        let log = &r.host_config.log_config;
        let local = log.typ == "local";
        let driver = match log.typ.as_str() {
            "none" => return LogConfig { driver: LogDriver::None, ..LogConfig::default() },
            "local" => LogDriver::Local,
            _ => LogDriver::JsonFile,
        };
        let dir = Record::dir(&self.inner.base.dir, &r.id);
        let path = if local { dir.join("local-logs/container.log") } else { dir.join(format!("{}-json.log", r.id)) };
        // It was checked when the container was made.
        let o = parse(log).unwrap_or_default();
        let max_files = o.max_files.unwrap_or(if local { LOCAL_FILES } else { 1 });
        let attrs = attributes(&o, r, &path.to_string_lossy());
        LogConfig {
            driver,
            path,
            max_size_bytes: o.max_size.unwrap_or(if local { LOCAL_SIZE } else { 0 }),
            max_files,
            compress: o.compress.unwrap_or(local && max_files > 1),
            buffer_bytes: o.buffer_bytes.unwrap_or(0),
            attrs,
        }
    }
}

/// What travels with each line.
fn attributes(o: &Options, r: &Record, path: &str) -> BTreeMap<String, String> {
    let mut attrs = BTreeMap::new();
    let wanted = |names: &[String], regex: &Option<Regex>, key: &str| {
        names.iter().any(|n| n == key) || regex.as_ref().is_some_and(|re| re.is_match(key.as_bytes()))
    };
    let labels = r.config.labels.iter().filter(|(k, _)| wanted(&o.labels, &o.labels_regex, k));
    attrs.extend(labels.map(|(k, v)| (k.clone(), v.clone())));
    let env = r.config.env.iter().flatten().filter_map(|e| e.split_once('='));
    let env = env.filter(|(k, _)| wanted(&o.env, &o.env_regex, k));
    attrs.extend(env.map(|(k, v)| (k.to_owned(), v.to_owned())));
    if !o.tag.is_empty() {
        let tag = expand(&o.tag, &|field| tag_field(field, r, path)).unwrap_or_else(|_| o.tag.clone());
        attrs.insert("tag".to_owned(), tag);
    }
    attrs
}

fn tag_field(field: &str, r: &Record, path: &str) -> Option<String> {
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let image = r.image_id.strip_prefix("sha256:").unwrap_or(&r.image_id);
    let mut argv = r.config.entrypoint.words().iter().chain(r.config.cmd.words());
    Some(match field {
        ".ID" => short(&r.id),
        ".FullID" | ".ContainerID" => r.id.clone(),
        ".Name" => r.name.trim_start_matches('/').to_owned(),
        ".ContainerName" => format!("/{}", r.name.trim_start_matches('/')),
        ".ImageID" => short(image),
        ".ImageFullID" | ".ContainerImageID" => r.image_id.clone(),
        ".ImageName" | ".ContainerImageName" => r.config.image.clone(),
        ".DaemonName" => "docker".to_owned(),
        ".Hostname" => super::create::hostname(),
        ".Command" => argv.cloned().collect::<Vec<_>>().join(" "),
        ".ContainerEntrypoint" => argv.next().cloned().unwrap_or_default(),
        ".LogPath" => path.to_owned(),
        label => r.config.labels.get(label.strip_prefix("label ")?).cloned().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(driver: &str, options: &[(&str, &str)]) -> Wish {
        let config = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Wish { typ: driver.to_owned(), config }
    }

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        for (driver, options, because) in [
            ("json-file", &[("nope", "x")][..], "unknown log opt 'nope' for json-file log driver"),
            ("local", &[("labels", "a")], "unknown log opt 'labels' for log driver local"),
            ("syslog", &[], "logger: no log driver named 'syslog' is registered"),
            ("json-file", &[("mode", "sometimes")], "logger: logging mode not supported: sometimes"),
            (
                "json-file",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            ("json-file", &[("max-size", "-1")], "invalid size: '-1'"),
            ("json-file", &[("max-size", "0")], "max-size must be a positive number"),
            ("json-file", &[("max-file", "0")], "max-file cannot be less than 1"),
            (
                "json-file",
                &[("compress", "true"), ("max-file", "2")],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            ("json-file", &[("tag", "{{.Nope}}")], "{{.Nope}} is not supported"),
            ("json-file", &[("tag", "{{.ID")], "unclosed action"),
            ("json-file", &[("labels-regex", "(")], "labels-regex: regex parse error"),
        ] {
            let refusal = check(&wish(driver, options)).unwrap_err();
            assert!(refusal.message.contains(because) && refusal.kind.status() == 400, "{refusal:?}");
        }
        check(&wish("none", &[("anything", "goes")])).unwrap();
    }

    #[test]
    fn sizes_have_each_options_own_units() {
        for (text, base, want) in [
            ("10m", 1000, 10_000_000),
            ("10M", 1024, 10 << 20),
            ("1.5kb", 1000, 1500),
            ("2 GiB", 1000, 2_000_000_000),
            ("7", 1000, 7),
        ] {
            assert_eq!(size(text, base).unwrap(), want, "{text}");
        }
        for text in ["", "m", "1x", "1ib", "1.2.3k"] {
            assert!(size(text, 1000).is_err(), "{text}");
        }
    }

    #[test]
    fn the_mode_says_how_much_may_wait() {
        for (options, bytes) in [
            (&[][..], None),
            (&[("mode", "blocking")], None),
            (&[("mode", "non-blocking")], Some(1 << 20)),
            (&[("max-buffer-size", "4m"), ("mode", "non-blocking")], Some(4 << 20)),
        ] {
            let log = wish("local", options);
            check(&log).unwrap();
            assert_eq!(parse(&log).unwrap().buffer_bytes, bytes, "{options:?}");
        }
        let wrong = check(&wish("", &[("max-buffer-size", "much"), ("mode", "non-blocking")])).unwrap_err();
        assert_eq!(wrong.message, "error parsing option max-buffer-size: invalid size: 'much'");
    }

    #[test]
    fn lines_carry_labels_environment_and_tag() {
        let mut r = Record { id: "0123456789abcdef".into(), name: "web".into(), ..Record::default() };
        r.config.image = "shop/web:1".into();
        r.config.labels =
            [("tier", "front"), ("com.x.a", "1"), ("other", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        r.config.env = Some(["OS=ours", "PATH=/bin", "APP_A=b=c"].map(str::to_owned).to_vec());
        let o = parse(&wish(
            "json-file",
            &[
                ("labels", "tier,none"),
                ("labels-regex", r"^com\.\w+"),
                ("env", "OS"),
                ("env-regex", "^APP"),
                ("tag", r#"{{.ImageName}}/{{ .Name }}/{{.ID}}/{{index .ContainerLabels "tier"}}"#),
            ],
        ))
        .unwrap();
        let want = [
            ("APP_A", "b=c"),
            ("OS", "ours"),
            ("com.x.a", "1"),
            ("tag", "shop/web:1/web/0123456789ab/front"),
            ("tier", "front"),
        ];
        assert_eq!(attributes(&o, &r, ""), want.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}
