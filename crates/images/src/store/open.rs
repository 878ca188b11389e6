//! Opening a store: reads what is there, sets damaged entries aside by name, removes what a crash left.
use super::{State, Store, file, paths::Paths, records::*, sync};
use crate::{
    digest,
    error::{ImageError, IoContext},
    layer::{Limits, recipe},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

impl Store {
    pub(crate) fn open(root: PathBuf, limits: Limits) -> Result<Arc<Self>, ImageError> {
        let paths = Paths::new(root);
        clear_staging(&paths.staging())?;
        for dir in [
            paths.layers(),
            paths.links(),
            paths.blobs(),
            paths.images(),
            paths.staging(),
            paths.init(),
            paths.mounts(),
        ] {
            fs::create_dir_all(&dir).at("create", &dir)?;
        }
        let (syncer, sleeping) = sync::Syncer::new();
        let store = Self {
            paths,
            limits,
            registries: RwLock::default(),
            state: RwLock::new(State::default()),
            writer: Mutex::new(()),
            mounts: Mutex::new(HashMap::new()),
            counter: AtomicU64::new(0),
            syncer,
        };
        store.read_layers()?;
        store.read_rootfs()?;
        store.read_images()?;
        store.collect_orphans()?;
        let store = Arc::new(store);
        sleeping.serve(&store)?;
        Ok(store)
    }

    fn read_layers(&self) -> Result<(), ImageError> {
        for name in names(&self.paths.layers())? {
            let dir = self.paths.layers().join(&name);
            let read = (|| -> Result<LayerRecord, String> {
                let json = fs::read(dir.join("layer.json")).map_err(|e| e.to_string())?;
                let record: LayerRecord = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
                if digest::hex_of(&record.diff_id) != name
                    || record.link.is_empty()
                    || record.link.contains(['/', ':', ','])
                {
                    return Err("it does not describe this layer".into());
                }
                if !dir.join("diff").is_dir() {
                    return Err("its files are gone".into());
                }
                // The machine went down before all of it was on the disk.
                if record.unsynced_boot.as_ref().is_some_and(|boot| *boot != sync::boot_id()) {
                    tracing::info!(layer = %record.diff_id, "looking whether a layer is whole");
                    recipe::assemble(&dir, &record.diff_id, &record.moved, &mut std::io::sink())
                        .map_err(|e| e.to_string())?;
                }
                Ok(record)
            })();
            match read {
                Ok(record) => {
                    self.make_link(&record)?;
                    self.state.write().layers.insert(record.diff_id.clone(), record);
                }
                Err(why) => self.damage(format!("layer {name}: {why}")),
            }
        }
        Ok(())
    }

    fn read_rootfs(&self) -> Result<(), ImageError> {
        for name in names(&self.paths.mounts())? {
            let path = self.paths.mount(&name).join("rootfs.json");
            match fs::read(&path)
                .map_err(|e| e.to_string())
                .and_then(|json| serde_json::from_slice::<RootfsRecord>(&json).map_err(|e| e.to_string()))
            {
                Ok(record) => {
                    self.state.write().rootfs.insert(name, record.layers);
                }
                Err(why) => self.damage(format!("root filesystem of container {name}: {why}")),
            }
        }
        Ok(())
    }

    fn read_images(&self) -> Result<(), ImageError> {
        let mut records = Vec::new();
        for name in names(&self.paths.images())? {
            let path = self.paths.images().join(&name);
            if file::is_temporary(&name) {
                file::remove(&path)?;
                continue;
            }
            let read = (|| -> Result<_, String> {
                let record: ImageRecord =
                    serde_json::from_slice(&fs::read(&path).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
                if !digest::is_sha256(&record.id) || name != format!("{}.json", digest::hex_of(&record.id)) {
                    return Err("it does not describe this image".into());
                }
                let raw = fs::read(self.paths.blob(&record.id)).map_err(|e| format!("its configuration: {e}"))?;
                if digest::sha256(&raw) != record.id {
                    return Err("its configuration does not have the digest that it is named by".into());
                }
                let config = super::parse_config(&raw).map_err(|e| e.to_string())?;
                if let Some(lost) = config.rootfs.diff_ids.iter().find(|d| !self.state.read().layers.contains_key(*d)) {
                    return Err(format!("its layer {lost} is missing or damaged"));
                }
                Ok((record, config, raw))
            })();
            match read {
                Ok(found) => records.push(found),
                Err(why) => self.damage(format!("image {name}: {why}")),
            }
        }
        let mut state = self.state.write();
        // A crash while a name moved may have left it with two images: the later one has it.
        let mut latest: HashMap<String, (i64, String)> = HashMap::new();
        for (record, ..) in &records {
            let digests = record.digests.iter().map(|d| (d, record.last_tagged_unix_nanos));
            for (name, at) in record.tags.iter().map(|(n, at)| (n, *at)).chain(digests) {
                let seat = latest.entry(name.clone()).or_insert_with(|| (at, record.id.clone()));
                if at > seat.0 {
                    *seat = (at, record.id.clone());
                }
            }
        }
        for (mut record, config, raw) in records {
            record.tags.retain(|name, _| latest.get(name).is_some_and(|(_, id)| *id == record.id));
            record.digests.retain(|name| latest.get(name).is_some_and(|(_, id)| *id == record.id));
            state.show(record, Some((config, &raw)));
        }
        state.names = latest.into_iter().map(|(name, (_, id))| (name, id)).collect();
        Ok(())
    }

    /// Removes layers, links and configurations that nothing names. Where something is damaged nothing is removed: it
    /// may be what the damaged entry named.
    fn collect_orphans(&self) -> Result<(), ImageError> {
        if !self.state.read().damaged.is_empty() {
            return Ok(());
        }
        let orphans: Vec<String> = {
            let state = self.state.read();
            let needed = state.needed_layers();
            state.layers.keys().filter(|d| !needed.contains(d)).cloned().collect()
        };
        for diff_id in orphans {
            tracing::info!(layer = %diff_id, "removing a layer that no image names");
            self.drop_layer_files(&diff_id)?;
        }
        let state = self.state.read();
        for name in names(&self.paths.links())? {
            if !name.starts_with('I') && !state.layers.values().any(|l| l.link == name) {
                file::remove(&self.paths.links().join(name))?;
            }
        }
        for name in names(&self.paths.blobs())? {
            if !state.images.contains_key(&format!("sha256:{name}")) {
                file::remove(&self.paths.blobs().join(name))?;
            }
        }
        Ok(())
    }

    fn damage(&self, what: String) {
        tracing::error!(entry = %what, "image store: damaged entry left out");
        self.state.write().damaged.push(what);
    }
}

/// What a crash left, some of it mounted.
fn clear_staging(staging: &Path) -> Result<(), ImageError> {
    if staging.exists() {
        for name in names(staging)? {
            let merged = staging.join(name).join("merged");
            if merged.exists() {
                kernel::overlay::unmount(&merged).at("unmount", &merged)?;
            }
        }
    }
    file::remove_tree(staging)
}

fn names(dir: &Path) -> Result<Vec<String>, ImageError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).at("list", dir)? {
        names.push(entry.at("list", dir)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
