//! Why something with a machine could not be done, and what to do about it.
use kernel::netlink::NetlinkError;
use kernel::netns::NetNsError;
use std::io;
use std::path::PathBuf;

/// Result of an operation on machines.
pub type Result<T> = std::result::Result<T, MachineError>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Namespaces and mounts are root's.
    #[error("machines are made of namespaces, which needs root: run it again with sudo")]
    NotRoot,
    /// The name cannot be a host name.
    #[error(
        "\"{0}\" cannot be the name of a machine: up to 63 letters, digits, '-' and '.', starting with a letter or digit"
    )]
    BadName(String),
    /// The name is the lab's own.
    #[error("\"{0}\" is a seat that every lab has; choose another name")]
    Reserved(String),
    /// There is one.
    #[error(
        "Docker machine \"{0}\" already exists: boot it with `shoal machine start {0}`, or remove it with `shoal machine rm {0}`"
    )]
    Exists(String),
    /// There is none.
    #[error(
        "Docker machine \"{0}\" does not exist. Use \"shoal machine ls\" to list machines. Use \"shoal machine create {0}\" to add a new one."
    )]
    Unknown(String),
    /// It is off.
    #[error("Host is not running: boot it with `shoal machine start {0}`")]
    Off(String),
    /// All addresses are taken.
    #[error("no address is left on the lab's switch: remove a machine with `shoal machine rm NAME`")]
    Full,
    /// Something of a machine was there before and is still there.
    #[error("this is still here:\n  {}", .0.join("\n  "))]
    Left(Vec<String>),
    /// A step on a file or mount failed.
    #[error("cannot {step} {}", path.display())]
    File {
        /// What was to be done.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The namespaces could not be made or entered.
    #[error("cannot {step} the namespaces of machine {name}")]
    Namespaces {
        /// What was to be done.
        step: &'static str,
        /// Whose.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// The switch's namespace could not be made.
    #[error("the lab's switch")]
    Switch(#[from] NetNsError),
    /// A link, address or bridge could not be made.
    #[error("the lab's wiring")]
    Wiring(#[from] NetlinkError),
    /// The daemon could not be started at all.
    #[error("cannot run {program} on machine {name}")]
    Spawn {
        /// Which program.
        program: String,
        /// Where.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// The daemon ended, or does not answer.
    #[error("the daemon of machine {name} {what}; the end of {}:\n{tail}", log.display())]
    Daemon {
        /// Where.
        name: String,
        /// "ended" or "does not answer".
        what: &'static str,
        /// Its log.
        log: PathBuf,
        /// The log's end.
        tail: String,
    },
    /// Processes that cannot be killed.
    #[error("machine {name} still has processes after {seconds} s of killing: {pids:?}")]
    Immortal {
        /// Whose.
        name: String,
        /// How long it was tried.
        seconds: u64,
        /// Which.
        pids: Vec<u32>,
    },
    /// The kernel has no netem.
    #[error(
        "this kernel cannot delay packets ({0}): it needs the netem queueing discipline (modprobe sch_netem) and the `tc` program (apt-get install iproute2)"
    )]
    NoDelay(String),
    /// A word of the command line has no meaning.
    #[error("{0}")]
    Usage(String),
}

impl MachineError {
    /// For `map_err` on files.
    pub(crate) fn file(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { step, path, source }
    }
}
