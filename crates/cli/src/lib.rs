//! Shoal's own command line: Docker's verbs, flags, tables and exit codes. A client of the engine's API and nothing more.
//!
//! `commands/<noun>/<verb>.rs` reads flags, asks the engine, and hands values to `render/`; `spec/` turns flags' values
//! into parts of requests. Data goes to stdout, talk to stderr.
#![forbid(unsafe_code)]
// The comments on flags are their help texts, in Docker's words: `NAME[:TAG]` is no link, `<key>` no element.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

mod client;
mod commands;
mod config;
mod render;
mod spec;
mod terminal;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches};
use client::{Client, Exit, Pems, Target, Tls, TlsWish};
use config::Config;
use std::ffi::OsString;
use std::process::ExitCode;

/// What this machine can do itself, without an engine; the binary knows how.
#[derive(Clone, Copy)]
pub struct Local {
    /// Looks for what stands in a swarm's way.
    pub doctor: fn() -> Vec<wire::engine::diagnosis::Finding>,
}

/// What every command gets.
pub(crate) struct Ctx {
    pub(crate) client: Client,
    /// The user's settings.
    pub(crate) config: Config,
    /// The chosen context's name.
    pub(crate) context: String,
    pub(crate) local: Local,
    /// `shoal` or `docker`: how the user calls us.
    pub(crate) name: String,
}

/// Runs a command line. `args[0]` is the name shown in help: `shoal` or `docker`.
pub fn main(args: Vec<OsString>, local: Local) -> ExitCode {
    let name = args.first().map_or_else(|| "shoal".to_owned(), |a| a.to_string_lossy().into_owned());
    let cli = match parse(&name, args) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return match e.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                ErrorKind::InvalidSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ExitCode::from(1),
                _ => ExitCode::from(125),
            };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            terminal::tell(&format!("cannot start: {e}"));
            return ExitCode::from(1);
        }
    };
    let result = runtime.block_on(async {
        let ctx = context(&cli, name, local)?;
        cli.command.run(&ctx).await
    });
    // A thread may still wait for a key on stdin; nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => match e.downcast_ref::<Exit>() {
            Some(Exit(code)) => ExitCode::from(*code),
            None => {
                terminal::tell(&format!("{e:#}"));
                ExitCode::from(1)
            }
        },
    }
}

/// What the flags before the verb, the environment and the user's settings say.
fn context(cli: &commands::Cli, name: String, local: Local) -> anyhow::Result<Ctx> {
    let level = cli.log_level.to_lowercase();
    anyhow::ensure!(
        ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"].contains(&level.as_str()),
        "unable to parse logging level: {}",
        cli.log_level
    );
    let (config, warning) = Config::load(cli.config.as_deref());
    if let Some(warning) = warning.filter(|_| !["error", "fatal", "panic"].contains(&level.as_str())) {
        terminal::tell(&warning);
    }
    let (target, context) = target(cli, &config)?;
    let debug = cli.debug || matches!(level.as_str(), "debug" | "trace");
    Ok(Ctx { client: Client::new(target, debug), config, context, local, name })
}

/// Where the engine is, and the name of the context that says so.
fn target(cli: &commands::Cli, config: &Config) -> anyhow::Result<(Target, String)> {
    let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    anyhow::ensure!(
        cli.host.is_none() || cli.context.is_none(),
        "conflicting options: cannot specify both --host and --context"
    );
    let host = cli.host.clone().or_else(|| env("DOCKER_HOST").filter(|_| cli.context.is_none()));
    let chosen = match (&host, &cli.context) {
        (Some(_), _) => config::DEFAULT.to_owned(),
        (None, Some(named)) => named.clone(),
        (None, None) => env("DOCKER_CONTEXT").unwrap_or_else(|| config.current_context().to_owned()),
    };
    if chosen == config::DEFAULT {
        let wish = TlsWish {
            tls: cli.tls || env("DOCKER_TLS").is_some(),
            verify: cli.tlsverify || env("DOCKER_TLS_VERIFY").is_some(),
            ca: cli.tlscacert.clone(),
            cert: cli.tlscert.clone(),
            key: cli.tlskey.clone(),
        };
        let host: client::Host = host.as_deref().unwrap_or(Target::default_host()).parse()?;
        let folder = env("DOCKER_CERT_PATH").map_or_else(|| config.folder.clone(), Into::into);
        let tls = if matches!(host, client::Host::Tcp(_)) { wish.load(&folder)? } else { None };
        return Ok((Target { host, tls }, chosen));
    }
    // A context that is not there can still be replaced by another: only what asks the engine fails.
    let needless = matches!(cli.command, commands::Command::Context(_));
    let saved = match config.context(&chosen) {
        Err(_) if needless => config::Context { host: Target::default_host().into(), ..Default::default() },
        found => found?,
    };
    let pems = Pems { ca: saved.ca.clone(), cert: saved.cert.clone(), key: saved.key.clone() };
    let secured = saved.skip_verify || pems.ca.is_some() || pems.cert.is_some();
    let tls = if secured { Some(Tls::new(pems, saved.skip_verify)?) } else { None };
    Ok((Target { host: saved.host.parse()?, tls }, chosen))
}

fn parse(name: &str, args: Vec<OsString>) -> Result<commands::Cli, clap::Error> {
    let name: &'static str = if name == "docker" { "docker" } else { "shoal" };
    let mut command = tune(commands::Cli::command()).name(name).bin_name(name).display_name(name);
    if name == "docker" {
        // Scripts read it: `Docker version 28.2.2, build …`.
        command =
            command.display_name("Docker version").version(concat!("28.2.2, build shoal-", env!("CARGO_PKG_VERSION")));
    }
    commands::Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// Makes flags behave as Docker's do: `--detach=false` is understood, and a value may begin with a hyphen.
fn tune(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            if arg.is_positional() {
                return arg;
            }
            match arg.get_action() {
                ArgAction::SetTrue => arg
                    .action(ArgAction::Set)
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .default_value("false")
                    .hide_default_value(true)
                    .hide_possible_values(true)
                    .value_parser(truth)
                    .value_name(""),
                ArgAction::Set | ArgAction::Append
                    if arg.get_num_args().is_none_or(|n| n.max_values() == 1 && n.min_values() == 1) =>
                {
                    arg.allow_hyphen_values(true)
                }
                _ => arg,
            }
        })
        .mut_subcommands(tune)
}

fn truth(text: &str) -> Result<bool, String> {
    spec::pairs::truth(Some(text)).ok_or_else(|| format!("strconv.ParseBool: parsing \"{text}\": invalid syntax"))
}
