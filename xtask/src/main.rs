//! The workshop: `cargo xtask demo | test | vm | verify | fix | tidy | bench | scale`.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod gate;
mod prerequisites;
mod program;
mod scale;
mod tests_run;
mod tidy;
mod vm;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What one does with this repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The tutorial, played on two machines in this one: builds, makes them, deploys, shows, proves.
    Demo {
        /// Take everything away again.
        #[arg(long)]
        down: bool,
        /// Use this binary instead of building one.
        #[arg(long)]
        binary: Option<PathBuf>,
    },
    /// Install what is missing, build, and run every test of the workspace.
    Test {
        /// Passed on to the test runner (a filter, for instance).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// The gate: format, clippy, tidy, documentation. Reads only.
    Verify,
    /// Format, and apply what clippy can apply. The only one that writes.
    Fix,
    /// The real tests on another kernel, with plain cgroup v2: a Debian in qemu.
    Vm(vm::Options),
    /// The rules of the house that the compiler does not know.
    Tidy,
    /// How the control plane bears size: planner, raft, directory (docs/scale.md).
    Scale {
        /// Only this one: scale, placements or directory.
        only: Option<String>,
    },
    /// Figures, beside the bare kernel's and, where dockerd is installed, Docker Swarm's.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let root = root();
    let done = match Arguments::parse().task {
        Task::Demo { down: false, binary } => demo::up(&root, binary),
        Task::Demo { down: true, binary } => demo::down(&root, binary),
        Task::Test { rest } => tests_run::run(&root, &rest),
        Task::Verify => gate::verify(&root),
        Task::Fix => gate::fix(&root),
        Task::Vm(options) => vm::run(&root, &options),
        Task::Tidy => tidy::run(&root),
        Task::Scale { only } => scale::run(&root, only.as_deref()),
        Task::Bench(options) => bench::run(&root, options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("\nfailed: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
