//! What is kept of a container, and its life.
//!
//! ```text
//!  Created ──start──► Running ◄──unpause/pause──► Paused
//!     │                 │  ▲
//!     │               end  └──start (also by restart policy, by way of Restarting)
//!     ▼                 ▼  │
//!  Removing ◄──────── Exited
//!     └─► (gone) | Dead (could not be removed)
//! ```
use model::{TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wire::engine::container::{ContainerConfig, Health, HostConfig};
use wire::engine::mount::MountPoint;
use wire::engine::network::EndpointSettings;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Made, never started.
    #[default]
    Created,
    /// Runs.
    Running,
    /// Frozen.
    Paused,
    /// Has ended and will be started again.
    Restarting,
    /// Is being removed.
    Removing,
    /// Has ended.
    Exited,
    /// Could not be removed.
    Dead,
}

impl Status {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
    /// Whether there are processes.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
    /// The transitions of the picture above.
    pub fn may_become(self, next: Self) -> bool {
        use Status::*;
        match next {
            Created => false,
            Running => matches!(self, Created | Exited | Restarting | Paused),
            Paused => self == Running,
            Restarting => matches!(self, Running | Exited),
            Exited => matches!(self, Created | Running | Paused | Restarting | Exited),
            Removing => !matches!(self, Removing),
            Dead => self == Removing,
        }
    }
}

/// Its state, as observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Where it is in its life.
    pub status: Status,
    /// First process; 0 when it does not run.
    pub pid: i64,
    /// Of the last end.
    pub exit_code: i64,
    /// Why it could not be started.
    pub error: String,
    /// The kernel killed it for memory.
    pub oom_killed: bool,
    /// Last start.
    pub started_at: Timestamp,
    /// Last end.
    pub finished_at: Timestamp,
    /// Health, if it is checked.
    pub health: Option<Health>,
}

/// A container, as it is kept on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// 64 hex digits.
    pub id: String,
    /// Without slash.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// `sha256:…`.
    pub image_id: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The portable part, with the image's defaults merged in.
    pub config: ContainerConfig,
    /// The machine's part.
    pub host_config: HostConfig,
    /// Networks by name: what was asked for and, while it runs, what it has.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// Mounts, resolved.
    pub mounts: Vec<MountRecord>,
    /// Observed.
    pub state: State,
    /// Restarts by policy since the last start by a person.
    pub restart_count: i64,
    /// Stopped by a person: `unless-stopped` leaves it so over a restart of the daemon.
    pub stopped_by_user: bool,
    /// The swarm task it belongs to.
    pub task: Option<TaskId>,
    /// Ports as bound: container port → bindings.
    pub bound_ports: wire::engine::network::PortMap,
}

/// A mount, resolved to a source on this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountRecord {
    /// As inspection shows it.
    pub point: MountPoint,
    /// Further mount options (tmpfs).
    pub options: Vec<String>,
    /// Shown neither in inspection nor counted as a use of a volume (secrets, configs).
    pub hidden: bool,
    /// Path below a volume's root.
    pub subpath: String,
    /// An unnamed volume, removed with `rm -v`.
    pub anonymous: bool,
    /// Do not copy the image's content into an empty volume.
    pub no_copy: bool,
    /// Not recursive.
    pub non_recursive: bool,
    /// As `Mounts` of the host configuration asked for it, not as `Binds`.
    pub strict: bool,
}

impl Record {
    /// The folder of a container.
    pub fn dir(containers: &Path, id: &str) -> PathBuf {
        containers.join(id)
    }
    /// Short id.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
    /// Writes it to its folder, whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, containers: &Path) -> std::io::Result<()> {
        let dir = Self::dir(containers, &self.id);
        let temporary = dir.join("container.json.tmp");
        let bytes = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        std::fs::write(&temporary, bytes)?;
        std::fs::rename(temporary, dir.join("container.json"))
    }
    /// Reads it back.
    ///
    /// # Errors
    /// What the file system says, or that the file is damaged.
    pub fn load(containers: &Path, id: &str) -> std::io::Result<Self> {
        let bytes = std::fs::read(Self::dir(containers, id).join("container.json"))?;
        serde_json::from_slice(&bytes).map_err(std::io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_returns_to_created_and_removal_is_final() {
        use Status::*;
        let all = [Created, Running, Paused, Restarting, Removing, Exited, Dead];
        for from in all {
            assert!(!from.may_become(Created));
        }
        assert!(all.iter().all(|to| !Removing.may_become(*to) || *to == Dead));
        assert!(!Paused.may_become(Restarting));
    }
}
