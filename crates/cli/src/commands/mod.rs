//! Nouns and verbs.
mod auth;
mod blob;
mod config;
mod container;
mod context;
mod diagnose;
mod image;
mod inspect;
mod network;
mod node;
mod secret;
mod service;
mod stack;
mod swarm;
mod system;
mod task;
mod volume;

use crate::Ctx;
use crate::client::Exit;
use crate::render::human::total_size;
use crate::spec::pairs;
use crate::terminal::{confirm, say, say_line, tell};
use clap::{Args, Parser};
use wire::engine::Filters;

/// How a command ends.
pub(crate) type Done = anyhow::Result<()>;

/// An enum of verbs and the way to run them.
macro_rules! verbs {
    ($(#[$top:meta])* $name:ident; $($(#[$meta:meta])* $variant:ident => $args:ty,)*) => {
        $(#[$top])*
        #[derive(clap::Subcommand)]
        pub(crate) enum $name { $($(#[$meta])* $variant(Box<$args>),)* }
        impl $name {
            pub(crate) async fn run(self, ctx: &$crate::Ctx) -> $crate::commands::Done {
                match self { $(Self::$variant(args) => args.run(ctx).await,)* }
            }
        }
    };
}
/// A noun with its verbs.
macro_rules! noun {
    ($name:ident, $verbs:ty) => {
        #[derive(clap::Args)]
        pub(crate) struct $name {
            #[command(subcommand)]
            verb: $verbs,
        }
        impl $name {
            pub(crate) async fn run(self, ctx: &$crate::Ctx) -> $crate::commands::Done {
                Box::pin(self.verb.run(ctx)).await
            }
        }
    };
}
pub(crate) use {noun, verbs};

/// Swarm engine: containers, networks, services and stacks
#[derive(Parser)]
#[command(
    version,
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    /// Daemon socket to connect to (also: DOCKER_HOST)
    #[arg(short = 'H', long)]
    pub(crate) host: Option<String>,
    /// Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with
    /// "docker context use")
    #[arg(short = 'c', long)]
    pub(crate) context: Option<String>,
    /// Location of client config files (also: DOCKER_CONFIG)
    #[arg(long)]
    pub(crate) config: Option<String>,
    /// Enable debug mode: every request to the engine is shown
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// Set the logging level ("debug", "info", "warn", "error", "fatal")
    #[arg(short = 'l', long, default_value = "info")]
    pub(crate) log_level: String,
    /// Use TLS; implied by --tlsverify
    #[arg(long)]
    pub(crate) tls: bool,
    /// Trust certs signed only by this CA
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscacert: Option<std::path::PathBuf>,
    /// Path to TLS certificate file
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscert: Option<std::path::PathBuf>,
    /// Path to TLS key file
    #[arg(long, value_name = "FILE")]
    pub(crate) tlskey: Option<std::path::PathBuf>,
    /// Use TLS and verify the remote (also: DOCKER_TLS_VERIFY)
    #[arg(long)]
    pub(crate) tlsverify: bool,
    /// Print version information and quit
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

verbs! {
    /// Everything.
    Command;
    /// Create and run a new container from an image
    Run => container::run::Run,
    /// Execute a command in a running container
    Exec => container::exec::Exec,
    /// List containers
    #[command(alias = "list")]
    Ps => container::ls::List,
    /// Build an image from a Dockerfile
    Build => image::build::Build,
    /// Download an image from a registry
    Pull => image::pull::Pull,
    /// Upload an image to a registry
    Push => image::push::Push,
    /// List images
    Images => image::ls::List,
    /// Log in to a registry
    Login => auth::Login,
    /// Log out from a registry
    Logout => auth::Logout,
    /// Show the version information
    Version => system::version::Version,
    /// Display system-wide information
    Info => system::info::Info,
    /// Manage containers
    Container => container::Container,
    /// Manage images
    Image => image::Image,
    /// Manage networks
    Network => network::Network,
    /// Manage volumes
    Volume => volume::Volume,
    /// Manage Swarm
    Swarm => swarm::Swarm,
    /// Manage Swarm nodes
    Node => node::Node,
    /// Manage Swarm services
    Service => service::Service,
    /// Manage Swarm stacks
    Stack => stack::Stack,
    /// Manage Swarm secrets
    Secret => secret::Secret,
    /// Manage contexts
    Context => context::Context,
    /// Manage Swarm configs
    Config => config::Config,
    /// Manage the engine
    System => system::System,
    /// Attach local standard input, output, and error streams to a running container
    Attach => container::attach::Attach,
    /// Create a new image from a container's changes
    Commit => container::commit::Commit,
    /// Copy files/folders between a container and the local filesystem
    Cp => container::cp::Copy,
    /// Create a new container
    Create => container::create::Create,
    /// Inspect changes to files or directories on a container's filesystem
    Diff => container::diff::Diff,
    /// Examine this machine: ports, MTU, offload, clock, kernel features, control groups
    Doctor => diagnose::doctor::Doctor,
    /// Get real time events from the server
    Events => system::events::Events,
    /// Explain why a task, a service or a stack is not as it should be
    Explain => diagnose::explain::Explain,
    /// Export a container's filesystem as a tar archive
    Export => container::export::Export,
    /// Show the history of an image
    History => image::history::History,
    /// Import the contents from a tarball to create a filesystem image
    Import => image::import::Import,
    /// Return low-level information on Docker objects
    Inspect => inspect::Inspect,
    /// Kill one or more running containers
    Kill => container::lifecycle::Kill,
    /// Load an image from a tar archive or STDIN
    Load => image::load::Load,
    /// Fetch the logs of a container
    Logs => container::logs::Logs,
    /// Pause all processes within one or more containers
    Pause => container::lifecycle::Pause,
    /// Ask whether a service, a task or a node answers
    Ping => diagnose::ping::Ping,
    /// List port mappings or a specific mapping for the container
    Port => container::port::Port,
    /// Rename a container
    Rename => container::rename::Rename,
    /// Restart one or more containers
    Restart => container::lifecycle::Restart,
    /// Remove one or more containers
    #[command(alias = "remove")]
    Rm => container::rm::Remove,
    /// Remove one or more images
    Rmi => image::rm::Remove,
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save => image::save::Save,
    /// Search Docker Hub for images
    Search => image::search::Search,
    /// Start one or more stopped containers
    Start => container::start::Start,
    /// Display a live stream of container(s) resource usage statistics
    Stats => container::stats::Stats,
    /// Stop one or more running containers
    Stop => container::lifecycle::Stop,
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag => image::tag::Tag,
    /// Display the whole swarm, or the running processes of a container
    Top => diagnose::top::Top,
    /// Unpause all processes within one or more containers
    Unpause => container::lifecycle::Unpause,
    /// Update configuration of one or more containers
    Update => container::update::Update,
    /// Block until one or more containers stop, then print their exit codes
    Wait => container::wait::Wait,
}

/// Filters of a list.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FilterArg {
    /// Filter output based on conditions provided
    #[arg(short, long)]
    pub(crate) filter: Vec<String>,
}

/// What every `prune` can be told.
#[derive(Args)]
pub(crate) struct PruneArgs {
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long)]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl PruneArgs {
    /// The filters; nothing when the user, asked this, does not agree.
    fn agreed(&self, question: &str) -> anyhow::Result<Option<Filters>> {
        let agreed = self.force || confirm(question);
        agreed.then(|| pairs::filters(&self.filter)).transpose()
    }
}

/// What a `prune` says of the things that it deleted; nothing when it deleted none.
fn deleted(things: &str, names: Option<Vec<String>>) -> String {
    match names.filter(|n| !n.is_empty()) {
        Some(names) => format!("Deleted {things}:\n{}\n\n", names.join("\n")),
        None => String::new(),
    }
}

/// Says what was deleted, and the bytes that are free now.
fn say_reclaimed(text: &str, bytes: u64) {
    say(&format!("{text}Total reclaimed space: {}\n", total_size(bytes as i64)));
}

/// Names to act on.
#[derive(Args)]
pub(crate) struct Names {
    /// Names or ids
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

/// Acts on each name and prints it; goes on after a failure, and fails at the end.
pub(crate) async fn each(names: &[String], act: impl AsyncFn(&str) -> Done) -> Done {
    let mut failed = false;
    for name in names {
        match act(name).await {
            Ok(()) => say_line(name),
            Err(e) => {
                failed = true;
                tell(&format!("{e:#}"));
            }
        }
    }
    if failed { Err(Exit(1).into()) } else { Ok(()) }
}

/// `inspect` of objects of one kind: what is found is printed, what is not is told.
pub(crate) async fn inspect_each(
    ctx: &Ctx,
    names: &[String],
    format: Option<&str>,
    path: impl Fn(&str) -> String,
    query: &[(&str, bool)],
) -> Done {
    let mut found = crate::render::inspect::Objects::default();
    let mut failures = Vec::new();
    for name in names {
        let mut call = ctx.client.get(path(name));
        for (key, on) in query {
            call = call.flag(key, *on);
        }
        match call.bytes().await {
            Ok(body) => found.push(&body),
            Err(e) if path(name).starts_with("/services/") => failures.push(no_such_service(e, name)),
            Err(e) => failures.push(e),
        }
    }
    if format.is_none_or(str::is_empty) || failures.len() < names.len() {
        crate::terminal::say(&found.render(format)?);
    }
    for e in &failures {
        tell(&format!("{e:#}"));
    }
    if failures.is_empty() { Ok(()) } else { Err(Exit(1).into()) }
}

/// A service that is not there, in Docker's words.
pub(crate) fn no_such_service(error: anyhow::Error, name: &str) -> anyhow::Error {
    if crate::client::is_status(&error, 404) { anyhow::anyhow!("Error: no such service: {name}") } else { error }
}

/// What a verb named `inspect` takes.
#[derive(Args)]
pub(crate) struct InspectArgs {
    /// Format output using a Go template, or 'json'
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Names or ids
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}
