//! Contexts: named engines. Kept where Docker keeps them, so that either program sees the other's:
//! `contexts/meta/<sha256 of the name>/meta.json` and `contexts/tls/<the same>/docker/{ca,cert,key}.pem`.
use super::Config;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The engine of the flags and of `DOCKER_HOST`.
pub(crate) const DEFAULT: &str = "default";

/// A named engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) description: String,
    /// `unix://…`, `tcp://…`.
    pub(crate) host: String,
    /// The server's certificate is not checked.
    pub(crate) skip_verify: bool,
    /// Certificates, in PEM.
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) cert: Option<Vec<u8>>,
    pub(crate) key: Option<Vec<u8>>,
}

impl Config {
    /// The chosen one.
    pub(crate) fn current_context(&self) -> &str {
        self.text("currentContext").unwrap_or(DEFAULT)
    }

    pub(crate) fn use_context(&mut self, name: &str) -> anyhow::Result<()> {
        if name != DEFAULT {
            self.context(name)?;
        }
        self.change(|values| {
            if name == DEFAULT {
                values.remove("currentContext");
            } else {
                values.insert("currentContext".into(), name.into());
            }
        })
    }

    /// All but the default one, by name.
    pub(crate) fn contexts(&self) -> Vec<Context> {
        let Ok(dirs) = std::fs::read_dir(self.folder.join("contexts/meta")) else { return Vec::new() };
        let mut all: Vec<Context> = dirs
            .flatten()
            .filter_map(|dir| {
                let meta: Value = serde_json::from_slice(&std::fs::read(dir.path().join("meta.json")).ok()?).ok()?;
                self.read(&meta)
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// One by its name.
    pub(crate) fn context(&self, name: &str) -> anyhow::Result<Context> {
        let path = self.place("meta", name).join("meta.json");
        let found = std::fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok());
        found.and_then(|meta: Value| self.read(&meta)).ok_or_else(|| {
            anyhow::anyhow!("context {name:?}: context not found: open {}: no such file or directory", path.display())
        })
    }

    fn read(&self, meta: &Value) -> Option<Context> {
        let text = |pointer: &str| meta.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text("/Name");
        if name.is_empty() {
            return None;
        }
        let tls = self.place("tls", &name).join("docker");
        let pem = |file: &str| std::fs::read(tls.join(file)).ok();
        Some(Context {
            description: text("/Metadata/Description"),
            host: text("/Endpoints/docker/Host"),
            skip_verify: meta.pointer("/Endpoints/docker/SkipTLSVerify").and_then(Value::as_bool).unwrap_or_default(),
            ca: pem("ca.pem"),
            cert: pem("cert.pem"),
            key: pem("key.pem"),
            name,
        })
    }

    /// Writes one. `new`: there must be none of that name.
    pub(crate) fn write_context(&self, context: &Context, new: bool) -> anyhow::Result<()> {
        check_name(&context.name)?;
        let meta = self.place("meta", &context.name);
        anyhow::ensure!(!new || !meta.join("meta.json").exists(), "context {:?} already exists", context.name);
        let mut metadata = json!({});
        if !context.description.is_empty() {
            metadata["Description"] = context.description.as_str().into();
        }
        let document = json!({
            "Name": context.name,
            "Metadata": metadata,
            "Endpoints": {"docker": {"Host": context.host, "SkipTLSVerify": context.skip_verify}}
        });
        let write = || -> std::io::Result<()> {
            let tls = self.place("tls", &context.name).join("docker");
            for (file, pem) in [("ca.pem", &context.ca), ("cert.pem", &context.cert), ("key.pem", &context.key)] {
                if let Some(pem) = pem {
                    std::fs::create_dir_all(&tls)?;
                    write_private(&tls.join(file), pem)?;
                }
            }
            std::fs::create_dir_all(&meta)?;
            write_private(&meta.join("meta.json"), document.to_string().as_bytes())
        };
        write().map_err(|e| anyhow::anyhow!("cannot write context {:?} in {}: {e}", context.name, meta.display()))
    }

    /// Removes one; the chosen one only with `force`, which chooses the default again.
    pub(crate) fn remove_context(&mut self, name: &str, force: bool) -> anyhow::Result<()> {
        anyhow::ensure!(name != DEFAULT, "context {name:?} cannot be removed");
        if self.current_context() == name {
            anyhow::ensure!(force, "context {name:?} is in use, set -f flag to force remove");
            self.use_context(DEFAULT)?;
        }
        if !force {
            self.context(name)?;
        }
        for kind in ["meta", "tls"] {
            match std::fs::remove_dir_all(self.place(kind, name)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn place(&self, kind: &str, name: &str) -> PathBuf {
        let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
        let id: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        self.folder.join("contexts").join(kind).join(id)
    }
}

fn write_private(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

fn check_name(name: &str) -> anyhow::Result<()> {
    anyhow::ensure!(!name.is_empty(), "context name cannot be empty");
    anyhow::ensure!(name != DEFAULT, "\"default\" is a reserved context name");
    let good = name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c));
    anyhow::ensure!(
        good,
        "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let (mut config, _) = Config::load(dir.path().to_str());
        let lab = Context {
            name: "lab".into(),
            host: "tcp://10.0.0.1:2376".into(),
            ca: Some(b"pem".to_vec()),
            ..Context::default()
        };
        config.write_context(&lab, true).unwrap();
        assert_eq!(config.write_context(&lab, true).unwrap_err().to_string(), "context \"lab\" already exists");
        assert_eq!(config.contexts(), std::slice::from_ref(&lab));
        assert_eq!(config.context("lab").unwrap(), lab);
        assert!(config.use_context("nope").is_err());
        config.use_context("lab").unwrap();
        assert_eq!(Config::load(dir.path().to_str()).0.current_context(), "lab");
        assert!(config.remove_context("lab", false).unwrap_err().to_string().contains("is in use"));
        config.remove_context("lab", true).unwrap();
        assert_eq!((config.current_context(), config.contexts().len()), (DEFAULT, 0));
        for bad in ["", "default", "x", "-x", "a b"] {
            assert!(config.write_context(&Context { name: bad.into(), ..Context::default() }, true).is_err(), "{bad}");
        }
    }
}
