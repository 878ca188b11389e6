//! Managed plugins are kept, described, configured and removed; none is ever run, because network, volume and log drivers
//! are built in.
//!
//! ```text
//! plugins/<id>/{plugin.json,config.json,rootfs/}      plugins/.new-<id>  what is not finished, removed at open
//! ```
use crate::clock;
use images::{CopyOptions, Images, Reference};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncRead;
use wire::Refusal;
use wire::engine::lenient;
use wire::engine::plugin::{Plugin, PluginConfig, PluginSettings};

const UNFINISHED: &str = ".new-";

/// All plugins of this machine; cheap to clone.
#[derive(Clone)]
pub struct Plugins {
    root: Arc<PathBuf>,
    all: Arc<parking_lot::RwLock<BTreeMap<String, Plugin>>>,
    /// Held while directories change.
    writer: Arc<tokio::sync::Mutex<()>>,
}

impl Plugins {
    /// Opens the plugins below `root` (`data_root/plugins`). One that cannot be read is named in the log and left alone.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(root: PathBuf) -> Result<Self, Refusal> {
        let all = read_all(&root).map_err(|e| internal("read", &root, &e))?;
        Ok(Self { root: Arc::new(root), all: Arc::new(all.into()), writer: Arc::default() })
    }

    /// All, by id.
    pub fn list(&self) -> Vec<Plugin> {
        self.all.read().values().cloned().collect()
    }

    /// By name (with or without tag), id, or the beginning of one.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, wanted: &str) -> Result<Plugin, Refusal> {
        let all = self.all.read();
        let name = Reference::parse(wanted).map(|r| r.or_latest().familiar()).unwrap_or_default();
        if let Some(p) = all.values().find(|p| p.name == name || p.id == wanted) {
            return Ok(p.clone());
        }
        let mut matches = all.values().filter(|p| !wanted.is_empty() && p.id.starts_with(wanted));
        match (matches.next(), matches.next()) {
            (Some(p), None) => Ok(p.clone()),
            (Some(_), Some(_)) => Err(Refusal::invalid(format!("multiple plugins found for \"{wanted}\""))),
            _ => Err(Refusal::not_found(format!("plugin \"{wanted}\" not found"))),
        }
    }

    /// Takes one out of a tar with `config.json` and `rootfs/`.
    ///
    /// # Errors
    /// 400 for a bad name or archive, 409 when the name is taken.
    pub async fn create(&self, name: &str, tar: impl AsyncRead + Send + Unpin + 'static) -> Result<Plugin, Refusal> {
        let reference = Reference::parse(name).map_err(|e| Refusal::invalid(e.to_string()))?.or_latest();
        let _writer = self.writer.lock().await;
        if self.all.read().values().any(|p| p.name == reference.familiar()) {
            return Err(Refusal::conflict(format!("plugin \"{}\" already exists", reference.familiar())));
        }
        let id = clock::random_id();
        let staging = self.root.join(format!("{UNFINISHED}{id}"));
        let made = self.unpack(&staging, &id, &reference, tar).await.and_then(|plugin| {
            std::fs::rename(&staging, self.root.join(&id)).map_err(|e| internal("rename", &staging, &e))?;
            Ok(plugin)
        });
        match made {
            Ok(plugin) => {
                self.all.write().insert(id, plugin.clone());
                Ok(plugin)
            }
            Err(e) => {
                let _ = std::fs::remove_dir_all(&staging);
                Err(e)
            }
        }
    }

    async fn unpack(
        &self,
        dir: &Path,
        id: &str,
        reference: &Reference,
        tar: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Plugin, Refusal> {
        std::fs::create_dir_all(dir).map_err(|e| internal("make", dir, &e))?;
        let unpacked = Images::copy_into(dir.to_owned(), id, "/", tar, CopyOptions::default()).await;
        unpacked.map_err(crate::containers::refuse_image)?;
        let text = std::fs::read(dir.join("config.json"))
            .map_err(|e| Refusal::invalid(format!("a plugin needs a config.json at the top of its archive: {e}")))?;
        if !dir.join("rootfs").is_dir() {
            return Err(Refusal::invalid("a plugin needs a directory rootfs at the top of its archive"));
        }
        let config: PluginConfig =
            lenient::from_slice(&text).map_err(|e| Refusal::invalid(format!("failed to parse config: {e}")))?;
        let plugin = Plugin {
            id: id.to_owned(),
            name: reference.familiar(),
            enabled: false,
            settings: settings(&config),
            plugin_reference: reference.to_string(),
            config,
        };
        write(dir, &plugin)?;
        Ok(plugin)
    }

    /// Sets variables and arguments (`NAME=value`, `args=…`).
    ///
    /// # Errors
    /// 404; 400 for what the plugin does not let be set.
    pub async fn configure(&self, wanted: &str, changes: &[String]) -> Result<(), Refusal> {
        let _writer = self.writer.lock().await;
        let mut plugin = self.get(wanted)?;
        for change in changes {
            set(&mut plugin, change)?;
        }
        write(&self.root.join(&plugin.id), &plugin)?;
        self.all.write().insert(plugin.id.clone(), plugin);
        Ok(())
    }

    /// Removes one.
    ///
    /// # Errors
    /// 404.
    pub async fn remove(&self, wanted: &str) -> Result<Plugin, Refusal> {
        let _writer = self.writer.lock().await;
        let plugin = self.get(wanted)?;
        let dir = self.root.join(&plugin.id);
        // Out of sight first: a removal that is cut off is finished at the next start.
        let away = self.root.join(format!("{UNFINISHED}{}", plugin.id));
        std::fs::rename(&dir, &away).map_err(|e| internal("remove", &dir, &e))?;
        self.all.write().remove(&plugin.id);
        std::fs::remove_dir_all(&away).map_err(|e| internal("remove", &away, &e))?;
        Ok(plugin)
    }
}

fn set(plugin: &mut Plugin, change: &str) -> Result<(), Refusal> {
    let (name, value) = change.split_once('=').unwrap_or((change, ""));
    let settable = |words: &Option<Vec<String>>| words.iter().flatten().any(|w| w == "value");
    let refuse = |why: &str| Err(Refusal::invalid(format!("{name:?} {why}")));
    if let Some(variable) = plugin.config.env.iter().flatten().find(|e| e.name == name) {
        if !settable(&variable.settable) {
            return refuse("is not settable");
        }
        plugin.settings.env.retain(|e| e.split('=').next() != Some(name));
        plugin.settings.env.push(format!("{name}={value}"));
        return Ok(());
    }
    let args = &plugin.config.args;
    if !name.is_empty() && args.name == name {
        if !settable(&args.settable) {
            return refuse("is not settable");
        }
        plugin.settings.args = value.split_whitespace().map(str::to_owned).collect();
        return Ok(());
    }
    refuse("is not a variable or argument of the plugin; its mounts and devices cannot be set, because it is never run")
}

fn settings(config: &PluginConfig) -> PluginSettings {
    let variable = |e: &wire::engine::plugin::PluginEnv| e.value.as_ref().map(|v| format!("{}={v}", e.name));
    PluginSettings {
        mounts: config.mounts.clone().unwrap_or_default(),
        env: config.env.iter().flatten().filter_map(variable).collect(),
        args: config.args.value.clone().unwrap_or_default(),
        devices: config.linux.devices.clone().unwrap_or_default(),
    }
}

fn write(dir: &Path, plugin: &Plugin) -> Result<(), Refusal> {
    let temporary = dir.join("plugin.json.tmp");
    let saved = serde_json::to_vec(plugin)
        .map_err(io::Error::other)
        .and_then(|bytes| std::fs::write(&temporary, bytes))
        .and_then(|()| std::fs::rename(&temporary, dir.join("plugin.json")));
    saved.map_err(|e| internal("write", &temporary, &e))
}

fn read_all(root: &Path) -> io::Result<BTreeMap<String, Plugin>> {
    std::fs::create_dir_all(root)?;
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(UNFINISHED)) {
            std::fs::remove_dir_all(&path)?;
            continue;
        }
        let read = std::fs::read(path.join("plugin.json")).and_then(|b| Ok(serde_json::from_slice::<Plugin>(&b)?));
        match read {
            Ok(plugin) => drop(all.insert(plugin.id.clone(), plugin)),
            Err(e) => tracing::error!(dir = %path.display(), error = %e, "a plugin cannot be read"),
        }
    }
    Ok(all)
}

fn internal(what: &str, path: &Path, e: &io::Error) -> Refusal {
    Refusal::internal(format!("cannot {what} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(config: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, data) in [("config.json", config), ("rootfs/dummy", "#!")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, path, data.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    const CONFIG: &str = r#"{"description":"d","entrypoint":["/dummy"],"network":{"type":"host"},
        "env":[{"name":"DEBUG","settable":["value"],"value":"0"},{"name":"FIXED","value":"1"}]}"#;

    #[tokio::test]
    async fn one_is_kept_configured_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("plugins");
        let plugins = Plugins::open(root.clone()).unwrap();
        let made = plugins.create("a/dummy", io::Cursor::new(archive(CONFIG))).await.unwrap();
        assert_eq!((made.name.as_str(), made.enabled), ("a/dummy:latest", false));
        assert_eq!(made.config.entrypoint.as_deref().unwrap(), ["/dummy"]);
        assert_eq!(made.settings.env, ["DEBUG=0", "FIXED=1"]);
        let again = plugins.create("a/dummy:latest", io::Cursor::new(archive(CONFIG))).await.unwrap_err();
        assert_eq!(again.kind.status(), 409);

        plugins.configure("a/dummy", &["DEBUG=1".into()]).await.unwrap();
        for bad in ["FIXED=2", "NOPE=1"] {
            assert_eq!(plugins.configure("a/dummy", &[bad.into()]).await.unwrap_err().kind.status(), 400);
        }
        let reopened = Plugins::open(root.clone()).unwrap();
        let read = reopened.get(&made.id[..10]).unwrap();
        assert!(read.settings.env.contains(&"DEBUG=1".to_owned()), "{:?}", read.settings);
        assert_eq!(reopened.remove("a/dummy").await.unwrap().id, made.id);
        assert_eq!(reopened.get("a/dummy").unwrap_err().kind.status(), 404);
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_bad_archive_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let plugins = Plugins::open(dir.path().join("p")).unwrap();
        for (bad, because) in [(archive("{"), "failed to parse config"), (b"no tar".to_vec(), "tar")] {
            let refusal = plugins.create("x", io::Cursor::new(bad)).await.unwrap_err();
            assert!(refusal.message.contains(because), "{refusal:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path().join("p")).unwrap().count(), 0);
    }
}
