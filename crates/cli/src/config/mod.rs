//! The user's own settings: `config.json` with registry credentials and the chosen context, and the contexts beside it.
//! Keys that are not ours are kept as they are.
mod context;
mod credentials;

pub(crate) use context::{Context, DEFAULT};
pub(crate) use credentials::{HUB, registry_of};

use serde_json::{Map, Value};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The folder and what its `config.json` says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) folder: PathBuf,
    values: Map<String, Value>,
}

impl Config {
    /// The flag's folder, else `DOCKER_CONFIG`, else `~/.docker`. Gives a warning for a file that cannot be read.
    pub(crate) fn load(flag: Option<&str>) -> (Self, Option<String>) {
        let from_env = std::env::var_os("DOCKER_CONFIG").filter(|d| !d.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
        let folder = flag.map(PathBuf::from).or(from_env).or_else(home).unwrap_or_default();
        Self::at(folder)
    }

    fn at(folder: PathBuf) -> (Self, Option<String>) {
        let path = folder.join("config.json");
        let read = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| e.to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
            Err(e) => Err(e.to_string()),
        };
        match read {
            Ok(values) => (Self { folder, values }, None),
            Err(e) => {
                let warning = format!("WARNING: Error loading config file: {}: {e}", path.display());
                (Self { folder, values: Map::new() }, Some(warning))
            }
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str().filter(|t| !t.is_empty())
    }

    /// Changes the file: whole, or not at all; nobody else may read it.
    fn change(&mut self, change: impl FnOnce(&mut Map<String, Value>)) -> anyhow::Result<()> {
        let path = self.folder.join("config.json");
        let (now, unread) = Self::at(self.folder.clone());
        if let Some(warning) = unread {
            anyhow::bail!("{} is not changed: {}", path.display(), warning.trim_start_matches("WARNING: "));
        }
        self.values = now.values;
        change(&mut self.values);
        std::fs::create_dir_all(&self.folder)
            .map_err(|e| anyhow::anyhow!("cannot make {}: {e}", self.folder.display()))?;
        let new = self.folder.join(format!(".config.json.{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(serde_json::to_string_pretty(&self.values)?.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|e| {
            let _ = std::fs::remove_file(&new);
            anyhow::anyhow!("cannot write {}: {e}", path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_change_keeps_what_is_not_ours_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, r#"{"psFormat": "x", "auths": {"a": {"auth": "YTpi"}}}"#).unwrap();
        let (mut config, warning) = Config::load(dir.path().to_str());
        assert_eq!(warning, None);
        config.change(|v| drop(v.insert("currentContext".into(), "here".into()))).unwrap();
        let (config, _) = Config::load(dir.path().to_str());
        assert_eq!((config.text("psFormat"), config.text("currentContext")), (Some("x"), Some("here")));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_is_told_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, "{").unwrap();
        let (mut config, warning) = Config::load(dir.path().to_str());
        assert!(warning.unwrap().starts_with("WARNING: Error loading config file: "));
        assert!(config.change(|_| ()).unwrap_err().to_string().contains("is not changed"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{");
    }
}
