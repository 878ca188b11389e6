//! Volumes of the `local` driver: directories under `data_root/volumes`, their metadata, who uses them, and the copy of
//! image content into a fresh one.
//!
//! ```text
//! volumes/<name>/{volume.json,_data/}      volumes/.<anything>  what is not finished, removed at open
//! ```
//! Who uses a volume is not stored: the containers know it, and tell again after a restart ([`Volumes::hold`]).
mod options;
mod store;

use crate::events::Events;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};
use wire::refusal::Refusal;

pub use options::MountPlan;

/// Label of volumes that nobody named; prune takes only these unless told otherwise.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What a volume is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Empty: a random one is made, and the volume counts as anonymous.
    pub name: String,
    /// Empty: `local`.
    pub driver: String,
    /// `type`, `o`, `device`.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Always `local`.
    pub driver: &'static str,
    /// The directory that containers get.
    pub mountpoint: PathBuf,
    /// RFC 3339, whole seconds.
    pub created_at: String,
    /// When it was made, nanoseconds since the epoch.
    pub created_unix_nanos: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options as given.
    pub options: BTreeMap<String, String>,
}

impl Volume {
    /// Whether nobody named it.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

/// Which volumes a prune takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumePrune {
    /// Named ones too.
    pub all: bool,
    /// `key` or `key=value`; all must fit.
    pub labels: Vec<String>,
    /// None may fit.
    pub not_labels: Vec<String>,
}

/// `volume.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    created_unix_nanos: i64,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

/// All volumes of this machine; cheap to clone.
#[derive(Clone)]
pub struct Volumes {
    root: Arc<PathBuf>,
    state: Arc<parking_lot::Mutex<State>>,
    /// Held while directories change, so that the state is free for readers meanwhile.
    writer: Arc<tokio::sync::Mutex<()>>,
    events: Events,
}

#[derive(Default)]
struct State {
    volumes: BTreeMap<String, Arc<Volume>>,
    /// Volume → containers that name it, running or not.
    holders: HashMap<String, BTreeSet<String>>,
    /// Volume → containers for which it is mounted.
    mounted: HashMap<String, BTreeSet<String>>,
    damaged: Vec<String>,
}

impl Volumes {
    /// Opens the volumes below `root` (`data_root/volumes`).
    /// What comes and goes is told to `events`.
    pub async fn open(root: PathBuf, events: Events) -> Result<Self, Refusal> {
        let dir = root.clone();
        let (volumes, damaged) = store::blocking(move || store::read_all(&dir)).await?;
        let state = State {
            volumes: volumes.into_iter().map(|v| (v.name.clone(), Arc::new(v))).collect(),
            damaged,
            ..State::default()
        };
        let state = Arc::new(parking_lot::Mutex::new(state));
        Ok(Self { root: Arc::new(root), state, writer: Arc::default(), events })
    }

    /// What could not be read when the volumes were opened; their files are still there.
    pub fn damaged(&self) -> Vec<String> {
        self.state.lock().damaged.clone()
    }

    /// Makes a volume; one of this name that is there already is the answer.
    pub async fn create(&self, mut spec: VolumeSpec) -> Result<Arc<Volume>, Refusal> {
        if spec.name.is_empty() {
            spec.name = random_name();
            spec.labels.entry(ANONYMOUS.to_owned()).or_default();
        }
        let named = |r: Refusal| Refusal { kind: r.kind, message: format!("create {}: {}", spec.name, r.message) };
        if !matches!(spec.driver.as_str(), "" | "local" | "default") {
            let driver = &spec.driver;
            return Err(named(Refusal::not_found(format!(
                "error looking up volume plugin {driver}: plugin {driver:?} not found"
            ))));
        }
        check_name(&spec.name).map_err(named)?;
        options::check(&spec.options).map_err(named)?;
        let _writer = self.writer.lock().await;
        if let Some(known) = self.find(&spec.name) {
            return Ok(known);
        }
        let now = jiff::Timestamp::now();
        let record = Record {
            created_unix_nanos: i64::try_from(now.as_nanosecond()).unwrap_or(0),
            labels: spec.labels,
            options: spec.options,
        };
        let (root, name) = (Arc::clone(&self.root), spec.name);
        let volume = store::blocking(move || store::create(&root, &name, &record)).await?;
        let volume = Arc::new(volume);
        self.state.lock().volumes.insert(volume.name.clone(), Arc::clone(&volume));
        self.tell(&volume.name, "create", &[]);
        Ok(volume)
    }

    /// Tells an event of a volume.
    pub fn tell(&self, name: &str, action: &str, more: &[(&str, &str)]) {
        let own = ("driver".to_owned(), "local".to_owned());
        let more = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.events.tell("volume", action, name, std::iter::once(own).chain(more).collect());
    }

    /// By name.
    pub fn get(&self, name: &str) -> Result<Arc<Volume>, Refusal> {
        self.find(name).ok_or_else(|| Refusal::not_found(format!("get {name}: no such volume")))
    }

    fn find(&self, name: &str) -> Option<Arc<Volume>> {
        self.state.lock().volumes.get(name).cloned()
    }

    /// All, by name.
    pub fn list(&self) -> Vec<Arc<Volume>> {
        self.state.lock().volumes.values().cloned().collect()
    }

    /// Containers that name this volume.
    pub fn users(&self, name: &str) -> Vec<String> {
        self.state.lock().holders.get(name).into_iter().flatten().cloned().collect()
    }

    /// A container names this volume from now on: it cannot be removed.
    pub fn hold(&self, name: &str, container_id: &str) -> Result<Arc<Volume>, Refusal> {
        let mut state = self.state.lock();
        let volume = state
            .volumes
            .get(name)
            .cloned()
            .ok_or_else(|| Refusal::not_found(format!("get {name}: no such volume")))?;
        state.holders.entry(name.to_owned()).or_default().insert(container_id.to_owned());
        Ok(volume)
    }

    /// A container is gone; tells which volumes it held.
    pub fn release(&self, container_id: &str) -> Vec<String> {
        let mut state = self.state.lock();
        let mut held = Vec::new();
        state.holders.retain(|name, containers| {
            if containers.remove(container_id) {
                held.push(name.clone());
            }
            !containers.is_empty()
        });
        held.sort();
        held
    }

    /// Makes the volume ready for a container that starts: mounts it if its options say so. Repeatable.
    pub async fn mount(&self, name: &str, container_id: &str) -> Result<PathBuf, Refusal> {
        let _writer = self.writer.lock().await;
        let volume = self.get(name)?;
        if let Some(plan) = options::plan(&volume.options) {
            let target = volume.mountpoint.clone();
            store::blocking(move || store::mount(&plan, &target)).await?;
        }
        self.state.lock().mounted.entry(name.to_owned()).or_default().insert(container_id.to_owned());
        Ok(volume.mountpoint.clone())
    }

    /// A container has ended; what its volumes' options mounted is unmounted with the last one.
    pub async fn unmount(&self, name: &str, container_id: &str) -> Result<(), Refusal> {
        let _writer = self.writer.lock().await;
        let last = {
            let mut state = self.state.lock();
            let Some(users) = state.mounted.get_mut(name) else { return Ok(()) };
            users.remove(container_id);
            let last = users.is_empty();
            if last {
                state.mounted.remove(name);
            }
            last
        };
        match self.find(name) {
            Some(volume) if last && options::plan(&volume.options).is_some() => {
                let target = volume.mountpoint.clone();
                store::blocking(move || store::unmount(&target)).await
            }
            _ => Ok(()),
        }
    }

    /// Fills an empty volume with what the image has at its mount point, with owners and modes. `tree` is the mounted
    /// root filesystem, `path` the mount point inside (links are followed within the tree). A volume with content, or with options, is left alone.
    pub async fn copy_up(&self, name: &str, tree: &Path, path: &str) -> Result<(), Refusal> {
        let _writer = self.writer.lock().await;
        let volume = self.get(name)?;
        let target = volume.mountpoint.clone();
        let empty = store::blocking(move || store::is_empty(&target)).await?;
        if !empty {
            return Ok(());
        }
        let copied = images::Images::copy_up(tree.to_owned(), path, volume.mountpoint.clone()).await;
        copied.map(drop).map_err(|e| Refusal::internal(format!("failed to populate volume {name}: {e}")))
    }

    /// Removes a volume that no container names. With `force` a missing one is fine.
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), Refusal> {
        let _writer = self.writer.lock().await;
        let volume = match self.get(name) {
            Err(_) if force => return Ok(()),
            other => other?,
        };
        self.remove_locked(&volume).await
    }

    async fn remove_locked(&self, volume: &Arc<Volume>) -> Result<(), Refusal> {
        let name = volume.name.clone();
        {
            // Out of sight first, so that no container takes it while its files go.
            let mut state = self.state.lock();
            if let Some(users) = state.holders.get(&name).filter(|u| !u.is_empty()) {
                let users: Vec<&str> = users.iter().map(String::as_str).collect();
                return Err(Refusal::conflict(format!("remove {name}: volume is in use - [{}]", users.join(", "))));
            }
            state.volumes.remove(&name);
        }
        let (root, gone) = (Arc::clone(&self.root), name.clone());
        let removed = store::blocking(move || store::remove(&root, &gone)).await;
        match removed {
            Ok(()) => self.tell(&name, "destroy", &[]),
            Err(_) => drop(self.state.lock().volumes.insert(name, Arc::clone(volume))),
        }
        removed
    }

    /// Removes what no container names; tells the names and the bytes given back.
    pub async fn prune(&self, filter: VolumePrune) -> Result<(Vec<String>, u64), Refusal> {
        let _writer = self.writer.lock().await;
        let (mut names, mut bytes) = (Vec::new(), 0);
        for volume in self.list() {
            let fits = (filter.all || volume.is_anonymous())
                && filter.labels.iter().all(|l| has_label(&volume, l))
                && !filter.not_labels.iter().any(|l| has_label(&volume, l));
            if !fits || !self.users(&volume.name).is_empty() {
                continue;
            }
            let size = self.size(&volume).await;
            match self.remove_locked(&volume).await {
                Ok(()) => {
                    bytes += size;
                    names.push(volume.name.clone());
                }
                Err(e) => tracing::warn!(volume = %volume.name, error = %e, "volume is not pruned"),
            }
        }
        Ok((names, bytes))
    }

    /// Bytes of the files in a volume; 0 for one that is a mount of something else.
    pub async fn size(&self, volume: &Volume) -> u64 {
        if options::plan(&volume.options).is_some() {
            return 0;
        }
        let dir = volume.mountpoint.clone();
        store::blocking(move || Ok(store::size(&dir))).await.unwrap_or(0)
    }
}

fn has_label(volume: &Volume, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => volume.labels.get(key).is_some_and(|v| v == value),
        None => volume.labels.contains_key(wanted),
    }
}

fn random_name() -> String {
    (0..32).map(|_| format!("{:02x}", rand::random::<u8>())).collect()
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() == 1 {
        return Err(Refusal::invalid("volume name is too short, names should be at least two alphanumeric characters"));
    }
    let bytes = name.as_bytes();
    let fits = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b));
    if fits && name.len() <= 255 {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

#[cfg(test)]
mod tests;
