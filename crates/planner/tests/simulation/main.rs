//! A seeded swarm in one thread: the real planner and tables, agents that lose messages, crash and are cut off, and
//! directories that follow by deltas. One invariant per file. `SHOAL_SEEDS=1000` runs more seeds.
#[path = "../fixture/mod.rs"]
#[allow(missing_docs)]
mod fixture;
#[allow(missing_docs)]
mod world;

mod addresses_are_unique;
mod churn_leaves_nothing;
mod clocks_are_apart;
mod desired_tasks_run_after_healing;
mod directories_converge;
mod leaders_change_while_allocating;
mod leased_tasks_run_once;
mod long_partitions_heal;
mod lossy_networks_are_borne;
mod removal_leaves_nothing;
mod states_only_grow;
mod updates_keep_their_bounds;

/// The seeds to try.
fn seeds() -> impl Iterator<Item = u64> {
    let n = std::env::var("SHOAL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    1..=n
}
