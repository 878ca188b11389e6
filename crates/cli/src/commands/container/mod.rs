//! Containers.
pub(crate) mod attach;
pub(crate) mod commit;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod diff;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod flags;
pub(crate) mod health;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod port;
pub(crate) mod prune;
pub(crate) mod rename;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod top;
pub(crate) mod update;
pub(crate) mod wait;

use super::{noun, verbs};

verbs! {
    /// What can be done with containers.
    Verb;
    /// Attach local standard input, output, and error streams to a running container
    Attach => attach::Attach,
    /// Create a new image from a container's changes
    Commit => commit::Commit,
    /// Copy files/folders between a container and the local filesystem
    Cp => cp::Copy,
    /// Create a new container
    Create => create::Create,
    /// Inspect changes to files or directories on a container's filesystem
    Diff => diff::Diff,
    /// Execute a command in a running container
    Exec => exec::Exec,
    /// Export a container's filesystem as a tar archive
    Export => export::Export,
    /// Display detailed information on one or more containers
    Inspect => inspect::Inspect,
    /// Kill one or more running containers
    Kill => lifecycle::Kill,
    /// Fetch the logs of a container
    Logs => logs::Logs,
    /// List containers
    #[command(aliases = ["ps", "list"])]
    Ls => ls::List,
    /// Pause all processes within one or more containers
    Pause => lifecycle::Pause,
    /// List port mappings or a specific mapping for the container
    Port => port::Port,
    /// Remove all stopped containers
    Prune => prune::Prune,
    /// Rename a container
    Rename => rename::Rename,
    /// Restart one or more containers
    Restart => lifecycle::Restart,
    /// Remove one or more containers
    #[command(alias = "remove")]
    Rm => rm::Remove,
    /// Create and run a new container from an image
    Run => run::Run,
    /// Start one or more stopped containers
    Start => start::Start,
    /// Display a live stream of container(s) resource usage statistics
    Stats => stats::Stats,
    /// Stop one or more running containers
    Stop => lifecycle::Stop,
    /// Display the running processes of a container
    Top => top::Top,
    /// Unpause all processes within one or more containers
    Unpause => lifecycle::Unpause,
    /// Update configuration of one or more containers
    Update => update::Update,
    /// Block until one or more containers stop, then print their exit codes
    Wait => wait::Wait,
}
noun!(Container, Verb);
