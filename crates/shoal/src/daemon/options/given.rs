//! What was said, on the command line and in `daemon.json`, before anybody asks whether it makes sense.
use super::directives::{DIRECTIVES, Directive, Meaning, Shape};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// Settings file, unless said otherwise.
pub const CONFIG_FILE: &str = "/etc/docker/daemon.json";

/// Values by setting; lists have several, a switch is `true` or `false`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<&'static str, Vec<String>>);

impl Directive {
    /// Flag, or key if there is no flag: what it is kept under and called in messages.
    pub fn name(&self) -> &'static str {
        if self.flag.is_empty() { self.key } else { self.flag }
    }

    fn is_many(&self) -> bool {
        !matches!(self.shape, Shape::Switch | Shape::Text | Shape::Number)
    }
}

/// The command line that the table makes.
pub fn command() -> Command {
    let mut command = Command::new("shoal daemon")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs containers and takes part in a swarm")
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::Version).help("Print the version"));
    for d in DIRECTIVES.iter().filter(|d| !d.flag.is_empty()) {
        let arg = Arg::new(d.flag).long(d.flag).help(d.help).hide(d.meaning != Meaning::Used);
        let arg = match d.shape {
            Shape::Switch => {
                let arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true").action(ArgAction::Set);
                arg.value_parser(["true", "false", "1", "0"]).hide_possible_values(true).value_name("BOOL")
            }
            Shape::Text => arg.action(ArgAction::Set).value_name("VALUE"),
            Shape::Number => arg.action(ArgAction::Set).value_name("NUMBER").allow_negative_numbers(true),
            _ => arg.action(ArgAction::Append).value_name("VALUE"),
        };
        let arg = if d.is_many() { arg } else { arg.overrides_with(d.flag) };
        command = command.arg(if let Some(short) = d.short { arg.short(short) } else { arg });
    }
    command
}

/// The command line's values.
///
/// # Errors
/// Clap's: an unknown flag, a switch that is neither true nor false, `--help`.
pub fn from_flags(args: Vec<OsString>) -> Result<Given, clap::Error> {
    let matches: ArgMatches = command().try_get_matches_from(args)?;
    let mut given = Given::default();
    for d in DIRECTIVES.iter().filter(|d| !d.flag.is_empty()) {
        let values = matches.get_many::<String>(d.flag).into_iter().flatten();
        let values: Vec<String> = values
            .map(|v| match (d.shape, v.as_str()) {
                (Shape::Switch, "1") => "true".into(),
                (Shape::Switch, "0") => "false".into(),
                _ => v.clone(),
            })
            .collect();
        if !values.is_empty() {
            given.0.insert(d.name(), values);
        }
    }
    Ok(given)
}

/// The file's values under the flags'.
///
/// # Errors
/// In dockerd's words: what stands in both, unknown keys, values of another kind, a file that was asked for and is
/// not there.
pub fn with_file(mut flags: Given) -> Result<Given, String> {
    let asked = flags.text("config-file").map(str::to_owned);
    let path = asked.clone().unwrap_or_else(|| CONFIG_FILE.to_owned());
    let failed = |why: String| format!("unable to configure the Docker daemon with file {path}: {why}");
    let text = match std::fs::read_to_string(Path::new(&path)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && asked.is_none() => return Ok(flags),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(failed(format!("open {path}: no such file or directory")));
        }
        Err(e) => return Err(failed(e.to_string())),
    };
    let file = parse(text.trim_start_matches('\u{feff}')).map_err(failed)?;
    // What is only added up may stand in both.
    let both = |name: &&&'static str| !matches!(**name, "node-generic-resource" | "add-runtime");
    let conflicts: Vec<String> = file
        .0
        .keys()
        .filter(both)
        .filter_map(|name| {
            let flag = flags.0.get(name)?;
            let d = DIRECTIVES.iter().find(|d| d.name() == *name)?;
            let show = |values: &[String]| {
                let text = values.join(" ");
                if d.is_many() { format!("[{text}]") } else { text }
            };
            Some(format!("{}: (from flag: {}, from file: {})", d.key, show(flag), show(&file.0[name])))
        })
        .collect();
    if !conflicts.is_empty() {
        return Err(failed(format!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            conflicts.join(", ")
        )));
    }
    for (name, mut values) in file.0 {
        flags.0.entry(name).or_default().append(&mut values);
    }
    Ok(flags)
}

/// Reads a `daemon.json`.
fn parse(text: &str) -> Result<Given, String> {
    if text.trim().is_empty() {
        return Ok(Given::default());
    }
    let all: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let (mut given, mut unknown, mut wrong) = (Given::default(), Vec::new(), Vec::new());
    for (key, value) in &all {
        let Some(d) = DIRECTIVES.iter().find(|d| !d.key.is_empty() && d.key == key) else {
            unknown.push(key.as_str());
            continue;
        };
        match values(d, value) {
            Some(values) if values.is_empty() => {}
            Some(values) => drop(given.0.insert(d.name(), values)),
            None => wrong.push(format!("{key}: {value} is not {}", expected(d.shape))),
        }
    }
    if !unknown.is_empty() {
        return Err(format!("the following directives don't match any configuration option: {}", unknown.join(", ")));
    }
    if wrong.is_empty() { Ok(given) } else { Err(wrong.join("; ")) }
}

/// A value of the file as the flag would say it.
fn values(d: &Directive, value: &Value) -> Option<Vec<String>> {
    let scalar = |v: &Value| match v {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    };
    let object = |v: &Value, f: &dyn Fn(&str, &Value) -> Option<Vec<String>>| -> Option<Vec<String>> {
        let all: Option<Vec<Vec<String>>> = v.as_object()?.iter().map(|(k, v)| f(k, v)).collect();
        all.map(|a| a.concat())
    };
    match d.shape {
        Shape::Switch => value.as_bool().map(|b| vec![b.to_string()]),
        Shape::Text => scalar(value).map(|t| if t.is_empty() { Vec::new() } else { vec![t] }),
        Shape::Number => value.as_i64().map(|n| vec![n.to_string()]),
        Shape::List => value.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
        Shape::Pairs => object(value, &|k, v| Some(vec![format!("{k}={}", scalar(v)?)])),
        Shape::Pools => {
            let pool = |v: &Value| Some(format!("base={},size={}", v["base"].as_str()?, v["size"].as_u64()?));
            value.as_array()?.iter().map(pool).collect()
        }
        Shape::Ulimits => object(value, &|k, v| {
            let name = v["Name"].as_str().unwrap_or(k);
            Some(vec![format!("{name}={}:{}", v["Soft"].as_i64()?, v["Hard"].as_i64()?)])
        }),
        Shape::NetworkOptions => object(value, &|driver, options| {
            let options = options.as_object()?.iter();
            options.map(|(k, v)| Some(format!("{driver}={k}={}", scalar(v)?))).collect()
        }),
        Shape::Object => value.as_object().map(|o| o.keys().cloned().collect()),
    }
}

fn expected(shape: Shape) -> &'static str {
    match shape {
        Shape::Switch => "true or false",
        Shape::Text => "a string",
        Shape::Number => "a whole number",
        Shape::List => "a list of strings",
        Shape::Pools => "a list of {\"base\": CIDR, \"size\": N}",
        Shape::Ulimits => "an object of {\"Name\", \"Soft\", \"Hard\"}",
        Shape::Pairs | Shape::NetworkOptions | Shape::Object => "an object",
    }
}

impl Given {
    /// The last value.
    pub fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(DIRECTIVES.iter().any(|d| d.name() == name), "no setting is called {name}");
        self.0.get(name)?.last().map(String::as_str)
    }

    /// All values.
    pub fn list(&self, name: &str) -> &[String] {
        debug_assert!(DIRECTIVES.iter().any(|d| d.name() == name), "no setting is called {name}");
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// A switch.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).map(|v| v == "true")
    }

    /// What cannot be honoured, and what is taken without effect, each with its reason.
    pub fn judge(&self) -> (Vec<String>, Vec<String>) {
        let (mut wrong, mut idle) = (Vec::new(), Vec::new());
        for d in DIRECTIVES {
            for value in self.list(d.name()) {
                let said = if d.flag.is_empty() { format!("\"{}\"", d.key) } else { format!("--{}={value}", d.flag) };
                match d.meaning {
                    Meaning::Refused(why) => wrong.push(format!("{said} is not supported: {why}")),
                    Meaning::Only(allowed, why) if !allowed.contains(&value.as_str()) => {
                        wrong.push(format!("{said} is not supported, only {}: {why}", allowed.join(" or ")));
                    }
                    Meaning::Nothing(why) => idle.push(format!("{said} changes nothing: {why}")),
                    _ => {}
                }
            }
        }
        (wrong, idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> Given {
        from_flags(std::iter::once(&"dockerd").chain(words).map(OsString::from).collect()).unwrap()
    }

    #[test]
    fn the_table_makes_a_command_line() {
        command().debug_assert();
        let mut names: Vec<&str> = DIRECTIVES.iter().map(Directive::name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn switches_need_an_equals_sign_and_lists_add_up() {
        let g = flags(&["--debug", "--iptables=false", "-H", "unix:///a", "-Hunix:///b", "--mtu=1400", "-b", "none"]);
        assert_eq!((g.switch("debug"), g.switch("iptables"), g.switch("icc")), (Some(true), Some(false), None));
        assert_eq!(g.list("host"), ["unix:///a", "unix:///b"]);
        assert_eq!((g.text("mtu"), g.text("bridge")), (Some("1400"), Some("none")));
        let unknown = from_flags(["dockerd", "--no-such-flag"].map(OsString::from).into());
        assert!(unknown.is_err());
        assert!(from_flags(["dockerd", "--debug=perhaps"].map(OsString::from).into()).is_err());
    }

    #[test]
    fn the_file_says_it_in_json() {
        let g = parse(
            r#"{"debug": true, "labels": ["a=b"], "log-opts": {"max-size": "10m", "max-file": 3}, "mtu": 1400,
                "default-address-pools": [{"base": "10.5.0.0/16", "size": 24}], "hosts": [], "data-root": "",
                "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 1024}},
                "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1234"}},
                "features": {"buildkit": false}}"#,
        )
        .unwrap();
        assert_eq!(g.list("log-opt"), ["max-file=3", "max-size=10m"]);
        assert_eq!(g.list("default-address-pool"), ["base=10.5.0.0/16,size=24"]);
        assert_eq!(g.list("default-ulimit"), ["nofile=1024:64000"]);
        assert_eq!(g.list("default-network-opt"), ["bridge=com.docker.network.driver.mtu=1234"]);
        assert_eq!((g.text("mtu"), g.text("data-root"), g.list("host").len()), (Some("1400"), None, 0));
        let e = parse(r#"{"nonsense": 1, "more": 2}"#).unwrap_err();
        assert_eq!(e, "the following directives don't match any configuration option: more, nonsense");
        assert!(parse(r#"{"debug": "yes"}"#).unwrap_err().contains("true or false"));
    }

    #[test]
    fn what_stands_in_both_is_dockerds_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.json");
        std::fs::write(&path, r#"{"labels": ["c=d"], "debug": true, "icc": false}"#).unwrap();
        let file = path.to_str().unwrap();
        let e = with_file(flags(&["--label", "a=b", "--debug=false", "--config-file", file])).unwrap_err();
        assert_eq!(
            e,
            format!(
                "unable to configure the Docker daemon with file {file}: the following directives are specified both \
                 as a flag and in the configuration file: debug: (from flag: false, from file: true), \
                 labels: (from flag: [a=b], from file: [c=d])"
            )
        );
        let g = with_file(flags(&["--config-file", file])).unwrap();
        assert_eq!((g.switch("icc"), g.list("label")), (Some(false), &["c=d".to_owned()][..]));
        let e = with_file(flags(&["--config-file", "/nonexistent/d.json"])).unwrap_err();
        assert!(e.ends_with("open /nonexistent/d.json: no such file or directory"), "{e}");
    }

    #[test]
    fn what_cannot_be_honoured_is_said_and_what_means_nothing_too() {
        let (wrong, idle) =
            flags(&["--storage-driver", "zfs", "--userns-remap", "me", "--userland-proxy=false"]).judge();
        assert!(wrong.iter().any(|w| w.contains("storage-driver=zfs")) && wrong.iter().any(|w| w.contains("userns")));
        assert_eq!((wrong.len(), idle.len()), (2, 1));
        assert!(flags(&["-s", "overlay2", "--exec-opt", "native.cgroupdriver=cgroupfs"]).judge().0.is_empty());
    }

    #[test]
    fn every_setting_is_documented() {
        let doc = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/daemon.md")).unwrap();
        for d in DIRECTIVES {
            let name = if d.flag.is_empty() { format!("`{}`", d.key) } else { format!("`--{}`", d.flag) };
            assert!(doc.contains(&name), "docs/daemon.md does not name {name}");
        }
    }
}
