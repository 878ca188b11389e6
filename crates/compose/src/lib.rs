//! Compose file → stack, with the semantics of `docker stack deploy`. Pure: files and environment come as closures.
//!
//! ```text
//!  text ─► parse (YAML, merge keys) ─► forbidden keys ─► interpolate ${…} ─► known keys only ┐ per file
//!                                                                                            ▼
//!  Stack ◄─ convert (names, labels, defaults) ◄──────────────────────────────── merge all files
//! ```
//! Names of networks, secrets and configs inside services are left as names ([`StackService::resolve`]), because only
//! the swarm knows their ids. Deviations from Docker, all on purpose: `restart` is honoured (also `"no"`), so are the
//! short `tmpfs` key, `ipv4_address`, the whole of `ipam`, a port's address, `depends_on`, `security_opt` and
//! `network_mode`; what of them cannot be honoured is refused.
#![forbid(unsafe_code)]

mod amount;
mod convert;
mod error;
mod interpolate;
mod merge;
mod read;
mod schema;
mod source;

pub use error::ComposeError;

use model::{
    ConfigId, ConfigReference, ConfigSpec, FileTarget, Labels, NetworkAttachmentConfig, NetworkSpec, NetworkTarget,
    SecretId, SecretReference, SecretSpec, ServiceSpec,
};
use serde_yaml_ng::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Everything that belongs to a stack carries this label with the stack's name.
pub const LABEL_NAMESPACE: &str = "com.docker.stack.namespace";
/// The image as written in the file, on the service.
pub const LABEL_IMAGE: &str = "com.docker.stack.image";

/// One compose file.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the user named it, for errors.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The value of a variable, if it has one.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the outside gives.
pub struct Surroundings<'a> {
    /// The stack's name.
    pub stack: &'a str,
    /// Relative paths start here: the folder of the first file.
    pub folder: &'a Path,
    /// `~` in paths.
    pub home: Option<&'a Path>,
    /// The environment.
    pub env: Environment<'a>,
    /// Reads a file (env files, secrets, configs).
    pub read: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
}

/// What shall be deployed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// By short name.
    pub services: BTreeMap<String, StackService>,
    /// The networks that services use, by their name in the swarm.
    pub networks: BTreeMap<String, StackObject<NetworkSpec>>,
    /// Secrets, by their name in the swarm.
    pub secrets: BTreeMap<String, StackObject<SecretSpec>>,
    /// Configs, by their name in the swarm.
    pub configs: BTreeMap<String, StackObject<ConfigSpec>>,
    /// Named volumes that services use, by their name on the nodes.
    pub volumes: BTreeMap<String, StackObject<VolumeSpec>>,
    /// The secrets and configs whose names the file chose itself, with `name:`.
    pub named: BTreeSet<String>,
    /// What a person should know: options that are not honoured.
    pub warnings: Vec<String>,
}

/// A thing of a stack, or one that must be there already.
#[derive(Clone, Debug, PartialEq)]
pub enum StackObject<T> {
    /// To be made.
    Own(T),
    /// Declared as external.
    External,
}

impl<T> StackObject<T> {
    /// The spec, unless it is external.
    pub fn own(&self) -> Option<&T> {
        match self {
            Self::Own(spec) => Some(spec),
            Self::External => None,
        }
    }
}

/// A named volume (made on each node by the mounts that use it).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Driver, empty for `local`.
    pub driver: String,
    /// Its options.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: Labels,
}

/// A service whose networks, secrets and configs are still names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StackService {
    /// All but the networks, secrets and configs.
    pub spec: ServiceSpec,
    /// Its networks, by name.
    pub networks: Vec<NetworkUse>,
    /// Its secrets, by name.
    pub secrets: Vec<FileUse>,
    /// Its configs, by name.
    pub configs: Vec<FileUse>,
    /// What it waits for when it is made.
    pub depends_on: Vec<Dependency>,
}

/// A service that must have come so far before another is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Short name.
    pub service: String,
    /// How far.
    pub condition: Condition,
    /// Whether it must be in the stack.
    pub required: bool,
}

/// How far a service must have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A task runs, or has run to its end.
    Started,
    /// All tasks run; those with a health check are healthy.
    Healthy,
    /// All tasks have ended without a failure.
    Completed,
}

/// A service on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkUse {
    /// The network's name in the swarm.
    pub network: String,
    /// The service's names there.
    pub aliases: Vec<String>,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// Asked-for addresses.
    pub addresses: Vec<IpAddr>,
}

/// A secret or config in a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileUse {
    /// Its name in the swarm.
    pub name: String,
    /// Where it appears.
    pub file: FileTarget,
}

/// Turns names into ids.
pub trait Names {
    /// A network (also a predefined one).
    fn network(&self, name: &str) -> Option<NetworkTarget>;
    /// A secret, and the name of the version that is meant.
    fn secret(&self, name: &str) -> Option<(SecretId, String)>;
    /// A config, and the name of the version that is meant.
    fn config(&self, name: &str) -> Option<(ConfigId, String)>;
}

impl StackService {
    /// The complete spec.
    ///
    /// # Errors
    /// The first name that is not known, in Docker's words.
    pub fn resolve(&self, names: &dyn Names) -> Result<ServiceSpec, String> {
        let mut spec = self.spec.clone();
        for used in &self.networks {
            let target = names.network(&used.network).ok_or_else(|| format!("network {} not found", used.network))?;
            spec.task.networks.push(NetworkAttachmentConfig {
                target,
                aliases: used.aliases.clone(),
                driver_opts: used.driver_opts.clone(),
                addresses: used.addresses.clone(),
            });
        }
        let container = spec.task.container.get_or_insert_default();
        for used in &self.secrets {
            let (id, name) = names.secret(&used.name).ok_or_else(|| format!("secret not found: {}", used.name))?;
            container.secrets.push(SecretReference { id, name, file: Some(used.file.clone()) });
        }
        for used in &self.configs {
            let (id, name) = names.config(&used.name).ok_or_else(|| format!("config not found: {}", used.name))?;
            container.configs.push(ConfigReference { id, name, file: Some(used.file.clone()) });
        }
        Ok(spec)
    }
}

/// Reads compose files (later ones change earlier ones) into a stack.
///
/// # Errors
/// See [`ComposeError`].
pub fn load(sources: &[Source], around: &Surroundings<'_>) -> Result<Stack, ComposeError> {
    if sources.is_empty() {
        return Err(ComposeError::NoFile);
    }
    let mut files = Vec::with_capacity(sources.len());
    for source in sources {
        let tree = source::parse(source)?;
        schema::forbid(source, &tree)?;
        let tree = interpolate::tree(source, tree, around.env)?;
        schema::check(source, &tree)?;
        files.push(tree);
    }
    let warnings = schema::warnings(&files);
    merge::same_version(&files, sources)?;
    let whole = merge::all(files);
    let mut stack = convert::stack(&whole, around).map_err(|e| e.in_file(sources))?;
    stack.warnings.splice(0..0, warnings);
    Ok(stack)
}

/// The files merged into one and, if there is an environment, with their variables filled in; as YAML that can be read again.
///
/// # Errors
/// See [`ComposeError`].
pub fn config(sources: &[Source], env: Option<Environment<'_>>) -> Result<String, ComposeError> {
    let Some(first) = sources.first() else { return Err(ComposeError::NoFile) };
    let mut files = Vec::with_capacity(sources.len());
    for source in sources {
        let mut tree = source::parse(source)?;
        schema::forbid(source, &tree)?;
        if let Some(env) = env {
            tree = interpolate::tree(source, tree, env)?;
            schema::check(source, &tree)?;
        }
        files.push(tree);
    }
    merge::same_version(&files, sources)?;
    let mut whole = merge::all(files);
    // What comes out can be deployed: it must say the same when it is read again.
    if let (Some(_), Value::Mapping(sections)) = (env, &mut whole) {
        let read = |key: &Value| key.as_str().is_some_and(|k| interpolate::SECTIONS.contains(&k));
        sections.iter_mut().filter(|(key, _)| read(key)).for_each(|(_, value)| interpolate::escape(value));
    }
    serde_yaml_ng::to_string(&whole)
        .map_err(|e| ComposeError::Syntax { file: first.name.clone(), message: e.to_string() })
}

/// Where relative paths of compose files start.
pub fn folder_of(first_file: &Path) -> PathBuf {
    first_file.parent().map(Path::to_path_buf).unwrap_or_default()
}
