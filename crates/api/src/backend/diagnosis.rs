//! Looking for what is wrong.
use super::Answer;
use async_trait::async_trait;
use model::Task;
use std::net::IpAddr;
use std::sync::Arc;
use wire::engine::diagnosis::{EchoReport, Finding, NodeFit};

/// Questions that only the machine itself, or the planner, can answer.
#[async_trait]
pub trait Diagnosis: Send + Sync + 'static {
    /// What of this machine stands in a swarm's way.
    async fn doctor(&self) -> Answer<Vec<Finding>>;
    /// Echo requests from inside a container of this node, or from the node itself.
    async fn echo(&self, container: Option<&str>, address: IpAddr, count: u32) -> Answer<EchoReport>;
    /// Which nodes could have a task now, and why not the others. Only on managers.
    async fn explain(&self, task: &Arc<Task>) -> Answer<Vec<NodeFit>>;
}
