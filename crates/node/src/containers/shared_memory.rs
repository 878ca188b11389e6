//! `/dev/shm` of containers that share it: a file system of the donor (`--ipc shareable`) below `<exec-root>/shm`, bound
//! into it and into those that join it (`--ipc container:X`). Every other container has one of its own, made by the runtime.
use super::{Container, Containers};
use runtime::{MountKind, MountPoint};
use std::path::PathBuf;
use wire::Refusal;

/// A container joins one that joins one …: not for ever.
const CHAIN_MAX: usize = 10;

impl Containers {
    /// What is bound to `/dev/shm`; `None`: the runtime makes it. Makes the donor's file system.
    pub(super) fn shared_memory(&self, c: &Container) -> Result<Option<MountPoint>, Refusal> {
        let (mode, size) = {
            let r = c.record.read();
            (r.host_config.ipc_mode.clone(), r.host_config.shm_size)
        };
        let donor = match mode.strip_prefix("container:") {
            Some(other) => self.donor(other)?,
            None if mode == "shareable" => {
                self.make_shared_memory(&c.id, size)?;
                c.id.clone()
            }
            None => return Ok(None),
        };
        Ok(Some(MountPoint {
            source: self.shared_memory_dir(&donor),
            target: "/dev/shm".into(),
            kind: MountKind::Bind,
            propagation: "rprivate".into(),
            ..MountPoint::default()
        }))
    }

    /// The container whose shared memory `other` has.
    fn donor(&self, other: &str) -> Result<String, Refusal> {
        let mut id = self.resolve(other)?;
        for _ in 0..CHAIN_MAX {
            let mode = self.record(&id)?.host_config.ipc_mode;
            match mode.strip_prefix("container:") {
                Some(next) => id = self.resolve(next)?,
                None if mode == "shareable" => return Ok(id),
                None => break,
            }
        }
        Err(Refusal::conflict(format!(
            "cannot join IPC namespace of container {other}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
        )))
    }

    fn make_shared_memory(&self, id: &str, size: i64) -> Result<(), Refusal> {
        let dir = self.shared_memory_dir(id);
        let failed = |e: std::io::Error| Refusal::internal(format!("shared memory at {}: {e}", dir.display()));
        // Of a run that ended without its end being seen.
        self.remove_shared_memory(id);
        std::fs::create_dir_all(&dir).map_err(failed)?;
        kernel::mount::tmpfs(&dir, &format!("mode=1777,size={size}")).map_err(failed)
    }

    /// Takes away what was made for the container. Those who have joined it keep theirs.
    pub(super) fn remove_shared_memory(&self, id: &str) {
        let dir = self.shared_memory_dir(id);
        let _ = kernel::mount::unmount_lazy(&dir);
        let _ = std::fs::remove_dir(&dir);
    }

    fn shared_memory_dir(&self, id: &str) -> PathBuf {
        self.inner.base.exec_dir.join("shm").join(id)
    }
}
