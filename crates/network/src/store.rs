//! What outlives the daemon: networks, sandboxes, attachments, the directory. One file each, replaced whole.
use crate::error::NetworkError;
use crate::local::LocalNetwork;
use crate::sandbox::Sandbox;
use model::{Directory, NodeId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Everything but the directory.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// Networks of the machine, by id.
    pub networks: BTreeMap<String, LocalNetwork>,
    /// By container id.
    pub sandboxes: BTreeMap<String, Sandbox>,
    /// Once the machine is in a swarm.
    pub swarm: Option<Membership>,
}

/// Which node of a swarm this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its id.
    pub node: NodeId,
    /// Underlay address of its tunnel endpoint.
    pub addr: IpAddr,
    /// UDP port of the tunnels.
    pub port: u16,
}

/// The files.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// In this directory, which is made.
    pub fn open(dir: &Path) -> Result<Self, NetworkError> {
        std::fs::create_dir_all(dir).map_err(|source| NetworkError::File { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// What was saved, or nothing. A damaged file is set aside: it costs the networks that it held, not the daemon.
    pub fn load(&self) -> Result<Saved, NetworkError> {
        match self.read("networks.json") {
            Err(NetworkError::Damaged { path, source }) => {
                let aside = path.with_extension("json.damaged");
                std::fs::rename(&path, &aside).map_err(|source| NetworkError::File { path, source })?;
                tracing::error!(error = %source, kept = %aside.display(), "the networks cannot be read: their names and subnets are lost");
                Ok(Saved::default())
            }
            read => Ok(read?.unwrap_or_default()),
        }
    }

    /// Saves.
    pub fn save(&self, saved: &Saved) -> Result<(), NetworkError> {
        self.write("networks.json", saved, true)
    }

    /// The last directory, or nothing. A damaged one is nothing as well: the managers have it.
    pub fn load_directory(&self) -> Directory {
        self.read("directory.json").ok().flatten().unwrap_or_default()
    }

    /// Keeps the directory, so that names are known after a restart without managers.
    pub fn save_directory(&self, directory: &Directory) -> Result<(), NetworkError> {
        // The managers have it too: not worth waiting for the disk.
        self.write("directory.json", directory, false)
    }

    /// Forgets the directory.
    pub fn forget_directory(&self) {
        let _ = std::fs::remove_file(self.dir.join("directory.json"));
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, NetworkError> {
        let path = self.dir.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(NetworkError::File { path, source }),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| NetworkError::Damaged { path, source })
    }

    fn write<T: Serialize>(&self, name: &str, value: &T, durable: bool) -> Result<(), NetworkError> {
        let path = self.dir.join(name);
        let fresh = self.dir.join(format!("{name}.new"));
        let bytes = serde_json::to_vec(value).map_err(|source| NetworkError::Damaged { path: path.clone(), source })?;
        let put = || {
            let mut file = std::fs::File::create(&fresh)?;
            file.write_all(&bytes)?;
            if durable {
                file.sync_all()?;
            }
            std::fs::rename(&fresh, &path)
        };
        put().map_err(|source| NetworkError::File { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_set_aside_and_costs_only_what_it_held() {
        let dir = std::env::temp_dir().join(format!("shoal-network-store-{}", std::process::id()));
        let store = Store::open(&dir).unwrap();
        std::fs::write(dir.join("networks.json"), b"{\"networks\":").unwrap();
        assert!(store.load().unwrap().networks.is_empty());
        assert_eq!(std::fs::read(dir.join("networks.json.damaged")).unwrap(), b"{\"networks\":");
        store.save(&Saved::default()).unwrap();
        assert!(store.load().is_ok());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
