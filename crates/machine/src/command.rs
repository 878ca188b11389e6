//! `shoal machine …`, which is also `docker-machine …`.
use crate::engine;
use crate::error::{MachineError, Result};
use crate::lab::{DEFAULT_STORAGE, Lab, State};
use crate::record::{LAPTOP, Record};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

/// Machines made of namespaces: a lab in the box.
#[derive(Debug, Parser)]
#[command(name = "shoal machine", version, about = "Local test machines, each with a daemon of its own")]
pub struct Arguments {
    /// Where machines are kept; another directory is another lab, with a switch of its own.
    #[arg(short, long, global = true, env = "MACHINE_STORAGE_PATH", default_value = DEFAULT_STORAGE)]
    storage_path: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a machine and boot it.
    Create {
        /// Accepted for docker-machine's sake; there is one kind of machine.
        #[arg(short, long, default_value = DRIVER)]
        driver: String,
        /// Its name.
        name: String,
    },
    /// List machines.
    #[command(visible_alias = "list")]
    Ls {
        /// Only names.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Print a machine's address.
    Ip {
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Run a command on a machine, or a shell. `laptop` is a seat on the lab's switch without a daemon.
    Ssh {
        /// Which.
        name: String,
        /// What to run; joined with spaces and given to a shell there, as ssh does.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a command from the lab's laptop, without a shell.
    RunFromLaptop {
        /// What to run.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Shut machines down.
    Stop {
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Boot machines.
    Start {
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Shut machines down and boot them again.
    Restart {
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Cut machines' power.
    Kill {
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove machines with everything on them.
    Rm {
        /// Also no error for one that does not exist.
        #[arg(short, long)]
        force: bool,
        /// Do not ask (it never asks).
        #[arg(short = 'y')]
        yes: bool,
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print everything known of a machine, as JSON.
    Inspect {
        /// Which.
        name: String,
        /// One field, as `{{.Driver.IPAddress}}`.
        #[arg(short, long)]
        format: Option<String>,
    },
    /// Print the shell commands that point a docker client at a machine.
    Env {
        /// Which.
        name: String,
    },
    /// Print the address of a machine's API.
    Url {
        /// Which.
        name: String,
    },
    /// Print what a machine is doing.
    Status {
        /// Which.
        name: String,
    },
    /// Cut machines off from all others (they still reach each other).
    Partition {
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Undo partitions.
    Heal {
        /// Which; all, if none is named.
        names: Vec<String>,
    },
    /// Delay packets to a machine.
    Delay {
        /// Which.
        name: String,
        /// By how many milliseconds; 0 ends it.
        milliseconds: u32,
    },
}

const DRIVER: &str = "namespaces";

/// Runs one command.
///
/// # Errors
/// What the user should read.
pub fn run(arguments: Arguments, program: PathBuf) -> Result<()> {
    let lab = Lab::at(&arguments.storage_path, &program);
    match arguments.verb {
        Verb::Create { driver, name } => {
            if driver != DRIVER {
                eprintln!("Driver \"{driver}\" is not needed here: machines are made of namespaces.");
            }
            eprintln!("Running pre-create checks...\nCreating machine...");
            let record = lab.create(&name)?;
            eprintln!(
                "({name}) {} on the lab's switch; disk, log and record in {}",
                record.address,
                lab.log(&name).with_file_name("").display()
            );
            eprintln!("Docker is up and running!");
            eprintln!(
                "To see how to connect your Docker Client to the Docker Engine running on this machine, run: shoal machine env {name}"
            );
            Ok(())
        }
        Verb::Ls { quiet } => {
            list(&lab, quiet);
            Ok(())
        }
        Verb::Ip { names } => names.iter().try_for_each(|n| {
            let record = lab.machine(n)?;
            println!("{}", record.address);
            Ok(())
        }),
        Verb::Ssh { name, command } => ssh(&lab, &name, &command),
        Verb::RunFromLaptop { command } => {
            let mut process = lab.command(LAPTOP, &command[0])?;
            process.args(&command[1..]);
            Err(become_it(process, LAPTOP))
        }
        Verb::Stop { names } => each(&names, |n| {
            eprintln!("Stopping \"{n}\"...");
            lab.stop(n)?;
            eprintln!("Machine \"{n}\" was stopped.");
            Ok(())
        }),
        Verb::Start { names } => each(&names, |n| {
            eprintln!("Starting \"{n}\"...");
            lab.start(n)?;
            eprintln!("Machine \"{n}\" was started.");
            Ok(())
        }),
        Verb::Restart { names } => each(&names, |n| {
            eprintln!("Restarting \"{n}\"...");
            lab.stop(n)?;
            lab.start(n)
        }),
        Verb::Kill { names } => each(&names, |n| {
            eprintln!("Killing \"{n}\"...");
            lab.kill(n)?;
            eprintln!("Machine \"{n}\" was killed.");
            Ok(())
        }),
        Verb::Rm { force, yes: _, names } => remove(&lab, force, names),
        Verb::Inspect { name, format } => {
            let value = inspect(&lab, &lab.machine(&name)?);
            println!("{}", render(&value, format.as_deref())?);
            Ok(())
        }
        Verb::Env { name } => {
            lab.machine(&name)?;
            println!("export DOCKER_HOST=\"{}\"", url(&lab, &name));
            println!("unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_CONTEXT");
            println!("export DOCKER_MACHINE_NAME=\"{name}\"");
            println!("# Run this command to configure your shell:\n# eval $(shoal machine env {name})");
            Ok(())
        }
        Verb::Url { name } => {
            lab.machine(&name)?;
            println!("{}", url(&lab, &name));
            Ok(())
        }
        Verb::Status { name } => {
            lab.machine(&name)?;
            println!("{}", lab.state(&name).as_str());
            Ok(())
        }
        Verb::Partition { names } => lab.partition(&names),
        Verb::Heal { names } => lab.heal(&names),
        Verb::Delay { name, milliseconds } => lab.delay(&name, milliseconds),
    }
}

/// One machine that cannot be removed does not keep the others, nor hides what is left of them.
fn remove(lab: &Lab, force: bool, names: Vec<String>) -> Result<()> {
    let (known, unknown): (Vec<_>, Vec<_>) = names.into_iter().partition(|n| lab.is_begun(n));
    known.iter().for_each(|n| eprintln!("About to remove {n}"));
    lab.remove_all(&known)?;
    known.iter().for_each(|n| eprintln!("Successfully removed {n}"));
    match unknown.into_iter().next() {
        Some(name) if !force => Err(MachineError::Unknown(name)),
        _ => Ok(()),
    }
}

/// All are tried; the last error is returned, the others are printed.
fn each(names: &[String], mut f: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut failed = None;
    for name in names {
        if let Err(e) = f(name)
            && let Some(earlier) = failed.replace(e)
        {
            eprintln!("{}", sentence(&earlier));
        }
    }
    failed.map_or(Ok(()), Err)
}

/// An error with its causes, for people.
pub fn sentence(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        text.push_str(&format!(": {c}"));
        cause = c.source();
    }
    text
}

fn url(lab: &Lab, name: &str) -> String {
    format!("unix://{}", lab.socket(name).display())
}

fn ssh(lab: &Lab, name: &str, words: &[String]) -> Result<()> {
    let shell = std::env::var_os("SHELL").filter(|s| std::path::Path::new(s).exists());
    let mut process =
        lab.command(name, if words.is_empty() { shell.unwrap_or_else(|| "/bin/sh".into()) } else { "/bin/sh".into() })?;
    match words {
        [] => {
            process.env("PS1", format!("root@{name}:\\w# "));
        }
        words => {
            process.arg("-c").arg(words.join(" "));
        }
    }
    Err(become_it(process, name))
}

/// Replaces this process: signals, terminal and exit code are the command's own. Returns only on failure.
fn become_it(mut process: std::process::Command, name: &str) -> MachineError {
    let program = process.get_program().to_string_lossy().into_owned();
    MachineError::Spawn { program, name: name.to_owned(), source: process.exec() }
}

fn list(lab: &Lab, quiet: bool) {
    let records = lab.machines();
    if quiet {
        records.iter().for_each(|r| println!("{}", r.name));
        return;
    }
    let active = std::env::var("DOCKER_HOST").unwrap_or_default();
    let head = ["NAME", "ACTIVE", "DRIVER", "STATE", "URL", "SWARM", "DOCKER", "ERRORS"].map(str::to_owned);
    let mut rows = vec![head];
    for r in &records {
        let (state, url) = (lab.state(&r.name), url(lab, &r.name));
        let on = state == State::Running;
        rows.push([
            r.name.clone(),
            if on && url == active { "*" } else { "-" }.into(),
            DRIVER.into(),
            state.as_str().into(),
            if on { url } else { String::new() },
            String::new(),
            if on {
                engine::version(&lab.socket(&r.name)).map_or("Unknown".into(), |v| format!("v{v}"))
            } else {
                "Unknown".into()
            },
            errors(lab, r, state),
        ]);
    }
    let width = |column: usize| rows.iter().map(|r| r[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    for row in &rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:w$}", w = *w)).collect();
        println!("{}", line.join("   ").trim_end());
    }
}

fn errors(lab: &Lab, record: &Record, state: State) -> String {
    match state {
        State::Error => format!("the daemon has ended: see {}", lab.log(&record.name).display()),
        _ if lab.is_cut_off(record) => format!("cut off: shoal machine heal {}", record.name),
        _ => String::new(),
    }
}

fn inspect(lab: &Lab, record: &Record) -> Value {
    let name = &record.name;
    json!({
        "Name": name,
        "DriverName": DRIVER,
        "Driver": { "IPAddress": record.address, "MachineName": name },
        "State": lab.state(name).as_str(),
        "Created": record.created,
        "URL": url(lab, name),
        "Log": lab.log(name),
        "Daemon": lab.daemon(name).filter(|d| d.is_alive()),
        "CutOff": lab.is_cut_off(record),
    })
}

fn render(value: &Value, format: Option<&str>) -> Result<String> {
    let whole = |v: &Value| serde_json::to_string_pretty(v).unwrap_or_default();
    let Some(format) = format else { return Ok(whole(value)) };
    let usage = || MachineError::Usage(format!("\"{format}\" is not a field: write it as {{{{.Driver.IPAddress}}}}"));
    let path = format.trim().strip_prefix("{{").and_then(|f| f.strip_suffix("}}")).ok_or_else(usage)?.trim();
    let path = path.strip_prefix("json ").map_or(path, str::trim);
    let found = path.split('.').filter(|k| !k.is_empty()).try_fold(value, |v, key| v.get(key)).ok_or_else(usage)?;
    Ok(found.as_str().map_or_else(|| whole(found), str::to_owned))
}

/// Parses `args` (the first is the name to show) and runs them.
pub fn main(args: Vec<OsString>) -> std::process::ExitCode {
    let parsed = match Arguments::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(e) => e.exit(),
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(e) => {
            eprintln!("cannot find this program's own file: {e}");
            return std::process::ExitCode::FAILURE;
        }
    };
    match run(parsed, program) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}", sentence(&e));
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_hangs_together() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        let words = ["docker-machine", "ssh", "vm1", "docker", "run", "--rm", "-it", "x"];
        let Verb::Ssh { name, command } = Arguments::try_parse_from(words).unwrap().verb else { panic!() };
        assert_eq!((name.as_str(), command.join(" ").as_str()), ("vm1", "docker run --rm -it x"));
    }

    #[test]
    fn a_field_is_picked_as_docker_machine_does() {
        let value = json!({"Driver": {"IPAddress": "192.168.99.100"}});
        assert_eq!(render(&value, Some("{{.Driver.IPAddress}}")).unwrap(), "192.168.99.100");
        assert_eq!(render(&value, Some("{{ json .Driver }}")).unwrap(), "{\n  \"IPAddress\": \"192.168.99.100\"\n}");
        assert!(render(&value, Some("{{.Nope}}")).is_err());
        assert!(render(&value, Some("plain")).is_err());
    }
}
