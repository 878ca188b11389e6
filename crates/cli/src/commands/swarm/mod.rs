//! The swarm itself.
mod backup;
mod ca;
mod init;
mod join;
mod leave;
mod token;
mod unlock;
mod update;

use super::{noun, verbs};

verbs! {
    /// What can be done with a swarm.
    Verb;
    /// Keep everything that the swarm is in one file
    Backup => backup::Backup,
    /// Display and rotate the root CA
    Ca => ca::Ca,
    /// Initialize a swarm
    Init => init::Init,
    /// Join a swarm as a node and/or manager
    Join => join::Join,
    /// Manage join tokens
    JoinToken => token::JoinToken,
    /// Leave the swarm
    Leave => leave::Leave,
    /// Make a swarm out of a backup
    Restore => backup::Restore,
    /// Unlock swarm
    Unlock => unlock::Unlock,
    /// Manage the unlock key
    UnlockKey => unlock::UnlockKey,
    /// Update the swarm
    Update => update::Update,
}
noun!(Swarm, Verb);
