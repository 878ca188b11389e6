//! The daemon's handle on all containers of this machine.
mod attach;
mod create;
mod exec;
mod recover;
mod shim_link;

pub use exec::ExecHandle;

use crate::error::{LaunchError, RuntimeError};
use crate::exit::{Exit, ExitWatch, Recovered};
use crate::launch::{Launch, Resources};
use crate::plan::{self, Process};
use crate::protocol::{Reply, Request};
use crate::shim::State;
use crate::stats::{self, Stats};
use crate::stdio::AttachedIo;
use crate::{seccomp, surroundings};
use kernel::cgroup::Cgroup;
use kernel::process::PidFd;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

type Result<T> = std::result::Result<T, RuntimeError>;

/// All containers of this machine. Cheap to clone; every method must be called within a tokio runtime.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// A compiled system call filter.
type Filter = Arc<Vec<u8>>;

struct Shared {
    dir: PathBuf,
    /// The shim's binary, through a read-only mount.
    exe: OwnedFd,
    containers: Mutex<HashMap<String, Arc<Container>>>,
    /// Compiled filters by profile and capabilities.
    filters: Mutex<HashMap<(String, u64), Filter>>,
}

/// A container that was made but not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its process 1, as the host numbers it.
    pub pid: u32,
}

/// One container with a shim, or one that has ended and was not deleted.
struct Container {
    id: String,
    dir: PathBuf,
    cgroup: Cgroup,
    state: State,
    pidfd: Option<PidFd>,
    process: Process,
    rootfs: PathBuf,
    stdin: bool,
    exit: watch::Receiver<Option<Exit>>,
    execs: Mutex<HashMap<String, Arc<exec::Running>>>,
}

impl Runtime {
    /// Opens the runtime directory (`exec_dir/runtime`). The shim is this very binary: its `main` must call `dispatch`.
    pub fn open(exec_dir: PathBuf) -> Result<Self> {
        Self::open_with_exe(exec_dir, PathBuf::from("/proc/self/exe"))
    }

    /// The shim is another binary whose `main` calls `dispatch` first.
    pub fn open_with_exe(exec_dir: PathBuf, exe: PathBuf) -> Result<Self> {
        let dir = exec_dir.join("runtime");
        let file = |what, path: &Path| {
            let path = path.to_owned();
            move |source| RuntimeError::File { what, path, source }
        };
        std::fs::create_dir_all(&dir).map_err(file("make", &dir))?;
        let exe = std::fs::canonicalize(&exe).unwrap_or(exe);
        let exe = kernel::mount::open_read_only(&exe).map_err(file("open", &exe))?;
        let shared = Shared { dir, exe, containers: Mutex::default(), filters: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Finds the containers of a former daemon: running ones are taken over, lost ones (their shim was killed) are
    /// killed and recorded as such.
    pub async fn recover(&self) -> Vec<Recovered> {
        recover::recover(self).await
    }

    /// Makes a container with its shim; process 1 waits to be started. A failed one leaves nothing behind.
    pub async fn create(&self, launch: &Launch) -> std::result::Result<Created, LaunchError> {
        create::create(self, launch.clone()).await
    }

    /// Lets process 1 run.
    pub async fn start(&self, id: &str) -> std::result::Result<(), LaunchError> {
        let container = self.container(id).map_err(LaunchError::internal)?;
        match self.ask(&container, Request::Start).await {
            Ok(Reply::Failed(failure)) => Err(LaunchError::create(failure)),
            Ok(_) => Ok(()),
            Err(error) => Err(LaunchError::internal(error)),
        }
    }

    /// Waits until the container has ended (also when it has already).
    pub async fn wait(&self, id: &str) -> Result<Exit> {
        let mut watch = self.watch(id)?;
        Ok(watch.wait().await)
    }

    /// Tells how the container ended, now or later.
    pub fn watch(&self, id: &str) -> Result<ExitWatch> {
        Ok(ExitWatch(self.container(id)?.exit.clone()))
    }

    /// Process 1, as the host numbers it; also after its end.
    pub fn pid(&self, id: &str) -> Result<u32> {
        Ok(self.container(id)?.state.pid)
    }

    /// Sends a signal to process 1.
    pub async fn signal(&self, id: &str, signal: i32) -> Result<()> {
        let container = self.running(id)?;
        match container.pidfd.as_ref().map(|pidfd| pidfd.signal(signal)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if error.raw_os_error() != Some(libc::ESRCH) => Err(container.failed("signal", error)),
            _ => Err(RuntimeError::NotRunning(id.to_owned())),
        }
    }

    /// Stops every process where it is.
    pub async fn pause(&self, id: &str) -> Result<()> {
        self.freeze(id, true).await
    }

    /// Lets the processes go on.
    pub async fn unpause(&self, id: &str) -> Result<()> {
        self.freeze(id, false).await
    }

    async fn freeze(&self, id: &str, frozen: bool) -> Result<()> {
        let container = self.running(id)?;
        let group = container.cgroup.clone();
        let what = if frozen { "pause processes" } else { "unpause processes" };
        blocking(move || group.freeze(frozen)).await.map_err(|error| container.failed(what, error))
    }

    /// Changes the limits; what is 0 or empty stays as it is.
    pub async fn update(&self, id: &str, resources: &Resources) -> Result<()> {
        let container = self.container(id)?;
        let refused = |error: LaunchError| RuntimeError::Refused { id: id.to_owned(), message: error.message };
        let limits = plan::limits_of(resources, surroundings::block_device).map_err(refused)?;
        let group = container.cgroup.clone();
        blocking(move || group.limit(&limits)).await.map_err(|error| container.failed("change the limits", error))
    }

    /// Sets the size of the container's terminal.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let container = self.running(id)?;
        match self.ask(&container, Request::Resize(rows, columns)).await? {
            Reply::Failed(failure) => Err(RuntimeError::Refused { id: id.to_owned(), message: failure.message }),
            _ => Ok(()),
        }
    }

    /// From now on the container is killed when the watchdog's deadline passes. Another one takes its place.
    pub async fn set_watchdog(&self, id: &str, watchdog: &crate::Watchdog) -> Result<()> {
        let container = self.running(id)?;
        match self.ask(&container, Request::Watchdog(watchdog.file().to_owned())).await? {
            Reply::Failed(failure) => Err(RuntimeError::Refused { id: id.to_owned(), message: failure.message }),
            _ => Ok(()),
        }
    }

    /// Raw numbers of the container's control group.
    pub async fn stats(&self, id: &str) -> Result<Stats> {
        let container = self.running(id)?;
        let group = container.cgroup.clone();
        Ok(blocking(move || Ok(stats::read(&group))).await.unwrap_or_default())
    }

    /// All processes of the container, as the host numbers them.
    pub async fn pids(&self, id: &str) -> Result<Vec<u32>> {
        let container = self.running(id)?;
        let group = container.cgroup.clone();
        blocking(move || group.pids()).await.map_err(|error| container.failed("list the processes", error))
    }

    /// Output from now on, and a way to write to process 1. Also possible between `create` and `start`, so that
    /// nothing is missed.
    pub async fn attach(&self, id: &str) -> Result<AttachedIo> {
        let container = self.container(id)?;
        attach::attach(&container, true).await.map_err(|source| RuntimeError::Shim { id: id.to_owned(), source })
    }

    /// Like `attach`, without a way to write: a client that only looks must not end the input by leaving.
    pub async fn attach_output(&self, id: &str) -> Result<AttachedIo> {
        let container = self.container(id)?;
        attach::attach(&container, false).await.map_err(|source| RuntimeError::Shim { id: id.to_owned(), source })
    }

    /// Ends what is left of the container and removes its control groups and its directory. Fine if it is gone.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let container = lock(&self.shared.containers).get(id).cloned();
        let dir = self.shared.dir.join(id);
        let group = match &container {
            Some(container) => container.cgroup.clone(),
            None => match recover::read_launch(&dir) {
                Some(launch) => Cgroup::at(plan::cgroup_path(&launch)),
                None => return remove_dir(&dir),
            },
        };
        if let Some(container) = &container
            && container.exit.borrow().is_none()
        {
            let _ = self.ask(container, Request::Quit).await;
            // With cgroup v1 what is frozen does not die. Fails where nothing is left to be thawed.
            let frozen = container.cgroup.clone();
            let _ = blocking(move || frozen.freeze(false)).await;
            let mut exit = ExitWatch(container.exit.clone());
            let _ = tokio::time::timeout(std::time::Duration::from_secs(10), exit.wait()).await;
        }
        let id = id.to_owned();
        blocking(move || group.remove()).await.map_err(|source| RuntimeError::Kernel {
            id: id.clone(),
            what: "remove the control groups".into(),
            source,
        })?;
        remove_dir(&dir)?;
        lock(&self.shared.containers).remove(&id);
        Ok(())
    }

    fn container(&self, id: &str) -> Result<Arc<Container>> {
        lock(&self.shared.containers).get(id).cloned().ok_or_else(|| RuntimeError::Unknown(id.to_owned()))
    }

    fn running(&self, id: &str) -> Result<Arc<Container>> {
        let container = self.container(id)?;
        let ended = container.exit.borrow().is_some();
        if ended { Err(RuntimeError::NotRunning(id.to_owned())) } else { Ok(container) }
    }

    async fn ask(&self, container: &Container, request: Request) -> Result<Reply> {
        let dir = container.dir.clone();
        let answer = blocking(move || {
            let mut stream = shim_link::connect(&dir)?;
            crate::protocol::ask(&mut stream, &request)
        });
        answer.await.map_err(|source| RuntimeError::Shim { id: container.id.clone(), source })
    }

    /// The compiled filter of a profile for a set of capabilities; made once.
    fn filter(&self, wanted: &crate::launch::Seccomp, capabilities: u64) -> std::result::Result<Filter, LaunchError> {
        let text = match wanted {
            crate::launch::Seccomp::Json(json) => json.as_str(),
            _ => "",
        };
        let key = (text.to_owned(), capabilities);
        if let Some(found) = lock(&self.shared.filters).get(&key) {
            return Ok(found.clone());
        }
        let profile = if text.is_empty() { seccomp::default_profile() } else { seccomp::Profile::parse(text)? };
        let program = Arc::new(profile.compile(&crate::capability::names(capabilities))?);
        let mut filters = lock(&self.shared.filters);
        if filters.len() > 64 {
            filters.clear();
        }
        filters.insert(key, program.clone());
        Ok(program)
    }
}

impl Container {
    fn failed(&self, what: &str, source: io::Error) -> RuntimeError {
        RuntimeError::Kernel { id: self.id.clone(), what: what.to_owned(), source }
    }
}

fn remove_dir(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RuntimeError::File { what: "remove", path: dir.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Runs what blocks on a thread made for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A panic elsewhere leaves plain data behind, which stays usable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
