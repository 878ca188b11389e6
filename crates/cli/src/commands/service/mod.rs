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
use crate::Ctx;
use wire::engine::network::Network;

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

/// Services keep networks by their ids. Only the swarm's are looked for: one of this machine is "not found".
async fn network_id(ctx: &Ctx, name: &str) -> anyhow::Result<String> {
    Ok(ctx.client.get(format!("/networks/{name}")).query("scope", "swarm").read::<Network>().await?.id)
}
