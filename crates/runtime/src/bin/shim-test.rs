//! A binary that is nothing but the shim: what the tests (and benches) start in the daemon's stead.
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    runtime::dispatch(&args).unwrap_or_else(|| {
        eprintln!("shim-test is only started by the runtime");
        ExitCode::FAILURE
    })
}
