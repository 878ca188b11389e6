//! Pure input, exact output.
#[path = "../fixture/mod.rs"]
#[allow(missing_docs)]
mod fixture;

mod allocation;
mod deadlines;
mod global;
mod isolation;
mod jobs;
mod leases;
mod placement;
mod reaping;
mod reasons;
mod replicated;
mod restarts;
mod scale;
mod updates;
