//! The daemon: settings, start, the doors, the end.
mod doors;
pub mod engine;
pub mod membership;
mod metrics;
pub mod options;
pub mod relay;
mod start;
pub mod swarm_events;
mod words;

use options::Refused;
use std::ffi::OsString;
use std::process::ExitCode;
use words::Words;

/// What dockerd answers to a command line that it cannot read.
const USAGE: u8 = 125;

/// `shoal daemon …`; the first of `args` is the name it is called by.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let settings = match options::read(&args) {
        Ok(settings) => settings,
        Err(Refused::Answered(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Refused::Usage(text)) => {
            eprintln!("{text}");
            return ExitCode::from(USAGE);
        }
        Err(Refused::Settings(wrong)) => {
            eprintln!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
    let words = Words::begin(&settings.log_level, settings.reloadable.debug, settings.log_json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("shoal").build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("shoal daemon: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(start::run(settings, &args, &words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("shoal daemon: {e:#}");
            ExitCode::FAILURE
        }
    };
    // Blocking work that hangs on a dead file system must not hold the end up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}
