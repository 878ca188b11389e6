//! Instructions with their meaning.
use crate::{duration, expand, split};

/// `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The line as it was written.
    pub text: String,
    /// Image, earlier stage or `scratch`; variables are not replaced.
    pub base: String,
    /// `AS name`, in small letters; empty without one.
    pub name: String,
    /// `--platform`; variables are not replaced.
    pub platform: String,
    /// Its instructions.
    pub steps: Vec<Step>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line as it was written.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

/// What a step says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`.
    Add(Sources),
    /// `ARG`: names, and defaults where they have some.
    Arg(Vec<(String, Option<String>)>),
    /// `CMD`.
    Cmd(Command),
    /// `COPY`.
    Copy(Sources),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`.
    Env(Vec<(String, String)>),
    /// `EXPOSE`: `80`, `80/udp`, `8000-8010`.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Health),
    /// `LABEL`.
    Label(Vec<(String, String)>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the instruction's text.
    OnBuild(String),
    /// `RUN`, with the names of its flags.
    Run(Command, Vec<String>),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// For the shell.
    Shell(String),
    /// `["program", "argument"]`.
    Exec(Vec<String>),
}

/// What `ADD` and `COPY` take, and where they put it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Paths, patterns, and for `ADD` URLs.
    pub sources: Vec<String>,
    /// Where to.
    pub destination: String,
    /// `--from`: a stage or an image.
    pub from: String,
    /// `--chown`.
    pub chown: String,
    /// Flags that only the other builder has.
    pub unsupported: Vec<String>,
}

/// `HEALTHCHECK`; times in nanoseconds, 0: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// Between checks.
    pub interval: i64,
    /// For one check.
    pub timeout: i64,
    /// Grace at the start.
    pub start_period: i64,
    /// Between checks in the grace.
    pub start_interval: i64,
    /// Failures until unhealthy.
    pub retries: i64,
}

const NAMES: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl Stage {
    pub(crate) fn parse(line: &str, escape: char) -> Result<Self, String> {
        let parts = split::parts(line, escape);
        let platform = one_flag(&parts.flags, "platform")?;
        let words = split::blanks(parts.rest);
        let (base, name) = match &words[..] {
            [base] => (base.clone(), String::new()),
            [base, word, name] if word.eq_ignore_ascii_case("as") => (base.clone(), stage_name(name)?),
            _ => return Err("FROM requires either one or three arguments".into()),
        };
        Ok(Self { text: line.trim().to_owned(), base, name, platform, steps: Vec::new() })
    }
}

fn stage_name(text: &str) -> Result<String, String> {
    let name = text.to_lowercase();
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    if fits {
        return Ok(name);
    }
    Err(format!("invalid name for build stage: {text:?}, name can't start with a number or contain symbols"))
}

impl Step {
    /// Reads one instruction, not `FROM`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str, escape: char) -> Result<Self, String> {
        let instruction = Instruction::parse(line, escape)?;
        Ok(Self { text: line.trim().to_owned(), instruction })
    }

    /// `LABEL key=value` as `--label` adds it: nothing in it is replaced.
    pub fn label(key: &str, value: &str) -> Self {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "'\"'\"'"));
        let pair = (quote(key), quote(value));
        Self { text: format!("LABEL {key}={value}"), instruction: Instruction::Label(vec![pair]) }
    }
}

impl Instruction {
    fn parse(line: &str, escape: char) -> Result<Self, String> {
        let parts = split::parts(line, escape);
        let name = parts.word.to_ascii_uppercase();
        let (rest, flags) = (parts.rest, &parts.flags);
        let own_flags = matches!(name.as_str(), "ADD" | "COPY" | "RUN" | "HEALTHCHECK" | "FROM");
        let text = |what: &str| match rest {
            "" => Err(format!("{name} requires {what}")),
            rest => Ok(rest.to_owned()),
        };
        if let (Some(flag), false) = (flags.first(), own_flags)
            && NAMES.contains(&name.as_str())
        {
            // These may be part of the text.
            if !matches!(name.as_str(), "CMD" | "ENTRYPOINT" | "ONBUILD" | "LABEL" | "MAINTAINER" | "ENV" | "ARG") {
                return Err(format!("unknown flag: {}", flag_name(flag)));
            }
        }
        Ok(match name.as_str() {
            "ADD" => Self::Add(sources("ADD", rest, flags)?),
            "COPY" => Self::Copy(sources("COPY", rest, flags)?),
            "ARG" => {
                text("at least one argument")?;
                let one = |word: String| match word.split_once('=') {
                    Some(("", _)) => Err("ARG names can not be blank".to_owned()),
                    Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
                    None => Ok((word, None)),
                };
                Self::Arg(split::words(rest, escape).into_iter().map(one).collect::<Result<_, _>>()?)
            }
            "CMD" => Self::Cmd(command(rest_of(line))?),
            "ENTRYPOINT" => Self::Entrypoint(command(rest_of(line))?),
            "ENV" => Self::Env(split::pairs(rest_of(line), "ENV", escape)?),
            "EXPOSE" => Self::Expose(split::blanks(&text("at least one argument")?)),
            "HEALTHCHECK" => Self::Healthcheck(healthcheck(rest, flags)?),
            "LABEL" => Self::Label(split::pairs(rest_of(line), "LABEL", escape)?),
            "MAINTAINER" => match rest_of(line) {
                "" => return Err("MAINTAINER requires exactly one argument".into()),
                who => Self::Maintainer(who.to_owned()),
            },
            "ONBUILD" => Self::OnBuild(trigger(rest_of(line), escape)?),
            "RUN" => {
                text("at least one argument")?;
                Self::Run(command(rest)?, flags.iter().map(|f| flag_name(f).to_owned()).collect())
            }
            "SHELL" => match split::json_list(rest)? {
                Some(list) if !list.is_empty() => Self::Shell(list),
                _ if rest.is_empty() || rest.starts_with('[') => {
                    return Err("SHELL requires at least one argument".into());
                }
                _ => return Err(format!("SHELL requires the arguments to be in JSON form: {}", line.trim())),
            },
            "STOPSIGNAL" => Self::StopSignal(text("exactly one argument")?),
            "USER" => Self::User(text("exactly one argument")?),
            "VOLUME" => {
                let text = text("at least one argument")?;
                let paths = split::json_list(&text)?.unwrap_or_else(|| split::blanks(&text));
                if paths.is_empty() {
                    return Err("VOLUME requires at least one argument".into());
                }
                if paths.iter().any(|p| p.trim().is_empty()) {
                    return Err("VOLUME specified can not be an empty string".into());
                }
                Self::Volume(paths.into_iter().map(|p| p.trim().to_owned()).collect())
            }
            "WORKDIR" => Self::Workdir(text("exactly one argument")?),
            "FROM" => return Err("FROM is not allowed here".into()),
            _ => return Err(unknown(parts.word)),
        })
    }

    /// Replaces variables where this instruction has some.
    ///
    /// # Errors
    /// As [`expand::word`].
    pub fn expand(&mut self, escape: char, values: expand::Lookup<'_>) -> Result<(), String> {
        let replace = |text: &mut String| {
            *text = expand::word(text, escape, values)?;
            Ok::<(), String>(())
        };
        match self {
            Self::Env(pairs) | Self::Label(pairs) => {
                for (name, value) in pairs {
                    replace(name)?;
                    replace(value)?;
                }
            }
            Self::Arg(all) => {
                for (name, default) in all {
                    replace(name)?;
                    default.as_mut().map_or(Ok(()), replace)?;
                }
            }
            Self::Add(s) | Self::Copy(s) => {
                replace(&mut s.chown)?;
                replace(&mut s.destination)?;
                s.sources.iter_mut().try_for_each(replace)?;
            }
            Self::Expose(ports) => {
                let mut all = Vec::new();
                for port in &*ports {
                    all.extend(expand::words(port, escape, values)?);
                }
                all.sort();
                *ports = all;
            }
            Self::Volume(all) => all.iter_mut().try_for_each(replace)?,
            Self::StopSignal(text) | Self::User(text) | Self::Workdir(text) => replace(text)?,
            Self::Cmd(_)
            | Self::Entrypoint(_)
            | Self::Healthcheck(_)
            | Self::Maintainer(_)
            | Self::OnBuild(_)
            | Self::Run(..)
            | Self::Shell(_) => {}
        }
        Ok(())
    }
}

/// All behind the first word; what looks like a flag is part of it.
fn rest_of(line: &str) -> &str {
    line.trim().split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim())
}

fn command(text: &str) -> Result<Command, String> {
    Ok(match split::json_list(text)? {
        Some(list) => Command::Exec(list),
        None => Command::Shell(text.to_owned()),
    })
}

fn flag_name(flag: &str) -> &str {
    let name = flag.trim_start_matches('-');
    name.split('=').next().unwrap_or(name)
}

/// The value of the only flag that is known.
fn one_flag(flags: &[String], known: &str) -> Result<String, String> {
    let mut value = String::new();
    for flag in flags {
        if flag_name(flag) != known {
            return Err(format!("unknown flag: {}", flag_name(flag)));
        }
        value = flag_value(flag)?.to_owned();
    }
    Ok(value)
}

fn flag_value(flag: &str) -> Result<&str, String> {
    flag.split_once('=').map(|(_, v)| v).ok_or_else(|| format!("missing a value on flag: {}", flag_name(flag)))
}

fn sources(name: &str, rest: &str, flags: &[String]) -> Result<Sources, String> {
    let mut words = split::json_list(rest)?.unwrap_or_else(|| split::blanks(rest));
    let mut all = Sources::default();
    for flag in flags {
        match flag_name(flag) {
            "chown" => all.chown = flag_value(flag)?.to_owned(),
            "from" if name == "COPY" => all.from = flag_value(flag)?.to_owned(),
            other @ ("chmod" | "link" | "exclude") => all.unsupported.push(other.to_owned()),
            other @ "parents" if name == "COPY" => all.unsupported.push(other.to_owned()),
            other @ ("keep-git-dir" | "checksum" | "unpack") if name == "ADD" => all.unsupported.push(other.to_owned()),
            other => return Err(format!("unknown flag: {other}")),
        }
    }
    match (words.pop(), words.is_empty()) {
        (Some(destination), false) => Ok(Sources { sources: words, destination, ..all }),
        _ => Err(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        )),
    }
}

fn healthcheck(rest: &str, flags: &[String]) -> Result<Health, String> {
    let mut check = Health::default();
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    for flag in flags {
        let value = flag_value(flag);
        let nanos = |value: Result<&str, String>| {
            let value = value?;
            let nanos = duration::parse(value).ok_or_else(|| format!("time: invalid duration {value:?}"))?;
            if nanos != 0 && nanos < 1_000_000 {
                return Err(format!("Interval {:?} cannot be less than 1ms", flag_name(flag)));
            }
            Ok(nanos)
        };
        match flag_name(flag) {
            "interval" => check.interval = nanos(value)?,
            "timeout" => check.timeout = nanos(value)?,
            "start-period" => check.start_period = nanos(value)?,
            "start-interval" => check.start_interval = nanos(value)?,
            "retries" => {
                let value = value?;
                let number: i32 = value.parse().map_err(|_| format!("--retries: {value:?} is not a number"))?;
                if number < 0 {
                    return Err(format!("--retries cannot be negative ({number})"));
                }
                check.retries = number.into();
            }
            other => return Err(format!("unknown flag: {other}")),
        }
    }
    check.test = match (kind.to_ascii_uppercase().as_str(), rest) {
        ("", _) => return Err("HEALTHCHECK requires at least one argument".into()),
        ("NONE", "") => vec!["NONE".into()],
        ("NONE", _) => return Err("HEALTHCHECK NONE takes no arguments".into()),
        ("CMD", rest) => match command(rest)? {
            Command::Shell(text) if text.is_empty() => return Err("Missing command after HEALTHCHECK CMD".into()),
            Command::Exec(list) if list.is_empty() => return Err("Missing command after HEALTHCHECK CMD".into()),
            Command::Shell(text) => vec!["CMD-SHELL".into(), text],
            Command::Exec(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
        },
        (other, _) => return Err(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")),
    };
    Ok(check)
}

/// Checked now, so that the mistake is not found in somebody else's build.
fn trigger(text: &str, escape: char) -> Result<String, String> {
    let word = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match word.as_str() {
        "" => return Err("ONBUILD requires at least one argument".into()),
        "ONBUILD" => return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".into()),
        "MAINTAINER" | "FROM" => return Err(format!("{word} isn't allowed as an ONBUILD trigger")),
        _ => {}
    }
    Instruction::parse(text, escape)?;
    Ok(text.to_owned())
}

fn unknown(word: &str) -> String {
    const DISTANCE_MAX: usize = 2;
    let upper = word.to_ascii_uppercase();
    let near = NAMES.iter().map(|n| (distance(n, &upper), n)).min().filter(|(d, _)| *d <= DISTANCE_MAX);
    match near {
        Some((_, name)) => format!("unknown instruction: {word} (did you mean {name}?)"),
        None => format!("unknown instruction: {word}"),
    }
}

/// How many letters must be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    const LENGTH_MAX: usize = 20;
    if a.len() > LENGTH_MAX || b.len() > LENGTH_MAX {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
