//! The daemon's settings: dockerd's flags and `daemon.json`, read once into types.
//!
//! `directives` is the table of all of them, `given` reads flags and file by it, `settings` checks what they say.
pub mod directives;
mod given;
mod settings;
mod values;

pub use settings::{Group, Listen, Reloadable, Settings, Tls};

use clap::error::{ContextKind, ErrorKind};
use std::ffi::OsString;

/// Why the daemon does not start, or need not.
pub enum Refused {
    /// `--help`, `--version` or `--validate`: this is to be printed.
    Answered(String),
    /// The command line cannot be read.
    Usage(String),
    /// The settings make no sense: every mistake, one a line.
    Settings(String),
}

/// Reads flags and file. `args` starts with the name that the program was called by.
///
/// # Errors
/// See [`Refused`].
pub fn read(args: &[OsString]) -> Result<Settings, Refused> {
    let name = args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let flags = given::from_flags(args.to_vec()).map_err(|e| match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refused::Answered(e.to_string()),
        ErrorKind::UnknownArgument => {
            let flag = e.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
            Refused::Usage(format!("unknown flag: {flag}\nSee '{name} --help'."))
        }
        _ => Refused::Usage(format!("{}\nSee '{name} --help'.", e.to_string().trim_end())),
    })?;
    let given = given::with_file(flags).map_err(Refused::Settings)?;
    let settings = Settings::new(&given).map_err(Refused::Settings)?;
    match given.switch("validate") {
        Some(true) => Err(Refused::Answered("configuration OK\n".into())),
        _ => Ok(settings),
    }
}

/// Reads again what a running daemon takes over on SIGHUP.
///
/// # Errors
/// Why the settings make no sense now; the old ones stay.
pub fn read_again(args: &[OsString]) -> Result<Reloadable, String> {
    let flags = given::from_flags(args.to_vec()).map_err(|e| e.to_string())?;
    Reloadable::new(&given::with_file(flags)?)
}
