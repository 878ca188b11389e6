//! The daemon: settings, start, the doors, the end.
pub mod engine;
pub mod membership;
pub mod options;
pub mod relay;
mod start;
pub mod swarm_events;
pub mod tls;

use clap::Parser;
use options::{Options, Settings};
use std::ffi::OsString;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// `shoal daemon …`.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let settings = match Options::try_parse_from(args) {
        Ok(options) => Settings::load(options),
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 125 } else { 0 });
        }
    };
    let settings = match settings {
        Ok(s) => s,
        Err(wrong) => {
            for line in wrong.lines() {
                eprintln!("shoal daemon: {line}");
            }
            return ExitCode::FAILURE;
        }
    };
    let level = match settings.log_level.as_str() {
        _ if settings.debug => "debug",
        "debug" => "debug",
        "warn" => "warn",
        "error" | "fatal" => "error",
        _ => "info",
    };
    let filter = EnvFilter::try_from_env("SHOAL_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,shoal={level},node={level},manager={level},cluster={level},network={level},datapath={level},runtime={level},images={level},api={level},openraft=error")));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("shoal").build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("shoal daemon: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(start::run(settings)) {
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
