//! The daemon's handle on all containers of this machine.
use crate::error::{LaunchError, RuntimeError};
use crate::exit::{Exit, Recovered};
use crate::launch::{ExecSpec, Launch, Resources};
use crate::stats::Stats;
use crate::stdio::AttachedIo;
use std::path::PathBuf;
use std::sync::Arc;

/// All containers of this machine.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

struct Shared {
    #[allow(dead_code)]
    dir: PathBuf,
    #[allow(dead_code)]
    exe: PathBuf,
}

/// A container that was made but not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its process 1, as the host numbers it.
    pub pid: u32,
}

/// A process that runs in a container.
pub struct ExecHandle {
    /// Names it in `exec_wait`, `exec_resize`, `exec_signal`.
    pub exec_id: String,
    /// As the host numbers it.
    pub pid: u32,
    /// Its streams.
    pub io: AttachedIo,
}

type Result<T> = std::result::Result<T, RuntimeError>;

fn later<T>(id: &str) -> Result<T> {
    Err(RuntimeError::Unknown(id.to_owned()))
}

fn later_launch<T>() -> std::result::Result<T, LaunchError> {
    Err(LaunchError { message: "being built".into(), exit_code: 128 })
}

#[allow(missing_docs, clippy::unused_async)]
impl Runtime {
    /// The shim is this very binary (`/proc/self/exe`).
    pub fn open(exec_dir: PathBuf) -> Result<Self> {
        Self::open_with_exe(exec_dir, PathBuf::from("/proc/self/exe"))
    }
    /// The shim is another binary whose `main` calls `dispatch` first.
    pub fn open_with_exe(exec_dir: PathBuf, exe: PathBuf) -> Result<Self> {
        Ok(Self { shared: Arc::new(Shared { dir: exec_dir.join("runtime"), exe }) })
    }
    pub async fn recover(&self) -> Vec<Recovered> {
        let _ = &self.shared;
        Vec::new()
    }
    pub async fn create(&self, launch: &Launch) -> std::result::Result<Created, LaunchError> {
        let _ = launch;
        later_launch()
    }
    pub async fn start(&self, id: &str) -> std::result::Result<(), LaunchError> {
        let _ = id;
        later_launch()
    }
    pub async fn wait(&self, id: &str) -> Result<Exit> {
        later(id)
    }
    pub async fn signal(&self, id: &str, signal: i32) -> Result<()> {
        let _ = signal;
        later(id)
    }
    pub async fn pause(&self, id: &str) -> Result<()> {
        later(id)
    }
    pub async fn unpause(&self, id: &str) -> Result<()> {
        later(id)
    }
    pub async fn update(&self, id: &str, resources: &Resources) -> Result<()> {
        let _ = resources;
        later(id)
    }
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let _ = (rows, columns);
        later(id)
    }
    pub async fn stats(&self, id: &str) -> Result<Stats> {
        later(id)
    }
    pub async fn pids(&self, id: &str) -> Result<Vec<u32>> {
        later(id)
    }
    pub async fn attach(&self, id: &str) -> Result<AttachedIo> {
        later(id)
    }
    pub async fn exec(&self, id: &str, spec: ExecSpec) -> std::result::Result<ExecHandle, LaunchError> {
        let _ = (id, spec);
        later_launch()
    }
    pub async fn exec_wait(&self, id: &str, exec_id: &str) -> Result<Exit> {
        let _ = exec_id;
        later(id)
    }
    pub async fn exec_resize(&self, id: &str, exec_id: &str, rows: u16, columns: u16) -> Result<()> {
        let _ = (exec_id, rows, columns);
        later(id)
    }
    pub async fn exec_signal(&self, id: &str, exec_id: &str, signal: i32) -> Result<()> {
        let _ = (exec_id, signal);
        later(id)
    }
    pub async fn delete(&self, id: &str) -> Result<()> {
        later(id)
    }
}
