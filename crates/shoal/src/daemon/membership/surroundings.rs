//! What the agent finds around it: the networks that apply its directory, the containers that run its tasks, the images
//! that they need, and what this machine says of itself.
use crate::daemon::engine::ENGINE_VERSION;
use crate::daemon::options::Settings;
use async_trait::async_trait;
use cluster::ca::Credentials;
use model::{Directory, NodeDescription, Platform, Resources, Subnet};
use node::agent::DirectorySink;
use node::agent::executor::Executor;
use node::tasks::{Puller, Tasks};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use wire::Refusal;

pub(super) struct Sink(pub(super) network::Networks);

#[async_trait]
impl DirectorySink for Sink {
    async fn apply(&self, directory: Directory) -> Result<u64, String> {
        self.0.apply_directory(directory).await.map_err(|e| node::chain(&e))
    }
    async fn verify(&self) -> (u64, u64) {
        self.0.verify().await.map_or((0, 0), |r| (r.digest, r.repaired))
    }
}

/// The executor needs the agent's directory and the agent needs the executor.
#[derive(Default)]
pub(super) struct LateExecutor(pub(super) OnceLock<Arc<Tasks>>);

impl LateExecutor {
    fn tasks(&self) -> &Tasks {
        // Set right after the agent was made, before any session.
        self.0.get().map(Arc::as_ref).unwrap_or_else(|| unreachable!("the executor is set before the first session"))
    }
}

#[async_trait]
impl Executor for LateExecutor {
    async fn find(&self, task: &model::Task) -> Option<node::agent::executor::Found> {
        self.tasks().find(task).await
    }
    async fn prepare(&self, task: &model::Task, deps: &node::agent::executor::Dependencies) -> Result<String, Refusal> {
        self.tasks().prepare(task, deps).await
    }
    async fn start(&self, task: &model::Task) -> Result<node::agent::executor::Started, Refusal> {
        self.tasks().start(task).await
    }
    async fn healthy(&self, task: &model::Task) {
        self.tasks().healthy(task).await;
    }
    async fn ended(&self, task: &model::Task) -> node::agent::executor::Ended {
        self.tasks().ended(task).await
    }
    async fn live_connections(&self, task: &model::Task) -> usize {
        self.tasks().live_connections(task).await
    }
    async fn kill(&self, task: &model::Task) -> Result<(), Refusal> {
        self.tasks().kill(task).await
    }
    async fn stop(&self, task: &model::Task) -> Result<(), Refusal> {
        self.tasks().stop(task).await
    }
    async fn watch_over(&self, task: &model::Task, leased: bool) -> Result<(), Refusal> {
        self.tasks().watch_over(task, leased).await
    }
    fn may_run(&self, leased: Option<Duration>, all: Option<Duration>) {
        self.tasks().may_run(leased, all);
    }
    async fn remove(&self, task: &model::Task) -> Result<(), Refusal> {
        self.tasks().remove(task).await
    }
}

/// Images of tasks.
pub(super) struct Registry(pub(super) images::Images);

#[async_trait]
impl Puller for Registry {
    async fn ensure(&self, image: &str, credentials: &model::PullCredentials) -> Result<(), Refusal> {
        if self.0.get(image).is_ok() {
            return Ok(());
        }
        let reference = images::Reference::parse(image).map_err(|e| Refusal::invalid(e.to_string()))?;
        let (sink, mut lines) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move { while lines.recv().await.is_some() {} });
        match self.0.pull(reference, None, crate::backend::pull_credentials(&credentials.0), sink).await {
            Ok(_) => Ok(()),
            Err(e) => {
                tracing::info!(image, error = %e, "cannot be pulled");
                Err(Refusal::not_found(format!("No such image: {image}")))
            }
        }
    }
}

pub(super) fn describe(
    settings: &Settings,
    labels: &[String],
    credentials: &Credentials,
    routes: Vec<Subnet>,
    key: Option<[u8; 32]>,
) -> NodeDescription {
    let words = |typ: &str, names: &[&str]| names.iter().map(|n| (typ.to_owned(), (*n).to_owned())).collect::<Vec<_>>();
    let mut plugins = words("Network", &["bridge", "host", "macvlan", "null", "overlay"]);
    plugins.extend(words("Volume", &["local"]));
    plugins.extend(words("Log", &["json-file", "local"]));
    let labels = labels.iter().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
    NodeDescription {
        hostname: crate::backend::hostname(),
        platform: Platform { os: "linux".into(), architecture: std::env::consts::ARCH.into() },
        resources: Resources {
            nano_cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as i64) * 1_000_000_000,
            memory_bytes: crate::backend::memory_total(),
            pids: 0,
            generic: settings.generic_resources.clone(),
        },
        engine_version: ENGINE_VERSION.into(),
        engine_labels: labels.collect(),
        plugins,
        routes,
        encryption_key: key,
        ..trust(credentials)
    }
}

/// What the node's certificate says of its issuer.
pub(super) fn trust(credentials: &Credentials) -> NodeDescription {
    let current = credentials.current();
    let issuer = cluster::ca::issuer_among(&current.root_pem, &current.cert_pem).unwrap_or_default();
    NodeDescription {
        trust_root: current.root_pem.clone(),
        cert_issuer_subject: issuer.0,
        cert_issuer_public_key: issuer.1,
        ..NodeDescription::default()
    }
}
