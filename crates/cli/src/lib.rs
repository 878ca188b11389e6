//! Shoal's own command line: Docker's verbs, flags, tables and exit codes. A client of the engine's API and nothing more.
//!
//! `commands/<noun>/<verb>.rs` reads flags, asks the engine, and hands values to `render/`; `spec/` turns flags' values
//! into parts of requests. Data goes to stdout, talk to stderr.
#![forbid(unsafe_code)]
// The comments on flags are their help texts, in Docker's words: `NAME[:TAG]` is no link, `<key>` no element.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

mod client;
mod commands;
mod render;
mod spec;
mod terminal;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches};
use client::{Client, Exit, Host};
use std::ffi::OsString;
use std::process::ExitCode;

/// What every command gets.
pub(crate) struct Ctx {
    pub(crate) client: Client,
    /// `shoal` or `docker`: how the user calls us.
    pub(crate) name: String,
}

/// Runs a command line. `args[0]` is the name shown in help: `shoal` or `docker`.
pub fn main(args: Vec<OsString>) -> ExitCode {
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
        let ctx = Ctx { client: Client::new(Host::choose(cli.host.as_deref())?), name };
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

fn parse(name: &str, args: Vec<OsString>) -> Result<commands::Cli, clap::Error> {
    let name: &'static str = if name == "docker" { "docker" } else { "shoal" };
    let command = tune(commands::Cli::command()).name(name).bin_name(name).display_name(name);
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
