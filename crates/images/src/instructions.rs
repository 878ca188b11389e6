//! Dockerfile instructions that change only a configuration: in builds, and as `--change` of import and commit.
use crate::{
    config::{Empty, Healthcheck, RunConfig},
    error::ImageError,
};
use dockerfile::{Command, Instruction, Step};

fn bad(text: impl Into<String>) -> ImageError {
    ImageError::InvalidArgument(text.into())
}

/// Applies several `--change` instructions; the first that is wrong is the error.
pub fn apply_all(config: &mut RunConfig, lines: &[String]) -> Result<(), ImageError> {
    let mut cmd_set = false;
    for line in lines.iter().flat_map(|l| l.lines()).map(str::trim).filter(|l| !l.is_empty()) {
        let mut instruction = parse_change(line)?;
        let env = config.env.clone();
        instruction.expand('\\', &|name| value_of(&env, name)).map_err(bad)?;
        configure(config, &instruction, &mut cmd_set)?;
    }
    Ok(())
}

fn parse_change(line: &str) -> Result<Instruction, ImageError> {
    const ALLOWED: &[&str] = &[
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    let word = line.split_whitespace().next().unwrap_or_default();
    if !ALLOWED.contains(&word.to_ascii_uppercase().as_str()) {
        return Err(bad(format!("{} is not a valid change command", word.to_ascii_lowercase())));
    }
    Step::parse(line, '\\').map(|s| s.instruction).map_err(bad)
}

/// What an environment says about a variable.
pub fn value_of(env: &[String], name: &str) -> Option<String> {
    env.iter().find_map(|e| e.split_once('=').filter(|(n, _)| *n == name).map(|(_, v)| v.to_owned()))
}

/// Applies an instruction whose variables have been replaced; tells what the history says of it. `cmd_set`: whether a
/// `CMD` was given since the base image; if not, `ENTRYPOINT` takes away the one that came with it.
///
/// # Errors
/// What is wrong with its arguments. `ADD`, `ARG`, `COPY`, `MAINTAINER` and `RUN` are not for this function.
pub fn configure(config: &mut RunConfig, step: &Instruction, cmd_set: &mut bool) -> Result<String, ImageError> {
    Ok(match step {
        Instruction::Cmd(command) => {
            let words = command_line(config, command);
            *cmd_set = !words.is_empty();
            config.cmd = Some(words.clone());
            format!("CMD {}", quoted(&words))
        }
        Instruction::Entrypoint(command) => {
            let words = command_line(config, command);
            config.entrypoint = (!words.is_empty()).then(|| words.clone());
            if !*cmd_set {
                config.cmd = None;
            }
            format!("ENTRYPOINT {}", quoted(&words))
        }
        Instruction::Env(pairs) => {
            for (name, value) in pairs {
                if name.is_empty() {
                    return Err(bad("ENV names can not be blank"));
                }
                set_env(&mut config.env, name, value);
            }
            named("ENV", pairs)
        }
        Instruction::Label(pairs) => {
            config.labels.extend(pairs.iter().cloned());
            named("LABEL", pairs)
        }
        Instruction::Expose(ports) => {
            for port in ports {
                for one in expand_port(port)? {
                    config.exposed_ports.insert(one, Empty {});
                }
            }
            format!("EXPOSE {}", ports.join(" "))
        }
        Instruction::Healthcheck(health) => {
            let health = Healthcheck {
                test: health.test.clone(),
                interval: health.interval,
                timeout: health.timeout,
                start_period: health.start_period,
                start_interval: health.start_interval,
                retries: health.retries,
            };
            let comment = format!("HEALTHCHECK {}", quoted(&health.test));
            config.healthcheck = Some(health);
            comment
        }
        Instruction::OnBuild(text) => {
            config.on_build.push(text.clone());
            format!("ONBUILD {text}")
        }
        Instruction::Shell(words) => {
            config.shell.clone_from(words);
            format!("SHELL [{}]", words.join(" "))
        }
        Instruction::StopSignal(signal) => {
            config.stop_signal.clone_from(signal);
            format!("STOPSIGNAL {signal}")
        }
        Instruction::User(user) => {
            config.user.clone_from(user);
            format!("USER {user}")
        }
        Instruction::Volume(paths) => {
            for path in paths {
                if path.trim().is_empty() {
                    return Err(bad("VOLUME specified can not be an empty string"));
                }
                config.volumes.insert(path.clone(), Empty {});
            }
            format!("VOLUME [{}]", paths.join(" "))
        }
        Instruction::Workdir(dir) => {
            if dir.is_empty() {
                return Err(bad("cannot normalize nothing"));
            }
            config.working_dir = join_dir(&config.working_dir, dir);
            format!("WORKDIR {}", config.working_dir)
        }
        Instruction::Add(_)
        | Instruction::Arg(_)
        | Instruction::Copy(_)
        | Instruction::Maintainer(_)
        | Instruction::Run(..) => return Err(bad("this instruction does more than configure")),
    })
}

/// Program and arguments; the shell form is given to the configuration's shell.
pub fn command_line(config: &RunConfig, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) if text.is_empty() => Vec::new(),
        Command::Shell(text) => shell(config).into_iter().chain([text.clone()]).collect(),
    }
}

/// `SHELL`, or `/bin/sh -c`.
pub fn shell(config: &RunConfig) -> Vec<String> {
    if config.shell.is_empty() { vec!["/bin/sh".into(), "-c".into()] } else { config.shell.clone() }
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

/// `["a" "b"]`.
fn quoted(words: &[String]) -> String {
    let all: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
    format!("[{}]", all.join(" "))
}

fn named(word: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(word.to_owned(), |all, (name, value)| format!("{all} {name}={value}"))
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
pub fn join_dir(base: &str, dir: &str) -> String {
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
