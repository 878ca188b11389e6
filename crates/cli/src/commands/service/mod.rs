//! Services.
mod create;
mod flags;
mod inspect;
mod logs;
pub(crate) mod ls;
pub(crate) mod pin;
pub(crate) mod progress;
mod ps;
mod references;
mod rm;
mod scale;
mod update;

use super::{noun, verbs};

verbs! {
    /// What can be done with services.
    Verb;
    /// Create a new service
    Create => create::Create,
    /// Display detailed information on one or more services
    Inspect => inspect::Inspect,
    /// Fetch the logs of a service or task
    Logs => logs::Logs,
    /// List services
    #[command(alias = "list")]
    Ls => ls::List,
    /// List the tasks of one or more services
    Ps => ps::Tasks,
    /// Remove one or more services
    #[command(alias = "remove")]
    Rm => rm::Remove,
    /// Revert changes to a service's configuration
    Rollback => update::Rollback,
    /// Scale one or multiple replicated services
    Scale => scale::Scale,
    /// Update a service
    Update => update::Update,
}
noun!(Service, Verb);
