//! What a task driver asks of the machine. The real one stands over containers and networks; the simulated ring has one
//! of its own.
use async_trait::async_trait;
use model::{Config, ConfigId, Node, PortConfig, Secret, SecretId, Task};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::Refusal;

/// What was found of a task's container, on a daemon's start or a session's begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Made, never started.
    Prepared {
        /// Container id.
        container: String,
    },
    /// Running.
    Running {
        /// Container id.
        container: String,
        /// First process.
        pid: i64,
    },
    /// Ended.
    Ended {
        /// Container id.
        container: String,
        /// How.
        end: Ended,
    },
}

/// How a task's container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Exit code (128 + signal for a killed one).
    pub code: i64,
    /// What else is known, for people (`OOM killed`).
    pub detail: String,
    /// It did not end: its health check gave up on it, and it must be stopped.
    pub unhealthy: bool,
}

/// A started task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// First process.
    pub pid: i64,
    /// Host-mode ports as bound.
    pub host_ports: Vec<PortConfig>,
}

/// What tasks on this node use.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    /// Secrets by id.
    pub secrets: BTreeMap<SecretId, Arc<Secret>>,
    /// Configs by id.
    pub configs: BTreeMap<ConfigId, Arc<Config>>,
    /// This node's own row, as far as it is known, for templates.
    pub node: Option<Arc<Node>>,
}

/// The machine, as a task driver sees it. Each method may be called again after a daemon's restart.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// What is there of this task already.
    async fn find(&self, task: &Task) -> Option<Found>;
    /// Gets the image and makes the container; gives its id.
    async fn prepare(&self, task: &Task, deps: &Dependencies) -> Result<String, Refusal>;
    /// Starts it.
    async fn start(&self, task: &Task) -> Result<Started, Refusal>;
    /// Resolves once the health check holds; at once when there is none.
    async fn healthy(&self, task: &Task);
    /// Resolves when the container has ended or is unhealthy.
    async fn ended(&self, task: &Task) -> Ended;
    /// Connections that the data path still sees to the task from elsewhere.
    async fn live_connections(&self, task: &Task) -> usize;
    /// Stop signal, grace period, kill. Fine when it has ended.
    async fn stop(&self, task: &Task) -> Result<(), Refusal>;
    /// Kills it at once. Fine when it has ended.
    async fn kill(&self, task: &Task) -> Result<(), Refusal>;
    /// The task is killed, whatever becomes of this daemon, once [`Executor::may_run`] was not said for too long: what it
    /// says of the leased tasks counts, or what it says of all. Fine when it has ended.
    async fn watch_over(&self, task: &Task, leased: bool) -> Result<(), Refusal>;
    /// How long leased tasks, and all, may run without another word (`None`: for ever).
    fn may_run(&self, leased: Option<Duration>, all: Option<Duration>);
    /// Removes the container and all that was made for it. Fine when there is none.
    async fn remove(&self, task: &Task) -> Result<(), Refusal>;
}
