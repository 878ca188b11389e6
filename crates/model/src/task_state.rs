//! The life of a task.
//!
//! ```text
//!  allocator      scheduler      agent
//!  New ─► Pending ─► Assigned ─► Accepted ─► Preparing ─► Ready ─► Starting ─► Running ─► Complete
//!    (and from any state the agent owns)  ───────────────────────────► Shutdown | Failed | Rejected
//!  manager: Assigned.. on a node that is gone for good ─► Orphaned;     desired Remove ─► (row deleted)
//! ```
//! States only grow (swarmkit `api/types.proto`; `design/tla/Tasks.tla`).
use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// Observed state. The numbers are swarmkit's, so that order is meaning.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u16)]
        pub enum TaskState { $($(#[$doc])* #[allow(missing_docs)] $name = $n,)* }
        impl TaskState {
            /// Every state, in order.
            pub const ALL: &'static [TaskState] = &[$(TaskState::$name),*];
            /// Docker's word.
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $text),* } }
        }
    };
}

states! {
    #[default] New = 0, "new";
    Pending = 64, "pending";
    Assigned = 192, "assigned";
    Accepted = 256, "accepted";
    Preparing = 320, "preparing";
    Ready = 384, "ready";
    Starting = 448, "starting";
    Running = 512, "running";
    Complete = 576, "complete";
    Shutdown = 640, "shutdown";
    Failed = 704, "failed";
    Rejected = 768, "rejected";
    Remove = 800, "remove";
    Orphaned = 832, "orphaned";
}

/// Which component may move a task on from a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Gives addresses.
    Allocator,
    /// Chooses the node.
    Scheduler,
    /// Runs it.
    Agent,
    /// Nobody: it has ended.
    Nobody,
}

impl TaskState {
    /// Whether the task has ended.
    pub fn is_terminal(self) -> bool {
        self > Self::Running
    }
    /// The single component that may leave this state.
    pub fn owner(self) -> Owner {
        match self {
            Self::New => Owner::Allocator,
            Self::Pending => Owner::Scheduler,
            s if s.is_terminal() => Owner::Nobody,
            _ => Owner::Agent,
        }
    }
    /// Whether `owner` may move a task from here to `next`.
    pub fn may_become(self, next: Self, owner: Owner) -> bool {
        next > self && !self.is_terminal() && self.owner() == owner
    }
}

/// What the orchestrator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DesiredState {
    /// Prepared, but not started yet (an update or a restart delay holds it).
    Ready,
    /// Running.
    #[default]
    Running,
    /// Run to completion (jobs).
    Complete,
    /// Stopped, kept as history.
    Shutdown,
    /// Stopped and deleted.
    Remove,
}

impl DesiredState {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Remove => "remove",
        }
    }
    /// Whether the task shall run, now or soon.
    pub fn wants_to_run(self) -> bool {
        self <= Self::Complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_state_moves_backwards_and_each_has_one_owner() {
        let owners = [Owner::Allocator, Owner::Scheduler, Owner::Agent, Owner::Nobody];
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                let movers = owners.iter().filter(|o| from.may_become(*to, **o)).count();
                assert!(movers <= 1, "{from:?} -> {to:?} has {movers} owners");
                assert!(to > from || movers == 0, "{from:?} -> {to:?} goes backwards");
            }
        }
    }
}
