//! Stacks: services, networks, secrets and configs that carry one label.
mod deploy;
mod diff;
mod files;
mod gates;
mod history;
mod ls;
mod objects;
mod ps;
mod rm;
mod versions;
mod wait;

use super::{noun, verbs};
use clap::Args;
use wire::engine::Filters;

verbs! {
    /// What can be done with stacks.
    Verb;
    /// Outputs the final config file, after doing merges and interpolations
    Config => files::Config,
    /// Deploy a new stack or update an existing stack
    #[command(alias = "up")]
    Deploy => deploy::Deploy,
    /// Show what a deploy would change
    Diff => diff::Diff,
    /// List what was deployed
    History => history::History,
    /// List stacks
    #[command(alias = "list")]
    Ls => ls::List,
    /// List the tasks in the stack
    Ps => ps::Tasks,
    /// Remove one or more stacks
    #[command(aliases = ["remove", "down"])]
    Rm => rm::Remove,
    /// Bring an earlier deploy of a stack back
    Rollback => history::Rollback,
    /// List the services in the stack
    Services => ps::Services,
}
noun!(Stack, Verb);

/// Everything of a stack.
pub(crate) fn of_stack(name: &str) -> Filters {
    let mut filters = Filters::default();
    filters.add("label", &format!("{}={name}", compose::LABEL_NAMESPACE));
    filters
}

/// Compose files.
#[derive(Args)]
pub(super) struct ComposeFiles {
    /// Path to a Compose file, or "-" to read from stdin
    #[arg(short, long)]
    pub(super) compose_file: Vec<String>,
}

/// A stack's name is a label's value and the beginning of names.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let good = name.chars().all(|c| !c.is_whitespace() && !"'\"".contains(c)) && !name.is_empty();
    anyhow::ensure!(good, "invalid stack name: {name:?}");
    Ok(())
}
