//! The containers of this machine: their records, their lives, what clients are told of them.
//!
//! A container's record has one writer at a time: whoever holds its `gate`. What happens to it by itself (its end) is
//! seen by its watcher task, which takes the gate like everybody else.
mod archive;
mod attach;
pub mod configure;
mod create;
mod exec;
mod health;
mod inspect;
mod launch;
pub mod life;
mod links;
mod list;
mod log_options;
mod logs;
pub mod mounts;
mod propagation;
pub mod record;
mod remove;
mod shared_memory;
pub mod signals;
mod stats;
mod watcher;
mod wiring;

pub use attach::{AttachRequest, Streams};
pub use create::{CreateRequest, Managed, ManagedFile};
pub use exec::EXEC_PREFIX;
pub use list::Listed;
pub use logs::Lines;
pub use wiring::OverlayWish;

use crate::clock;
use crate::events::Events;
use crate::volumes::Volumes;
use configure::Defaults;
use parking_lot::{Mutex, RwLock};
use record::{Record, State, Status};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{oneshot, watch};
use wire::Refusal;
use wire::engine::Map;

/// What the containers stand on.
pub struct Foundations {
    /// `<data-root>/containers`.
    pub dir: PathBuf,
    /// `<exec-root>`, for what must not outlive a reboot.
    pub exec_dir: PathBuf,
    /// Processes.
    pub runtime: runtime::Runtime,
    /// Images and root file systems.
    pub images: images::Images,
    /// Networks.
    pub networks: network::Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// Events.
    pub events: Events,
    /// The daemon's defaults.
    pub defaults: Defaults,
}

/// All containers. Cheap to clone.
#[derive(Clone)]
pub struct Containers {
    inner: Arc<Inner>,
}

struct Inner {
    base: Foundations,
    table: RwLock<Table>,
    execs: Mutex<HashMap<String, Arc<exec::Exec>>>,
    attacher: RwLock<Option<Arc<dyn OverlayAttacher>>>,
    /// The daemon ends, and the containers with it: none is restarted.
    closing: AtomicBool,
}

#[derive(Default)]
struct Table {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Name → id. A name is reserved here before its container exists.
    names: HashMap<String, String>,
}

/// One container.
struct Container {
    id: String,
    /// One operation at a time.
    gate: tokio::sync::Mutex<()>,
    record: RwLock<Record>,
    /// Follows the status; `None` once it is removed.
    status: watch::Sender<Option<(Status, u64)>>,
    /// Clients that attached before the start.
    waiting: Mutex<Vec<oneshot::Sender<runtime::AttachedIo>>>,
    watchdog: Mutex<Option<runtime::Watchdog>>,
    /// Its probe, if health is checked.
    probe: Mutex<Option<tokio::task::JoinHandle<()>>>,
    health: watch::Sender<Option<bool>>,
    exec_ids: Mutex<Vec<String>>,
    /// Its end is being noted.
    ending: AtomicBool,
}

/// Gives plain containers a place on attachable overlays (asks a manager).
#[async_trait::async_trait]
pub trait OverlayAttacher: Send + Sync + 'static {
    /// An address for the container on the network (id or name); `None` if there is no such swarm network.
    async fn attach(
        &self,
        network: &str,
        container_id: &str,
        names: Vec<String>,
        wish: Vec<std::net::IpAddr>,
    ) -> Result<Option<OverlayWish>, Refusal>;
    /// Gives it back.
    async fn detach(&self, network_id: &str, container_id: &str);
    /// The name of a swarm network given by id or name, as far as this node knows: a manager knows all of them.
    fn name_of(&self, network: &str) -> Option<String>;
}

impl Containers {
    /// Opens the folder, takes up what still runs, notes what has ended meanwhile, and starts what its policy says
    /// shall run.
    ///
    /// # Errors
    /// When the folder cannot be read. A single damaged container is named in the log and left alone.
    pub async fn open(base: Foundations) -> Result<Self, Refusal> {
        std::fs::create_dir_all(&base.dir)
            .map_err(|e| Refusal::internal(format!("cannot make {}: {e}", base.dir.display())))?;
        let inner = Inner {
            base,
            table: RwLock::default(),
            execs: Mutex::default(),
            attacher: RwLock::new(None),
            closing: AtomicBool::new(false),
        };
        let all = Self { inner: Arc::new(inner) };
        all.load().await?;
        Ok(all)
    }

    fn is_closing(&self) -> bool {
        self.inner.closing.load(Ordering::Relaxed)
    }

    /// From now on, plain containers may join overlays through `attacher`.
    pub fn set_attacher(&self, attacher: Option<Arc<dyn OverlayAttacher>>) {
        *self.inner.attacher.write() = attacher;
    }

    /// The event bus.
    pub fn events(&self) -> &Events {
        &self.inner.base.events
    }

    /// How many there are: (running, paused, stopped).
    pub fn counts(&self) -> (i64, i64, i64) {
        let mut n = (0, 0, 0);
        for c in self.all() {
            match c.record.read().state.status {
                Status::Running => n.0 += 1,
                Status::Paused => n.1 += 1,
                _ => n.2 += 1,
            }
        }
        n
    }

    /// Which containers use which images, for removals.
    pub fn image_uses(&self) -> Vec<images::ContainerUse> {
        let one = |c: &Arc<Container>| {
            let r = c.record.read();
            images::ContainerUse {
                container_id: r.id.clone(),
                image_id: r.image_id.clone(),
                running: r.state.status.is_up(),
            }
        };
        self.all().iter().map(one).collect()
    }

    /// Which containers refer to a volume.
    pub fn volume_users(&self, volume: &str) -> Vec<String> {
        let uses = |c: &&Arc<Container>| {
            let r = c.record.read();
            r.mounts.iter().any(|m| m.point.typ == "volume" && m.point.name == volume)
        };
        self.all().iter().filter(uses).map(|c| c.id.clone()).collect()
    }

    /// Name of a container by its full id.
    pub fn name_of(&self, id: &str) -> Option<String> {
        self.inner.table.read().by_id.get(id).map(|c| c.record.read().name.clone())
    }

    /// Full id of what a user calls a container.
    ///
    /// # Errors
    /// 404, or 400 when it is ambiguous.
    pub fn resolve(&self, id: &str) -> Result<String, Refusal> {
        self.find(id).map(|c| c.id.clone())
    }

    /// A copy of its record.
    ///
    /// # Errors
    /// 404.
    pub fn record(&self, id: &str) -> Result<Record, Refusal> {
        self.find(id).map(|c| c.record.read().clone())
    }

    /// The container of a swarm task.
    pub fn of_task(&self, task: &model::TaskId) -> Option<Record> {
        self.all().into_iter().map(|c| c.record.read().clone()).find(|r| r.task.as_ref() == Some(task))
    }

    /// The container is killed when the watchdog's deadline passes, whatever becomes of this daemon: from its next start
    /// on, and from now on if it runs.
    ///
    /// # Errors
    /// 404, or its shim does not answer.
    pub async fn set_watchdog(&self, id: &str, watchdog: runtime::Watchdog) -> Result<(), Refusal> {
        let c = self.find(id)?;
        *c.watchdog.lock() = Some(watchdog.clone());
        if !c.record.read().state.status.is_up() {
            return Ok(());
        }
        match self.inner.base.runtime.set_watchdog(&c.id, &watchdog).await {
            // It has just ended.
            Err(runtime::RuntimeError::NotRunning(_)) => Ok(()),
            other => other.map_err(|e| Refusal::internal(crate::chain(&e))),
        }
    }

    /// `<exec-root>`.
    pub fn exec_dir(&self) -> &std::path::Path {
        &self.inner.base.exec_dir
    }

    /// Ids of all containers of swarm tasks.
    pub fn task_containers(&self) -> Vec<String> {
        self.all().iter().filter(|c| c.record.read().task.is_some()).map(|c| c.id.clone()).collect()
    }

    fn all(&self) -> Vec<Arc<Container>> {
        self.inner.table.read().by_id.values().cloned().collect()
    }

    /// By full id, by name, by id prefix, in this order.
    fn find(&self, id: &str) -> Result<Arc<Container>, Refusal> {
        let table = self.inner.table.read();
        if let Some(c) = table.by_id.get(id) {
            return Ok(c.clone());
        }
        let name = id.strip_prefix('/').unwrap_or(id);
        if let Some(c) = table.names.get(name).and_then(|id| table.by_id.get(id)) {
            return Ok(c.clone());
        }
        let mut matches = table.by_id.range(id.to_owned()..).take_while(|(full, _)| full.starts_with(id));
        match (matches.next(), matches.next()) {
            (Some((_, c)), None) if !id.is_empty() => Ok(c.clone()),
            (Some(_), Some(_)) if !id.is_empty() => {
                Err(Refusal::invalid(format!("multiple IDs found with provided prefix: {id}")))
            }
            _ => {
                drop(matches);
                drop(table);
                self.linked_as(name).ok_or_else(|| Refusal::not_found(format!("No such container: {id}")))
            }
        }
    }

    fn save(&self, c: &Container) {
        let record = c.record.read().clone();
        if let Err(e) = record.save(&self.inner.base.dir) {
            tracing::error!(container = %c.id, error = %e, "the record of a container cannot be written");
        }
    }

    /// Changes the state, saves it and tells those who wait.
    fn set_state(&self, c: &Container, change: impl FnOnce(&mut State)) {
        let status = {
            let mut r = c.record.write();
            let from = r.state.status;
            change(&mut r.state);
            let to = r.state.status;
            if from != to {
                debug_assert!(from.may_become(to), "{from:?} -> {to:?}");
                tracing::debug!(container = %r.short_id(), from = from.as_str(), to = to.as_str());
            }
            to
        };
        self.save(c);
        // The number makes each end distinct, for those who wait for the next one.
        c.status.send_modify(|s| *s = Some((status, s.map_or(0, |(_, n)| n) + u64::from(!status.is_up()))));
    }

    fn tell(&self, c: &Container, action: &str, more: &[(&str, &str)]) {
        let (id, attributes) = {
            let r = c.record.read();
            let mut a: Map = r.config.labels.clone();
            a.insert("name".into(), r.name.clone());
            a.insert("image".into(), r.config.image.clone());
            a.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            (r.id.clone(), a)
        };
        self.inner.base.events.tell("container", action, &id, attributes);
    }
}

impl Container {
    fn new(record: Record) -> Arc<Self> {
        let status = record.state.status;
        Arc::new(Self {
            id: record.id.clone(),
            gate: tokio::sync::Mutex::new(()),
            record: RwLock::new(record),
            status: watch::Sender::new(Some((status, 0))),
            waiting: Mutex::default(),
            watchdog: Mutex::default(),
            probe: Mutex::default(),
            health: watch::Sender::new(None),
            exec_ids: Mutex::default(),
            ending: AtomicBool::new(false),
        })
    }
    fn status(&self) -> Status {
        self.record.read().state.status
    }
}

/// A runtime error as a refusal.
fn refuse(e: runtime::RuntimeError) -> Refusal {
    match e {
        runtime::RuntimeError::Unknown(_) => Refusal::not_found(e.to_string()),
        runtime::RuntimeError::NotRunning(_) => Refusal::conflict(e.to_string()),
        runtime::RuntimeError::NoSuchExec { .. } => Refusal::not_found(e.to_string()),
        e => Refusal::internal(crate::chain(&e)),
    }
}

/// An image error as a refusal.
pub fn refuse_image(e: images::ImageError) -> Refusal {
    use images::ErrorKind as K;
    let text = e.to_string();
    match e.kind() {
        K::NotFound => Refusal::not_found(text),
        K::Invalid => Refusal::invalid(text),
        K::Unauthorized => Refusal::unauthorized(text),
        K::Forbidden => Refusal::forbidden(text),
        K::Conflict => Refusal::conflict(text),
        K::Unimplemented => Refusal::unimplemented(text),
        K::Unavailable => Refusal::unavailable(text),
        K::Internal => Refusal::internal(text),
    }
}

fn now() -> model::Timestamp {
    clock::now()
}
