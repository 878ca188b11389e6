//! What a build is asked to do.
use images::{Credentials, Platform, Reference};
use std::collections::BTreeMap;
use wire::engine::container::HostConfig;

/// The wish of a client, understood.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// Path of the Dockerfile in the context; empty: `Dockerfile`.
    pub dockerfile: String,
    /// A URL instead of a context.
    pub remote: String,
    /// Names for the image.
    pub tags: Vec<Reference>,
    /// Only the id is told, or what failed.
    pub quiet: bool,
    /// Run every step.
    pub no_cache: bool,
    /// Ask the registry for newer base images.
    pub pull: bool,
    /// Remove the container of a step that went well.
    pub remove: bool,
    /// Of every step.
    pub force_remove: bool,
    /// Make one layer of all that was built.
    pub squash: bool,
    /// `--build-arg`; `None`: the value that the Dockerfile says.
    pub arguments: BTreeMap<String, Option<String>>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Images that may serve as cache; none: all that were built here.
    pub cache_from: Vec<String>,
    /// Stage to end with.
    pub target: String,
    /// For base images.
    pub platform: Option<Platform>,
    /// Limits, network and so on of the steps' containers.
    pub host: HostConfig,
    /// Credentials by registry, as clients name it.
    pub credentials: BTreeMap<String, Credentials>,
}

impl BuildRequest {
    /// The credentials for an image's registry.
    pub(crate) fn credentials_for(&self, reference: &Reference) -> Credentials {
        const HUB: &[&str] = &["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];
        let plain = |key: &str| {
            let key = key.trim_start_matches("https://").trim_start_matches("http://");
            key.split('/').next().unwrap_or(key).to_owned()
        };
        let domain = reference.domain();
        let fits = |key: &str| if domain == "docker.io" { HUB.contains(&key) } else { plain(key) == domain };
        let found = self.credentials.iter().find(|(key, _)| fits(key));
        found.map(|(_, c)| c.clone()).unwrap_or_default()
    }
}
